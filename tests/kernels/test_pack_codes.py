"""pack_codes in a kernel: the bytes of 64 whole numbers, and what it leaves as it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from harness import Array, aligned, compile_text, place, to_llvm
from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.ir.context import make_context
from sparsec.ir.weights import WeightStore
from sparsec.kernels.emit import Buffer, Vectors, define, loop
from sparsec.kernels.index import Index
from sparsec.kernels.isa import AVX2, AVX512, Isa
from sparsec.passes.pack_codes import pack_codes
from sparsec.passes.unit import Unit

LANES = 64


def kernel(isa: Isa, count: int, low: int = 0, high: int = 255) -> ir.Module:
    """`codes` of "x", clamped to low … high, 64 at a time, after the pass."""
    wide, narrow = Vectors(LANES, "i32"), Vectors(LANES, "i8")

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as unit:
            at = unit * LANES
            bounded = arith.maxsi(wide.load(buffers["x"], at), wide.splat(low))
            narrow.store(arith.trunci(narrow.type, arith.minsi(bounded, wide.splat(high))), buffers["y"], at)

    with make_context(), ir.Location.unknown():
        module = ir.Module.create()
        define(module, "codes", {"x": ("i32", count), "y": ("i8", count)}, body)
        pack_codes(Unit(module, WeightStore(), isa))
    assert module.operation.verify()
    return module


def test_bytes_are_those_of_both_bounds() -> None:
    edges = [-(2**31), -(2**15) - 1, -(2**15), -1, 0, 1, 254, 255, 256, 2**15 - 1, 2**15, 2**16, 2**31 - 1]
    random = np.random.default_rng(0).integers(-600, 600, 3 * LANES - len(edges))
    x: Array = place(np.concatenate([edges, random]).astype(np.int32))
    y = aligned(x.size, np.uint8)
    machine = compile_text(to_llvm(kernel(AVX512, x.size)), AVX512)
    machine.function("codes", 2)(x.ctypes.data, y.ctypes.data, 0, x.size // LANES)
    np.testing.assert_array_equal(y, np.clip(x, 0, 255))
    assert "vpackuswb" in machine.assembly


def test_numbers_that_are_bytes_are_packed_without_bounds() -> None:
    wide, narrow = Vectors(LANES, "i32"), Vectors(LANES, "i8")

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as unit:
            numbers = wide.load(buffers["x"], unit * LANES)
            codes = arith.trunci(narrow.type, numbers, overflow_flags=arith.IntegerOverflowFlags.nuw)
            narrow.store(codes, buffers["y"], unit * LANES)

    x: Array = place(np.random.default_rng(0).permutation(4 * LANES).astype(np.int32))
    with make_context(), ir.Location.unknown():
        module = ir.Module.create()
        define(module, "codes", {"x": ("i32", x.size), "y": ("i8", x.size)}, body)
        pack_codes(Unit(module, WeightStore(), AVX512))
    y = aligned(x.size, np.uint8)
    machine = compile_text(to_llvm(module), AVX512)
    machine.function("codes", 2)(x.ctypes.data, y.ctypes.data, 0, x.size // LANES)
    np.testing.assert_array_equal(y, x)
    assert "vpackuswb" in machine.assembly


@pytest.mark.parametrize(("isa", "low", "high"), [(AVX2, 0, 255), (AVX512, -128, 127), (AVX512, 0, 127)])
def test_other_bounds_and_instruction_sets_stay(isa: Isa, low: int, high: int) -> None:
    assert "packuswb" not in str(kernel(isa, LANES, low, high))
