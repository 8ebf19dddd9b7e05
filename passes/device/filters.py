"""Weights of layers in another shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import element_of
from sparsec.ir.weights import weight_op
from sparsec.passes.layer import Layer
from sparsec.passes.unit import Unit

Change = Callable[[NDArray[np.generic]], NDArray[np.generic]]


def reshaped(layer: Layer, suffix: str, change: Change, unit: Unit) -> ir.Value:
    """A new weight that is made of a layer's own, and named after it."""
    name = layer.weight
    assert name is not None, "only layers that have weights"
    made = change(unit.weights.dense(name))
    kind = ir.MemRefType.get(list(made.shape), element_of(layer.inputs[1]))
    own = unit.weights.add(f"{name}/{suffix}", made)
    return weight_op(own, kind, None, loc=layer.op.location, ip=ir.InsertionPoint(layer.op))
