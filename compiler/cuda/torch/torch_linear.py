"""`torch.nn.Linear` with a sparse weight: the operator `sparsec::linear`, which torch can compile and capture."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable

import torch

from sparsec.cuda.products.product import matmul, prepare
from sparsec.cuda.products.weights import Pattern, compress
from sparsec.errors import UsageError

_NUMBERS = itertools.count(1)
_LAYERS: weakref.WeakValueDictionary[int, Layer] = weakref.WeakValueDictionary()


class Layer:
    """A weight [m, k] on a GPU and its bias; `sparsec::linear` finds it by `number`, as long as somebody keeps it."""

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, pattern: Pattern, tokens: Iterable[int]
    ) -> None:
        counts = list(tokens)
        self.weight = compress(weight.detach(), pattern, tokens=counts, gpu=weight.device.index or 0)
        self.bias = None if bias is None else bias.detach().float()
        for each in counts:
            prepare(self.weight, each)
        self.number = next(_NUMBERS)
        _LAYERS[self.number] = self

    def __deepcopy__(self, memo: object) -> Layer:
        return self  # a constant


@torch.library.custom_op("sparsec::linear", mutates_args=(), device_types="cuda")
def linear(x: torch.Tensor, layer: int, rows: int) -> torch.Tensor:
    """x W^T + bias for x [..., k] and the layer with this number, which has so many rows; on torch's current stream."""
    flat = x.reshape(-1, x.shape[-1])
    out = flat.new_empty(flat.shape[0], rows)
    matmul(_LAYERS[layer].weight, flat.detach(), bias=_LAYERS[layer].bias, out=out)
    return out.view(*x.shape[:-1], rows)


@linear.register_fake
def _(x: torch.Tensor, layer: int, rows: int) -> torch.Tensor:
    return x.new_empty(*x.shape[:-1], rows)


class SparseLinear(torch.nn.Module):
    """What `convert` puts in the place of a `torch.nn.Linear`: for inference, its weight and bias are constants.

    Nothing moves, casts or saves it. `weight` has the shape and the type for whom it concerns, and no values (torch's device
    `meta`), so that those who would multiply with it themselves do not.
    """

    def __init__(
        self, weight: torch.Tensor, bias: torch.Tensor | None, pattern: Pattern, tokens: Iterable[int]
    ) -> None:
        super().__init__()
        self.layer = Layer(weight, bias, pattern, tokens)
        self.out_features, self.in_features = weight.shape
        self.pattern = pattern
        self.weight = torch.empty_like(weight, device="meta")

    def _save_to_state_dict(self, destination: object, prefix: str, keep_vars: object) -> None:
        raise UsageError(
            "A converted layer has no weights that torch could save.",
            where=prefix.removesuffix("."),
            next_step="save the network before sparsec.cuda.convert, and convert it after it was loaded",
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.ops.sparsec.linear(x, self.layer.number, self.out_features)
        return made

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, pattern={self.pattern}"
