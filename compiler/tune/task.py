"""What there is to tune in a model: its distinct layers, each with the candidates that are worth measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.cost.layer_key import LayerKey
from sparsec.formats.facts import Facts
from sparsec.ir.weights import WEIGHT_OP, weight_name
from sparsec.kernels.epilogue import Epilogue
from sparsec.kernels.kernel import Weight
from sparsec.kernels.problem import Problem
from sparsec.passes.layer import Layer
from sparsec.passes.select_format import candidates, describe, facts_of_layer, named_layers
from sparsec.passes.unit import Unit
from sparsec.report import Candidate

WORTH_MEASURING = 2.5  # times the best predicted time: what is predicted to be slower is not measured
MOST_CANDIDATES = 6


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One distinct layer: `names` are the layers that it stands for, `candidates` are by predicted time, best first.

    `constants` are those operands of its epilogue that are weights, by the names of their buffers.
    """

    names: tuple[str, ...]
    key: LayerKey
    problem: Problem
    epilogue: Epilogue
    facts: Facts | None
    weight: Weight | None = field(repr=False)
    candidates: tuple[Candidate, ...]
    constants: Mapping[str, NDArray[np.generic]] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> str:
        """The problem in one line."""
        return describe(self.problem)

    @property
    def default(self) -> str:
        """The kernel that the cost model would take."""
        return self.candidates[0].kernel

    @property
    def share(self) -> float:
        """Predicted nanoseconds of all layers that it stands for."""
        return len(self.names) * (self.candidates[0].predicted_ns or 0.0)


def tasks_of(unit: Unit) -> list[Task]:
    """The distinct layers of a module that stands before `select_format`, those first where most time is spent.

    Layers with a single candidate are not among them.
    """
    found: dict[LayerKey, Task] = {}
    with unit.module.context, ir.Location.unknown():
        for name, layer in named_layers(unit):
            problem, facts, epilogue = layer.problem(), facts_of_layer(layer, unit), layer.epilogue()
            weight = unit.weights[layer.weight] if layer.weight is not None else None
            key = LayerKey.of(problem, epilogue.tag, unit.isa, facts, weight, unit.machine.threads)
            if key in found:
                found[key] = replace(found[key], names=(*found[key].names, name))
                continue
            chosen = worth_measuring(candidates(problem, facts, unit.isa, unit.machine, {}))
            found[key] = Task((name,), key, problem, epilogue, facts, weight, tuple(chosen), _constants(layer, unit))
    several = [task for task in found.values() if len(task.candidates) > 1]
    return sorted(several, key=lambda task: -task.share)


def _constants(layer: Layer, unit: Unit) -> dict[str, NDArray[np.generic]]:
    """Scales, say, that bring its sums into the range of 8 bit; random ones would not."""
    found = {}
    for number, value in enumerate(layer.inputs[layer.arity :]):
        owner = value.owner
        if isinstance(owner, (ir.Operation, ir.OpView)) and owner.operation.name == WEIGHT_OP:
            found[f"epilogue.{number}"] = unit.weights.dense(weight_name(owner.operation))
    return found


def worth_measuring(listed: Sequence[Candidate]) -> list[Candidate]:
    """The best predicted candidates, best first."""
    able = sorted((c for c in listed if c.predicted_ns is not None), key=lambda c: c.predicted_ns or 0.0)
    if not able:
        return []
    limit = WORTH_MEASURING * (able[0].predicted_ns or 0.0)
    return [c for c in able if (c.predicted_ns or 0.0) <= limit][:MOST_CANDIDATES]
