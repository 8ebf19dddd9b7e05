"""Attention on tensor cores of any supported GPU: softmax(scale Q K^T + mask) V for each head, in one kernel."""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int, c_longlong, c_void_p
from dataclasses import dataclass

from sparsec.cuda.code import program
from sparsec.cuda.device.driver import Device
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.dense_operands import VECTOR
from sparsec.errors import InputError

LARGEST_HEAD = 128
WGMMA = (9, 0)  # the architecture of `attention_wgmma`
_MANY = 256  # queries, of which two warpgroups have 64 each with the same keys
_LEAST_FOR_WGMMA = 40  # elements of a head, of which it takes 64 at a time


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
    """Of a block of threads: its warps, how many times 16 queries each of them has, keys at once and tiles of them in shared
    memory; `resident` blocks are to fit into a multiprocessor's registers. With `wgmma`, four warps are together and have
    16 queries each."""

    warps: int
    slabs: int
    keys: int
    stages: int
    resident: int
    wgmma: bool = False

    @property
    def queries(self) -> int:
        return self.warps * self.slabs * 16

    def padded(self, size: int) -> int:
        """What a head is filled up to."""
        return -(-size // 64) * 64 if self.wgmma else -(-size // 16) * 16

    def shared_bytes(self, size: int) -> int:
        """For tiles of keys and of values, and for queries."""
        pitch = self.padded(size) * 2 + (0 if self.wgmma else 16)
        return (2 * self.stages * self.keys + self.queries) * pitch


def refusal(sizes: AttentionSizes, q: HeadRows, k: HeadRows, v: HeadRows, y: HeadRows) -> str | None:
    """Why there is no kernel for this, or None; then it is two products and a softmax."""
    if sizes.size % VECTOR or not 0 < sizes.size <= LARGEST_HEAD:
        return f"heads of {sizes.size} elements, not a multiple of {VECTOR} up to {LARGEST_HEAD}"
    if not all(each.multiple_of(VECTOR) for each in (q, k, v, y)):
        return "rows that do not begin at a multiple of 16 bytes"
    return None


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

    Raises `InputError` where `refusal` has a reason, and for a scale that is not positive.
    """
    reason = refusal(sizes, q, k, v, y) or (None if scale > 0 else f"a scale of {scale}")
    if reason:
        raise InputError("There is no kernel for this attention.", got=reason)
    if not sizes.batch * sizes.heads * sizes.queries:
        return
    by = tile or best_tile(sizes, on, masked=mask is not None)
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
    macros = {"WARPS": by.warps, "SLABS": by.slabs, "KEYS": by.keys, "STAGES": by.stages, "RESIDENT": by.resident}
    macros |= {"SIZE": by.padded(sizes.size), "MASK": 0 if mask is None else 1 if mask.query else 2}
    macros |= {"BF16": int(dtype == BFLOAT16), "ACTIVATION": 0}
    name = "attention_wgmma" if by.wgmma else "attention_mma"
    kernel = program.function(on, name, macros, by.shared_bytes(sizes.size))
    on.launch(kernel, (sizes.batch * sizes.heads * tiles, 1), 32 * by.warps, operands, stream)


def best_tile(sizes: AttentionSizes, on: Device, *, masked: bool = False) -> AttentionTile:
    """The one that was the fastest: a mask takes registers that more keys would."""
    small = sizes.size <= 64
    if sizes.queries <= 16:
        return AttentionTile(1, 1, 64, 2, 1)
    if on.architecture != WGMMA or sizes.size < _LEAST_FOR_WGMMA:
        return AttentionTile(4, 1, 64, 2, 3 if small else 2)
    if small and not masked:
        return AttentionTile(8 if sizes.queries >= _MANY else 4, 1, 128, 2, 2, wgmma=True)
    return AttentionTile(4, 1, 64, 2, 3 if small else 2, wgmma=True)
