"""Indices and divisors that come from data are checked, others are not."""

from __future__ import annotations

import pytest
from torch_mlir import ir

from sparsec.ir.context import make_context
from sparsec.ir.module import function
from sparsec.passes.check_operands import check_operands

LOOP = """
func.func @main(%x: memref<5x6xf32>, %i: memref<6xi32>, %y: memref<6xf32>, %n: memref<6xi32>) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c6 = arith.constant 6 : index
  scf.parallel (%j) = (%c0) to (%c6) step (%c1) {{
    {body}
    scf.reduce
  }}
  return
}}
"""


def checks(body: str) -> list[str]:
    module = ir.Module.parse(LOOP.format(body=body), make_context())
    with module.context, ir.Location.unknown():
        check_operands(function(module, "main"))
    assert module.operation.verify()
    return [line.split('"')[1] for line in str(module).splitlines() if "cf.assert" in line]


def test_a_loaded_index_is_checked_against_its_axis() -> None:
    body = """%d = memref.load %i[%j] : memref<6xi32>
    %k = arith.index_cast %d : i32 to index
    %v = memref.load %x[%k, %j] : memref<5x6xf32>
    memref.store %v, %y[%k] : memref<6xf32>"""
    lengths = [5, 6]
    assert checks(body) == [f"an index is out of range of an axis of length {length}" for length in lengths]


def test_counters_and_constants_are_not_checked() -> None:
    body = """%k = arith.subi %c6, %j : index
    %h = arith.divsi %k, %c6 : index
    scf.for %l = %c0 to %c6 step %c1 {
      %v = memref.load %x[%h, %l] : memref<5x6xf32>
      memref.store %v, %y[%l] : memref<6xf32>
    }"""
    assert checks(body) == []


def test_a_value_carried_by_a_loop_is_data() -> None:
    body = """%last = scf.for %l = %c0 to %c6 step %c1 iter_args(%k = %c0) -> index {
      %v = memref.load %y[%k] : memref<6xf32>
      memref.store %v, %y[%l] : memref<6xf32>
      %next = arith.addi %k, %k : index
      scf.yield %next : index
    }"""
    assert len(checks(body)) == 1


@pytest.mark.parametrize(("name", "count"), [("divsi", 2), ("remsi", 2), ("divui", 1), ("remui", 1), ("muli", 0)])
def test_divisors(name: str, count: int) -> None:
    body = f"""%a = memref.load %i[%j] : memref<6xi32>
    %b = memref.load %n[%j] : memref<6xi32>
    %q = arith.{name} %a, %b : i32
    memref.store %q, %n[%j] : memref<6xi32>"""
    expected = ["an integer is divided by zero", "an integer division overflows"]
    assert checks(body) == expected[:count]
