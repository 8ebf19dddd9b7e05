"""lift_weights: literals that contractions read become weights too, however small.

Before:
    %w = torch.vtensor.literal(dense<...> : tensor<2x3x1x1xf32>) ...   %y = torch.aten.convolution %x, %w, ...
After:
    %w = "sparsec.weight"() {sym_name = "conv1.weight"} : () -> tensor<2x3x1x1xf32> ...

Frontends lift large constants only, since shapes and scales must stay readable to torch-mlir's own folders.
"""

from __future__ import annotations

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import TorchBuilder, definition, tensor_element, tensor_shape
from sparsec.passes.unit import Unit

_CONTRACTIONS = (
    "torch.aten.convolution",
    "torch.aten.linear",
    "torch.aten.mm",
    "torch.aten.matmul",
    "torch.aten.addmm",
)


def lift_weights(unit: Unit) -> None:
    """Lift every float32 literal that is an operand of a contraction."""
    with unit.module.context, ir.Location.unknown():
        for contraction in find(unit.module, lambda op: op.name in _CONTRACTIONS):
            for operand in list(contraction.operands):
                literal = definition(operand)
                if literal is not None and literal.name == "torch.vtensor.literal" and tensor_element(operand) == "f32":
                    _lift(literal, unit)


def _lift(literal: ir.Operation, unit: Unit) -> None:
    attribute = literal.attributes["value"]
    if not isinstance(attribute, ir.DenseElementsAttr) or not tensor_shape(literal.results[0]):
        return
    array = np.array(attribute, dtype=np.float32)
    replace(literal, [TorchBuilder(literal).weight(unit.weights, "literal", array)])
