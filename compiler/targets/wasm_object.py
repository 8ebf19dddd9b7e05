"""Relocatable WebAssembly objects, as LLVM writes them, taken apart (tool-conventions, Linking.md).

What kernels have no use for is refused: function tables, globals of their own, tags, sections with debugging data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import partial

from sparsec.errors import ToolchainError
from sparsec.targets.wasm_binary import HEADER, Reader

FUNCTION_INDEX_LEB, MEMORY_ADDR_LEB, MEMORY_ADDR_SLEB, MEMORY_ADDR_I32, TYPE_INDEX_LEB, GLOBAL_INDEX_LEB = (
    0,
    3,
    4,
    5,
    6,
    7,
)
_WITH_ADDEND = (MEMORY_ADDR_LEB, MEMORY_ADDR_SLEB, MEMORY_ADDR_I32)
_KNOWN = (FUNCTION_INDEX_LEB, *_WITH_ADDEND, TYPE_INDEX_LEB, GLOBAL_INDEX_LEB)

FUNCTION, DATA, GLOBAL = 0, 1, 2  # kinds of symbols
_LOCAL, _UNDEFINED, _EXPLICIT_NAME = 0x02, 0x10, 0x40

_TYPE, _IMPORT, _FUNCTIONS, _CODE, _DATA_SECTION = 1, 2, 3, 10, 11
_SEGMENT_INFO, _SYMBOL_TABLE = 5, 8
STACK_POINTER = "__stack_pointer"


@dataclass(frozen=True, slots=True)
class Relocation:
    """A place, `at` bytes into its function or segment, for a symbol (or a type); `addend` counts bytes."""

    kind: int
    at: int
    index: int
    addend: int


@dataclass(frozen=True, slots=True)
class Part:
    """The body of a function with its length in front, or the bytes of a data segment."""

    content: bytes
    relocations: tuple[Relocation, ...] = ()
    alignment: int = 1


@dataclass(frozen=True, slots=True)
class Symbol:
    """`index` counts this object's functions, imported ones first, or its segments; `offset` lies in that segment."""

    kind: int
    name: str
    local: bool
    defined: bool
    index: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class WasmObject:
    """`types` in binary form; `imported` and `functions` hold the numbers of their types; bodies are those of `functions`."""

    types: tuple[bytes, ...]
    imported: tuple[int, ...]
    functions: tuple[int, ...]
    bodies: tuple[Part, ...]
    segments: tuple[Part, ...]
    symbols: tuple[Symbol, ...]


def take_apart(data: bytes) -> WasmObject:
    """Raises `ToolchainError` for what is not an object, is damaged, or uses what kernels must not."""
    try:
        return _Sections(data).object()
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise ToolchainError("The object file is damaged.", got=str(error)) from error


class _Sections:
    """The sections of an object; custom ones by name, the others by number."""

    def __init__(self, data: bytes) -> None:
        if data[:8] != HEADER:
            raise ToolchainError("The object file is not a WebAssembly module.", got=repr(data[:8]))
        self._known: dict[int, bytes] = {}
        self._custom: dict[str, bytes] = {}
        self._order: list[int] = []  # numbers, as relocations count sections
        reader = Reader(data, 8)
        while reader.at < len(data):
            number = reader.byte()
            content = reader.bytes(reader.unsigned())
            self._order.append(number)
            if number:
                self._known[number] = content
            else:
                inner = Reader(content)
                title = inner.name()
                self._custom[title] = content[inner.at :]

    def object(self) -> WasmObject:
        types = self._types()
        imported, names = self._imports()
        symbols, alignments = self._linking(names)
        functions = Reader(self._known.get(_FUNCTIONS, b"\0"))
        return WasmObject(
            types,
            imported,
            tuple(functions.vector(functions.unsigned)),
            self._relocated(_CODE, "reloc.CODE", self._bodies()),
            tuple(
                replace(part, alignment=alignment)
                for part, alignment in zip(
                    self._relocated(_DATA_SECTION, "reloc.DATA", self._segments()), alignments, strict=True
                )
            ),
            symbols,
        )

    def _types(self) -> tuple[bytes, ...]:
        reader = Reader(self._known.get(_TYPE, b"\0"))

        def one() -> bytes:
            start = reader.at
            if reader.byte() != 0x60:
                raise ValueError("a type that is not a function's")
            for _ in range(2):
                reader.bytes(reader.unsigned())
            return reader.data[start : reader.at]

        return tuple(reader.vector(one))

    def _imports(self) -> tuple[tuple[int, ...], list[str]]:
        """Types and names of the imported functions; memory and stack pointer are the only others allowed."""
        reader = Reader(self._known.get(_IMPORT, b"\0"))
        types, names = [], []
        for _ in range(reader.unsigned()):
            reader.name()
            name = reader.name()
            match reader.byte():
                case 0:
                    types.append(reader.unsigned())
                    names.append(name)
                case 2:
                    if reader.byte() & 1:
                        reader.unsigned()
                    reader.unsigned()
                case 3 if name == STACK_POINTER:
                    reader.bytes(2)
                case _:
                    raise ToolchainError("The object file imports something that cannot be linked here.", where=name)
        return tuple(types), names

    def _bodies(self) -> list[tuple[int, bytes]]:
        """(offset in the section, body with its length in front) of each function."""
        reader = Reader(self._known.get(_CODE, b"\0"))
        found = []
        for _ in range(reader.unsigned()):
            start = reader.at
            reader.bytes(reader.unsigned())
            found.append((start, reader.data[start : reader.at]))
        return found

    def _segments(self) -> list[tuple[int, bytes]]:
        """(offset in the section, bytes) of each data segment."""
        reader = Reader(self._known.get(_DATA_SECTION, b"\0"))
        found = []
        for _ in range(reader.unsigned()):
            if reader.unsigned() != 0 or reader.byte() != 0x41:
                raise ValueError("a data segment of another kind")
            reader.signed()
            if reader.byte() != 0x0B:
                raise ValueError("a data segment without an end of its offset")
            size = reader.unsigned()
            found.append((reader.at, reader.bytes(size)))
        return found

    def _relocated(self, number: int, title: str, parts: list[tuple[int, bytes]]) -> tuple[Part, ...]:
        """The parts with their relocations."""
        places: list[list[Relocation]] = [[] for _ in parts]
        for each in self._relocations(number, title):
            owner = next(i for i, (start, content) in enumerate(parts) if start <= each.at < start + len(content))
            places[owner].append(replace(each, at=each.at - parts[owner][0]))
        return tuple(Part(content, tuple(own)) for (_, content), own in zip(parts, places, strict=True))

    def _relocations(self, number: int, title: str) -> list[Relocation]:
        if title not in self._custom:
            return []
        reader = Reader(self._custom[title])
        if self._order[reader.unsigned()] != number:
            raise ValueError(f"{title} belongs to another section")
        found = []
        for _ in range(reader.unsigned()):
            kind = reader.byte()
            if kind not in _KNOWN:
                raise ToolchainError("The code needs something that cannot be linked here.", got=f"relocation {kind}")
            at, index = reader.unsigned(), reader.unsigned()
            found.append(Relocation(kind, at, index, reader.signed() if kind in _WITH_ADDEND else 0))
        return found

    def _linking(self, imported: list[str]) -> tuple[tuple[Symbol, ...], list[int]]:
        """The symbols, and the alignments of the data segments."""
        reader = Reader(self._custom["linking"])
        if reader.unsigned() != 2:
            raise ValueError("another version of the linking section")
        symbols: tuple[Symbol, ...] = ()
        alignments: list[int] = []
        while reader.at < len(reader.data):
            kind = reader.byte()
            inner = Reader(reader.bytes(reader.unsigned()))
            if kind == _SYMBOL_TABLE:
                symbols = tuple(inner.vector(partial(_symbol, inner, imported)))
            elif kind == _SEGMENT_INFO:
                alignments = inner.vector(partial(_alignment, inner))
        return symbols, alignments


def _alignment(reader: Reader) -> int:
    reader.name()
    alignment = 1 << reader.unsigned()
    reader.unsigned()
    return alignment


def _symbol(reader: Reader, imported: list[str]) -> Symbol:
    kind, flags = reader.byte(), reader.unsigned()
    defined, local = not flags & _UNDEFINED, bool(flags & _LOCAL)
    match kind:
        case 0 | 2:
            index = reader.unsigned()
            named = defined or flags & _EXPLICIT_NAME
            name = reader.name() if named else imported[index] if kind == FUNCTION else STACK_POINTER
            return Symbol(kind, name, local, defined, index)
        case 1:
            name = reader.name()
            if not defined:
                raise ToolchainError("The object file refers to data that it does not have.", where=name)
            index, offset = reader.unsigned(), reader.unsigned()
            reader.unsigned()
            return Symbol(kind, name, local, defined, index, offset)
        case _:
            raise ToolchainError("The object file has a symbol that cannot be linked here.", got=f"kind {kind}")
