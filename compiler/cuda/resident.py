"""A plan's weights on the GPU at hand: encoded for its multiprocessors, in the form that the products with them need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from sparsec.cuda import nm24_wgmma
from sparsec.cuda.convolution import ConvolutionWeight, Geometry
from sparsec.cuda.dense import DenseWeight
from sparsec.cuda.driver import Device
from sparsec.cuda.nm24_tiles import Nm24Tiles
from sparsec.cuda.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.plan import Convolution, DevicePlan, DeviceWeight, Product
from sparsec.cuda.weights import FEW, Weight, placed

Resident: TypeAlias = Weight | DenseWeight | ConvolutionWeight
Use: TypeAlias = tuple[int, Geometry | None]
"""A weight's number, and how it is convolved with, if it is not multiplied by."""


def use_of(step: Product | Convolution) -> Use:
    """How a step uses its weight."""
    if isinstance(step, Product):
        return step.weight, None
    return step.weight, Geometry(step.channels, step.filters, step.groups, step.axes, step.layout)


def residents(plan: DevicePlan, on: Device) -> dict[Use, Resident]:
    """The weights of a plan, in each of their uses; raises `TargetError` for what this GPU has no kernel for."""
    tokens: dict[Use, list[int]] = {}
    for step in plan.steps:
        if isinstance(step, Product | Convolution):
            tokens.setdefault(use_of(step), []).append(step.tokens if isinstance(step, Product) else 0)
    return {use: _resident(plan.weights[use[0]], use[1], counts, on) for use, counts in tokens.items()}


def _resident(weight: DeviceWeight, geometry: Geometry | None, tokens: Sequence[int], on: Device) -> Resident:
    bits = weight.bits()
    if geometry is not None:
        return ConvolutionWeight(bits, weight.dtype, geometry, on)
    if weight.pattern is None:
        return DenseWeight(bits, weight.dtype, on)
    if weight.pattern == "2:4" and on.architecture == nm24_wgmma.ARCHITECTURE and min(tokens, default=0) > FEW:
        return Nm24Wgmma(Nm24Tiles.encode(bits), weight.dtype, on)
    return placed(bits, weight.dtype, weight.pattern, on)
