"""NVIDIA's compute-sanitizer finds nothing wrong with any kernel of products."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sanitized import DENSITIES

from sparsec.cuda.device.driver import Device

pytestmark = pytest.mark.usefixtures("nvrtc")

TOOLS = {
    "memcheck": [],
    "initcheck": [],
    "synccheck": ["--num-cuda-barriers", "65536"],  # it overlooks those for which it has no room
}
NOT_OF_HOPPER = ("bitmap_mma", "coo_mma", "spmv", "nm24_mma", "w4_", "dense_few", "dense_mma")


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kernel", DENSITIES)
def test_nothing_is_found(gpu: Device, kernel: str, tool: str) -> None:
    if (sanitizer := shutil.which("compute-sanitizer")) is None:
        pytest.skip("needs compute-sanitizer, of NVIDIA's toolkit")
    if gpu.architecture != (9, 0) and not kernel.startswith(NOT_OF_HOPPER):
        pytest.skip("needs an NVIDIA GPU of compute capability 9.0")
    program = [sys.executable, str(Path(__file__).with_name("sanitized.py")), kernel]
    command = [sanitizer, "--tool", tool, "--error-exitcode", "9", *TOOLS[tool], *program]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, f"{' '.join(command)}\n{found.stdout[-4000:]}{found.stderr[-4000:]}"
