"""Convolution with a weight in parts: bundles of four and of two filters, which share the loads of x, and single nonzeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.formats.blocked import Blocked
from sparsec.formats.csr import Csr
from sparsec.formats.matching import Sharing
from sparsec.formats.split import FOURS, PAIRS, Split
from sparsec.kernels.arithmetic import F32
from sparsec.kernels.conv_columns import ConvColumns, Divide
from sparsec.kernels.conv_csr import ConvCsr
from sparsec.kernels.counted_rows import Runs
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.isa import Isa
from sparsec.kernels.kernel import LoweredLayer, Weight
from sparsec.kernels.problem import ConvProblem, Problem
from sparsec.kernels.schedule import most_vectors

FEWEST = 16  # columns that a bundle shares in a block that fits L1; for less, a visit costs more than it saves
SHARINGS = tuple(replace(each, fewest=FEWEST) for each in (FOURS, PAIRS))


@dataclass(frozen=True, slots=True)
class ConvSplit:
    """Any rank, stride, dilation, padding and grouping; columns are gathered, and what has no bundles is CSR."""

    name: str = "f32_conv_split"
    format: str = "split"

    def refuses(self, problem: Problem, isa: Isa) -> str | None:
        return ConvCsr(F32).refuses(problem, isa)

    def lower(
        self, module: ir.Module, problem: Problem, weight: Weight | None, epilogue: Epilogue, isa: Isa
    ) -> LoweredLayer:
        assert isinstance(problem, ConvProblem)
        assert weight is not None
        csr, rows = Csr.encode(weight), Blocked.encode(weight, (1, 1))
        for number, sharing in enumerate(SHARINGS):
            most = most_vectors(sharing.height, isa)
            parts = _divided(csr, SHARINGS[number:])
            schedule = ConvColumns.of(self.name, problem, rows, isa, most=most, divide=parts)
            if schedule is not None and any(part.height == sharing.height for part in schedule.beside):
                return schedule.lower(module, epilogue, isa, products=csr.nnz * problem.batch * problem.pixels)
        return ConvCsr(F32).lower(module, problem, weight, epilogue, isa)


def _divided(csr: Csr, sharings: Sequence[Sharing]) -> Divide:
    """Cuts the weight into single rows and bundles, as far as there are any."""

    def divide(bounds: NDArray[np.int64], columns: int) -> Sequence[Runs]:
        split = Split.encode(csr, groups=bounds, sharings=[replace(each, span=columns) for each in sharings])
        return split.rest, *(part for part in split.bundles if len(part.members))

    return divide
