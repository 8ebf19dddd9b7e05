"""Sparse rows times a tile of vectors: how the rows are packed, and the loop that all CSR kernels share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sparsec.formats.csr import Csr
from sparsec.kernels.emit import Buffer, Index, Vectors, carry, fma, loop
from torch_mlir import ir
from torch_mlir.dialects import arith

CHAINS = 8  # multiply-adds in flight: latency 4 cycles, 2 per cycle
ROW_COST = 3  # an empty row costs as much as this many nonzeros


def unroll(vectors: int) -> int:
    """Nonzeros per step of the inner loop, each with accumulators of its own, so that a narrow tile has CHAINS chains."""
    return next(count for count in (1, 2, 4, 8) if count * vectors >= CHAINS - 1)


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Rows in falling order of their nonzeros (neighbours then have equal loops), cut into groups of about equal work.

    `values[i]` multiplies the vector at element `offsets[i]`. Visited row j is row `order[j]` of the matrix and has the nonzeros
    [pointers[j], pointers[j + 1]), a multiple of the unrolling; group g visits rows [bounds[g], bounds[g + 1]).
    """

    values: NDArray[np.float32]
    offsets: NDArray[np.int32]
    order: NDArray[np.int32]
    pointers: NDArray[np.int32]
    bounds: NDArray[np.int32]

    @classmethod
    def pack(cls, csr: Csr, offsets: NDArray[np.int64], *, multiple: int, groups: int) -> SparseRows:
        """Pack with the element offset of each nonzero, rows filled up to a `multiple`, in at most `groups` groups."""
        order = np.argsort(-csr.counts, kind="stable")
        values: list[float] = []
        places: list[int] = []
        pointers = [0]
        for row in order:
            begin, end = csr.pointers[row : row + 2]
            parts = _fill(list(zip(csr.values[begin:end], offsets[begin:end], strict=True)), multiple)
            values.extend(value for value, _ in parts)
            places.extend(place for _, place in parts)
            pointers.append(len(values))
        work = np.diff(pointers) + ROW_COST
        share = np.concatenate([[0], np.cumsum(work)]) / work.sum()
        bounds = np.searchsorted(share, np.arange(groups + 1) / groups)
        bounds[-1] = len(order)
        return cls(
            np.array(values or [0.0], dtype=np.float32),
            np.array(places or [0], dtype=np.int32),
            order.astype(np.int32),
            np.array(pointers, dtype=np.int32),
            np.unique(bounds).astype(np.int32),
        )

    @property
    def groups(self) -> int:
        return len(self.bounds) - 1

    @property
    def arrays(self) -> dict[str, NDArray[np.float32] | NDArray[np.int32]]:
        """The packed weight, by buffer name."""
        return {
            "values": self.values,
            "offsets": self.offsets,
            "order": self.order,
            "pointers": self.pointers,
            "bounds": self.bounds,
        }

    @property
    def spec(self) -> dict[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`."""
        return {name: ("f32" if name == "values" else "i32", len(array)) for name, array in self.arrays.items()}


def _fill(parts: list[tuple[np.float32, int]], multiple: int) -> list[tuple[np.float32, int]]:
    """Lengthen a row to a multiple by splitting its largest values in two.

    A filler of zero would be simpler, but zero times infinity is NaN: a row must only see its own nonzeros, with weights that are not
    zero. Halves are exact.
    """
    while len(parts) % multiple:
        place = max(range(len(parts)), key=lambda i: abs(parts[i][0]))
        value, offset = parts[place]
        half = np.float32(value / 2)
        parts[place] = (half, offset)
        parts.insert(place + 1, (np.float32(value - half) if np.isfinite(value) else value, offset))
    return parts


def emit_rows(
    buffers: Mapping[str, Buffer],
    vectors: Vectors,
    steps: Sequence[int],
    *,
    source: Buffer,
    base: Index,
    group: Index,
    store: Callable[[Index, list[ir.Value]], None],
) -> None:
    """Rows of a group: `store(row, sums)` gets, for each step, the sum of values[i] * source[base + offsets[i] + step ...]."""
    count, apart = len(steps), unroll(len(steps))

    def nonzeros(at: Index, sums: list[ir.Value]) -> list[ir.Value]:
        for part in range(apart):
            weight = vectors.load_splat(buffers["values"], at + part)
            here = base + buffers["offsets"].load_index(at + part)
            for number, step in enumerate(steps):
                chain = part * count + number
                sums[chain] = fma(weight, vectors.load(source, here + step), sums[chain])
        return sums

    with loop(buffers["bounds"].load_index(group), buffers["bounds"].load_index(group + 1)) as visited:
        begin, end = (buffers["pointers"].load_index(visited + i) for i in (0, 1))
        sums = carry(begin, end, apart, [vectors.splat(0.0)] * (count * apart), nonzeros)
        store(buffers["order"].load_index(visited), [_tree(sums[number::count]) for number in range(count)])


def _tree(values: list[ir.Value]) -> ir.Value:
    while len(values) > 1:
        values = [arith.addf(left, right) for left, right in zip(values[::2], values[1::2], strict=True)]
    return values[0]
