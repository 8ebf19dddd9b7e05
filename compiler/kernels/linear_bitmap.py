"""Linear layer of a few tokens with a bitmap weight: vectors along the inputs, a vector of weights expanded at a time.

For a few tokens the weight is read once from far away, so what counts is its size: a bit per element and the nonzero
values, which `expand` instructions put into the lanes of the bits.

Without such instructions a table of permutations can do it, four lanes at a time. Counted on 64-bit ARM for one token, that
takes 2.3 instructions for each column, zero or not, and 3.0 so that zeros leave infinities alone; CSR takes 4.6 for each
nonzero, dense 0.6 for each column. So bits would be no faster than CSR where half the weights are zero, and slower where
more are: there is no such kernel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from sparsec.formats.bitmap import WORD, Bitmap
from sparsec.kernels.arithmetic import F32, U8S8, Arithmetic
from sparsec.kernels.emit import (
    Buffer,
    Vectors,
    add,
    carry,
    define,
    element_bytes,
    epilogue_buffers,
    finish,
    loop,
    shuffle,
)
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.expand import count_of, expanded, lanes_of
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.linear_kernel import LinearKernel
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.schedule import FAR_BYTES
from sparsec.kernels.sparse_rows import ramps
from sparsec.kernels.words import Words, words_of

MOST_TOKENS: Mapping[Arithmetic, int] = {F32: 4, U8S8: 8}
MOST_SUMS = 24  # vectors in registers, beside one of x and the weights of all rows
AHEAD, LINE = 8 << 10, 64  # bytes: how far ahead weights are asked for, and in a cache line


@dataclass(frozen=True, slots=True)
class LinearBitmap(LinearKernel):
    """Up to MOST_TOKENS tokens on instruction sets that expand vectors under masks."""

    kind: ClassVar[str] = "linear_bitmap"
    format: ClassVar[str] = "bitmap"

    def lacks(self, problem: LinearProblem, isa: Isa) -> str | None:
        if not isa.masks or isa.lanes() != WORD:
            return "no instruction expands sixteen values under a mask"
        if problem.tokens > MOST_TOKENS[self.arithmetic]:
            return f"more than {MOST_TOKENS[self.arithmetic]} tokens"
        words = words_of(self.arithmetic, isa)
        if words is None or words.element != self.arithmetic.stored:
            return f"{isa.suffix} multiplies no {self.arithmetic.stored} as they are stored"
        return None if words.group == 1 or isa.expands_bytes else "no instruction expands bytes under a mask"

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        words = words_of(self.arithmetic, isa)
        assert words is not None
        bitmap = Bitmap.encode(weight)
        rows = _Rows.of(problem, words, epilogue)
        weights = rows.pack(bitmap)
        spec = {
            "x": (self.arithmetic.stored, problem.tokens * problem.inputs),
            "masks": (f"i{rows.width}", len(weights["masks"])),
            "values": (words.element, len(weights["values"])),
            "starts": ("i32", len(weights["starts"])),
            **epilogue_buffers(epilogue, problem.tokens * problem.outputs, problem.outputs),
            "y": (epilogue.result, problem.tokens * problem.outputs),
        }
        shape = f"{problem.tokens}x{problem.inputs}x{problem.outputs}_{bitmap.nnz}"
        name = f"{self.name}_{rows.height}x{rows.width}_{shape}_{epilogue.tag}_{isa.suffix}"
        define(module, name, spec, rows.emit)
        return LoweredLayer((Call(name, tuple(spec), rows.units, bitmap.nnz * problem.tokens),), weights)


@dataclass(frozen=True, slots=True)
class _Rows:
    """`height` rows are walked together, a vector of columns at a time: each vector of x serves all of them."""

    problem: LinearProblem
    words: Words
    epilogue: Epilogue
    height: int

    @classmethod
    def of(cls, problem: LinearProblem, words: Words, epilogue: Epilogue) -> _Rows:
        height = next(rows for rows in (4, 3, 2, 1) if rows * problem.tokens <= MOST_SUMS)
        return cls(problem, words, epilogue, height)

    @property
    def units(self) -> int:
        return -(-self.problem.outputs // self.height)

    @property
    def width(self) -> int:
        """Columns of a vector, and bits of its mask."""
        return WORD * self.words.group

    @property
    def steps(self) -> int:
        """Vectors of a row."""
        return -(-self.problem.inputs // self.width)

    def emit(self, buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        """One unit is `height` outputs."""
        outputs, height = self.problem.outputs, self.height
        lanes = Vectors(1 << (height - 1).bit_length(), self.epilogue.result)
        with loop(begin, end) as unit:
            sums, row = self._sums(buffers, unit), unit * height
            mask = lanes.mask(minimum(height, outputs - row) if outputs % height else height)
            for t in range(self.problem.tokens):
                total, at = _sums_of_lanes(sums[t :: self.problem.tokens]), row + t * outputs
                tail = finish(
                    lanes, self.epilogue, buffers, total, element=at, channel=row, mask=mask, along_channels=True
                )
                lanes.store(tail, buffers["y"], at, mask)

    def _sums(self, buffers: Mapping[str, Buffer], unit: Index) -> list[ir.Value]:
        """For each row and token a vector whose lanes are to be added up."""
        tokens, inputs, width = self.problem.tokens, self.problem.inputs, self.width

        def step(number: Index, carried: list[ir.Value], left: int | None = None) -> list[ir.Value]:
            place, sums = Index(dynamic=carried[0]), carried[1:]
            first = (unit * self.steps + number) * self.height
            self._ask_ahead(buffers, first, place)
            rows = []
            for r in range(self.height):
                bits = buffers["masks"].load(first + r)
                held = lanes_of(bits, width)
                weights = expanded(Vectors(width, self.words.element).load(buffers["values"], place), held)
                rows.append((vector.bitcast(Vectors(WORD, self.words.dtype).type, weights), held))
                place = place + count_of(bits)
            for t in range(tokens):
                x = self.words.load(buffers["x"], number * width + t * inputs, WORD, left)
                for r, (weights, held) in enumerate(rows):
                    total = sums[r * tokens + t]
                    more = self.words.multiply_add(x, weights, total)
                    # infinity times zero is no zero
                    sums[r * tokens + t] = more if self.words.exact else arith.select(held, more, total)
            return [place.value, *sums]

        start = buffers["starts"].load_index(unit).value
        zeros = [Vectors(WORD, self.words.arithmetic.total).splat(0)] * (self.height * tokens)
        carried = carry(0, inputs // width, 1, [start, *zeros], step)
        if inputs % width:
            carried = step(Index(inputs // width), carried, inputs % width)
        return carried[1:]

    def _ask_ahead(self, buffers: Mapping[str, Buffer], mask: Index, place: Index) -> None:
        """Prefetch what will be read AHEAD bytes after this step: hardware follows a stream only to the end of a page."""
        sizes = {name: element_bytes(buffers[name].dtype) for name in ("masks", "values")}
        if sum(sizes[name] * buffers[name].size for name in sizes) < FAR_BYTES:
            return
        each = sizes["values"] * buffers["values"].size / max(self.units * self.steps, 1)  # bytes of a step
        for line in range(math.ceil(each / LINE)):
            buffers["values"].prefetch(place + (AHEAD + line * LINE) // sizes["values"])
        buffers["masks"].prefetch(mask + AHEAD // sizes["masks"])

    def pack(self, bitmap: Bitmap) -> dict[str, NDArray[np.generic]]:
        """Groups of `height` rows step by step, so that a group is one stream of values; `starts` has where each begins."""
        groups, steps = -(-bitmap.rows // self.height), self.steps
        narrow = np.zeros((groups * self.height, steps * self.words.group), dtype=np.uint16)
        narrow[: bitmap.rows, : bitmap.masks.shape[1]] = bitmap.masks
        masks = narrow.view(f"uint{self.width}")
        counts = np.bitwise_count(masks).astype(np.int64).reshape(-1)
        turned = np.arange(counts.size).reshape(groups, self.height, steps).transpose(0, 2, 1).reshape(-1)
        first = np.cumsum(counts) - counts
        source = np.repeat(first[turned], counts[turned]) + ramps(counts[turned])
        starts = np.concatenate([[0], np.cumsum(counts.reshape(groups, self.height * steps).sum(axis=1))])
        values = np.concatenate([bitmap.values[source], np.zeros(self.width, dtype=np.float32)])
        return {
            "masks": np.append(masks.reshape(-1)[turned], masks.dtype.type(0)),
            "values": values.astype(np.int8) if self.words.exact else values,
            "starts": starts.astype(np.int32),
        }


def _sums_of_lanes(vectors: Sequence[ir.Value]) -> ir.Value:
    """The vector whose lane i is the sum of the lanes of vector i; it has a power of two of lanes."""
    vectors = [*vectors, *[vectors[-1]] * ((1 << (len(vectors) - 1).bit_length()) - len(vectors))]
    groups = 1  # in each vector: lanes that are added up
    while len(vectors) > 1:
        vectors = [_halved(vectors[i], vectors[i + 1], groups) for i in range(0, len(vectors), 2)]
        groups *= 2
    (total,) = vectors
    while ir.VectorType(total.type).shape[0] > groups:
        total = _halved(total, None, groups)
    return total


def _halved(left: ir.Value, right: ir.Value | None, groups: int) -> ir.Value:
    """The lower half of each group of lanes plus the upper one: the groups of `left`, then those of `right`."""
    lanes = ir.VectorType(left.type).shape[0]
    size = lanes // groups
    all_lanes = range(lanes if right is None else 2 * lanes)
    low = [lane for lane in all_lanes if lane % size < size // 2]
    other = left if right is None else right
    return add(shuffle(left, other, low), shuffle(left, other, [lane + size // 2 for lane in low]))
