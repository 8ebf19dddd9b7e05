"""`python -m bench arm --board DIR`: networks compiled here, in a folder that times them on a board with a C compiler.

There: `sh run.sh`. It compiles the runtime core, runs each network with its zeros used and without, compares outputs with those
that QEMU gave, and prints a table of medians.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.arm.cases import Case, write_cases
from bench.arm.emulator import NATIVE, PROCESSORS, Emulator
from bench.arm.networks import NetworkCell, compiled, given
from sparsec.errors import UsageError

_HERE = Path(__file__).parent


def carry(folder: Path, cells: Sequence[NetworkCell], runner: Path) -> None:
    """Fill `folder`, which must not exist."""
    if folder.exists():
        raise UsageError("The folder exists already.", got=str(folder))
    shutil.copytree(NATIVE, folder / "native", ignore=shutil.ignore_patterns("*.o", "*.so"))
    for name in ("runner.c", "run.sh"):
        shutil.copy(_HERE / name, folder)
    lines = []
    for number, cell in enumerate(cells):
        for target in cell.targets:
            for form in ("sparse", "dense"):
                program = compiled(cell, target, dense=form == "dense")
                case = Case(program, given(cell, program))
                stem = f"{number}-{target}-{form}"
                write_cases(folder / f"{stem}.cases", [case])
                (result,) = Emulator(runner, PROCESSORS[target]).run([case])
                (folder / f"{stem}.expected").write_bytes(
                    result.status.to_bytes(8, "little") + b"".join(each.tobytes() for each in result.outputs)
                )
            lines.append(f"{number}-{target}\t{target}\t{cell}\n")
    (folder / "networks.txt").write_text("".join(lines))
