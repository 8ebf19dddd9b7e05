"""A contraction of codes of 8 bit, of which `quantised_layer` makes a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import integers
from sparsec.ir.torch_values import tensor_element, tensor_shape
from sparsec.ir.weights import Weight
from sparsec.kernels.arithmetic import U8S8
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem, Problem
from sparsec.passes.contraction import Contraction
from sparsec.passes.quantised_values import Activation, QuantisedWeight


@dataclass(frozen=True, slots=True)
class QuantisedContraction:
    """A contraction of codes of 8 bit; `zero` and `zero_value` are the constant and the computed zero point of unsigned ones."""

    contraction: Contraction
    x: Activation
    w: QuantisedWeight

    @property
    def signed(self) -> bool:
        return tensor_element(self.x.codes) == "si8"

    @property
    def zero(self) -> int:
        return (128 if self.signed else 0) + (round(self.x.zero) if isinstance(self.x.zero, float) else 0)

    @property
    def zero_value(self) -> ir.Value | None:
        return self.x.zero if isinstance(self.x.zero, ir.Value) else None

    @property
    def padded(self) -> bool:
        attributes = self.contraction.attributes
        return any(any(integers(attributes[name])) for name in ("before", "after") if name in attributes)

    @property
    def outputs(self) -> int:
        return len(self.w.codes)

    @property
    def inputs(self) -> int:
        """Products per sum."""
        return math.prod(self.w.codes.shape[1:])

    @property
    def scale(self) -> NDArray[np.float32] | None:
        """The constant part of the scale of the sums, of one element or one for each output; None is 1."""
        of_x, of_w = self.x.scale, self.w.scale
        if not isinstance(of_x, float):
            return of_w
        return np.float32(of_x) * (np.ones((), np.float32) if of_w is None else of_w)

    def problem(self) -> Problem:
        """What is asked of a kernel."""
        x, attributes = tensor_shape(self.contraction.x) or (), self.contraction.attributes
        w = self.w.codes.shape
        if self.contraction.name == "sparsec.linear":
            return LinearProblem(math.prod(x[:-1]), x[-1], w[0], U8S8)
        names = ("strides", "dilations", "before", "after")
        axes = tuple(map(Axis, x[2:], w[2:], *(integers(attributes[name]) for name in names)))
        return ConvProblem(x[0], x[1], w[0], ir.IntegerAttr(attributes["groups"]).value, axes, U8S8)

    def along_outputs(self, data: NDArray[np.generic]) -> NDArray[np.generic]:
        """One number for each output, in the shape in which it lies along the result's axis of outputs."""
        if self.contraction.name == "sparsec.linear" or data.size == 1:
            return data
        axes = len(self.w.codes.shape) - 2
        return data.reshape(1, -1, *[1] * axes)

    def of_outputs(self, data: Weight | None) -> NDArray[np.generic] | None:
        """Numbers that lie along the axis of outputs as a vector; None if they lie otherwise."""
        if not isinstance(data, np.ndarray) or data.size != self.outputs:
            return None
        axis = -1 if self.contraction.name == "sparsec.linear" else 1 - len(self.w.codes.shape)
        lies = data.ndim >= -axis and data.shape[axis] == self.outputs
        return data.reshape(-1) if lies else None
