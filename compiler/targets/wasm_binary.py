"""The primitives of the WebAssembly binary format: LEB128 numbers, names, vectors, sections (core specification, chapter 5)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

HEADER = b"\0asm\1\0\0\0"

Item = TypeVar("Item")


def unsigned(value: int, *, width: int = 0) -> bytes:
    """LEB128; of exactly `width` bytes if that is given."""
    return _leb128(value, max(value.bit_length(), 1), width)


def signed(value: int, *, width: int = 0) -> bytes:
    """Signed LEB128; of exactly `width` bytes if that is given."""
    return _leb128(value, (~value if value < 0 else value).bit_length() + 1, width)


def _leb128(value: int, bits: int, width: int) -> bytes:
    """The lowest `bits` of a number and more until bytes are full, seven to a byte, the first ones first."""
    count = max(-(-bits // 7), width)
    last = count - 1
    return bytes([value >> 7 * place & 0x7F | (0x80 if place < last else 0) for place in range(count)])


def name(text: str) -> bytes:
    raw = text.encode()
    return unsigned(len(raw)) + raw


def vector(items: Sequence[bytes]) -> bytes:
    return unsigned(len(items)) + b"".join(items)


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + unsigned(len(content)) + content


def custom(title: str, content: bytes) -> bytes:
    return section(0, name(title) + content)


@dataclass(slots=True)
class Reader:
    """Reads numbers and names of `data` from `at` on; an index outside raises `IndexError`."""

    data: bytes
    at: int = 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def u32(self) -> int:
        """A 32-bit little-endian number."""
        (value,) = struct.unpack_from("<I", self.data, self.at)
        self.at += 4
        return int(value)

    def unsigned(self) -> int:
        return self._leb128()[0]

    def signed(self) -> int:
        value, bits = self._leb128()
        return value - (1 << bits) if value >> bits - 1 else value

    def _leb128(self) -> tuple[int, int]:
        """A number, and how many bits it was written with."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, shift

    def bytes(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise IndexError("the end is missing")
        self.at += count
        return self.data[self.at - count : self.at]

    def name(self) -> str:
        return self.bytes(self.unsigned()).decode()

    def vector(self, item: Callable[[], Item]) -> list[Item]:
        return [item() for _ in range(self.unsigned())]
