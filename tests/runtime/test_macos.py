"""The runtime core for macOS: that it compiles and links, with what that system asks of code that is made at run time.

Nothing of it runs here. The package ziglang brings the compiler, the headers and the names in the system's libraries.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from sparsec.targets import c_compiler

ROOT = Path(__file__).parents[2]
NATIVE = ROOT / "runtime" / "native"
FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-fvisibility=hidden", "-I", str(NATIVE)]
MAGIC, LIBRARY, EXECUTABLE = 0xFEEDFACF, 6, 2  # of mach-o/loader.h
PROCESSORS = {"aarch64": 0x0100000C, "x86_64": 0x01000007}


def build(machine: str, output: Path, *arguments: str) -> bytes:
    """The file that the core and `arguments` are linked to, which must be one for this processor."""
    zig = c_compiler._zig()
    if zig is None:
        pytest.skip("there is no compiler for macOS: pip install ziglang")
    sources = [*map(str, sorted(NATIVE.glob("*.c"))), *arguments]
    command = [zig, "cc", "-target", f"{machine}-macos", *FLAGS, *sources, "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return output.read_bytes()


@pytest.mark.parametrize("machine", PROCESSORS)
def test_the_core_is_a_library(machine: str, tmp_path: Path) -> None:
    library = build(machine, tmp_path / "_native.so", "-shared")
    magic, processor, _, kind = struct.unpack_from("<4I", library)
    assert (magic, processor, kind) == (MAGIC, PROCESSORS[machine], LIBRARY)
    assert b"_sparsec_model_create\0" in library
    jit = (b"_pthread_jit_write_protect_np\0", b"_sys_icache_invalidate\0", b"hw.optional.arm.FEAT_DotProd\0")
    assert [name in library for name in jit] == [machine == "aarch64"] * len(jit)


def test_networks_compiled_elsewhere_have_a_program_that_runs_them(tmp_path: Path) -> None:
    program = build("aarch64", tmp_path / "runner", str(ROOT / "bench" / "arm" / "runner.c"))
    magic, processor, _, kind = struct.unpack_from("<4I", program)
    assert (magic, processor, kind) == (MAGIC, PROCESSORS["aarch64"], EXECUTABLE)
