"""Sparse rows times a tile of vectors: the loop that all CSR kernels share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, loop
from sparsec.kernels.index import Index
from sparsec.kernels.row_tile import RowTile
from sparsec.kernels.schedule import AHEAD
from sparsec.kernels.short_sums import add_products
from sparsec.kernels.sparse_rows import SparseRows
from sparsec.kernels.words import FP32, Words


def emit_rows(
    buffers: Mapping[str, Buffer],
    vectors: Vectors,
    steps: Sequence[int],
    *,
    height: int,
    apart: int,
    source: Buffer,
    base: Index,
    group: Index,
    start: Callable[[Index], list[ir.Value]],
    store: Callable[[Index, list[ir.Value]], None],
    words: Words = FP32,
) -> None:
    """The visits of a group: `store(slot, sums)` gets the vectors `start(slot)` plus what the nonzeros or blocks add.

    One adds, for each of its `height` rows and each step, value * source[base + offset + step ...]. Sums are
    [height * steps] and of the type of `vectors`; `apart` nonzeros are added to sums of their own.
    """
    count, read = len(steps), Vectors(vectors.lanes, words.dtype)

    def nonzeros(at: Index, known: list[ir.Value], sums: list[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
        buffers["values"].prefetch(at * height + AHEAD)
        buffers["offsets"].prefetch(at + AHEAD)
        for part in range(apart):
            here = base + buffers["offsets"].load_index(at + part)
            across = [read.load(source, here + step) for step in steps]
            weights = words.splats(buffers["values"], (at + part) * height, height, read.lanes)
            for row, weight in enumerate(weights):
                for number, operand in enumerate(across):
                    chain = (part * height + row) * count + number
                    sums[chain] = words.multiply_add(operand, weight, sums[chain])
        return known, sums

    with loop(buffers["bounds"].load_index(group), buffers["bounds"].load_index(group + 1)) as visited:
        begin, end = (buffers["pointers"].load_index(visited + i) for i in (0, 1))
        slot = buffers["order"].load_index(visited)
        span = (begin, end)
        _, sums = add_products(words, start(slot), span, nonzeros, step=apart, products=apart, apart=apart)
        store(slot, sums)


@dataclass(frozen=True, slots=True)
class BlockRows:
    """Rows of blocks of `height` rows that a linear layer walks, once for each of `parts` blocks of columns."""

    rows: SparseRows
    height: int
    parts: int

    @property
    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """The packed weight, by buffer name."""
        return self.rows.arrays

    @property
    def spec(self) -> dict[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`."""
        return self.rows.spec

    @property
    def tag(self) -> str:
        """What the generated code depends on besides the sizes in `spec`."""
        return f"blocks {self.height} {self.parts} {self.rows.multiple}"

    @property
    def adds(self) -> bool:
        """False if each row is visited once, with a sum that begins at zero."""
        return self.parts > 1

    def emit(self, buffers: Mapping[str, Buffer], tile: RowTile) -> None:
        """Leave the sums of a group's blocks, or add them, in the sums of a tile."""
        held = replace(tile.held, height=self.height)
        zeros = [held.vectors.splat(0.0)] * (self.height * held.count)
        emit_rows(
            buffers,
            held.vectors,
            [number * held.vectors.lanes for number in range(held.count)],
            height=self.height,
            apart=self.rows.multiple,
            source=tile.source,
            base=tile.base,
            group=tile.group,
            start=held.load if self.adds else lambda _: zeros,
            store=held.save,
            words=tile.words,
        )
