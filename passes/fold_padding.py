"""fold_padding: a pad with zeros, or of bytes with the zero point, that only convolutions read becomes their own padding.

Before:
    %p = torch.aten.constant_pad_nd %x, [1, 1, 0, 2], 0.0 : ...
    %y = "sparsec.conv"(to_builtin(%p), %w) {before = array<i64: 0, 0>, after = array<i64: 0, 0>, ...}
After:
    %y = "sparsec.conv"(to_builtin(%x), %w) {before = array<i64: 0, 1>, after = array<i64: 2, 1>, ...}
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import find, integers, users
from sparsec.ir.torch_values import FROM_TORCH_OP, TorchBuilder, integer_list, scalar, tensor_shape
from sparsec.passes.quantised_values import CAST
from sparsec.passes.unit import Unit


def fold_padding(unit: Unit) -> None:
    """Absorb every `aten.constant_pad_nd` on spatial axes whose readers are all `sparsec.conv` that pad with its number."""
    for pad in find(unit.module, lambda op: op.name == "torch.aten.constant_pad_nd"):
        x, amounts, value = pad.operands
        shape, pads = tensor_shape(x), integer_list(amounts)
        casts = _readers(pad)
        convolutions = [user for cast in casts if cast.results for user in users(cast.results[0])]
        if shape is None or not pads or min(pads) < 0 or any(pads[2 * (len(shape) - 2) :]):
            continue  # a pad of channels or batch stays
        fits = all(_reads(c, casts) and _pad_value(c) == scalar(value) for c in convolutions)
        if all(cast.name == FROM_TORCH_OP for cast in casts) and fits:
            _absorb(pad, casts, convolutions, pads, axes=len(shape) - 2)


def _readers(pad: ir.Operation) -> list[ir.Operation]:
    """Who reads the pad; steps of a dequantisation that ended in layers on bytes, and that nobody reads now, are erased."""
    for reader in users(pad.results[0]):
        if reader.name == CAST and not users(reader.results[0]):
            reader.erase()
    return users(pad.results[0])


def _reads(op: ir.Operation, casts: list[ir.Operation]) -> bool:
    return op.name == "sparsec.conv" and any(op.operands[0] == cast.results[0] for cast in casts)


def _pad_value(convolution: ir.Operation) -> int:
    """What its padding holds: 0, or the zero point of bytes."""
    known = "pad_value" in convolution.attributes
    return int(ir.IntegerAttr(convolution.attributes["pad_value"]).value) if known else 0


def _absorb(
    pad: ir.Operation, casts: list[ir.Operation], convolutions: list[ir.Operation], pads: tuple[int, ...], *, axes: int
) -> None:
    last_first = [*pads, *[0] * (2 * axes)][: 2 * axes]  # torch lists (before, after) from the last axis backwards
    extra = {"before": last_first[-2::-2], "after": last_first[-1::-2]}
    for convolution in convolutions:
        for name, amounts in extra.items():
            total = [own + more for own, more in zip(integers(convolution.attributes[name]), amounts, strict=True)]
            convolution.attributes[name] = ir.DenseI64ArrayAttr.get(total, pad.context)
        convolution.operands[0] = TorchBuilder(convolution).to_builtin(pad.operands[0])
    for cast in casts:
        cast.erase()
    pad.erase()
