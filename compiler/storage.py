"""How weights of float32 are stored in artifacts of every kind: `STORAGES`.

Each takes and gives plans of a network for several shapes, which share their weights before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import Piece, Plan
from sparsec.errors import UsageError
from sparsec.report import Report

FP32, FP16 = "fp32", "fp16"
LEAST_ELEMENTS = 64  # shorter arrays, such as single constants, stay exact
LARGEST = float(np.finfo(np.float16).max)


Storage: TypeAlias = Callable[[Sequence[Plan]], tuple[Plan, ...]]


def as_they_are(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The plans themselves."""
    return tuple(plans)


def stored_in_half(plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """The plans with their weights as they are stored: float32 arrays as float16, if their numbers fit, the rest as it is.

    A weight is rounded to the nearest number, ties to even, and widened before the first run: products and sums stay
    float32. Arrays in which numbers stand among indices (the packed form of N:M) stay, too. The report says how much that is.
    """
    pieces, parts, at, kept = list[Piece](), list[NDArray[np.uint8]](), 0, 0
    plan = plans[0]
    for offset, count in plan.floats:
        end = offset + 4 * count
        values = plan.weights[offset:end].view(np.float32)
        fits = count < LEAST_ELEMENTS or float(np.abs(values).max()) <= LARGEST
        kept += not fits
        if count < LEAST_ELEMENTS or not fits:
            continue
        pieces += [Piece(offset - at, False), Piece(end - offset, True)]
        parts += [plan.weights[at:offset], values.astype(np.float16).view(np.uint8)]
        at = end
    pieces.append(Piece(plan.weights.nbytes - at, False))
    parts.append(plan.weights[at:])
    stored, made = np.concatenate(parts), tuple(pieces)
    return tuple(
        replace(each, weights=stored, pieces=made, report=_stated(each, pieces, kept).as_dict())  # type: ignore[arg-type]
        for each in plans
    )


STORAGES: Mapping[str, Storage] = {FP32: as_they_are, FP16: stored_in_half}


def storage_of(name: str) -> Storage:
    """The storage of that name; raises `UsageError` if there is none."""
    if name not in STORAGES:
        raise UsageError("There is no such storage of weights.", expected=", ".join(STORAGES), got=name)
    return STORAGES[name]


def _stated(plan: Plan, pieces: Sequence[Piece], kept: int) -> Report:
    report = Report.from_dict(plan.report)
    halves = sum(piece.bytes for piece in pieces if piece.half)
    note = f"of {plan.weights.nbytes:,} bytes of weights in memory, {halves:,} are stored as float16"
    note += f"; arrays kept, as they hold numbers that float16 has not: {kept}" if kept else ""
    return replace(report, storage=FP16, notes=(*report.notes, note))
