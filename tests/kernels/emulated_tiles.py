"""Tile registers (AMX) on processors that have none: what generators index is then checked everywhere.

In LLVM IR text a tile becomes a vector of 256 words, and each instruction a function around NumPy. Semantics are those of
Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, except that sums of bfloat16 are rounded once.
"""

from __future__ import annotations

import ctypes
import re
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Tile = NDArray[np.uint8]  # [16 rows][64 bytes]
Number = TypeVar("Number", np.int32, np.float64)
ROWS, ROW_BYTES = 16, 64
_DECLARATION = re.compile(r"^declare [^\n]*@llvm\.x86\.t[^\n]*\.internal[^\n]*\n", re.MULTILINE)
_INTRINSIC = re.compile(r"@llvm\.x86\.(tile\w+|tdp\w+)\.internal")


def emulated(text: str) -> str:
    """LLVM IR text of kernels without types and intrinsics of AMX."""
    text = _INTRINSIC.sub(r"@\1", _DECLARATION.sub("", text)).replace("x86_amx", "<256 x i32>")
    return f"{text}\n{_DEFINITIONS}"


def _bytes_at(address: int, count: int) -> NDArray[np.uint8]:
    return np.ctypeslib.as_array((ctypes.c_uint8 * count).from_address(address))


def _tile_at(address: int) -> Tile:
    return _bytes_at(address, ROWS * ROW_BYTES).reshape(ROWS, ROW_BYTES)


def _load(rows: int, width: int, source: int, pitch: int, tile: int) -> None:
    registers = _tile_at(tile)
    registers[:] = 0
    for row in range(rows):
        registers[row, :width] = _bytes_at(source + row * pitch, width)


def _store(rows: int, width: int, target: int, pitch: int, tile: int) -> None:
    for row in range(rows):
        _bytes_at(target + row * pitch, width)[:] = _tile_at(tile)[row, :width]


def _dot_bytes(total: int, x: int, w: int) -> None:
    """Unsigned bytes of x, signed bytes of w, four to a word."""
    sums = _tile_at(total).view(np.int32)
    sums += _tile_at(x).astype(np.int32) @ _by_column(_tile_at(w).view(np.int8).astype(np.int32))


def _dot_signed(total: int, w: int, x: int) -> None:
    """Signed bytes of w, unsigned bytes of x, four to a word."""
    sums = _tile_at(total).view(np.int32)
    sums += _tile_at(w).view(np.int8).astype(np.int32) @ _by_column(_tile_at(x).astype(np.int32))


def _dot_halves(total: int, x: int, w: int) -> None:
    """bfloat16, two to a word."""
    left, right = (_widened(_tile_at(address)) for address in (x, w))
    sums = _tile_at(total).view(np.float32)
    with np.errstate(all="ignore"):
        sums += left @ _by_column(right)


def _widened(tile: Tile) -> NDArray[np.float64]:
    return (tile.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def _by_column(words: NDArray[Number]) -> NDArray[Number]:
    """[16 words][16 columns * elements of a word] as [16 * elements][16 columns]."""
    return words.reshape(ROWS, ROWS, -1).transpose(0, 2, 1).reshape(-1, ROWS)


_KINDS = (ctypes.c_int64,) * 5
_CALLBACKS = {
    "load": ctypes.CFUNCTYPE(None, *_KINDS)(_load),
    "store": ctypes.CFUNCTYPE(None, *_KINDS)(_store),
    "tdpbusd": ctypes.CFUNCTYPE(None, *_KINDS[:3])(_dot_bytes),
    "tdpbsud": ctypes.CFUNCTYPE(None, *_KINDS[:3])(_dot_signed),
    "tdpbf16ps": ctypes.CFUNCTYPE(None, *_KINDS[:3])(_dot_halves),
}


def _callback(name: str) -> str:
    address = ctypes.cast(_CALLBACKS[name], ctypes.c_void_p).value
    return f"call void inttoptr (i64 {address} to ptr)"


def _product(name: str) -> str:
    return f"""
define internal <256 x i32> @{name}(i16, i16, i16, <256 x i32> %t, <256 x i32> %x, <256 x i32> %w) noinline {{
  %pt = alloca <256 x i32>
  %px = alloca <256 x i32>
  %pw = alloca <256 x i32>
  store <256 x i32> %t, ptr %pt
  store <256 x i32> %x, ptr %px
  store <256 x i32> %w, ptr %pw
  {_callback(name)}(ptr %pt, ptr %px, ptr %pw)
  %y = load <256 x i32>, ptr %pt
  ret <256 x i32> %y
}}"""


_DEFINITIONS = f"""
define internal <256 x i32> @tilezero(i16, i16) {{
  ret <256 x i32> zeroinitializer
}}
define internal <256 x i32> @tileloadd64(i16 %rows, i16 %width, ptr %source, i64 %pitch) noinline {{
  %tile = alloca <256 x i32>
  %r = zext i16 %rows to i64
  %w = zext i16 %width to i64
  {_callback("load")}(i64 %r, i64 %w, ptr %source, i64 %pitch, ptr %tile)
  %y = load <256 x i32>, ptr %tile
  ret <256 x i32> %y
}}
define internal void @tilestored64(i16 %rows, i16 %width, ptr %target, i64 %pitch, <256 x i32> %value) noinline {{
  %tile = alloca <256 x i32>
  store <256 x i32> %value, ptr %tile
  %r = zext i16 %rows to i64
  %w = zext i16 %width to i64
  {_callback("store")}(i64 %r, i64 %w, ptr %target, i64 %pitch, ptr %tile)
  ret void
}}
{_product("tdpbusd")}
{_product("tdpbsud")}
{_product("tdpbf16ps")}
"""
