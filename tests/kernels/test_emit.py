"""The words of kernel generators, each run once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from harness import F32, WIDEST, compile_text, host_isas, place, to_llvm
from hypothesis import given
from hypothesis import strategies as st
from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, carry, choose, define, exists, local, loop, when
from sparsec.kernels.index import Index, minimum, pick
from sparsec.kernels.isa import Isa
from sparsec.kernels.split import Split
from sparsec.kernels.store import transposed

Build = Callable[[Mapping[str, Buffer], Index, Index], None]


def evaluate(build: Build, x: F32, size: int, end: int = 1, isa: Isa = WIDEST) -> F32:
    """Run one function over the buffers "x" and "y" (zeros at first) and units [0, end)."""
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        define(module, "f", {"x": ("f32", x.size), "y": ("f32", size)}, build)
        assert module.operation.verify()
        machine = compile_text(to_llvm(module), isa)
    source, y = place(x), place(np.zeros(size, dtype=np.float32))
    machine.function("f", 2)(source.ctypes.data, y.ctypes.data, 0, end)
    return y.view(np.float32)


def test_known_positions_fold() -> None:
    position = (Index(3) + 4) * 2 - 1
    assert (position.known, (position // 4).known, (position % 4).known) == (13, 3, 1)
    assert minimum(Index(3), 5).known == 3


def test_index_arithmetic_at_run_time() -> None:
    def build(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as i:
            values = [i * 3 + 1, (i + 7) // 2, (i + 7) % 4, 9 - i, minimum(i, 2), pick(i < 2, 5, i), 0 * i]
            for number, position in enumerate(values):
                memory["y"].store(memory["x"].load(position), i * len(values) + number)

    y = evaluate(build, np.arange(32, dtype=np.float32), 28, end=4)
    expected = [[i * 3 + 1, (i + 7) // 2, (i + 7) % 4, 9 - i, min(i, 2), 5 if i < 2 else i, 0] for i in range(4)]
    assert y.reshape(4, 7).tolist() == expected


def test_conditions() -> None:
    def build(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        x, y = memory["x"], memory["y"]
        with loop(begin, end) as i:
            with when(i < 2):
                y.store(x.load(1), i)
            choose(i.equals(3), lambda: y.store(x.load(2), i + 4), lambda: y.store(x.load(3), i + 4))

    assert evaluate(build, np.arange(4, dtype=np.float32), 8, end=4).tolist() == [1, 1, 0, 0, 3, 3, 3, 2]


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
def test_masks_guard_loads_and_stores(isa: Isa) -> None:
    vectors = Vectors(isa.lanes())

    def build(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        for line, mask in enumerate((vectors.mask(3), vectors.mask(end), vectors.mask_signed(begin - 1), None)):
            value = vectors.load(memory["x"], 0, mask)
            vectors.store(value, memory["y"], line * vectors.lanes)
            vectors.store(value, memory["y"], (4 + line) * vectors.lanes, mask)

    y = evaluate(build, np.arange(1, 17, dtype=np.float32), 8 * vectors.lanes, end=2, isa=isa)
    expected = [np.where(np.arange(vectors.lanes) < n, np.arange(1, vectors.lanes + 1), 0) for n in (3, 2, 0, 99)] * 2
    np.testing.assert_array_equal(y.reshape(8, -1), expected)


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
def test_gather_reads_at_a_stride(isa: Isa) -> None:
    vectors = Vectors(isa.lanes())

    def build(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        vectors.store(vectors.gather(memory["x"], 2, 3), memory["y"], 0)

    y = evaluate(build, np.arange(64, dtype=np.float32), vectors.lanes, isa=isa)
    np.testing.assert_array_equal(y, 2 + 3 * np.arange(vectors.lanes))


def test_carried_values_and_local_memory() -> None:
    def build(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        vectors, kept = Vectors(4), local("f32", 4)
        (total,) = carry(0, 5, 1, [vectors.splat(1)], lambda i, sums: [vectors.load(memory["x"], i * 4)])
        vectors.store(total, kept, 0)
        with loop(0, 4) as i:
            memory["y"].store(kept.load(i), 3 - i)

    assert evaluate(build, np.arange(20, dtype=np.float32), 4).tolist() == [19, 18, 17, 16]


@pytest.mark.parametrize("isa", host_isas(), ids=lambda isa: isa.suffix)
def test_transposition(isa: Isa) -> None:
    vectors = Vectors(isa.lanes())
    square = np.arange(vectors.lanes**2, dtype=np.float32)

    def build(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        lines = [vectors.load(memory["x"], i * vectors.lanes) for i in range(vectors.lanes)]
        for i, line in enumerate(transposed(lines)):
            vectors.store(line, memory["y"], i * vectors.lanes)

    y = evaluate(build, square, square.size, isa=isa)
    np.testing.assert_array_equal(y.reshape(vectors.lanes, -1), square.reshape(vectors.lanes, -1).T)


def test_stack_memory_is_allocated_once_also_in_a_loop() -> None:
    def build(memory: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end):
            local("f32", 16)

    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        define(module, "f", {}, build)
        (function,) = module.body
        assert function.regions[0].blocks[0].operations[0].operation.name == "memref.alloca"


def test_a_function_is_defined_once() -> None:
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        for _ in range(2):
            define(module, "f", {}, lambda memory, begin, end: None)
        assert exists(module, "f")
        assert not exists(module, "g")
        assert len(list(module.body)) == 1


@given(st.integers(0, 200), st.integers(1, 30))
def test_split_covers_everything_evenly(total: int, most: int) -> None:
    split = Split.by(total, most)
    lengths = np.diff(split.starts)
    assert (split.starts[0], split.starts[-1], len(lengths)) == (0, total, split.parts)
    assert split.parts == -(-total // most)
    if total:
        assert split.most == lengths.max() <= most
        assert lengths.min() >= lengths.max() - 1
        parts = [Index(part) for part in range(split.parts)]
        assert [split.start(part).known for part in parts] == split.starts[:-1].tolist() or split.longer
