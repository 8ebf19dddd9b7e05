"""QEMU's user mode: runs the runtime core of AArch64 on this machine, and counts instructions."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.arm.cases import OK, Case, Result, read_results, write_cases
from sparsec.errors import UsageError

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
# QEMU's processors with what a target needs, the last of which has no name of its own there.
PROCESSORS = {
    "aarch64": "cortex-a53",
    "aarch64-dotprod": "cortex-a76",
    "aarch64-fp16": "neoverse-n1",
    "aarch64-i8mm": "max",
}
INSTALL = "apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
_HERE = Path(__file__).parent
NATIVE = _HERE.parents[1] / "runtime" / "native"
_COUNTED = re.compile(r"^instructions: (\d+)$", re.MULTILINE)


def missing() -> str | None:
    """Why nothing can be emulated here; None if it can."""
    lacking = [name for name in (COMPILER, EMULATOR) if shutil.which(name) is None]
    return f"there is no {' and no '.join(lacking)}: {INSTALL}" if lacking else None


def build_runner(folder: Path, compiler: Sequence[str] = (COMPILER,)) -> Path:
    """Compile `runner.c` with the runtime core for 64-bit ARM Linux; the program needs no library."""
    program = folder / "sparsec-runner"
    sources = [_HERE / "runner.c", *sorted(NATIVE.glob("*.c"))]
    flags = ["-std=c11", "-O2", "-Wall", "-Werror", "-pthread", "-static", "-I", str(NATIVE)]
    subprocess.run([*compiler, *flags, *map(str, sources), "-o", str(program), "-lm"], check=True)
    return program


def build_counter(folder: Path) -> Path:
    """Compile the plugin `count.c` for this machine."""
    plugin = folder / "count.so"
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        raise UsageError(
            "There is no C compiler for this machine.", expected="cc, gcc or clang", next_step="apt-get install gcc"
        )
    flags = ["-std=c11", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"]
    subprocess.run([compiler, *flags, str(_HERE / "count.c"), "-o", str(plugin)], check=True)
    return plugin


@dataclass(frozen=True, slots=True)
class Emulator:
    """A processor, by QEMU's name, that runs cases with the runtime core in the program `runner`."""

    runner: Path
    cpu: str = "max"

    def run(self, cases: Sequence[Case], *, threads: int = 1) -> list[Result]:
        """Run all cases in one process."""
        with tempfile.TemporaryDirectory() as folder:
            given, results = Path(folder) / "cases", Path(folder) / "results"
            write_cases(given, cases)
            command = [EMULATOR, "-cpu", self.cpu, str(self.runner), str(given), str(results), "1", str(threads)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return read_results(results, cases)

    def instructions(self, case: Case, counter: Path) -> int:
        """Instructions of one run: those of two runs less those of one, which hold the start of the program too."""
        with tempfile.TemporaryDirectory() as folder:
            given, results = Path(folder) / "cases", Path(folder) / "results"
            write_cases(given, [case])
            counts = []
            for repeats in ("1", "2"):
                command = [EMULATOR, "-cpu", self.cpu, "-plugin", str(counter), str(self.runner)]
                done = subprocess.run(
                    [*command, str(given), str(results), repeats], check=True, capture_output=True, text=True
                )
                assert read_results(results, [case])[0].status == OK
                counts.append(int(_COUNTED.findall(done.stderr)[-1]))
            return counts[1] - counts[0]
