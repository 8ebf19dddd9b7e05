"""Quantisation in exported programs (`quantized_decomposed`, which PT2E quantisers insert) as arithmetic.

A quantisation becomes arithmetic that ends in a cast to 8 bit. Dequantisations with constant parameters stay, for upstream
turns them into ops of the torch dialect from which passes read weights; with computed ones they become arithmetic, too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.ao.quantization.fx._decomposed  # registers the operators

operators = torch.ops.quantized_decomposed

Number = float | torch.Tensor


def quantize(x: torch.Tensor, scale: Number, zero: Number, low: int, high: int, dtype: torch.dtype) -> torch.Tensor:
    """`quantize_per_tensor`: the product with 1 / scale, rounded to even, plus the zero point, clamped."""
    inverse = 1.0 / (scale.to(torch.float64) if isinstance(scale, torch.Tensor) else scale)
    if isinstance(inverse, torch.Tensor):
        inverse = inverse.to(torch.float32)
    moved = torch.round(x.to(torch.float32) * inverse)
    if isinstance(zero, torch.Tensor) or zero:
        moved = moved + (zero.to(torch.float32) if isinstance(zero, torch.Tensor) else zero)
    bounds = (torch.full((), float(low)), torch.full((), float(high)))
    bounded: torch.Tensor = torch.ops.aten.clamp.Tensor(moved, *bounds)
    return bounded.to(torch.int32).to(dtype)


def dequantize(
    x: torch.Tensor,
    scale: torch.Tensor,
    zero: torch.Tensor,
    low: int,
    high: int,
    dtype: torch.dtype,
    *,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """`dequantize_per_tensor` with computed parameters."""
    centred = x.to(torch.float32) - zero.to(torch.float32)
    return (centred * scale.to(torch.float32)).to(out_dtype or torch.float32)


def choose_parameters(
    x: torch.Tensor, low: int, high: int, eps: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """`choose_qparams`: scale (float64) and zero point (int64) of the range of `x`, widened to hold zero."""
    none = torch.zeros((), dtype=x.dtype)
    least, greatest = torch.minimum(x.amin(), none), torch.maximum(x.amax(), none)
    scale = torch.maximum((greatest - least) / float(high - low), torch.full((), eps))
    zero = torch.clamp(low - torch.round(least / scale), low, high)
    return scale.reshape(1).to(torch.float64), zero.reshape(1).to(torch.int64)


QUANTISED: dict[torch._ops.OpOverload, Callable[..., object]] = {
    operators.quantize_per_tensor.default: quantize,
    operators.quantize_per_tensor.tensor: quantize,
    operators.dequantize_per_tensor.tensor: dequantize,
    operators.choose_qparams.tensor: choose_parameters,
}
"""Their decompositions."""

DEQUANTISE = frozenset([operators.dequantize_per_tensor.default, operators.dequantize_per_channel.default])
"""Dequantisations that stay: weights keep their bytes."""
