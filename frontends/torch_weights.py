"""Tensors of torch as weights: strided ones share their memory, sparse ones become `Coo`."""

from __future__ import annotations

from collections.abc import Mapping

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray

from sparsec.errors import UnsupportedOpError
from sparsec.formats import interchange
from sparsec.formats.coo import Coo
from sparsec.ir.weights import Weight


def weight_of_tensor(tensor: object) -> Weight:
    """`Coo` of a sparse tensor, an array of any other; raises `TypeError` if it is no tensor."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"a {type(tensor).__name__} is no tensor")
    return coo_of(tensor) if is_sparse(tensor) else array_of(tensor)


def is_sparse(tensor: torch.Tensor) -> bool:
    """Whether it has a sparse layout, or is semi-structured."""
    return tensor.layout != torch.strided or "SparseSemiStructured" in type(tensor).__name__


def coo_of(tensor: torch.Tensor) -> Coo:
    """A COO, CSR, CSC, BSR, BSC or 2:4 tensor as `Coo`, never made dense on the way."""
    tensor, shape = tensor.detach(), tuple(tensor.shape)
    if tensor.layout != torch.strided and (tensor.dense_dim() or tensor.sparse_dim() != len(shape)):
        raise UnsupportedOpError("A hybrid sparse tensor (with dense dimensions) cannot be imported", got=str(shape))
    match tensor.layout:
        case torch.strided:
            return _coo_of_semi_structured(tensor)
        case torch.sparse_coo:
            return interchange.from_coo(shape, integers_of(tensor._indices()), array_of(tensor._values()))
    by_row = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
    pointers, inner = (
        (tensor.crow_indices(), tensor.col_indices()) if by_row else (tensor.ccol_indices(), tensor.row_indices())
    )
    return _COMPRESSED[tensor.layout](shape, integers_of(pointers), integers_of(inner), array_of(tensor.values()))


_COMPRESSED: Mapping[torch.layout, interchange.FromCompressed] = {
    torch.sparse_csr: interchange.from_csr,
    torch.sparse_csc: interchange.from_csc,
    torch.sparse_bsr: interchange.from_bsr,
    torch.sparse_bsc: interchange.from_bsc,
}


def _coo_of_semi_structured(tensor: torch.Tensor) -> Coo:
    """From what torch packed for CUTLASS, which is documented; cuSPARSELt keeps its layout to itself."""
    turned = getattr(tensor, "packed", None) is None
    packed, meta = (getattr(tensor, f"{name}_t" if turned else name, None) for name in ("packed", "meta"))
    if packed is None or meta is None or meta.ndim != 2:
        raise UnsupportedOpError(
            "The layout of this semi-structured tensor is known to its backend only",
            got=type(tensor).__name__,
            expected="values and metadata as torch packs them for CUTLASS",
            next_step="assign weight.to_dense() of it, on the GPU that made it: its zeros are found again",
        )
    rows, columns = tensor.shape
    if turned:
        return interchange.from_cutlass((columns, rows), array_of(packed), integers_of(meta)).transpose()
    return interchange.from_cutlass((rows, columns), array_of(packed), integers_of(meta))


def integers_of(tensor: torch.Tensor) -> NDArray[np.integer]:
    """The elements of a strided tensor of integers."""
    return np.asarray(tensor.cpu().numpy())


def array_of(tensor: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The elements of a strided tensor as a NumPy array, shared where possible."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(tensor.resolve_conj().resolve_neg().numpy())
