"""PTX of kernels; NVIDIA's assembler takes it, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from torch_mlir import ir

from sparsec.errors import ToolchainError, UnsupportedOpError
from sparsec.ir.context import make_context
from sparsec.passes.device.lower_device import device_text
from sparsec.targets.nvptx import emit_ptx

_KERNEL = """
memref.global "private" @shared : memref<32xf32, 3> = uninitialized
func.func private @k(%x: memref<64xf16> {llvm.noalias, llvm.align = 16 : i64}, %y: memref<64xf32> {llvm.noalias}) {
  %block = gpu.block_id x
  %thread = gpu.thread_id x
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : i32
  %c32 = arith.constant 32 : i32
  %0 = arith.addi %block, %thread : index
  %at = arith.muli %0, %c8 : index
  %v = vector.load %x[%at] {alignment = 16 : i64} : memref<64xf16>, vector<8xf16>
  %w = arith.extf %v : vector<8xf16> to vector<8xf32>
  %first = vector.extract %w[0] : f32 from vector<8xf32>
  %root = math.sqrt %first : f32
  %other, %valid = gpu.shuffle xor %root, %c16, %c32 : f32
  %shared = memref.get_global @shared : memref<32xf32, 3>
  memref.store %other, %shared[%thread] : memref<32xf32, 3>
  gpu.barrier
  %sum = memref.load %shared[%c8] : memref<32xf32, 3>
  memref.store %sum, %y[%at] : memref<64xf32>
  return
}
"""


def _module(text: str) -> ir.Module:
    return ir.Module.parse(text, make_context())


@pytest.fixture(scope="module")
def ptx() -> str:
    return emit_ptx(device_text(_module(_KERNEL)))


@pytest.mark.parametrize(
    "instruction",
    [".entry k(", ".target sm_80", "ld.global", "shfl.sync.bfly", "bar.sync", "sqrt.rn.f32", "st.shared"],
)
def test_what_kernels_become(ptx: str, instruction: str) -> None:
    assert instruction in ptx


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="there is no ptxas on this machine")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90a"])
def test_the_assembler_takes_it(ptx: str, architecture: str, tmp_path: Path) -> None:
    (tmp_path / "k.ptx").write_text(ptx)
    subprocess.run(["ptxas", f"-arch={architecture}", "k.ptx", "-o", "k.cubin"], cwd=tmp_path, check=True)


def test_a_module_without_kernels_has_no_text() -> None:
    assert device_text(_module("func.func @main() {\n  return\n}")) == ""


def test_functions_that_only_a_library_has_are_refused() -> None:
    text = "func.func private @k(%x: memref<f64>) {\n  %0 = memref.load %x[] : memref<f64>\n"
    text += "  %1 = math.erf %0 : f64\n  memref.store %1, %x[] : memref<f64>\n  return\n}"
    with pytest.raises(UnsupportedOpError, match="not there on GPUs"):
        device_text(_module(text))


def test_text_that_is_none_is_a_fault_of_ours() -> None:
    with pytest.raises(ToolchainError, match="bug of sparsec"):
        emit_ptx("define void @k( {")
