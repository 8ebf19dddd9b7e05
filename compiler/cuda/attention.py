"""Attention on tensor cores of any supported GPU: softmax(scale Q K^T + mask) V for each head, in one kernel."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_longlong, c_void_p
from dataclasses import dataclass

from sparsec.cuda import program
from sparsec.cuda.dense_operands import VECTOR
from sparsec.cuda.driver import Device
from sparsec.cuda.tensors import BFLOAT16
from sparsec.errors import InputError

LARGEST_HEAD = 128
KEYS, STAGES = 64, 2


@dataclass(frozen=True, slots=True)
class AttentionSizes:
    """q [batch, heads, queries, size], k and v [batch, key_heads, keys, size]; heads / key_heads heads share k and v."""

    batch: int
    heads: int
    key_heads: int
    queries: int
    keys: int
    size: int


class _Heads(ctypes.Structure):
    _fields_ = (("at", c_void_p), *((name, c_longlong) for name in ("batch", "head", "token")))


@dataclass(frozen=True, slots=True)
class HeadRows:
    """Rows of heads, of 16-bit elements; strides in elements. Elements of a row have no gaps."""

    address: int
    batch: int
    head: int
    token: int

    def multiple_of(self, elements: int) -> bool:
        """Whether all rows begin at a multiple of so many elements."""
        return self.address % (2 * elements) == 0 and all(
            each % elements == 0 for each in (self.batch, self.head, self.token)
        )


@dataclass(frozen=True, slots=True)
class MaskRows:
    """float32 [batch, heads, queries, keys]; strides in elements, 0 for an axis that is shared."""

    address: int
    batch: int
    head: int
    query: int
    key: int


class _Operands(ctypes.Structure):
    _fields_ = (
        *((name, _Heads) for name in ("q", "k", "v", "y")),
        ("mask", c_void_p),
        *((name, c_longlong) for name in ("mask_batch", "mask_head", "mask_query", "mask_key")),
        ("scale", c_float),
        *((name, c_int) for name in ("heads", "shared_by", "queries", "keys", "size", "tiles", "causal")),
    )


@dataclass(frozen=True, slots=True)
class AttentionTile:
    """Of a block of threads: warps, and how many times 16 queries each of them has."""

    warps: int
    slabs: int

    @property
    def queries(self) -> int:
        return self.warps * self.slabs * 16


def refusal(sizes: AttentionSizes, q: HeadRows, k: HeadRows, v: HeadRows, y: HeadRows) -> str | None:
    """Why there is no kernel for this, or None; then it is two products and a softmax."""
    if sizes.size % VECTOR or not 0 < sizes.size <= LARGEST_HEAD:
        return f"heads of {sizes.size} elements, not a multiple of {VECTOR} up to {LARGEST_HEAD}"
    if not all(each.multiple_of(VECTOR) for each in (q, k, v)):
        return "rows of q, k or v that do not begin at a multiple of 16 bytes"
    return None if y.multiple_of(2) else "rows of y that do not begin at a multiple of 4 bytes"


def launch(
    on: Device,
    dtype: str,
    sizes: AttentionSizes,
    q: HeadRows,
    k: HeadRows,
    v: HeadRows,
    y: HeadRows,
    stream: int,
    *,
    scale: float,
    mask: MaskRows | None = None,
    causal: bool = False,
    tile: AttentionTile | None = None,
) -> None:
    """Put it on a stream. With `causal`, query i meets keys 0 to i + keys - queries; a query without a key gives NaN.

    Raises `InputError` where `refusal` has a reason.
    """
    reason = refusal(sizes, q, k, v, y)
    if reason:
        raise InputError("There is no kernel for this attention.", got=reason)
    if not sizes.batch * sizes.heads * sizes.queries:
        return
    by = tile or _tile(sizes)
    size = -(-sizes.size // 16) * 16
    tiles = -(-sizes.queries // by.queries)
    added = mask or MaskRows(0, 0, 0, 0, 0)
    operands = _Operands(
        *(_Heads(each.address, each.batch, each.head, each.token) for each in (q, k, v, y)),
        *(added.address, added.batch, added.head, added.query, added.key),
        *(
            scale,
            sizes.heads,
            sizes.heads // sizes.key_heads,
            sizes.queries,
            sizes.keys,
            sizes.size,
            tiles,
            int(causal),
        ),
    )
    macros = {"WARPS": by.warps, "SLABS": by.slabs, "KEYS": KEYS, "STAGES": STAGES, "SIZE": size}
    macros |= {"MASK": 0 if mask is None else 1 if mask.query else 2, "BF16": int(dtype == BFLOAT16), "ACTIVATION": 0}
    kernel = program.function(on, "attention", macros, STAGES * 2 * KEYS * (2 * size + 16))
    on.launch(kernel, (sizes.batch * sizes.heads * tiles, 1), 32 * by.warps, operands, stream)


def _tile(sizes: AttentionSizes) -> AttentionTile:
    """As many queries as there are registers for, of those that there are."""
    slabs = 2 if sizes.size <= 64 and sizes.queries > 64 else 1
    return AttentionTile(4 if sizes.queries > 16 else 1, slabs)
