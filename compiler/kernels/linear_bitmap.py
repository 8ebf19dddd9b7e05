"""Linear layer of a few tokens with a bitmap weight: vectors along the inputs, sixteen weights expanded at a time.

For a few tokens the weight is read once from far away, so what counts is its size: a bit per element and the nonzero
values, which `expand` instructions put into the lanes of the bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, math, vector

from sparsec.formats.bitmap import WORD, Bitmap
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.emit import (
    Buffer,
    Index,
    Vectors,
    add,
    carry,
    define,
    epilogue_buffers,
    finish,
    fma,
    loop,
    shuffle,
    when,
)
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.spmm import ramps
from sparsec.kernels.words import refusal

MOST_TOKENS = 4
MOST_SUMS = 16  # vectors in registers, beside the x of all tokens and the weights of a row


@dataclass(frozen=True, slots=True)
class LinearBitmap:
    """Up to MOST_TOKENS tokens on instruction sets that expand vectors under masks."""

    name: str = "f32_linear_bitmap"
    format: str = "bitmap"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        if not isinstance(problem, LinearProblem):
            return "only linear layers"
        if not isa.masks or isa.lanes() != WORD:
            return "no instruction expands sixteen values under a mask"
        if problem.tokens > MOST_TOKENS:
            return f"more than {MOST_TOKENS} tokens"
        return refusal(problem.arithmetic, F32, isa)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        bitmap = Bitmap.encode(weight)
        rows = _Rows.of(problem, bitmap, epilogue)
        weights = _interleaved(bitmap, rows.height)
        spec = {
            "x": ("f32", problem.tokens * problem.inputs),
            "masks": ("i16", len(weights["masks"])),
            "values": ("f32", len(weights["values"])),
            "starts": ("i32", len(weights["starts"])),
            **epilogue_buffers(epilogue, problem.tokens * problem.outputs, problem.outputs),
            "y": (epilogue.result, problem.tokens * problem.outputs),
        }
        shape = f"{problem.tokens}x{problem.inputs}x{problem.outputs}_{bitmap.nnz}"
        name = f"{self.name}_{rows.height}x{WORD}_{shape}_{epilogue.tag}_{isa.suffix}"
        define(module, name, spec, rows.emit)
        return LoweredLayer((Call(name, tuple(spec), rows.units, bitmap.nnz * problem.tokens),), weights)


@dataclass(frozen=True, slots=True)
class _Rows:
    """`height` rows are walked together, word by word: each vector of x serves all of them."""

    problem: LinearProblem
    epilogue: Epilogue
    words: int
    height: int

    @classmethod
    def of(cls, problem: LinearProblem, bitmap: Bitmap, epilogue: Epilogue) -> _Rows:
        height = next(rows for rows in (4, 2, 1) if rows * problem.tokens <= MOST_SUMS)
        return cls(problem, epilogue, bitmap.masks.shape[1], height)

    @property
    def units(self) -> int:
        return -(-self.problem.outputs // self.height)

    def emit(self, buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        """One unit is `height` outputs."""
        with loop(begin, end) as unit:
            sums = self._sums(buffers, unit)
            for r in range(self.height):
                row = unit * self.height + r
                if r and self.problem.outputs % self.height:
                    with when(row < self.problem.outputs):
                        self._store(buffers, row, sums[r * self.problem.tokens :])
                else:
                    self._store(buffers, row, sums[r * self.problem.tokens :])

    def _sums(self, buffers: Mapping[str, Buffer], unit: Index) -> list[ir.Value]:
        """For each row and token a vector whose lanes are to be added up."""
        tokens, inputs, lanes = self.problem.tokens, self.problem.inputs, Vectors(WORD)

        def word(number: Index, carried: list[ir.Value], mask: ir.Value | None = None) -> list[ir.Value]:
            place, sums = Index(dynamic=carried[0]), carried[1:]
            across = [lanes.load(buffers["x"], number * WORD + t * inputs, mask) for t in range(tokens)]
            for r in range(self.height):
                bits = buffers["masks"].load((unit * self.words + number) * self.height + r)
                held = _lanes_of(bits)
                weights = _expand(lanes.load(buffers["values"], place), held)
                place = place + _count(bits)
                for t in range(tokens):
                    total = sums[r * tokens + t]
                    sums[r * tokens + t] = arith.select(held, fma(weights, across[t], total), total)
            return [place.value, *sums]

        start = buffers["starts"].load_index(unit).value
        carried = carry(0, inputs // WORD, 1, [start, *[lanes.splat(0.0)] * (self.height * tokens)], word)
        if inputs % WORD:
            carried = word(Index(inputs // WORD), carried, lanes.mask(inputs % WORD))
        return carried[1:]

    def _store(self, buffers: Mapping[str, Buffer], row: Index, sums: list[ir.Value]) -> None:
        one = Vectors(1)
        for t in range(self.problem.tokens):
            at, total = row + t * self.problem.outputs, _sum_of_lanes(sums[t])
            tail = finish(one, self.epilogue, buffers, total, element=at, channel=row, along_channels=True)
            one.store(tail, buffers["y"], at)


def _interleaved(bitmap: Bitmap, height: int) -> dict[str, NDArray[np.generic]]:
    """Groups of `height` rows word by word, so that a group is one stream of values; `starts` has where each begins."""
    words, groups = bitmap.masks.shape[1], -(-bitmap.rows // height)
    masks = np.zeros((groups * height, words), dtype=np.uint16)
    masks[: bitmap.rows] = bitmap.masks
    counts = np.bitwise_count(masks).astype(np.int64).reshape(-1)
    turned = np.arange(counts.size).reshape(groups, height, words).transpose(0, 2, 1).reshape(-1)
    first = np.cumsum(counts) - counts
    source = np.repeat(first[turned], counts[turned]) + ramps(counts[turned])
    starts = np.concatenate([[0], np.cumsum(counts.reshape(groups, height * words).sum(axis=1))])
    return {
        "masks": np.append(masks.reshape(-1)[turned], np.uint16(0)),
        "values": np.concatenate([bitmap.values[source], np.zeros(WORD, dtype=np.float32)]),
        "starts": starts.astype(np.int32),
    }


def _lanes_of(bits: ir.Value) -> ir.Value:
    """The mask whose lane i is bit i."""
    word = vector.broadcast(ir.VectorType.get([1], bits.type), bits)
    return vector.bitcast(ir.VectorType.get([WORD], ir.IntegerType.get_signless(1)), word)


def _expand(packed: ir.Value, mask: ir.Value) -> ir.Value:
    """The first values of `packed`, in order, in the lanes of the mask; the other lanes hold nothing of use.

    They keep `packed`, so that the load is used twice and stays an instruction of its own: to expand from memory takes
    current cores six cycles, from a register two.
    """
    intrinsic = ir.StringAttr.get("llvm.x86.avx512.mask.expand")
    return llvm.call_intrinsic(packed.type, intrinsic, [packed, packed, mask], [], [])


def _count(bits: ir.Value) -> Index:
    """How many bits are set."""
    return Index(dynamic=arith.index_castui(ir.IndexType.get(), math.ctpop(bits)))


def _sum_of_lanes(total: ir.Value) -> ir.Value:
    """The sum of all lanes, as a vector of one."""
    lanes = ir.VectorType(total.type).shape[0]
    while lanes > 1:
        lanes //= 2
        total = add(shuffle(total, total, range(lanes)), shuffle(total, total, range(lanes, 2 * lanes)))
    return total
