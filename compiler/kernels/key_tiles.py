"""k of attention as the first product reads it: words of channels of a tile of keys, times the scale.

These are sums of a linear layer as its kernel has them, so that one which works in the same tiles leaves its result so, and
nothing is turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from sparsec.kernels.emit import Buffer, Vectors
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.index import Index, as_index
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call
from sparsec.kernels.problem import AttentionProblem, Lines
from sparsec.kernels.split import Split
from sparsec.kernels.token_tile import TokenTiles
from sparsec.kernels.transpose import Turned
from sparsec.kernels.words import Words

KEYS = "key tiles"  # the buffer
_MOST = 4  # vectors of a tile, as those of linear layers of bytes have


@dataclass(frozen=True, slots=True)
class KeyTiles:
    """k as [batch][tiles][heads * words of a head][vectors * lanes], the last tile filled up with anything."""

    problem: AttentionProblem
    lanes: int
    words: Words

    @property
    def name(self) -> str:
        return KEYS

    @property
    def dtype(self) -> str:
        return self.words.dtype

    @property
    def abreast(self) -> int:
        return self.words.group

    @property
    def bands(self) -> int:
        """Vectors of keys."""
        return -(-self.problem.keys // self.lanes)

    @property
    def vectors(self) -> int:
        """Vectors of a tile."""
        return Split.by(self.bands, _MOST).most

    @property
    def tiles(self) -> int:
        return -(-self.bands // self.vectors)

    @property
    def width(self) -> int:
        """Words between neighbouring rows of a tile."""
        return self.vectors * self.lanes

    @property
    def depth(self) -> int:
        """Words of a head."""
        return self.words.count(self.problem.size)

    @property
    def elements(self) -> int:
        return self.problem.batch * self.tiles * self.problem.heads * self.depth * self.width

    def place(self, head: Index, band: Index, word: Index | int = 0) -> Index:
        """Where a vector of keys of a word of a head (of all of the batch) begins."""
        image, inside = (
            (Index(0), head)
            if self.problem.batch == 1
            else (
                head // self.problem.heads,
                head % self.problem.heads,
            )
        )
        tile = image * self.tiles + band // self.vectors
        row = (tile * self.problem.heads + inside) * self.depth + as_index(word)
        return row * self.width + band % self.vectors * self.lanes

    def functions(self, isa: Isa) -> tuple[str, ...]:
        """The function that turns k round."""
        problem, lines = self.problem, self.problem.lines("k")
        shape = f"{problem.batch}x{problem.heads}x{problem.keys}x{problem.size}_{lines.line}-{lines.matrix}"
        scale = f"{np.float32(problem.scale).view(np.uint32):x}"
        return (f"{problem.arithmetic.name}_key_tiles_{shape}_{scale}_{isa.suffix}",)

    def follows(self, before: TokenTiles) -> bool:
        """Whether the sums of the tiles `before` are those of these keys: of one sequence, whose heads lie side by side."""
        problem = self.problem
        channels = problem.heads * problem.size
        side_by_side = problem.batch == 1 and problem.lines("k") == Lines(channels, problem.size)
        alike = before.lanes == self.lanes and before.vectors == self.vectors and not before.split.longer
        whole = before.problem.tokens == problem.keys and problem.keys % self.lanes == 0
        full = problem.size % self.words.group == 0
        return side_by_side and alike and whole and full and before.problem.outputs == channels

    def refuses(self, epilogue: Epilogue) -> str | None:
        """Why no layer may leave these tiles; None if one may."""
        return None if epilogue.result == self.words.arithmetic.stored else "y is not fp32"

    def put(self, values: Sequence[Sequence[ir.Value]], target: Buffer, tile: Index, column: Index) -> None:
        """Store the vectors of the channels of a word of a tile."""
        along, word = Vectors(self.lanes, self.dtype), column // self.words.group
        first = (tile * (self.problem.heads * self.depth) + word) * self.width
        for number, parts in enumerate(zip(*values, strict=True)):
            joined = self.words.join([self._scaled(each) for each in parts])
            along.store(joined, target, first + number * self.lanes)

    def emit(self, module: ir.Module, isa: Isa) -> Call:
        """Add the function that makes them of k."""
        problem, along = self.problem, Vectors(self.lanes, self.dtype)
        turned = Turned(
            *(problem.matrices, problem.keys, problem.size, problem.lines("k")),
            *("k", KEYS, self.elements),
            padded=True,
            words=self.words,
            scale=problem.scale,
        )

        def put(target: Buffer, head: Index, key: Index, word: Index, line: ir.Value, mask: ir.Value | None) -> None:
            assert mask is None
            along.store(line, target, self.place(head, key // self.lanes, word))

        return turned.emit(module, self.functions(isa)[0], isa, put)

    def _scaled(self, value: ir.Value) -> ir.Value:
        if self.problem.scale == 1.0:
            return value
        return arith.mulf(value, Vectors(self.lanes).splat(self.problem.scale))
