"""In which form each product of a plan has its weight on the GPU at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sparsec.cuda.network.forms import Forms
from sparsec.cuda.network.plan import Convolution, DevicePlan, Product
from sparsec.cuda.products.convolution import ConvolutionWeight, Geometry
from sparsec.cuda.products.dense import DenseKernel, DenseWeight
from sparsec.cuda.products.form import SparseForm
from sparsec.cuda.products.product import Activation
from sparsec.cuda.products.weights import Pattern

FEW = 32  # tokens, for which memory is what counts: the cost model knows that better than a race with what the L2 keeps
RACED = 1.25  # how much slower than dense a form may be predicted to be that takes part in a race


@dataclass(frozen=True, slots=True)
class Dense:
    """A dense weight, and the kernel that its products are done by."""

    weight: DenseWeight
    kernel: DenseKernel


Resident: TypeAlias = SparseForm | Dense | ConvolutionWeight
Use: TypeAlias = tuple[int, Geometry | None]
"""A weight's number, and how it is convolved with, if it is not multiplied by."""


def use_of(step: Product | Convolution) -> Use:
    """How a step uses its weight."""
    if isinstance(step, Product):
        return step.weight, None
    return step.weight, Geometry(step.channels, step.filters, step.groups, step.axes, step.strides)


class Loader(Protocol):
    """What is known of a plan's products while its weights are made."""

    def dense_kernels(self, step: Product, weight: DenseWeight) -> Sequence[DenseKernel]:
        """Those that there are for a product, the best guess first."""
        ...

    def fastest(self, step: Product, forms: Sequence[Resident]) -> int:
        """With which of several forms of its weight a product takes the least time."""
        ...


def residents(plan: DevicePlan, forms: Forms, loader: Loader) -> dict[Use, Resident]:
    """The weights of a plan, in each of their uses; raises `TargetError` for what this GPU has no kernel for.

    For few tokens, a weight is kept in the form that is predicted to be the fastest; for more, in the one that wins a race, with
    its zeros or without: one race for all products of one kind.
    """
    found: dict[Use, Resident] = {}
    won: dict[_Kind, str] = {}
    for step in plan.steps:
        if isinstance(step, Convolution):
            number, geometry = use_of(step)
            if (number, geometry) not in found and geometry is not None:
                found[number, geometry] = forms.convolution(number, geometry)
        elif isinstance(step, Product) and use_of(step) not in found:
            found[use_of(step)] = _of_product(step, forms, loader, won)
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


def _of_product(step: Product, forms: Forms, loader: Loader, won: dict[_Kind, str]) -> Resident:
    weight, tail = forms.weights[step.weight], step.tail
    pattern, raced = weight.pattern, step.tokens > FEW
    added = tail.residual is not None, tail.bias is not None
    kind = _Kind(weight.shape, weight.dtype, pattern, step.tokens, tail.activation, *added)
    found: dict[str, Resident] = {}
    if pattern is not None and won.get(kind, pattern) == pattern:
        sparse = forms.sparse(step.weight, step.tokens, RACED if raced else 1.0)
        if sparse is not None:
            found[pattern] = sparse
    if not found or (raced and kind not in won):
        dense = forms.dense(step.weight)
        found |= {kernel: Dense(dense, kernel) for kernel in loader.dense_kernels(step, dense)}
    names = list(found)
    if won.get(kind) not in found:
        won[kind] = names[loader.fastest(step, list(found.values())) if raced and len(names) > 1 else 0]
    return found[won[kind]]
