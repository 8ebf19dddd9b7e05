"""A plan's weights on the GPU at hand: encoded for its multiprocessors, in the form that the products with them need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda import nm24_wgmma
from sparsec.cuda.convolution import ConvolutionWeight, Geometry
from sparsec.cuda.dense import DenseWeight
from sparsec.cuda.driver import Device
from sparsec.cuda.nm24_tiles import Nm24Tiles
from sparsec.cuda.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.plan import Convolution, DevicePlan, DeviceWeight, Product
from sparsec.cuda.product import Activation
from sparsec.cuda.weights import FEW, Pattern, Weight, placed

Resident: TypeAlias = Weight | DenseWeight | ConvolutionWeight
Use: TypeAlias = tuple[int, Geometry | None]
"""A weight's number, and how it is convolved with, if it is not multiplied by."""


def use_of(step: Product | Convolution) -> Use:
    """How a step uses its weight."""
    if isinstance(step, Product):
        return step.weight, None
    return step.weight, Geometry(step.channels, step.filters, step.groups, step.axes, step.layout)


Race: TypeAlias = Callable[[Product, Sequence[Resident]], int]
"""Tells with which of several forms of its weight a product is the fastest."""


def residents(plan: DevicePlan, on: Device, race: Race) -> dict[Use, Resident]:
    """The weights of a plan, in each of their uses; raises `TargetError` for what this GPU has no kernel for.

    Weights with a pattern, for more than a few tokens, are kept in the form that wins a race, with their zeros or without:
    one race for all products of one kind. For few tokens, where memory is what counts, the plan's choice stands.
    """
    found: dict[Use, Resident] = {}
    won: dict[_Kind, int] = {}
    for step in plan.steps:
        if isinstance(step, Convolution):
            weight, (number, geometry) = plan.weights[step.weight], use_of(step)
            if (number, geometry) not in found and geometry is not None:
                found[number, geometry] = ConvolutionWeight(weight.bits(), weight.dtype, geometry, on)
        elif isinstance(step, Product) and use_of(step) not in found:
            found[use_of(step)] = _of_product(step, plan.weights[step.weight], on, race, won)
    return found


@dataclass(frozen=True, slots=True)
class _Kind:
    """What products have in common that one race is for."""

    shape: tuple[int, ...]
    dtype: str
    pattern: Pattern
    tokens: int
    activation: Activation | None
    residual: bool


def _of_product(step: Product, weight: DeviceWeight, on: Device, race: Race, won: dict[_Kind, int]) -> Resident:
    bits, pattern, tail = weight.bits(), weight.pattern, step.tail
    if pattern is None:
        return DenseWeight(bits, weight.dtype, on)
    forms = partial(_sparse, bits, weight.dtype, pattern, step.tokens, on), partial(DenseWeight, bits, weight.dtype, on)
    if step.tokens <= FEW:
        return forms[0]()
    kind = _Kind(weight.shape, weight.dtype, pattern, step.tokens, tail.activation, tail.residual is not None)
    if kind in won:
        return forms[won[kind]]()
    made = [form() for form in forms]
    won[kind] = race(step, made)
    return made[won[kind]]


def _sparse(bits: NDArray[np.uint16], dtype: str, pattern: Pattern, tokens: int, on: Device) -> Resident:
    if pattern == "2:4" and on.architecture == nm24_wgmma.ARCHITECTURE and tokens > FEW:
        return Nm24Wgmma(Nm24Tiles.encode(bits), dtype, on)
    return placed(bits, dtype, pattern, on)
