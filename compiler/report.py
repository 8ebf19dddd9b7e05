"""What the compiler decided and why: the data behind `sparsec explain` and `CompiledModel.report`."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compute a layer: its predicted time, or the reason why it cannot."""

    kernel: str
    format: str
    predicted_ns: float | None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer that runs on a generated kernel. `density` is the share of nonzeros; `pattern` describes them in words."""

    name: str
    op: str
    shape: str
    density: float | None
    pattern: str
    candidates: tuple[Candidate, ...]
    choice: str
    reason: str
    predicted_ns: float


@dataclass(frozen=True, slots=True)
class Report:
    """The whole network: its layers in program order, and notes on what was folded away or left to upstream lowering."""

    layers: tuple[LayerReport, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return asdict(self)
