"""The memory of a module, and what is in it at the start.

Its own memory is filled by the engine. One that the host makes is shared by several instances, of which one alone may
fill it: by a call of `initialise`, which copies the module's data to their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsec.targets import wasm_binary as wasm
from sparsec.targets.wasm_object import FUNCTION, Part, Symbol, WasmObject

PAGE = 65536
HOST = "sparsec"  # the module that a shared memory is imported from
INITIALISE = "initialise"
_MEMORY, _MOST_PAGES = 2, 65536
_LIMITS, _SHARED = 1, 2  # flags: there is a maximum; several instances use it
_CONSTANT, _END = b"\x41", b"\x0b"
_COPY = b"\xfc\x08"  # memory.init
_NO_TYPE = b"\x60\0\0"  # of a function without parameters and results


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that are at `address` when the module starts."""

    address: int
    content: bytes


def own_memory(pages: int) -> bytes:
    """The type of a memory of so many pages."""
    return bytes([_LIMITS]) + wasm.unsigned(pages) * 2


def shared_memory(pages: int) -> bytes:
    """The import of a memory that the host makes with so many pages or more: stacks of threads lie behind the others."""
    limits = bytes([_LIMITS | _SHARED]) + wasm.unsigned(pages) + wasm.unsigned(_MOST_PAGES)
    return wasm.name(HOST) + wasm.name("memory") + bytes([_MEMORY]) + limits


def active(segment: Segment) -> bytes:
    """Data that the engine copies to its place."""
    return b"\0" + _constant(segment.address) + _END + _content(segment)


def passive(segment: Segment) -> bytes:
    """Data that lies there until somebody copies it."""
    return b"\1" + _content(segment)


def initialiser(segments: Sequence[Segment]) -> WasmObject:
    """An object with the function `initialise`, which copies all `segments`, the data of a module in this order."""
    copies = [
        _constant(segment.address)
        + _constant(0)
        + _constant(len(segment.content))
        + _COPY
        + wasm.unsigned(number)
        + b"\0"
        for number, segment in enumerate(segments)
    ]
    code = b"\0" + b"".join(copies) + _END
    symbol = Symbol(FUNCTION, INITIALISE, local=False, defined=True, index=0)
    return WasmObject((_NO_TYPE,), (), (0,), (Part(wasm.unsigned(len(code)) + code),), (), (symbol,))


def _constant(value: int) -> bytes:
    """The instruction that gives an unsigned number of 32 bits."""
    return _CONSTANT + wasm.signed(value - (value >> 31 << 32))


def _content(segment: Segment) -> bytes:
    return wasm.unsigned(len(segment.content)) + segment.content
