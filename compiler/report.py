"""What the compiler decided and why: the data behind `sparsec explain` and `CompiledModel.report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self, cast


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a layer: its predicted time, or the reason why it cannot.

    `measured_ns` is the time that it took on this machine on its own, if the tuner has measured it.
    """

    kernel: str
    format: str
    predicted_ns: float | None
    refusal: str | None = None
    measured_ns: float | None = None


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer that runs on a generated kernel. `density` is the share of nonzeros.

    `pattern` describes them in words. `predicted_ns` is 0 where no model predicts it: where there is one kernel on GPUs.
    """

    name: str
    op: str
    shape: str
    density: float | None
    pattern: str
    candidates: tuple[Candidate, ...]
    choice: str
    reason: str
    predicted_ns: float

    @property
    def format(self) -> str:
        """The format of the weight in the chosen kernel."""
        return next((each.format for each in self.candidates if each.kernel == self.choice), "dense")


@dataclass(frozen=True, slots=True)
class Report:
    """The whole network.

    Its layers in program order, notes on what was folded away or left to upstream lowering, whether it quantises, in
    which precision its layers of float32 may multiply, and how weights of float32 are stored.
    """

    layers: tuple[LayerReport, ...]
    notes: tuple[str, ...] = ()
    quantised: bool = False
    precision: str = "f32"
    storage: str = "fp32"

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, object]) -> Self:
        """The inverse of `as_dict`, also after a detour through JSON; of an empty mapping, the empty report."""
        return cls(
            layers=tuple(_layer(layer) for layer in cast("list[dict[str, object]]", facts.get("layers", []))),
            notes=tuple(cast("list[str]", facts.get("notes", []))),
            quantised=bool(facts.get("quantised", False)),
            precision=str(facts.get("precision", "f32")),
            storage=str(facts.get("storage", "fp32")),
        )


def _layer(facts: dict[str, object]) -> LayerReport:
    listed = cast("list[dict[str, str]]", facts["candidates"])
    candidates = tuple(Candidate(**each) for each in listed)  # type: ignore[arg-type]
    return LayerReport(**{**facts, "candidates": candidates})  # type: ignore[arg-type]
