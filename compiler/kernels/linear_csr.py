"""Linear layer with an unstructured sparse weight: tokens along the vectors, a broadcast and a few FMAs per nonzero."""

from __future__ import annotations

from dataclasses import dataclass

from torch_mlir import ir

from sparsec.formats.csr import Csr
from sparsec.kernels.counted_rows import CountedRows
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.linear_rows import LinearRows, split_outputs
from sparsec.kernels.problem import LinearProblem, Problem
from sparsec.kernels.token_tile import TokenTiles

TILE_BYTES = 512 << 10  # a tile of x should stay in half of L2
MOST_VECTORS = 4
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
        csr = Csr.encode(weight)
        tokens = TokenTiles.of(problem, isa, most=_most_vectors(problem, isa))
        groups = split_outputs(problem.outputs, 1, blocks=1)
        columns = max(1, BLOCK_BYTES // (4 * tokens.width))
        packed = CountedRows.pack(csr, groups.starts, columns=columns, width=tokens.width)
        schedule = LinearRows(self.name, tokens, 1, groups, packed.blocks, packed)
        return schedule.lower(module, epilogue, isa, products=csr.nnz * problem.tokens)


def _most_vectors(problem: LinearProblem, isa: Isa) -> int:
    lanes = isa.lanes()
    return max(2, min(MOST_VECTORS, TILE_BYTES // (4 * lanes * problem.inputs)))
