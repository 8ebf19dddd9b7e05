"""Whether a plan is consistent: a wrong offset would read or write what is not the plan's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sparsec.artifact import Space
from sparsec.artifact.check import check_shapes, check_tensors, require
from sparsec.cuda.network.plan import (
    Address,
    Attention,
    BatchedProduct,
    Convolution,
    DevicePlan,
    DeviceWeight,
    Heads,
    Launch,
    Pool,
    Product,
    Rows,
    Tail,
)

_HALF, _FLOAT, _STATUS = 2, 4, 8  # bytes
_LARGEST_GRID, _LARGEST_BLOCK = (2**31 - 1, 65535, 65535), (1024, 1024, 64)
_MOST_THREADS = 1024
_POSSIBLE = 2**48  # what no size reaches


def check_all(plans: Sequence[DevicePlan]) -> None:
    """Raise `ArtifactError` unless each is consistent, and they are plans of one network for several shapes."""
    require(bool(plans), "there is no plan")
    first = plans[0]
    for weight in first.weights:
        _check_weight(weight)
    for plan in plans:
        check(plan)
        alike = (plan.name, plan.precision, plan.architecture) == (first.name, first.precision, first.architecture)
        alike &= plan.constants is first.constants and plan.weights == first.weights
        require(alike, "its shapes do not share a network and its weights")
    check_shapes([(plan.inputs, plan.outputs) for plan in plans])


def check(plan: DevicePlan) -> None:
    """Raise `ArtifactError` unless all that steps touch is inside what it belongs to; of launches, where they begin.

    Its weights are taken to be what their shapes say.
    """
    check_tensors(plan.inputs, "input")
    check_tensors(plan.outputs, "output")
    require(0 <= plan.arena_bytes < _POSSIBLE, "the arena size is impossible")
    require((plan.status is None) == (not plan.complaints), "checks and their status do not belong together")
    if plan.status is not None:
        inside = 0 <= plan.status <= plan.arena_bytes - _STATUS and plan.status % _STATUS == 0
        require(inside, "the status of checks lies outside the arena")
    for number, step in enumerate(plan.steps):
        each = _Step(plan, f"step {number} ({step.layer})")
        match step:
            case Launch():
                each.launch(step)
            case Product():
                each.product(step)
            case BatchedProduct():
                each.batched(step)
            case Attention():
                each.attention(step)
            case Convolution():
                each.convolution(step)
            case Pool():
                each.pool(step)


def _check_weight(weight: DeviceWeight) -> None:
    elements = math.prod(weight.shape)
    possible = all(0 < length < _POSSIBLE for length in weight.shape) and elements < _POSSIBLE
    require(possible, f"weight {weight.name!r} has an impossible shape")
    kept = elements
    if weight.bitmap is not None:
        require(
            8 * weight.bitmap.size - 7 <= elements <= 8 * weight.bitmap.size,
            f"weight {weight.name!r} has a wrong bitmap",
        )
        kept = int(np.unpackbits(weight.bitmap, bitorder="little")[:elements].sum())
    require(weight.values.size == kept, f"weight {weight.name!r} has not the values that its shape asks for")


class _Step:
    """Checks of one step."""

    def __init__(self, plan: DevicePlan, where: str) -> None:
        self._plan, self._where = plan, where

    def launch(self, step: Launch) -> None:
        sizes = zip((*step.grid, *step.block), (*_LARGEST_GRID, *_LARGEST_BLOCK), strict=True)
        self._require(all(1 <= size <= most for size, most in sizes), "has an impossible grid or block")
        self._require(math.prod(step.block) <= _MOST_THREADS, "has too many threads in a block")
        self._require(0 <= step.shared_bytes < 2**20, "asks for an impossible amount of shared memory")
        self._require(f".entry {step.function}(" in self._plan.ptx, f"calls {step.function}, which is not in the code")
        for argument in step.arguments:
            self._inside(argument, 0)

    def product(self, step: Product) -> None:
        m, k = self._weight(step.weight, 2)
        self._require(step.tokens >= 0, "has an impossible number of tokens")
        self._rows(step.x, step.tokens, k)
        self._rows(step.y, step.tokens, m)
        self._tail(step.tail, m)
        if step.tail.residual is not None:
            self._rows(step.tail.residual, step.tokens, m)

    def batched(self, step: BatchedProduct) -> None:
        shapes = (step.p, step.rows, step.inner), (step.q, step.inner, step.columns), (step.y, step.rows, step.columns)
        for each, rows, columns in shapes:
            self._strided(each.address, (*step.batch, rows, columns), (*each.batch, each.rows, each.columns), _HALF)
            self._require(1 in (each.rows, each.columns), "has a matrix without neighbours in memory")
        self._require(step.y.columns == 1, "writes rows with gaps")

    def attention(self, step: Attention) -> None:
        self._require(step.key_heads >= 1 and step.heads % step.key_heads == 0, "shares heads in no possible way")
        for each, heads, tokens in (
            (step.q, step.heads, step.queries),
            (step.k, step.key_heads, step.keys),
            (step.v, step.key_heads, step.keys),
            (step.y, step.heads, step.queries),
        ):
            self._heads(each, step.batch, heads, tokens, step.size)
        if step.mask is not None:
            shape, mask = (step.batch, step.heads, step.queries, step.keys), step.mask
            self._strided(mask.address, shape, (mask.batch, mask.head, mask.query, mask.key), _FLOAT)

    def convolution(self, step: Convolution) -> None:
        filters, channels, *kernel = self._weight(step.weight, 4)
        axes = step.axes
        self._require(step.groups >= 1 and filters == step.filters, "has not the filters of its weight")
        self._require(channels * step.groups == step.channels, "has not the channels of its weight")
        self._require(kernel == [axis.kernel for axis in axes], "has not the kernel of its weight")
        written = self._windows(step, step.filters)
        sizes = [axis.size for axis in axes]
        self._strided(step.x, (step.batch, *sizes, step.channels), (*step.strides, 1), _HALF)
        self._tail(step.tail, step.filters)
        if step.tail.residual is not None:
            self._inside(step.tail.residual.address, written)

    def pool(self, step: Pool) -> None:
        self._require(all(axis.kernel >= 1 for axis in step.axes), "has an impossible kernel")
        self._windows(step, step.channels)
        self._inside(step.x, _HALF * step.batch * step.channels * math.prod(axis.size for axis in step.axes))

    def _windows(self, step: Convolution | Pool, channels: int) -> int:
        """Windows are possible, and y is there, of so many channels; returns its bytes."""
        axes = step.axes
        possible = all(axis.stride >= 1 and axis.dilation >= 1 and min(axis.before, axis.after) >= 0 for axis in axes)
        self._require(possible and step.batch >= 0, "has an impossible stride, dilation or padding")
        self._require(all(axis.size >= 0 and axis.out >= 0 for axis in axes), "has an impossible size")
        written = _HALF * step.batch * channels * math.prod(axis.out for axis in axes)
        self._inside(step.y, written)
        return written

    def _weight(self, number: int, axes: int) -> tuple[int, ...]:
        self._require(0 <= number < len(self._plan.weights), f"uses weight {number}, which there is not")
        shape = self._plan.weights[number].shape
        self._require(len(shape) == axes, f"uses a weight that has not {axes} axes")
        return shape

    def _rows(self, rows: Rows, count: int, length: int) -> None:
        self._require(count <= 1 or rows.stride >= length, "has rows that overlap")
        self._strided(rows.address, (count, length), (rows.stride, 1), _HALF)

    def _tail(self, tail: Tail, features: int) -> None:
        if tail.bias is not None:
            self._inside(tail.bias, _FLOAT * features)

    def _heads(self, each: Heads, batch: int, heads: int, tokens: int, size: int) -> None:
        self._strided(each.address, (batch, heads, tokens, size), (each.batch, each.head, each.token, 1), _HALF)

    def _strided(self, address: Address, shape: Sequence[int], strides: Sequence[int], size: int) -> None:
        self._require(min(shape) >= 0 and min(strides) >= 0, "has a negative length or stride")
        last = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        self._inside(address, size * (last + 1) if math.prod(shape) else 0)

    def _inside(self, address: Address, nbytes: int) -> None:
        """The bytes from an address on are there."""
        size = self._bytes_of(address)
        self._require(
            address.offset >= 0 and address.offset + nbytes <= size,
            f"points outside {address.space.value} at {address.offset}",
        )

    def _bytes_of(self, address: Address) -> int:
        match address.space:
            case Space.ARENA:
                return self._plan.arena_bytes
            case Space.WEIGHTS:
                return self._plan.constants.nbytes
            case Space.INPUT | Space.OUTPUT:
                specs = self._plan.inputs if address.space is Space.INPUT else self._plan.outputs
                self._require(0 <= address.number < len(specs), f"uses {address.space.value} {address.number}")
                return specs[address.number].nbytes

    def _require(self, condition: bool, fault: str) -> None:
        require(condition, f"{self._where} {fault}")
