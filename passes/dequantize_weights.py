"""dequantize_weights: dequantised constants that no layer reads as bytes become float32 weights.

Before:
    %q = torch.aten._make_per_channel_quantized_tensor %w, %scale, %zero, %axis : ...
    %y = torch.aten.dequantize.self %q : ... -> !torch.vtensor<[4,8],f32>
After:
    %y = "sparsec.weight"() {sym_name = "w/dequantized"} ...
"""

from __future__ import annotations

import numpy as np
from torch_mlir import ir

from sparsec.formats.coo import Coo
from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import TorchBuilder, weight_of
from sparsec.ir.weights import Weight, weight_op, weight_types
from sparsec.passes.quantised_values import DEQUANTISE, dequantised_constant, made_of
from sparsec.passes.unit import Unit


def dequantize_weights(unit: Unit) -> None:
    """Compute every dequantised constant that something reads."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in DEQUANTISE):
            if not any(True for _ in op.results[0].uses):
                op.erase()
                continue
            parts, made = dequantised_constant(op.results[0], unit), made_of(op)
            if parts is None or made is None:
                continue
            codes, scale, zero, sparse = parts
            numbers = np.asarray((codes.astype(np.int32) - zero).astype(np.float32) * scale)
            weight: Weight = Coo.from_dense(numbers) if sparse else numbers
            tensor, vtensor = weight_types(weight, op.context)
            if vtensor != op.results[0].type:
                continue
            if numbers.size == 1:
                replace(op, [TorchBuilder(op).literal(numbers)])  # element-wise ops take a number in
            else:
                name = unit.weights.add(f"{weight_of(made.operands[0]) or 'constant'}/dequantized", weight)
                replace(op, [weight_op(name, tensor, vtensor, loc=op.location, ip=ir.InsertionPoint(op))])
