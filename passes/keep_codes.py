"""keep_codes: a quantisation of what was dequantised alike, and only moved since, is undone.

Before (all with scale 0.5 and zero point 3):
    %f = torch.aten.to.dtype %q (f32)   %c = torch.aten.sub.Tensor %f, 3.0   %x = torch.aten.mul.Tensor %c, 0.5
    %t = torch.aten.transpose.int %x, ...
    %d = torch.aten.div.Tensor %t, 0.5   ... round, add 3.0, clamp, cast ...   %r = torch.aten.to.dtype ... (ui8)
After:
    %r = torch.aten.transpose.int %q, ... : !torch.vtensor<[8,4],ui8>

Quantisers of graphs put such pairs around operators that only move elements, so that each operator stands between one and the other.
"""

from __future__ import annotations

import numpy as np
from torch_mlir import ir

from sparsec.ir.module import find, replace
from sparsec.ir.torch_values import tensor_element
from sparsec.passes.quantised_values import CAST, Activation, Quantisation, activation_of, quantisation_of
from sparsec.passes.unit import Unit

_RANGES = {"ui8": (0, 255), "si8": (-128, 127)}


def keep_codes(unit: Unit) -> None:
    """Replace each such quantisation by the moved codes."""
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name == CAST):
            quantisation = quantisation_of(op, unit)
            codes = activation_of(quantisation.value, unit) if quantisation is not None else None
            if codes is not None and quantisation is not None and _alike(codes, quantisation):
                replace(op, [codes.moved(op)])


def _alike(codes: Activation, quantisation: Quantisation) -> bool:
    """Both have the same constant scale and zero point and the whole range of the same type."""
    scale, zero = codes.scale, codes.zero if codes.zero is not None else 0.0
    return (
        isinstance(scale, float)
        and isinstance(zero, float)
        and isinstance(quantisation.scale, float)
        and np.float32(scale) == np.float32(quantisation.scale)
        and zero == quantisation.zero
        and (quantisation.low, quantisation.high) == _RANGES[quantisation.element]
        and tensor_element(codes.codes) == quantisation.element
    )
