"""What follows a product of codes and is taken into its layer: casts, activations and the quantisation of the result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.ir.module import replace
from sparsec.ir.torch_values import tensor_element
from sparsec.passes.quantised_values import CAST, CODES, Quantisation, only_user, quantisation_of
from sparsec.passes.unit import Unit

_STEPS = (
    "torch.aten.div.Tensor",
    "torch.aten.mul.Tensor",
    "torch.aten.mul.Scalar",
    "torch.aten.round",
    "torch.aten.add.Tensor",
    "torch.aten.clamp.Tensor",
    "torch.aten.clamp",
    CAST,
)
"""The ops of a quantisation."""


@dataclass(slots=True)
class Chain:
    """Ops that read each other alone, from the contraction on; what is built takes the place of the last."""

    ops: list[ir.Operation]

    @property
    def end(self) -> ir.Operation:
        return self.ops[-1]

    def reader(self) -> ir.Operation | None:
        return only_user(self.end.results[0])

    def replace(self, value: ir.Value) -> None:
        replace(self.end, [value])
        for op in reversed(self.ops[:-1]):
            op.erase()


def take_integer_cast(element: str, chain: Chain) -> str:
    """The element type of the result; an integer operator is in float64 only where it stays so, and is cast back."""
    reader = chain.reader()
    if element == "f64" and reader is not None and reader.name == CAST and tensor_element(reader.results[0]) == "si32":
        chain.ops.append(reader)
        return "si32"
    return element


def take_quantisation(
    given: NDArray[np.float32] | None, chain: Chain, unit: Unit
) -> tuple[NDArray[np.float32] | None, bool]:
    """The factor of the sums (None is 1), and whether they are rectified then.

    The division of a quantisation that follows goes into the factor `given`.
    In ONNX Runtime's order: (scale of x * scale of w) / scale of y.
    """
    scale, reader, taken, rectified = given, chain.reader(), list[ir.Operation](), False
    while reader is not None and reader.name == "torch.aten.relu":
        taken, rectified, reader = [*taken, reader], True, only_user(reader.results[0])
    quantisation = _quantisation_at(reader, unit)
    if scale is None or quantisation is None or not isinstance(quantisation.scale, float):
        return scale, False
    chain.ops += [*taken, quantisation.division]
    redundant = isinstance(quantisation.zero, float) and quantisation.low >= quantisation.zero
    return scale / np.float32(quantisation.scale), rectified and not redundant


def _quantisation_at(division: ir.Operation | None, unit: Unit) -> Quantisation | None:
    """The quantisation that begins with `division`, if nothing else reads the steps of it."""
    op = division if division is not None and division.name in _STEPS else None
    while op is not None and not (op.name == CAST and tensor_element(op.results[0]) in CODES):
        op = only_user(op.results[0]) if op.name in _STEPS else None
    found = quantisation_of(op, unit) if op is not None else None
    return found if found is not None and found.division == division else None
