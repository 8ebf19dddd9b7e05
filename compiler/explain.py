"""What was chosen for each layer, why, and what it really costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from sparsec.model import CompiledModel
from sparsec.report import LayerReport
from sparsec.runtime.tensors import Array


@dataclass(frozen=True, slots=True)
class Explanation:
    """One part of the network in the order of execution.

    `layer` is its report, or None for what goes through upstream lowering (`name` is then the node that it came from).
    Measured times are nanoseconds per run, the median over runs; None without a profile. `kernels` are what it calls.
    """

    name: str
    kernels: tuple[str, ...]
    layer: LayerReport | None
    measured_ns: float | None

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return asdict(self)


def explain(model: CompiledModel, feeds: Mapping[str, Array] | None = None, repeats: int = 20) -> list[Explanation]:
    """Join the report with the steps, and, given `feeds`, with the time that each step takes in `repeats` runs."""
    calls = model.calls
    times = np.median(model.profile(feeds, repeats), axis=0) if feeds is not None else None
    reports = {layer.name: layer for layer in model.report.layers}
    kernels: dict[str, list[str]] = {}
    spent: dict[str, float] = {}
    for index, call in enumerate(calls):
        kernels.setdefault(call.layer, []).append(call.kernel)
        spent[call.layer] = spent.get(call.layer, 0.0) + (float(times[index]) if times is not None else 0.0)
    rows = [
        Explanation(name, tuple(dict.fromkeys(called)), reports.get(name), spent[name] if times is not None else None)
        for name, called in kernels.items()
    ]
    folded = [Explanation(name, (), layer, None) for name, layer in reports.items() if name not in kernels]
    return rows + folded
