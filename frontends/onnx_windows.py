"""Convolutions and pools of ONNX with explicit pads, and without the attributes that upstream ignores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from sparsec.frontends.onnx_builder import Builder
from sparsec.frontends.onnx_pads import cut


def explicit_pads(b: Builder, kernel: list[int] | None = None) -> list[NodeProto] | None:
    """`auto_pad` becomes `pads`, which it is once shapes are known; `kernel` is that of the second operand unless given."""
    mode = b.attribute("auto_pad", b"NOTSET")
    if mode in (b"NOTSET", b""):
        return None
    shape = b.shape(b.input(0))
    kernel = kernel or b.ints("kernel_shape", [])
    if not kernel:
        weight = b.shape(b.input(1))
        kernel = list(weight[2:]) if weight else []
    if shape is None or not kernel:
        return None
    strides = b.ints("strides", [1] * len(kernel))
    dilations = b.ints("dilations", [1] * len(kernel))
    begin, end = [], []
    for size, k, stride, dilation in zip(shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        total = 0 if mode == b"VALID" else total
        small, large = total // 2, total - total // 2
        begin.append(large if mode == b"SAME_LOWER" else small)
        end.append(small if mode == b"SAME_LOWER" else large)
    kept = [a for a in b.node.attribute if a.name not in ("auto_pad", "pads")]
    del b.node.attribute[:]
    b.node.attribute.extend([*kept, helper.make_attribute("pads", begin + end)])
    return [b.node]


def max_pool(b: Builder) -> list[NodeProto] | None:
    """Explicit pads; those that the torch operator cannot say become a `Pad` with the least value. Positions count the
    elements of the whole operand, which torch counts in each channel.
    """
    element, frame = b.element(b.input(0)), _frame(b)
    if frame is None:
        return explicit_pads(b)
    lowest = LOWEST.get(element)
    positions = len(b.node.output) > 1 and bool(b.node.output[1])
    even = frame.begin == frame.end and all(2 * p <= k for p, k in zip(frame.begin, frame.kernel, strict=True))
    exact = even and not b.integer("ceil_mode", 0) and element not in UNSIGNED and not positions
    if lowest is None or exact:
        return b.without("auto_pad", "ceil_mode", "storage_order", pads=[*frame.begin, *frame.end])
    x = b.input(0)
    if any((*frame.begin, *frame.end)):
        amounts = b.whole(0, 0, *frame.begin, 0, 0, *frame.end)
        x = b.emit("Pad", x, amounts, b.number(lowest, element))
    wide = UNSIGNED.get(element, element)
    x = b.cast(x, wide) if wide != element else x
    values, places = f"{b.node.name}/values", f"{b.node.name}/places"
    inner = helper.make_node("MaxPool", [x], [values, places] if positions else [values], name=f"{b.node.name}/pool")
    for name, value in (("kernel_shape", frame.kernel), ("strides", frame.strides), ("dilations", frame.dilations)):
        inner.attribute.append(helper.make_attribute(name, value))
    b.nodes.append(inner)
    if b.node.output[0]:
        b.cast(values, element, to=b.node.output[0])
    if positions:
        _positions(b, places, frame)
    return b.nodes


UNSIGNED: Mapping[int, int] = {TensorProto.UINT8: TensorProto.INT32}
LOWEST: Mapping[int, float] = {
    TensorProto.FLOAT: -math.inf,
    TensorProto.DOUBLE: -math.inf,
    TensorProto.FLOAT16: -math.inf,
    TensorProto.INT8: -128,
    TensorProto.UINT8: 0,
}


@dataclass(frozen=True, slots=True)
class Frame:
    """The windows of a pool along its spatial axes; `end` covers the last window of `ceil_mode`, too."""

    sizes: tuple[int, ...]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]
    stated_end: list[int]
    counts: list[int]


def _frame(b: Builder) -> Frame | None:
    """The windows of a pool; None when shapes are unknown or empty."""
    shape = b.shape(b.input(0))
    if shape is None or len(shape) < 3 or 0 in shape or not b.ints("kernel_shape", []):
        return None
    if explicit_pads(b) is None and b.word("auto_pad", "NOTSET") not in ("NOTSET", ""):
        return None
    kernel = b.ints("kernel_shape", [])
    rank = len(kernel)
    strides, dilations = b.ints("strides", [1] * rank), b.ints("dilations", [1] * rank)
    pads = b.ints("pads", [0] * (2 * rank))
    if not len(shape) - 2 == rank == len(strides) == len(dilations) == len(pads) / 2:
        return None  # against the rules of ONNX: refused for a type that cannot be inferred
    counts, ends = [], []
    for size, k, stride, dilation, begin, end in zip(
        shape[2:], kernel, strides, dilations, pads[:rank], pads[rank:], strict=True
    ):
        reach = (k - 1) * dilation + 1
        count = (size + begin + end - reach) // stride + 1
        # A window more that is not whole, but begins before the pads at the end.
        if b.integer("ceil_mode", 0) and (size + begin + end - reach) % stride and count * stride < size + begin:
            count += 1
        counts.append(count)
        ends.append((count - 1) * stride + reach - size - begin)
    target = b.shape(b.node.output[0])
    if target is not None and target[2:] != tuple(counts):  # ONNX's own inference counts windows inside the pads
        for name in filter(None, b.node.output):
            b.forget(name)
    # Less than stated is not needed; a negative amount would be elements that no window reads.
    needed = [max(end, 0) for end in ends]
    floors = [end if not b.integer("ceil_mode", 0) else need for end, need in zip(pads[rank:], needed, strict=True)]
    return Frame(tuple(shape[2:]), kernel, strides, dilations, pads[:rank], floors, pads[rank:], counts)


def _positions(b: Builder, places: str, frame: Frame) -> None:
    """Positions in the padded channel become positions in the whole operand, row- or column-major."""
    shape = b.shape(b.input(0)) or ()
    padded = [s + p + q for s, p, q in zip(frame.sizes, frame.begin, frame.end, strict=True)]
    planes = np.arange(math.prod(shape[:2]), dtype=np.int64) * math.prod(frame.sizes)
    total = b.constant("planes", planes.reshape(*shape[:2], *([1] * len(padded))))
    for axis, size in enumerate(padded):
        inner = math.prod(padded[axis + 1 :])
        digit = b.emit("Div", places, b.number(inner, TensorProto.INT64)) if inner > 1 else places
        if axis:
            digit = b.emit("Mod", digit, b.number(size, TensorProto.INT64))
        digit = b.emit("Sub", digit, b.number(frame.begin[axis], TensorProto.INT64)) if frame.begin[axis] else digit
        sizes = frame.sizes[:axis] if b.integer("storage_order", 0) else frame.sizes[axis + 1 :]
        total = b.emit("Add", total, b.emit("Mul", digit, b.number(math.prod(sizes), TensorProto.INT64)))
    b.emit("Identity", total, to=b.node.output[1])


def average_pool(b: Builder) -> list[NodeProto] | None:
    """Explicit pads. Windows that are dilated or not whole, and pads that differ at both ends: a depthwise convolution
    that sums, and a product with one over what each window counts.
    """
    frame, shape = _frame(b), b.shape(b.input(0)) or ()
    if frame is None:
        return explicit_pads(b)
    if not b.integer("ceil_mode", 0) and set(frame.dilations) == {1} and frame.begin == frame.stated_end:
        return b.without("auto_pad", pads=[*frame.begin, *frame.stated_end])
    if b.element(b.input(0)) != TensorProto.FLOAT:
        return b.without("auto_pad", pads=[*frame.begin, *frame.stated_end])
    total = _sums(b, frame, b.input(0), shape[1])
    share = np.ones((1, 1, *([1] * len(frame.kernel))))
    for axis in range(len(frame.kernel)):
        share = share / _counted(b, frame, axis).reshape([-1 if n == axis + 2 else 1 for n in range(share.ndim)])
    counts = b.constant("share", np.broadcast_to(share, (1, 1, *frame.counts)).astype(np.float32))
    b.emit("Mul", total, counts, to=b.node.output[0])
    return b.nodes


def _sums(b: Builder, frame: Frame, x: str, channels: int) -> str:
    """Each window's sum, as a depthwise convolution with ones."""
    weight = b.constant("ones", np.ones((channels, 1, *frame.kernel), np.float32))
    if any((*frame.begin, *frame.end)):
        x = b.emit("Pad", x, b.whole(0, 0, *frame.begin, 0, 0, *frame.end))
    return b.emit(
        "Conv", x, weight, attributes={"group": channels, "strides": frame.strides, "dilations": frame.dilations}
    )


def lp_pool(b: Builder) -> list[NodeProto] | None:
    """The p-th root of each window's sum of |x|^p."""
    frame, shape, element = _frame(b), b.shape(b.input(0)) or (), b.element(b.input(0))
    if frame is None or element != TensorProto.FLOAT:
        return explicit_pads(b)
    power = b.integer("p", 2)
    x = b.emit("Abs", b.input(0))
    total = _sums(b, frame, b.emit("Pow", x, b.number(power, element)) if power != 1 else x, shape[1])
    root = b.number(1 / power, element)
    b.emit("Pow", total, root, to=b.node.output[0])
    return b.nodes


def _counted(b: Builder, frame: Frame, axis: int) -> NDArray[np.int64]:
    """How many elements each window counts along an axis."""
    starts = np.arange(frame.counts[axis]) * frame.strides[axis] - frame.begin[axis]
    read = starts[:, None] + np.arange(frame.kernel[axis]) * frame.dilations[axis]
    low, high = 0, frame.sizes[axis]
    if b.integer("count_include_pad", 0):
        low, high = -frame.begin[axis], frame.sizes[axis] + frame.stated_end[axis]
    counted: NDArray[np.int64] = np.maximum(((read >= low) & (read < high)).sum(axis=1), 1)
    return counted


def conv_transpose(b: Builder) -> list[NodeProto] | None:
    """Explicit pads; and with groups, which upstream lowers wrongly, a convolution of the operand spread with zeros."""
    source, weight = b.shape(b.input(0)), b.shape(b.input(1))
    if source is None or weight is None:
        return None
    rank = len(source) - 2
    kernel = list(weight[2:])
    strides, dilations = b.ints("strides", [1] * rank), b.ints("dilations", [1] * rank)
    extra = b.ints("output_padding", [0] * rank)
    pads, extra = _transposed_pads(b, source, kernel, strides, dilations, extra)
    kept = [a for a in b.node.attribute if a.name not in _RESOLVED]
    changed = any(a.name in ("auto_pad", "output_shape") for a in b.node.attribute)
    del b.node.attribute[:]
    b.node.attribute.extend(
        [*kept, helper.make_attribute("pads", pads), helper.make_attribute("output_padding", extra)]
    )
    group = b.integer("group", 1)
    dense = b.graph.constants.get(b.input(1))
    if group == 1 and pads[:rank] != pads[rank:]:
        return _cropped(b, (list(source[2:]), kernel, strides, dilations), extra, pads)
    if group == 1 or not isinstance(dense, np.ndarray) or b.graph.opset < 11:
        return [b.node] if changed else None
    return _spread_convolution(b, source, dense, group, (strides, dilations, extra, pads))


def _cropped(
    b: Builder, form: tuple[list[int], list[int], list[int], list[int]], extra: list[int], pads: list[int]
) -> list[NodeProto]:
    """The transposed convolution without pads, of which the pads are cut, or the extra zeros added, afterwards."""
    kept = {a.name: helper.get_attribute_value(a) for a in b.node.attribute if a.name not in _RESOLVED}
    shape, kernel, strides, dilations = form
    rank = len(shape)
    begin, end = pads[:rank], [p - e for p, e in zip(pads[rank:], extra, strict=True)]
    x = b.emit("ConvTranspose", b.input(0), b.input(1), attributes=kept)
    sizes = [
        stride * (size - 1) + (k - 1) * dilation + 1
        for size, k, stride, dilation in zip(shape, kernel, strides, dilations, strict=True)
    ]
    starts = b.whole(*begin)
    ends = b.whole(*(size - max(e, 0) for size, e in zip(sizes, end, strict=True)))
    x = b.emit("Slice", x, starts, ends, b.whole(*range(2, 2 + rank)))
    x = b.emit("Pad", x, b.whole(*([0] * (4 + rank)), *(max(-e, 0) for e in end))) if min(end) < 0 else x
    x = x if b.input(2) else b.emit("Identity", x, to=b.node.output[0])
    if b.input(2):
        b.emit("Add", x, b.reshape(b.input(2), (-1, *([1] * rank))), to=b.node.output[0])
    return b.nodes


_RESOLVED = ("auto_pad", "pads", "output_shape", "output_padding")


def _transposed_pads(
    b: Builder, source: tuple[int, ...], kernel: list[int], strides: list[int], dilations: list[int], extra: list[int]
) -> tuple[list[int], list[int]]:
    """The `pads` and `output_padding` of a ConvTranspose, from `auto_pad` or `output_shape` where they say so."""
    mode = b.attribute("auto_pad", b"NOTSET")
    target = b.ints("output_shape", [])
    if not target and mode in (b"SAME_UPPER", b"SAME_LOWER"):
        target = [size * stride for size, stride in zip(source[2:], strides, strict=True)]
    if not target:
        return b.ints("pads", [0] * (2 * len(kernel))), extra
    begin, end, beyond = [], [], []
    rows = zip(source[2:], kernel, strides, dilations, extra, target[-len(kernel) :], strict=True)
    for size, k, stride, dilation, more, wanted in rows:
        surplus = stride * (size - 1) + more + (k - 1) * dilation + 1 - wanted
        small, large = max(surplus, 0) // 2, max(surplus, 0) - max(surplus, 0) // 2
        begin.append(small if mode == b"SAME_UPPER" else large)
        end.append(large if mode == b"SAME_UPPER" else small)
        beyond.append(more + max(-surplus, 0))
    return begin + end, beyond


def _spread_convolution(
    b: Builder,
    source: tuple[int, ...],
    weight: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    group: int,
    form: tuple[list[int], list[int], list[int], list[int]],
) -> list[NodeProto]:
    """The convolution, with the flipped weight, of the operand that has `stride - 1` zeros after each element."""
    strides, dilations, extra, pads = form
    rank, kernel = len(strides), list(weight.shape[2:])
    c_in, per_group = weight.shape[:2]
    turned = weight.reshape(group, c_in // group, per_group, *kernel).swapaxes(1, 2)
    turned = np.flip(turned.reshape(group * per_group, c_in // group, *kernel), tuple(range(2, 2 + rank)))
    split = [*source[:2], *(n for size in source[2:] for n in (size, 1))]
    spread = [0] * 2 + [0] * (2 * rank) + [0] * 2 + [n for stride in strides for n in (0, stride - 1)]
    joined = [*source[:2], *(size * stride for size, stride in zip(source[2:], strides, strict=True))]
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    begin = [r - p for r, p in zip(reach, pads[:rank], strict=True)]
    end = [r - p + e - (s - 1) for r, p, e, s in zip(reach, pads[rank:], extra, strides, strict=True)]
    x = b.emit("Reshape", b.input(0), b.constant("split", np.array(split, np.int64)))
    x = b.emit("Pad", x, b.constant("spread", np.array(spread, np.int64)))
    x = b.emit("Reshape", x, b.constant("joined", np.array(joined, np.int64)))
    x, _, grown = cut(b, x, tuple(joined), dict(enumerate(zip(begin, end, strict=True), start=2)))
    x = b.emit(
        "Pad", x, b.whole(0, 0, *(more for more, _ in grown.values()), 0, 0, *(more for _, more in grown.values()))
    )
    operands = [x, b.constant("weight", np.ascontiguousarray(turned)), *([b.input(2)] if b.input(2) else [])]
    b.emit("Conv", *operands, to=b.node.output[0], attributes={"group": group, "dilations": dilations})
    return b.nodes
