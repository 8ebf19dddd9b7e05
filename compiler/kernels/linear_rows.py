"""Linear layers whose sparse rows, or rows of blocks, meet tiles of tokens: what CSR and block kernels share.

x is copied to tiles [inputs][vectors * lanes tokens] (transposed in registers); a unit computes some neighbouring
outputs of one tile into a small buffer on the stack, and transposes that back on its way to y.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.counted_rows import CountedRows
from sparsec.kernels.emit import Buffer, Index, Split, Vectors, define, epilogue_buffers, local, loop, minimum
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer
from sparsec.kernels.spmm import Held, SparseRows, emit_rows
from sparsec.kernels.token_tile import TokenStore, TokenTiles, emit_transpose

GROUP_ROWS = 64
PAGE = 4096  # bytes; tokens of y so far apart share one set of the level-1 cache


def split_outputs(outputs: int, height: int, *, blocks: int) -> Split:
    """Groups of rows that are computed together, none much smaller than another, so that each fills a vector.

    They are larger if the columns are visited in several `blocks`, or for long contiguous pieces of y where these lie
    badly.
    """
    most = 4 * GROUP_ROWS if blocks > 1 or outputs * 4 % PAGE == 0 else GROUP_ROWS
    return Split.by(-(-outputs // height), max(most, 48) // height)


@dataclass(frozen=True, slots=True)
class LinearRows:
    """The schedule: tiles of tokens by groups of rows, each of `height` outputs (1 for CSR).

    `rows` packs them with offsets `column * tokens.width` and slots that count from each group's first row; they are
    visited once per block of columns, of which there are `blocks`.
    """

    kernel: str
    tokens: TokenTiles
    height: int
    groups: Split
    blocks: int
    rows: SparseRows | CountedRows

    def lower(self, module: ir.Module, epilogue: Epilogue, isa: Isa, *, products: int) -> LoweredLayer:
        """Add the kernel, and the copy of x that it needs."""
        tokens, problem = self.tokens, self.tokens.problem
        tails = epilogue_buffers(epilogue, problem.tokens * problem.outputs, problem.outputs)
        arguments = (tokens.source, *self.rows.spec, *tails, "y")
        call = Call(self._define(module, epilogue, isa), arguments, tokens.tiles * self.groups.parts, products)
        if not tokens.copied:
            return LoweredLayer((call,), self.rows.arrays)
        copy = emit_transpose(module, problem, tokens, isa)
        return LoweredLayer((copy, call), self.rows.arrays, {"tiles": tokens.elements})

    def _define(self, module: ir.Module, epilogue: Epilogue, isa: Isa) -> str:
        tokens, problem = self.tokens, self.tokens.problem
        spec = {
            tokens.source: ("f32", tokens.elements),
            **self.rows.spec,
            **epilogue_buffers(epilogue, problem.tokens * problem.outputs, problem.outputs),
            "y": ("f32", problem.tokens * problem.outputs),
        }
        shape = f"{problem}{tokens}{self.height}{self.groups}{self.blocks}{spec}{epilogue.tag}"
        digest = hashlib.sha256(shape.encode()).hexdigest()[:8]
        name = f"{self.kernel}_{self.height}x{tokens.width}_{digest}_{isa.suffix}"

        def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
            sums = local("f32", self.groups.most * self.height * tokens.width)
            store = TokenStore(tokens, TokenStore.block_for(tokens, isa), epilogue, buffers, sums)
            with loop(begin, end) as unit:
                tile, group = unit // self.groups.parts, unit % self.groups.parts
                tokens.split.each_length(tile, lambda count: self._multiply(buffers, sums, tile, group, count))
                first = self.groups.start(group) * self.height
                behind = minimum(first + self.groups.length(group) * self.height, problem.outputs)
                store.emit(tile, first, behind - first)

        define(module, name, spec, body)
        return name

    def _multiply(self, buffers: Mapping[str, Buffer], sums: Buffer, tile: Index, group: Index, count: int) -> None:
        """Leave the sums of a group in memory, for a tile of `count` vectors."""
        tokens, vectors = self.tokens, Vectors(self.tokens.lanes)
        held = Held(sums, vectors, self.height, count, tokens.width)
        steps = [number * tokens.lanes for number in range(count)]
        source, base = buffers[tokens.source], tile * (tokens.problem.inputs * tokens.width)
        if isinstance(self.rows, CountedRows):
            held.clear(self.groups.length(group))
            self.rows.emit(buffers, held, steps, source=source, base=base, width=tokens.width, group=group)
            return
        if self.blocks > 1:
            held.clear(self.groups.length(group))
        emit_rows(
            buffers,
            vectors,
            steps,
            height=self.height,
            apart=self.rows.multiple,
            source=source,
            base=base,
            group=group,
            start=held.load if self.blocks > 1 else lambda _: [vectors.splat(0.0)] * (self.height * count),
            store=held.save,
        )
