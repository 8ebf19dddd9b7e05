"""How operands of products lie in memory, as kernels for GPUs are told: strides, axes of windows, axes of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch_mlir import ir

from sparsec.errors import UnsupportedOpError
from sparsec.ir.module import integers, shape_of
from sparsec.kernels.problem import Axis


def batch_of(
    sizes: tuple[int, ...], strides: list[tuple[int, ...]], where: str
) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Two axes of a batch that walk all operands as `sizes` do; those of an operand without the batch's axes are 0."""
    full = [each if len(each) == len(sizes) else (0,) * len(sizes) for each in strides]
    axes: list[tuple[int, tuple[int, ...]]] = []
    for size, steps in zip(sizes, zip(*full, strict=True), strict=True):
        if size == 1:
            continue
        if axes and all(outer == size * inner for outer, inner in zip(axes[-1][1], steps, strict=True)):
            axes[-1] = (axes[-1][0] * size, steps)
        else:
            axes.append((size, steps))
    if len(axes) > 2:
        raise UnsupportedOpError("products on GPUs have batches of two axes", where=where, got=f"{sizes}")
    axes = [(1, (0,) * len(strides))] * (2 - len(axes)) + axes
    (outer, far), (inner, near) = axes
    return (outer, inner), list(zip(far, near, strict=True))


def axes_of(facts: ir.DictAttr, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[Axis, ...]:
    """Of windows of images."""
    found = [integers(facts[each]) for each in ("strides", "dilations", "before", "after")]
    return tuple(map(Axis, sizes, kernel, *found))


def image_strides(image: ir.Value, width: int) -> tuple[int, int, int]:
    """Of images, rows and pixels; an image of one axis is one row."""
    first, _, *space = strides_of(image)
    return first, space[0] if len(space) == 2 else width * space[-1], space[-1]


def strides_of(value: ir.Value) -> tuple[int, ...]:
    return tuple(ir.MemRefType(value.type).get_strides_and_offset()[0])


def steps_of(value: ir.Value) -> tuple[int, ...]:
    """Strides that are taken: those of axes of length 1 may be anything, and are 0."""
    axes = zip(shape_of(value), strides_of(value), strict=True)
    return tuple(step if length > 1 else 0 for length, step in axes)
