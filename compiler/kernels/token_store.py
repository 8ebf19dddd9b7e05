"""Sums of a tile of tokens on their way out: transposed to rows of y, or as they lie to where the layer behind reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch_mlir import ir

from sparsec.kernels.emit import Buffer, Vectors, finish_abreast, loop
from sparsec.kernels.epilogue import Epilogue, Reach
from sparsec.kernels.index import Index, minimum
from sparsec.kernels.isa import Isa
from sparsec.kernels.token_columns import QUAD, columns, loaded
from sparsec.kernels.token_tile import Layout, TokenTiles

Y_TILES = "y.tiles"  # the buffer of a layer that leaves y as tiles


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Stores sums of a tile, held in `sums` with rows `pitch` elements apart, to the token-major "y", `block` outputs at a time.

    A few tokens get all their outputs before the next: rows of y that are a multiple of a page apart share one set of
    the level-1 cache.
    """

    tokens: TokenTiles
    block: int
    epilogue: Epilogue
    buffers: Mapping[str, Buffer]
    sums: Buffer
    pitch: int

    @staticmethod
    def block_for(tokens: TokenTiles, isa: Isa) -> int:
        """Outputs that are stored together."""
        most = isa.lanes_for(tokens.problem.outputs)
        return most if tokens.lanes == 1 else min(most, tokens.lanes)

    def emit(self, tile: Index, output: Index, rows: Index) -> None:
        """Store the first `rows` >= block rows of the sums as the outputs from `output` on."""
        tokens, block, last = self.tokens, self.block, rows - self.block
        narrow = loaded(block) if tokens.lanes == block else 1
        with loop(0, tokens.split.length(tile)) as vector, loop(0, tokens.lanes, narrow) as lane:
            token = tokens.first(tile, vector) + lane
            with loop(0, (rows + (block - 1)) // block) as part:
                row = minimum(part * block, last)
                origin = row * self.pitch + vector * tokens.lanes + lane
                self._columns(origin, token, output + row, narrow)

    def _columns(self, origin: Index, token: Index, output: Index, count: int) -> None:
        """Store `count` tokens from `token` by `block` outputs from `output`; their sums begin at `origin`."""
        pitch, outputs, along = self.pitch, self.tokens.problem.outputs, Vectors(self.block, self.sums.dtype)
        at = token * outputs + output
        if self.tokens.width == 1:
            self._put([along.load(self.sums, origin)], along, [at], output)
        elif self.tokens.lanes == self.block:
            narrow = Vectors(count, self.sums.dtype)
            lines = [narrow.load(self.sums, origin + row * pitch) for row in range(self.block)]
            values, places = columns(lines, count), [at + number * outputs for number in range(count)]
            for first in range(0, count, QUAD):  # a tail may need many registers
                self._put(values[first : first + QUAD], along, places[first : first + QUAD], output)
        else:
            one = Vectors(1, self.sums.dtype)
            with loop(0, self.block) as row:
                self._put([one.load(self.sums, origin + row * pitch)], one, [at + row], output + row)

    def _put(self, values: Sequence[ir.Value], width: Vectors, elements: Sequence[Index], channel: Index) -> None:
        """Store vectors of sums of the same channels at the `elements`."""
        tails = finish_abreast(
            width,
            self.epilogue,
            self.buffers,
            values,
            elements=elements,
            channels=[channel] * len(values),
            along_channels=True,
        )
        for tail, element in zip(tails, elements, strict=True):
            width.store(tail, self.buffers["y"], element)


@dataclass(frozen=True, slots=True)
class TileStore:
    """Stores sums as `TokenStore` does, but to "y.tiles", as the layer behind reads them: nothing is turned."""

    tokens: TokenTiles
    behind: Layout
    epilogue: Epilogue
    buffers: Mapping[str, Buffer]
    sums: Buffer
    pitch: int

    @staticmethod
    def refuses(behind: Layout, epilogue: Epilogue) -> str | None:
        """None if it can, else the reason in words."""
        if any(operand.reach == Reach.FULL for operand in epilogue.operands):
            return "an operand of the epilogue is as large as y, and not in tiles"
        return behind.refuses(epilogue)

    def emit(self, tile: Index, output: Index, rows: Index) -> None:
        """Store the first `rows` rows of the sums as the outputs from `output` on."""
        lanes, along, abreast = self.tokens.lanes, Vectors(self.tokens.lanes, self.sums.dtype), self.behind.abreast

        def store(count: int) -> None:
            with loop(0, rows, abreast) as row:
                own = [(row + number, vector * lanes) for number in range(abreast) for vector in range(count)]
                totals = [along.load(self.sums, each * self.pitch + place) for each, place in own]
                places = [Index(0)] * len(own)  # of operands that there are not
                channels = [output + each for each, _ in own]
                tails = finish_abreast(along, self.epilogue, self.buffers, totals, elements=places, channels=channels)
                columns = [tails[first : first + count] for first in range(0, len(own), count)]
                self.behind.put(columns, self.buffers[Y_TILES], tile, output + row)

        self.tokens.split.each_length(tile, store)
