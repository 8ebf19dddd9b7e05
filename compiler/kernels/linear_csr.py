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

TILE_TOKENS = 64  # wider tiles mean fewer columns in a block, and so shorter visits
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
        tokens = TokenTiles.of(problem, isa, most=tile_vectors(isa))
        groups = split_outputs(problem.outputs, 1, blocks=1)
        columns = max(1, BLOCK_BYTES // (4 * tokens.width))
        packed = CountedRows.pack(csr, groups.starts, columns=columns, width=tokens.width)
        schedule = LinearRows(self.name, tokens, 1, groups, (packed,))
        return schedule.lower(module, epilogue, isa, products=csr.nnz * problem.tokens)


def tile_vectors(isa: Isa) -> int:
    """Vectors of the widest tile."""
    return max(1, TILE_TOKENS // isa.lanes())
