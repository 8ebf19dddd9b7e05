"""Checks become branches to a block that stores their number and returns."""

from __future__ import annotations

import pytest
from torch_mlir import ir

from sparsec.ir.context import make_context
from sparsec.passes.lower_asserts import lower_asserts

BEFORE = """
func.func @loop(%x: memref<5xi64> {llvm.noalias}, %s: memref<i64> {sparsec.status}, %begin: index, %end: index) {
  %zero = arith.constant 0 : i64
  %v = memref.load %x[%begin] : memref<5xi64>
  %positive = arith.cmpi sge, %v, %zero : i64
  cf.assert %positive, "first" {sparsec.complaint = 3 : i64}
  %odd = arith.trunci %v : i64 to i1
  cf.assert %odd, "second" {sparsec.complaint = 0 : i64}
  memref.store %zero, %x[%begin] : memref<5xi64>
  return
}
"""

AFTER = """\
module {
  func.func @loop(%arg0: memref<5xi64> {llvm.noalias}, %arg1: memref<i64>, %arg2: index, %arg3: index) {
    %c0_i64 = arith.constant 0 : i64
    %0 = memref.load %arg0[%arg2] : memref<5xi64>
    %1 = arith.cmpi sge, %0, %c0_i64 : i64
    %c4_i64 = arith.constant 4 : i64
    cf.cond_br %1, ^bb1, ^bb3(%c4_i64 : i64)
  ^bb1:  // pred: ^bb0
    %2 = arith.trunci %0 : i64 to i1
    %c1_i64 = arith.constant 1 : i64
    cf.cond_br %2, ^bb2, ^bb3(%c1_i64 : i64)
  ^bb2:  // pred: ^bb1
    memref.store %c0_i64, %arg0[%arg2] : memref<5xi64>
    return
  ^bb3(%3: i64):  // 2 preds: ^bb0, ^bb1
    memref.store %3, %arg1[] : memref<i64>
    return
  }
}
"""

NO_CHECKS = """\
module {
  func.func @loop(%arg0: memref<5xi64> {llvm.noalias}, %arg1: index, %arg2: index) {
    return
  }
}
"""


@pytest.mark.parametrize(("before", "after"), [(BEFORE, AFTER), (NO_CHECKS, NO_CHECKS)])
def test_checks_become_branches(before: str, after: str) -> None:
    module = ir.Module.parse(before, make_context())
    lower_asserts(module)
    assert module.operation.verify()
    assert str(module) == after
