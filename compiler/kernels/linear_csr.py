"""Linear layer with an unstructured sparse weight: tokens along the vectors, a broadcast and a few FMAs per nonzero.

x is copied to tiles [inputs][vectors * lanes tokens] (transposed in registers); a unit computes a block of neighbouring
outputs of one tile into a small buffer on the stack, and transposes that back on its way to y.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch_mlir import ir

from sparsec.formats.csr import Csr
from sparsec.kernels.conv_layout import lanes_for
from sparsec.kernels.emit import Buffer, Index, Vectors, define, epilogue_buffers, finish, local, loop, minimum, shuffle
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import Call, LoweredLayer, Weight
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.spmm import Held, SparseRows, Visits, emit_rows, unroll

TILE_BYTES = 512 << 10  # a tile of x should stay in half of L2
MOST_VECTORS = 4
BLOCK_ROWS = 64
BLOCK_BYTES = 32 << 10


@dataclass(frozen=True, slots=True)
class LinearCsr:
    """Any number of tokens, inputs and outputs."""

    name: str = "f32_linear_csr"
    format: str = "csr"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        return None if isinstance(problem, LinearProblem) else "only linear layers"

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, LinearProblem)
        assert weight is not None
        csr, tokens = Csr.encode(weight), TokenTiles.of(problem, isa)
        block = (
            lanes_for(problem.outputs, isa) if tokens.lanes == 1 else min(lanes_for(problem.outputs, isa), tokens.lanes)
        )
        offsets = csr.columns.astype("int64") * tokens.width
        height = block * max(1, min(BLOCK_ROWS // block, problem.outputs // block))
        starts = np.minimum(np.arange(0, problem.outputs, height), problem.outputs - height)
        slots = np.arange(height)
        columns = max(1, BLOCK_BYTES // (4 * tokens.width))
        visits = Visits.of(
            csr,
            [slots + start for start in starts],
            [slots] * len(starts),
            columns=columns if columns < problem.inputs else None,
        )
        rows = SparseRows.pack(csr, offsets, visits, multiple=unroll(tokens.vectors))
        function = _define(module, problem, tokens, block, height, rows, epilogue, isa)
        tails = epilogue_buffers(epilogue, problem.tokens * problem.outputs, problem.outputs)
        products = csr.nnz * problem.tokens
        call = Call(function, (tokens.source, *rows.spec, *tails, "y"), tokens.tiles * rows.groups, products)
        if not tokens.copied:
            return LoweredLayer((call,), rows.arrays)
        return LoweredLayer(
            (emit_transpose(module, problem, tokens, isa), call), rows.arrays, {"tiles": tokens.elements}
        )


@dataclass(frozen=True, slots=True)
class TokenTiles:
    """x as [tiles][inputs][vectors][lanes]: vector number j of all begins at token min(j * lanes, tokens - lanes)."""

    problem: LinearProblem
    lanes: int
    vectors: int
    tiles: int

    @classmethod
    def of(cls, problem: LinearProblem, isa: Isa) -> TokenTiles:
        lanes = lanes_for(problem.tokens, isa)
        total = -(-problem.tokens // lanes)
        most = max(2, min(MOST_VECTORS, TILE_BYTES // (4 * lanes * problem.inputs)))
        tiles = -(-total // most)
        return cls(problem, lanes, -(-total // tiles), tiles)

    @property
    def width(self) -> int:
        """Tokens of a tile."""
        return self.lanes * self.vectors

    @property
    def copied(self) -> bool:
        """False for a single token, whose x is its own transpose."""
        return self.problem.tokens > 1

    @property
    def source(self) -> str:
        return "tiles" if self.copied else "x"

    @property
    def elements(self) -> int:
        """Size of the buffer `source`."""
        return self.tiles * self.problem.inputs * self.width

    def first(self, tile: Index, vector: int | Index) -> Index:
        """The first token of a vector of a tile."""
        return minimum((tile * self.vectors + vector) * self.lanes, self.problem.tokens - self.lanes)


def emit_transpose(module: ir.Module, problem: LinearProblem, tokens: TokenTiles, isa: Isa) -> Call:
    """Add the function that copies x to "tiles"; one unit is `lanes` tokens by as many inputs."""
    name = f"f32_tile_tokens_{problem.tokens}x{problem.inputs}_{tokens.vectors}x{tokens.lanes}_{isa.suffix}"
    spec = {"x": ("f32", problem.tokens * problem.inputs), "tiles": ("f32", tokens.elements)}
    side = tokens.lanes if problem.inputs >= tokens.lanes else 1
    parts = -(-problem.inputs // side)

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        with loop(begin, end) as unit:
            number, column = unit // parts, minimum(unit % parts * side, problem.inputs - side)
            tile, vector = number // tokens.vectors, number % tokens.vectors
            source = tokens.first(tile, vector) * problem.inputs + column
            target = (tile * problem.inputs + column) * tokens.width + vector * tokens.lanes
            vectors = Vectors(side)
            if side == tokens.lanes:
                rows = [vectors.load(buffers["x"], source + row * problem.inputs) for row in range(side)]
                for row, value in enumerate(transpose(rows)):
                    vectors.store(value, buffers["tiles"], target + row * tokens.width)
            else:
                with loop(0, tokens.lanes) as token:
                    value = vectors.load(buffers["x"], source + token * problem.inputs)
                    vectors.store(value, buffers["tiles"], target + token)

    define(module, name, spec, body)
    return Call(name, ("x", "tiles"), tokens.tiles * tokens.vectors * parts, products=tokens.elements)


def transpose(rows: Sequence[ir.Value]) -> list[ir.Value]:
    """The columns of a square of as many vectors as lanes: log2(lanes) rounds that swap ever larger corners."""
    rows, side, step = list(rows), len(rows), 1
    while step < side:
        low = [lane if not lane & step else side + lane - step for lane in range(side)]
        high = [lane + step if not lane & step else side + lane for lane in range(side)]
        for row in range(side):
            if not row & step:
                pair = rows[row], rows[row + step]
                rows[row], rows[row + step] = shuffle(*pair, low), shuffle(*pair, high)
        step *= 2
    return rows


def _define(
    module: ir.Module,
    problem: LinearProblem,
    tokens: TokenTiles,
    block: int,
    height: int,
    rows: SparseRows,
    epilogue: Epilogue,
    isa: Isa,
) -> str:
    """Add the kernel; one unit is one tile of tokens by one block of outputs."""
    spec = {
        tokens.source: ("f32", tokens.elements),
        **rows.spec,
        **epilogue_buffers(epilogue, problem.tokens * problem.outputs, problem.outputs),
        "y": ("f32", problem.tokens * problem.outputs),
    }
    digest = hashlib.sha256(f"{problem}{spec}{epilogue.tag}".encode()).hexdigest()[:8]
    name = f"f32_linear_csr_{tokens.vectors}x{tokens.lanes}_{digest}_{isa.suffix}"
    vectors = Vectors(tokens.lanes)

    def body(buffers: Mapping[str, Buffer], begin: Index, end: Index) -> None:
        held = Held(local("f32", height * tokens.width), vectors, tokens.vectors)
        with loop(begin, end) as unit:
            tile, group = unit // rows.groups, unit % rows.groups
            held.clear(height)
            emit_rows(
                buffers,
                vectors,
                [number * tokens.lanes for number in range(tokens.vectors)],
                source=buffers[tokens.source],
                base=tile * (problem.inputs * tokens.width),
                group=group,
                start=held.load,
                store=held.save,
            )
            first = minimum(group * height, problem.outputs - height)
            with loop(0, height // block) as part, loop(0, tokens.vectors) as vector:
                at = part * (block * tokens.width)
                _emit_output(
                    problem,
                    tokens,
                    block,
                    epilogue,
                    buffers,
                    held.memory,
                    at,
                    vector,
                    tokens.first(tile, vector),
                    first + part * block,
                )

    define(module, name, spec, body)
    return name


def _emit_output(
    problem: LinearProblem,
    tokens: TokenTiles,
    block: int,
    epilogue: Epilogue,
    buffers: Mapping[str, Buffer],
    sums: Buffer,
    origin: Index,
    vector: Index,
    token: Index,
    output: Index,
) -> None:
    """Store `lanes` tokens from `token` by `block` outputs from `output` to y."""
    along, at = Vectors(block), token * problem.outputs + output

    def store(value: ir.Value, width: Vectors, element: Index, channel: Index) -> None:
        tail = finish(width, epilogue, buffers, value, element=element, channel=channel, along_channels=True)
        width.store(tail, buffers["y"], element)

    if tokens.lanes == 1:
        store(along.load(sums, origin), along, at, output)
    elif tokens.lanes == block:
        columns = [along.load(sums, origin + vector * block + row * tokens.width) for row in range(block)]
        for number, value in enumerate(transpose(columns)):
            store(value, along, at + number * problem.outputs, output)
    else:
        one = Vectors(1)
        with loop(0, tokens.lanes) as lane, loop(0, block) as row:
            value = one.load(sums, origin + row * tokens.width + vector * tokens.lanes + lane)
            store(value, one, at + lane * problem.outputs + row, output + row)
