"""The C compiler and archiver for a target: the system's, a cross compiler, or the one in the package ziglang."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsec.errors import ToolchainError
from sparsec.targets.target import Target

_FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-fvisibility=hidden", "-fno-builtin", "-pthread", "-g0")


@dataclass(frozen=True, slots=True)
class CCompiler:
    """Commands without their arguments."""

    compiler: tuple[str, ...]
    archiver: tuple[str, ...]

    @classmethod
    def find(cls, target: Target) -> CCompiler:
        """The first one of this machine that compiles for `target`; raises `ToolchainError` with how to get one."""
        machine = target.triple.split("-")[0]
        here = platform.machine().replace("arm64", "aarch64") == machine
        names = [*(("cc", "gcc", "clang") if here else ()), f"{machine}-linux-gnu-gcc"]
        found = next((path for path in map(shutil.which, names) if path is not None), None)
        if found is not None:
            asked = subprocess.run([found, "-print-prog-name=ar"], capture_output=True, text=True, check=False)
            archiver = shutil.which(asked.stdout.strip() or "ar")
            if archiver is not None:
                return cls((found,), (archiver,))
        if (zig := _zig()) is not None:
            return cls((zig, "cc", "-target", f"{machine}-linux-gnu"), (zig, "ar"))
        raise ToolchainError(
            f"There is no C compiler and linker for {machine} here, which this kind of output needs.",
            expected=" or ".join(names),
            next_step="pip install ziglang, which brings one for every target",
        )

    def compile(self, source: Path, folders: Sequence[Path], output: Path) -> None:
        """An object from a C file that includes from `folders`; raises `ToolchainError`."""
        includes = [argument for folder in folders for argument in ("-I", str(folder))]
        _run([*self.compiler, *_FLAGS, *includes, "-c", str(source), "-o", str(output)])

    def archive(self, objects: Sequence[Path], output: Path) -> None:
        """A static library; raises `ToolchainError`."""
        _run([*self.archiver, "rcs", str(output), *map(str, objects)])

    def link(self, objects: Sequence[Path], output: Path) -> None:
        """A shared library; raises `ToolchainError`."""
        name = f"-Wl,-soname,{output.name}"
        _run([*self.compiler, "-shared", "-pthread", name, *map(str, objects), "-o", str(output), "-lm"])


def _zig() -> str | None:
    """The program in the package ziglang."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        return None
    program = Path(found.origin).parent / "zig"
    return str(program) if program.exists() else None


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(
            "The C compiler refused its input.", got=done.stderr.strip()[-2000:], next_step=" ".join(command)
        )
