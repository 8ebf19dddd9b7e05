"""Linear layers whose sparse rows, or rows of blocks, meet tiles of tokens: what CSR and block kernels share.

x is copied to tiles [words][vectors * lanes tokens] (transposed in registers); a unit computes some neighbouring
outputs of one tile into a small buffer on the stack, and transposes that back on its way to y.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, apart, define, epilogue_buffers, local, loop
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.linear_kernel import LinearKernel
from sparsec.kernels.problem import Problem
from sparsec.kernels.row_groups import RowGroups
from sparsec.kernels.row_tile import Held, RowTile
from sparsec.kernels.token_copy import emit_transpose
from sparsec.kernels.token_store import Y_TILES, TileStore, TokenStore
from sparsec.kernels.token_tile import Layout, TokenTiles

LINE = 16  # elements of a sum in a line of a cache


class Walker(Protocol):
    """Part of a weight, packed: it visits the nonzeros of a group of rows and adds to their sums."""

    @property
    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """The packed weight, by buffer name."""

    @property
    def spec(self) -> Mapping[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`: element types and sizes."""

    @property
    def tag(self) -> str:
        """What the generated code depends on besides the sizes in `spec`."""

    @property
    def adds(self) -> bool:
        """False if it sets the sums of all rows, which need no zeros then."""

    def emit(self, buffers: Mapping[str, Buffer], tile: RowTile) -> None:
        """Build the visits of a group; `buffers` has `arrays` under their names."""


class Prepared(Layout, Protocol):
    """x as walkers read it, where that is not tiles of words."""

    def emit(self, module: ir.Module, isa: Isa) -> Call:
        """Add the function that makes it of x."""


@dataclass(frozen=True, slots=True)
class LinearRows:
    """The schedule: tiles of tokens by groups of rows.

    `walkers` hold the weight, which is their sum; they work one after the other on a tile's sums of a group. Their
    offsets are `column * tokens.width` and their slots count from each group's first row. Only the first may set sums.
    y is stored as the layer `behind` reads it, if it is one that wants it so, else token-major.
    """

    kernel: str
    tokens: TokenTiles
    groups: RowGroups
    walkers: tuple[Walker, ...]
    products: int
    prepared: Prepared | None = None
    behind: Layout | None = None

    @property
    def layout(self) -> Layout:
        """How walkers read x."""
        return self.tokens if self.prepared is None else self.prepared

    @property
    def source(self) -> tuple[str, tuple[str, int]]:
        """The buffer that walkers read, with its type and size."""
        return self.layout.name, (self.layout.dtype, self.layout.elements)

    @property
    def pitch(self) -> int:
        """Elements between rows of sums: an odd number of lines, so that columns do not share a few sets of a cache."""
        lines = -(-self.tokens.width // LINE)
        return self.tokens.width if lines == 1 else (lines | 1) * LINE

    def target(self, epilogue: Epilogue) -> tuple[str, tuple[str, int]]:
        """The buffer that is written, with its type and size."""
        if self.behind is not None:
            return Y_TILES, (self.behind.dtype, self.behind.elements)
        return "y", (epilogue.result, self.tokens.problem.tokens * self.tokens.problem.outputs)

    def lower(self, module: ir.Module, epilogue: Epilogue, isa: Isa) -> LoweredLayer:
        """Add the kernel, and the copy of x that it needs."""
        tokens, problem = self.tokens, self.tokens.problem
        tails = epilogue_buffers(epilogue, problem.tokens * problem.outputs, problem.outputs)
        own = {own_name(i, name): array for i, each in enumerate(self.walkers) for name, array in each.arrays.items()}
        weights, target = {**own, **self.groups.arrays}, self.target(epilogue)
        arguments = (self.source[0], *weights, *tails, target[0])
        call = Call(self._define(module, epilogue, isa), arguments, tokens.tiles * self.groups.parts, self.products)
        if not tokens.copied:
            return LoweredLayer((call,), weights)
        copy = emit_transpose(module, tokens, isa) if self.prepared is None else self.prepared.emit(module, isa)
        scratch = dict([self.source])
        if self.behind is not None:
            scratch |= dict([target])
        return LoweredLayer((copy, call), weights, scratch)

    def _define(self, module: ir.Module, epilogue: Epilogue, isa: Isa) -> str:
        tokens, problem = self.tokens, self.tokens.problem
        tails = epilogue_buffers(epilogue, problem.tokens * problem.outputs, problem.outputs)
        target = self.target(epilogue)
        spec = {
            **dict([self.source]),
            **{own_name(i, name): kind for i, each in enumerate(self.walkers) for name, kind in each.spec.items()},
            **{name: ("i32", len(array)) for name, array in self.groups.arrays.items()},
            **tails,
            **dict([target]),
        }
        tags = [each.tag for each in self.walkers]
        shape = f"{problem}{tokens}{self.groups.height}{self.groups.most}{tags}{spec}{epilogue.tag}"
        digest = hashlib.sha256(shape.encode()).hexdigest()[:8]
        name = f"{self.kernel}_{self.groups.height}x{tokens.width}_{digest}_{isa.suffix}"

        def rows_of(buffers: Mapping[str, Buffer], group: Index) -> tuple[Index, Index]:
            """The first row of a group, and how many it has."""
            first, behind = (buffers["groups.bounds"].load_index(group + i) for i in (0, 1))
            return first, behind - first

        def store(buffers: Mapping[str, Buffer], tile: Index, group: Index) -> None:
            sums, block = buffers["sums"], TokenStore.block_for(tokens, isa)
            if self.behind is not None:
                stored = TileStore(tokens, self.behind, epilogue, buffers, sums, self.pitch)
                stored.emit(tile, *rows_of(buffers, group))
            else:
                TokenStore(tokens, block, epilogue, buffers, sums, self.pitch).emit(tile, *rows_of(buffers, group))

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            sums = local(epilogue.total, self.groups.most * self.pitch)
            stored = {key: buffer for key, buffer in buffers.items() if key in (target[0], "groups.bounds", *tails)}
            with loop(begin, end) as unit:
                tile, group = unit // self.groups.parts, buffers["groups.order"].load_index(unit % self.groups.parts)
                rows = rows_of(buffers, group)[1]
                tokens.split.each_length(tile, lambda count: self._multiply(buffers, sums, tile, group, rows, count))
                apart(module, f"{name}_store", {**stored, "sums": sums}, store, tile, group)

        define(module, name, spec, body)
        return name

    def _multiply(
        self, buffers: Mapping[str, Buffer], sums: Buffer, tile: Index, group: Index, rows: Index, count: int
    ) -> None:
        """Leave the sums of the `rows` of a group in memory, for a tile of `count` vectors."""
        tokens = self.tokens
        held = Held(sums, Vectors(tokens.lanes, sums.dtype), 1, count, self.pitch)
        name, (_, elements) = self.source
        base = tile * (elements // max(tokens.tiles, 1))
        if self.walkers[0].adds:
            held.clear(rows)
        for number, walker in enumerate(self.walkers):
            own = {name: buffers[own_name(number, name)] for name in walker.arrays}
            walker.emit(own, RowTile(held, buffers[name], base, group, tokens.words))


@dataclass(frozen=True, slots=True)
class RowsKernel(LinearKernel, ABC):
    """A kernel with this schedule."""

    @abstractmethod
    def schedule(self, problem: Problem, weight: Weight, isa: Isa) -> LinearRows:
        """The packed weight, and how it meets x."""

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert weight is not None
        return self.schedule(problem, weight, isa).lower(module, epilogue, isa)


def own_name(part: int, name: str) -> str:
    """The name among all buffers of a buffer of one of several parts of a weight."""
    return f"{name}.{part}" if part else name
