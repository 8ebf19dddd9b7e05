"""Times of the kernels that can compute one layer, in turns, by the tuner."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.cost.layer_key import LayerKey
from sparsec.formats.facts import Facts
from sparsec.kernels.epilogue import identity
from sparsec.kernels.kernel import Weight
from sparsec.kernels.problem import Problem
from sparsec.report import Candidate
from sparsec.targets.isa import isa_of
from sparsec.targets.target import Target
from sparsec.tune.local import LocalMeasurer
from sparsec.tune.measurer import Measurement
from sparsec.tune.task import Task


def time_kernels(
    problem: Problem, facts: Facts, weight: Weight, able: Sequence[Candidate], target: Target, seconds: float
) -> list[Measurement]:
    """One measurement for each candidate; one that fails, or whose sums are wrong, has a fault and no time."""
    epilogue = identity(problem.arithmetic.total)
    key = LayerKey.of(problem, epilogue.tag, isa_of(target), facts, weight)
    task = Task(("layer",), key, problem, epilogue, facts, weight, tuple(able))
    return LocalMeasurer(target).measure(task, [each.kernel for each in able], seconds)
