"""Which channels of a convolutional network are constant whatever its input: the analysis behind `prune_channels`.

A filter without nonzeros gives the same plane for every input: its bias through the activation. A filter that reads only such
channels does too. Networks that were trained sparse are full of both.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import element_of
from sparsec.ir.weights import WEIGHT_OP, weight_name
from sparsec.kernels.epilogue import Reach
from sparsec.kernels.problem import ConvProblem
from sparsec.passes.access import RESHAPES
from sparsec.passes.evaluate import evaluate
from sparsec.passes.layer import Layer
from sparsec.passes.unit import Unit

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
_NUMPY = {"f32": np.float32, "i32": np.int32}


@dataclass(frozen=True, slots=True)
class Known:
    """The channels of an activation that are known: `mask` [channels], and `planes` [known channels, *sizes] in their order.

    Codes are unsigned numbers here.
    """

    mask: Mask
    planes: Array

    @classmethod
    def nothing(cls, channels: int, sizes: tuple[int, ...]) -> Known:
        return cls(np.zeros(channels, np.bool_), np.zeros((0, *sizes), np.float32))


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution layer with its weight as an array [filters, channels / groups, *kernels]."""

    layer: Layer
    problem: ConvProblem
    weight: Array

    @classmethod
    def of(cls, layer: Layer, unit: Unit) -> Convolution | None:
        """None if the layer is no convolution with a stored weight, of float32 or of codes."""
        if layer.contraction.name != "sparsec.conv" or layer.weight is None:
            return None
        kinds = {str(element_of(value)) for value in layer.op.operands}
        if not kinds <= ({"f32"} if str(element_of(layer.inputs[0])) == "f32" else {"f32", "i32", "i8"}):
            return None
        problem = layer.problem()
        assert isinstance(problem, ConvProblem)
        return cls(layer, problem, np.asarray(unit.weights.dense(layer.weight), np.float32))

    @property
    def x(self) -> ir.Value:
        return self.layer.inputs[0]

    @property
    def y(self) -> ir.Value:
        return self.layer.op.results[0]

    @property
    def plain(self) -> bool:
        """One group: every filter may read every channel."""
        return self.problem.groups == 1

    @property
    def channelwise(self) -> bool:
        """One filter for each channel."""
        return self.problem.groups == self.problem.channels == self.problem.filters and not self.plain

    @property
    def connected(self) -> Mask:
        """[filters, channels / groups]: true where any tap is nonzero."""
        taps: Mask = (self.weight != 0).reshape(*self.weight.shape[:2], -1)
        return np.asarray(taps.any(axis=2))

    @property
    def out_sizes(self) -> tuple[int, ...]:
        return tuple(axis.out for axis in self.problem.axes)


def constant_data(value: ir.Value, unit: Unit) -> NDArray[np.generic] | None:
    """The data of a tensor that is a weight, a constant, or a reshape of one."""
    if isinstance(value.owner, ir.Block):
        return None
    op = value.owner.operation
    if op.name == WEIGHT_OP:
        return unit.weights.dense(weight_name(op))
    if op.name == "arith.constant" and isinstance(op.attributes["value"], ir.DenseElementsAttr):
        return np.array(op.attributes["value"])
    if op.name in RESHAPES:
        source = constant_data(op.operands[0], unit)
        return source.reshape(ir.RankedTensorType(value.type).shape) if source is not None else None
    return None


def known_after(convolution: Convolution, known: Known, unit: Unit) -> Known:
    """Which output channels are known, given what is known of the input."""
    problem = convolution.problem
    nothing = Known.nothing(problem.filters, convolution.out_sizes)
    mask: Mask
    if convolution.plain:
        mask = ~np.asarray((convolution.connected & ~known.mask).any(axis=1))
    elif convolution.channelwise:
        mask = ~convolution.connected[:, 0] | known.mask
    else:
        return nothing
    operands = _epilogue_rows(convolution, mask, unit)
    if operands is None or not mask.any():
        return nothing
    epilogue = convolution.layer.epilogue()
    total = known_sum(convolution, known, mask).astype(_NUMPY[epilogue.total])
    planes = evaluate(epilogue, total, operands, convolution.layer.op.context)
    if planes is None:
        return nothing
    if epilogue.result == "i8":
        planes = np.ascontiguousarray(planes, np.int8).view(np.uint8)
    shape = (int(mask.sum()), *convolution.out_sizes)
    return Known(mask, np.broadcast_to(planes.astype(np.float32), shape))


def known_sum(convolution: Convolution, known: Known, filters: Mask) -> Array:
    """What the known channels contribute to the sums of `filters`: [chosen filters, *outs]."""
    taps = convolution.weight.reshape(*convolution.weight.shape[:2], -1)
    total = np.zeros((int(filters.sum()), *convolution.out_sizes))
    if convolution.plain:
        weights = taps[filters][:, known.mask].astype(np.float64)
        for tap, window in enumerate(_windows(known.planes, convolution.problem)):
            total += np.tensordot(weights[:, :, tap], window, axes=1)
    else:
        planes = np.zeros((convolution.problem.channels, *known.planes.shape[1:]), np.float32)
        planes[known.mask] = known.planes
        weights = taps[filters][:, 0].astype(np.float64)
        for tap, window in enumerate(_windows(planes[filters], convolution.problem)):
            total += weights[:, tap].reshape(-1, *[1] * (window.ndim - 1)) * window
    return total.astype(_NUMPY[convolution.problem.arithmetic.total])


def _windows(planes: Array, problem: ConvProblem) -> list[Array]:
    """For each tap, the input element that each output pixel reads: [channels, *outs]."""
    edges = [(0, 0), *((axis.before, axis.after) for axis in problem.axes)]
    padded = np.pad(planes, edges, constant_values=problem.pad_value)
    windows = []
    for tap in itertools.product(*(range(axis.kernel) for axis in problem.axes)):
        cut = [
            slice(t * axis.dilation, t * axis.dilation + (axis.out - 1) * axis.stride + 1, axis.stride)
            for t, axis in zip(tap, problem.axes, strict=True)
        ]
        windows.append(padded[(slice(None), *cut)])
    return windows


def _epilogue_rows(convolution: Convolution, mask: Mask, unit: Unit) -> list[NDArray[np.generic]] | None:
    """The epilogue's operands for the chosen filters, shaped to broadcast over planes; None if one is computed or has planes."""
    layer, rows = convolution.layer, list[NDArray[np.generic]]()
    for value, operand in zip(layer.inputs[layer.arity :], layer.epilogue().operands, strict=True):
        data = constant_data(value, unit)
        if data is None or operand.reach is Reach.FULL:
            return None
        flat = data.reshape(-1)
        column = flat[mask] if operand.reach is Reach.CHANNEL else flat
        rows.append(column.reshape(-1, *[1] * len(convolution.out_sizes)))
    return rows
