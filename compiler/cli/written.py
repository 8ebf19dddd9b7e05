"""What `sparsec compile` says of an artifact that it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from sparsec.cli.console import size
from sparsec.model import CompiledModel
from sparsec.verify import Verification


def summary(
    models: Sequence[CompiledModel], output: Path | None, seconds: float, verifications: Sequence[Verification]
) -> dict[str, object]:
    """Of a model for each of its shapes: of the first, as if it were the only one, and then of each."""
    first = models[0]
    found = first.summary
    shapes = [_shape_facts(*each) for each in zip_longest(models, verifications)]
    return {
        "output": str(output) if output else None,
        "bytes": output.stat().st_size if output else None,
        "target": found.target,
        "precision": first.report.precision,
        "storage": first.report.storage,
        **shapes[0],
        "weight_bytes": found.weight_bytes,
        "code_bytes": found.code_bytes,
        "compile_seconds": seconds,
        "shapes": shapes,
    }


def _shape_facts(compiled: CompiledModel, verification: Verification | None) -> dict[str, object]:
    return {
        "inputs": [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in compiled.inputs],
        "outputs": [{"name": s.name, "dtype": s.dtype, "shape": s.shape} for s in compiled.outputs],
        "arena_bytes": compiled.summary.arena_bytes,
        "verification": verification.as_dict() if verification else None,
    }


def sentence(compiled: CompiledModel, output: Path, seconds: float) -> str:
    """What was written, for people."""
    found = compiled.summary
    several = f" and {len(compiled.shapes)} shapes" if len(compiled.shapes) > 1 else ""
    sparse = sum(layer.format != "dense" for layer in compiled.report.layers)
    return (
        f"{output}: {size(output.stat().st_size)}, of it {size(found.weight_bytes)} of weights; "
        f"for {found.target}{several}, {len(compiled.report.layers)} layers, {sparse} of them sparse, in {seconds:.1f} s"
    )
