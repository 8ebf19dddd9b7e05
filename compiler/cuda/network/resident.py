"""A plan's weights on the GPU at hand: encoded for its multiprocessors, in the form that the products with them need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Device
from sparsec.cuda.network.plan import Convolution, DevicePlan, DeviceWeight, Product
from sparsec.cuda.products import nm24_wgmma
from sparsec.cuda.products.convolution import ConvolutionWeight, Geometry
from sparsec.cuda.products.dense import DenseKernel, DenseWeight
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.product import Activation
from sparsec.cuda.products.sparse_weight import FEW
from sparsec.cuda.products.weights import Pattern, Weight, placed
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles


@dataclass(frozen=True, slots=True)
class Dense:
    """A dense weight, and the kernel that its products are done by."""

    weight: DenseWeight
    kernel: DenseKernel


Resident: TypeAlias = Weight | Dense | ConvolutionWeight
Use: TypeAlias = tuple[int, Geometry | None]
"""A weight's number, and how it is convolved with, if it is not multiplied by."""


def use_of(step: Product | Convolution) -> Use:
    """How a step uses its weight."""
    if isinstance(step, Product):
        return step.weight, None
    return step.weight, Geometry(step.channels, step.filters, step.groups, step.axes, step.layout)


class Loader(Protocol):
    """What is known of a plan's products while its weights are made."""

    def dense_kernels(self, step: Product, weight: DenseWeight) -> Sequence[DenseKernel]:
        """Those that there are for a product, the best guess first."""
        ...

    def fastest(self, step: Product, forms: Sequence[Resident]) -> int:
        """With which of several forms of its weight a product takes the least time."""
        ...


def residents(plan: DevicePlan, on: Device, loader: Loader) -> dict[Use, Resident]:
    """The weights of a plan, in each of their uses; raises `TargetError` for what this GPU has no kernel for.

    For more than a few tokens, a weight is kept in the form that wins a race, with its zeros or without: one race for all
    products of one kind. For few tokens, where memory is what counts, the plan's choice stands.
    """
    found: dict[Use, Resident] = {}
    won: dict[_Kind, str] = {}
    for step in plan.steps:
        if isinstance(step, Convolution):
            weight, (number, geometry) = plan.weights[step.weight], use_of(step)
            if (number, geometry) not in found and geometry is not None:
                found[number, geometry] = ConvolutionWeight(weight.bits(), weight.dtype, geometry, on)
        elif isinstance(step, Product) and use_of(step) not in found:
            found[use_of(step)] = _of_product(step, plan.weights[step.weight], on, loader, won)
    return found


@dataclass(frozen=True, slots=True)
class _Kind:
    """What products have in common that one race is for."""

    shape: tuple[int, ...]
    dtype: str
    pattern: Pattern | None
    tokens: int
    activation: Activation | None
    residual: bool
    bias: bool


def _of_product(step: Product, weight: DeviceWeight, on: Device, loader: Loader, won: dict[_Kind, str]) -> Resident:
    bits, pattern, tail = weight.bits(), weight.pattern, step.tail
    if step.tokens <= FEW and pattern is not None:
        return placed(bits, weight.dtype, pattern, on)
    added = tail.residual is not None, tail.bias is not None
    kind = _Kind(weight.shape, weight.dtype, pattern, step.tokens, tail.activation, *added)
    forms: dict[str, Resident] = {}
    if pattern is not None and won.get(kind, pattern) == pattern:
        forms[pattern] = _sparse(bits, weight.dtype, pattern, on)
    if won.get(kind) != pattern or pattern is None:
        dense = DenseWeight(bits, weight.dtype, on)
        forms |= {kernel: Dense(dense, kernel) for kernel in loader.dense_kernels(step, dense)}
    if won.get(kind) not in forms:
        names = list(forms)
        raced = len(names) > 1 and step.tokens > FEW
        won[kind] = names[loader.fastest(step, list(forms.values())) if raced else 0]
    return forms[won[kind]]


def _sparse(bits: NDArray[np.uint16], dtype: str, pattern: Pattern, on: Device) -> Resident:
    """For many tokens."""
    if pattern == "2:4" and on.architecture == nm24_wgmma.ARCHITECTURE:
        return Nm24Wgmma(Nm24Tiles.encode(bits), dtype, on)
    return placed(bits, dtype, pattern, on)
