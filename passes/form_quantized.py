"""form_quantized: contractions of quantised activations, with quantised weights or each other, become layers on bytes.

Before (%q are codes of ui8, %w is a dequantised constant of si8):
    %f = torch.aten.to.dtype %q ...  %c = torch.aten.sub.Tensor %f, 3.0 ...  %x = torch.aten.mul.Tensor %c, 0.5 ...
    %y = torch.aten.linear %x, %w, %b : ...
After:
    %0 = "sparsec.linear"(%qt, %w8) : (tensor<8x16xi8>, tensor<4x16xi8>) -> tensor<8x4xi32>
    %1 = torch.aten.add.Tensor %0, -3 * sums of the rows of w + bias   %2 = torch.aten.to.dtype %1 (f32)
    %y = torch.aten.mul.Tensor %2, 0.5 * scale of w

The layer takes unsigned bytes of x and signed ones of w without zero points; what those add is a constant of each output, or, where the
weight has one, a multiple of the sum of x (Jacob et al., CVPR 2018, section 2.3). Where a quantisation follows, its scale goes into the
product, as in ONNX Runtime's integer operators: scale of x * scale of w / scale of y. All of that is ordinary arithmetic, which
`fuse_epilogue` puts into the kernel. Products of two activations have their zero points as attributes. A contraction that no kernel
can compute so stays in float32, and the report says why.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.module import find
from sparsec.ir.torch_values import tensor_shape
from sparsec.kernels.problem import Problem
from sparsec.kernels.table import KERNELS
from sparsec.passes.contraction import CONTRACTIONS, FLOAT32_BECAUSE, contraction_of
from sparsec.passes.quantised_contraction import QuantisedContraction
from sparsec.passes.quantised_layer import INT32_MAX, form
from sparsec.passes.quantised_product import PRODUCTS, QuantisedProduct, form_product, product_of
from sparsec.passes.quantised_values import activation_of, weight_codes
from sparsec.passes.unit import Unit


def form_quantized(unit: Unit) -> None:
    """Form every layer on bytes that some kernel computes exactly."""
    stayed: dict[str, int] = {}
    with unit.module.context, ir.Location.unknown():
        for op in find(unit.module, lambda op: op.name in (*CONTRACTIONS, *PRODUCTS)):
            quantised = _read(op, unit)
            if quantised is None:
                continue
            unit.quantised = True
            reason = _refusal(quantised, unit)
            if reason is None:
                _form(quantised, unit)
            else:
                op.attributes[FLOAT32_BECAUSE] = ir.StringAttr.get(reason)
                stayed[reason] = stayed.get(reason, 0) + 1
    for reason, number in stayed.items():
        unit.notes.append(f"{number} quantised layers stay in float32: {reason}")


Quantised = QuantisedContraction | QuantisedProduct


def _read(op: ir.Operation, unit: Unit) -> Quantised | None:
    """None if one of the operands is not quantised."""
    contraction = contraction_of(op)
    if contraction is None or tensor_shape(op.results[0]) is None:
        return product_of(op, unit)
    x = activation_of(contraction.x, unit)
    w = weight_codes(contraction.w, unit, transposed=contraction.transposed) if x is not None else None
    return QuantisedContraction(contraction, x, w) if x is not None and w is not None else product_of(op, unit)


def _form(quantised: Quantised, unit: Unit) -> None:
    match quantised:
        case QuantisedContraction():
            form(quantised, unit)
        case QuantisedProduct():
            form_product(quantised, unit)


def _refusal(quantised: Quantised, unit: Unit) -> str | None:
    """Why the contraction cannot be a layer on bytes; None if it can."""
    if isinstance(quantised, QuantisedProduct):
        if not all(0 <= zero <= 255 for zero in quantised.zeros):
            return "the zero point of its activations is no 8-bit number"
        return _refusal_of_kernels(quantised.problem(), unit)
    if quantised.w.largest_sum > INT32_MAX:
        return "sums of its products may exceed 32 bits"
    if not 0 <= quantised.zero <= 255:
        return "the zero point of its activations is no 8-bit number"
    if quantised.padded and quantised.zero_value is not None:
        return "its padding is a zero point that is only known when running"
    if quantised.w.shift.any() and quantised.contraction.name != "sparsec.linear":
        return "the zero point of its weight would need sums over windows"
    return _refusal_of_kernels(quantised.problem(), unit)


def _refusal_of_kernels(problem: Problem, unit: Unit) -> str | None:
    refusals = [kernel.refuses(problem, unit.isa) for kernel in KERNELS.values()]
    return None if None in refusals else "no kernel computes such a layer on bytes"
