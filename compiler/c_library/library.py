"""The folder that `--emit static` and `--emit shared` write: a network as a library for programs in C.

libNAME.a or libNAME.so   the kernels, the runtime core and, unless they lie beside it, the weights
NAME.h                    its interface: inputs and outputs of this network by name, `open`, `run`, `close`
NAME.weights              the weights, if they lie beside the library

Needs a C compiler for the target; the program that is linked with the library needs libm and threads, and nothing of ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from sparsec.artifact import Plan
from sparsec.c_library.header import Linkage, header_text
from sparsec.c_library.names import network_name
from sparsec.c_library.source import source_text
from sparsec.targets.c_compiler import CCompiler
from sparsec.targets.target import Target
from sparsec.whole_file import write_files


def write_library(
    folder: Path, plan: Plan, objects: Sequence[bytes], target: Target, linkage: Linkage, *, weights_inside: bool
) -> list[Path]:
    """Write the files into `folder`, which is made if need be, all or none, and return them; other files in it stay.

    `objects` define the entries of the plan's kernels with its prefix. Raises `ToolchainError`, also where there is no
    compiler.
    """
    compiler, name = CCompiler.find(target), network_name(plan.name)
    header, weights = f"{name}.h", f"{name}.weights"
    library = f"lib{name}.{'a' if linkage is Linkage.STATIC else 'so'}"
    interface = header_text(plan, linkage, weights_inside=weights_inside)
    with tempfile.TemporaryDirectory() as scratch, as_file(files("sparsec.runtime")) as runtime:
        work = Path(scratch)
        (work / "weights").write_bytes(plan.weights.tobytes())
        source = source_text(plan, work / "weights", weights_inside=weights_inside)
        (work / "library.c").write_text(source, encoding="utf-8")
        # Included from here: `folder` may have headers that others are named after.
        (work / header).write_text(interface, encoding="utf-8")
        compiler.compile(work / "library.c", [runtime / "c", runtime / "native"], work / f"{name}.o")
        made = [work / f"{name}.o", *(work / f"{name}_kernels{number}.o" for number in range(len(objects)))]
        for path, content in zip(made[1:], objects, strict=True):
            path.write_bytes(content)
        (compiler.archive if linkage is Linkage.STATIC else compiler.link)(made, work / library)
        contents = {library: (work / library).read_bytes(), header: interface.encode()}
    if not weights_inside:
        contents[weights] = plan.weights.tobytes()
    write_files(folder, contents)
    return [folder / file for file in contents]
