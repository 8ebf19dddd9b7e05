"""split_transposed: a transposed convolution becomes an ordinary one that computes all output phases, and an interleave.

Before (stride 2, kernel 2):
    %y = torch.aten.convolution %x, %w, %bias, [2, 2], [0, 0], [1, 1], %true, [0, 0], %int1 : [1,6,8,8], [6,5,2,2] -> [1,5,16,16]
After (20 filters = 5 filters x 2 x 2 phases):
    %0 = torch.aten.convolution %x, %phases, %none, [1, 1], [0, 0], [1, 1], %false, [0, 0], %int1 : [1,6,8,8], [20,6,1,1] -> [1,20,8,8]
    %1 = view [1,5,2,2,8,8]; permute (0, 1, 4, 2, 5, 3); view [1,5,16,16]; crop; add bias

Output element s * j + q - p is a sum over the taps q, q + s, q + 2 s, ... of a stride-1 convolution at j (Shi et al., "Is the
deconvolution layer the same as a convolutional layer?", 2016). No zero is multiplied, unlike in the lowering that stuffs x with zeros.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import (
    TorchBuilder,
    integer_list,
    is_none,
    scalar,
    tensor_element,
    tensor_shape,
    tensor_type,
    weight_of,
)
from sparsec.passes.unit import Unit


@dataclass(frozen=True, slots=True)
class _Shape:
    """Shapes of a transposed convolution, one entry per spatial axis where plural."""

    batch: int
    channels: int
    filters: int
    groups: int
    sizes: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    outs: tuple[int, ...]

    @property
    def taps(self) -> tuple[int, ...]:
        """Taps that one phase has along each axis."""
        return tuple(-(-kernel // stride) for kernel, stride in zip(self.kernels, self.strides, strict=True))

    @property
    def steps(self) -> tuple[int, ...]:
        """Output length of one phase along each axis."""
        return tuple(size + tap - 1 for size, tap in zip(self.sizes, self.taps, strict=True))


def split_transposed(unit: Unit) -> None:
    """Rewrite every transposed convolution of static float32 tensors with a stored weight and no dilation."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == "torch.aten.convolution"):
            shape = _shape(op)
            if shape is not None:
                _rewrite(op, shape, unit)


def _shape(op: ir.Operation) -> _Shape | None:
    x, w, _, stride, pad, dilation, transposed, _, groups = op.operands
    sizes, kernels, outs = tensor_shape(x), tensor_shape(w), tensor_shape(op.results[0])
    strides, pads, dilations = integer_list(stride), integer_list(pad), integer_list(dilation)
    if scalar(transposed) is not True or weight_of(w) is None or tensor_element(x) != "f32":
        return None
    if not (sizes and kernels and outs and strides and dilations) or pads is None or set(dilations) != {1}:
        return None
    axes = len(sizes) - 2
    if any(len(values) != axes for values in (strides, pads)):
        return None
    shape = _Shape(
        sizes[0], sizes[1], outs[1], int(scalar(groups) or 1), sizes[2:], kernels[2:], strides, pads, outs[2:]
    )
    reach = [stride * steps for stride, steps in zip(strides, shape.steps, strict=True)]
    inside = all(pad + out <= most for pad, out, most in zip(pads, shape.outs, reach, strict=True))
    return shape if inside else None


def _phase_weight(weight: NDArray[np.float32], shape: _Shape) -> NDArray[np.float32]:
    """[channels, filters / groups, *kernels] as [filters * phases, channels / groups, *taps], reversed, phases innermost."""
    groups, axes = shape.groups, len(shape.kernels)
    grouped = weight.reshape(groups, shape.channels // groups, shape.filters // groups, *shape.kernels)
    phases = np.zeros(
        (groups, shape.filters // groups, *shape.strides, shape.channels // groups, *shape.taps), np.float32
    )
    for phase in itertools.product(*(range(stride) for stride in shape.strides)):
        cut = tuple(slice(first, None, stride) for first, stride in zip(phase, shape.strides, strict=True))
        taps = np.swapaxes(grouped[(slice(None), slice(None), slice(None), *cut)], 1, 2)
        flipped = np.flip(taps, axis=tuple(range(3, 3 + axes)))
        late = tuple(slice(most - have, most) for most, have in zip(shape.taps, flipped.shape[3:], strict=True))
        where: tuple[int | slice, ...] = (slice(None), slice(None), *phase, slice(None), *late)
        phases[where] = flipped
    count = shape.filters * math.prod(shape.strides)
    return phases.reshape(count, shape.channels // groups, *shape.taps)


def _rewrite(op: ir.Operation, shape: _Shape, unit: Unit) -> None:
    build, context = TorchBuilder(op), op.context
    x, w, bias = list(op.operands)[:3]
    name = weight_of(w)
    assert name is not None
    phases = _phase_weight(np.asarray(unit.weights.dense(name), np.float32), shape)
    value = build.weight(unit.weights, f"{name}/phases", phases)
    axes = len(shape.sizes)
    ones, pads = build.integers([1] * axes), build.integers([tap - 1 for tap in shape.taps])
    none, no = build.none(), build.boolean(False)
    result = tensor_type((shape.batch, len(phases), *shape.steps), "f32", context)
    zeros = build.integers([0] * axes)
    operands = [x, value, none, ones, pads, ones, no, zeros, build.integer(shape.groups)]
    stacked = build.create("torch.aten.convolution", [result], operands)
    cropped = _crop(_interleave(stacked, shape, build), shape, build)
    if not is_none(bias):
        cropped = build.add(cropped, build.view(bias, (1, shape.filters, *[1] * axes)), op.results[0].type)
    replace(op, [cropped])


def _interleave(stacked: ir.Value, shape: _Shape, build: TorchBuilder) -> ir.Value:
    """[batch, filters * phases, *steps] to [batch, filters, *(steps * strides)]."""
    axes = len(shape.sizes)
    split = build.view(stacked, (shape.batch, shape.filters, *shape.strides, *shape.steps))
    order = [
        0,
        1,
        *(axis for pair in zip(range(2 + axes, 2 + 2 * axes), range(2, 2 + axes), strict=True) for axis in pair),
    ]
    sizes = tensor_shape(split) or ()
    permuted = build.create(
        "torch.aten.permute",
        [tensor_type([sizes[axis] for axis in order], "f32", stacked.context)],
        [split, build.integers(order)],
    )
    merged = [stride * step for stride, step in zip(shape.strides, shape.steps, strict=True)]
    return build.view(permuted, (shape.batch, shape.filters, *merged))


def _crop(value: ir.Value, shape: _Shape, build: TorchBuilder) -> ir.Value:
    """Drop the padding: outputs `pads` … `pads + outs` along each axis."""
    for axis, (pad, out) in enumerate(zip(shape.pads, shape.outs, strict=True), start=2):
        if (tensor_shape(value) or ())[axis] != out:
            value = build.slice(value, axis, pad, pad + out)
    return value
