"""A plan's weights on the GPU at hand: encoded for its multiprocessors, in the form that the products with them need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sparsec.cuda import nm24_wgmma
from sparsec.cuda.driver import Device
from sparsec.cuda.memory import Memory
from sparsec.cuda.nm24_tiles import Nm24Tiles
from sparsec.cuda.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.plan import DevicePlan, DeviceWeight, Product
from sparsec.cuda.weights import FEW, Weight, placed


@dataclass(frozen=True, slots=True)
class DenseMatrix:
    """A matrix [m, k] of 16-bit elements, row by row, at an address."""

    address: int
    m: int
    k: int
    dtype: str


Resident: TypeAlias = Weight | DenseMatrix


def residents(plan: DevicePlan, on: Device, memory: Memory) -> list[Resident]:
    """All weights of a plan; dense ones are in `memory`. Raises `TargetError` for what this GPU has no kernel for."""
    tokens: list[list[int]] = [[] for _ in plan.weights]
    for step in plan.steps:
        if isinstance(step, Product):
            tokens[step.weight].append(step.tokens)
    return [_resident(*each, on, memory) for each in zip(plan.weights, tokens, strict=True)]


def _resident(weight: DeviceWeight, tokens: Sequence[int], on: Device, memory: Memory) -> Resident:
    bits = weight.bits()
    if weight.pattern is None:
        m, k = weight.shape
        return DenseMatrix(memory.upload(bits).address, m, k, weight.dtype)
    if weight.pattern == "2:4" and on.architecture == nm24_wgmma.ARCHITECTURE and min(tokens, default=0) > FEW:
        return Nm24Wgmma(Nm24Tiles.encode(bits), weight.dtype, on)
    return placed(bits, weight.dtype, weight.pattern, on)
