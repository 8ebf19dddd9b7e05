"""Link relocatable ELF64 objects into a flat image that runs wherever it is mapped.

    [ code | stubs for external calls | constants | to the next page | data, zeros | one 8-byte slot per import ]
    0                                              writable_offset

Everything in the image refers to everything else by distance, so loading is: copy, write the address of each import
into its slot, make the first part executable. What would need the absolute address of something is refused: kernels
have no use for it. The format is that of the System V gABI, chapter 4; `linkage_*` have what differs between processors.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sparsec.artifact import PAGE, CodeImage
from sparsec.errors import ToolchainError
from sparsec.targets.linkage import Machine, Place
from sparsec.targets.linkage_aarch64 import AARCH64
from sparsec.targets.linkage_x86_64 import X86_64

MACHINES: Mapping[int, Machine] = {machine.number: machine for machine in (X86_64, AARCH64)}

_NOBITS, _SYMTAB, _RELA, _UNWIND = 8, 2, 4, 0x70000001
_WRITE, _ALLOC, _EXECUTE, _TLS = 1, 2, 4, 0x400
_UNDEFINED, _FIRST_RESERVED = 0, 0xFF00


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int


@dataclass(frozen=True, slots=True)
class _Symbol:
    name: str
    section: int
    value: int


@dataclass(frozen=True, slots=True)
class _Object:
    """An object file, taken apart."""

    elf: bytes
    machine: Machine
    sections: list[_Section]
    symbols: list[_Symbol]

    def bytes_of(self, section: _Section) -> bytes:
        if section.kind == _NOBITS:
            return bytes(section.size)
        return self.elf[section.offset : section.offset + section.size]


_Offsets: TypeAlias = dict[tuple[int, int], int]  # (number of the object, number of the section) -> place in the image


def link(objects: Sequence[bytes], entries: Mapping[str, str]) -> CodeImage:
    """Return one image of all `objects`; `entries` maps kernel names to symbols of entries. Raises `ToolchainError`.

    Objects share imports, and nothing else: each brings what it calls.
    """
    try:
        return _link([_take_apart(elf) for elf in objects], entries)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ToolchainError("The object file is damaged.", got=str(error)) from error


def _link(objects: list[_Object], entries: Mapping[str, str]) -> CodeImage:
    machine = objects[0].machine
    if any(item.machine != machine for item in objects):
        raise ToolchainError("The object files are for different processors.")
    undefined = {each.name for item in objects for each in item.symbols if each.section == _UNDEFINED and each.name}
    externals = sorted(undefined)
    image, offsets, stubs, writable = _lay_out(objects, len(externals), machine)
    slots = len(image)
    image += bytes(8 * len(externals))
    imports = {name: slots + 8 * index for index, name in enumerate(externals)}
    stub_of = {name: stubs + machine.stub_bytes * index for index, name in enumerate(externals)}
    for name in externals:
        image[stub_of[name] : stub_of[name] + machine.stub_bytes] = machine.stub(stub_of[name], imports[name])
    defined: dict[str, int] = {}
    for number, item in enumerate(objects):
        for place in _places(item, number, offsets):
            machine.relocate(image, place, stub_of.get(place.symbol), imports.get(place.symbol))
        here = [each for each in item.symbols if (number, each.section) in offsets]
        defined |= {each.name: offsets[number, each.section] + each.value for each in here}
    missing = [symbol for symbol in entries.values() if symbol not in defined]
    if missing:
        raise ToolchainError("The object files do not define an entry.", expected=", ".join(missing))
    # A network without work has no code, and nothing cannot be mapped.
    return CodeImage(
        bytes(image) or bytes(1), writable, {name: defined[symbol] for name, symbol in entries.items()}, imports
    )


def _take_apart(elf: bytes) -> _Object:
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ToolchainError("The object file is not a little-endian ELF64 file.", got=repr(elf[:6]))
    kind, number = struct.unpack_from("<HH", elf, 16)
    if kind != 1 or number not in MACHINES:
        raise ToolchainError("The object file cannot be linked here.", got=f"ELF type {kind}, machine {number}")
    sections = _sections(elf)
    return _Object(elf, MACHINES[number], sections, _symbols(elf, sections))


def _string(elf: bytes, table: int, index: int) -> str:
    return elf[table + index : elf.index(b"\0", table + index)].decode()


def _sections(elf: bytes) -> list[_Section]:
    (start,) = struct.unpack_from("<Q", elf, 40)
    _, count, names = struct.unpack_from("<HHH", elf, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", elf, start + 64 * index) for index in range(count)]
    return [
        _Section(_string(elf, rows[names][4], name), kind, flags, offset, size, link_, info, max(alignment, 1))
        for name, kind, flags, _, offset, size, link_, info, alignment, _ in rows
    ]


def _symbols(elf: bytes, sections: list[_Section]) -> list[_Symbol]:
    table = next((section for section in sections if section.kind == _SYMTAB), None)
    if table is None:
        return []
    strings = sections[table.link].offset
    rows = struct.iter_unpack("<IBBHQQ", elf[table.offset : table.offset + table.size])
    return [_Symbol(_string(elf, strings, name), section, value) for name, _, _, section, value, _ in rows]


def _is_loaded(section: _Section) -> bool:
    if section.flags & _TLS:
        raise ToolchainError("The object file has thread-local data.", where=section.name)
    unwind = section.kind == _UNWIND or section.name == ".eh_frame"  # nothing throws through a kernel
    return bool(section.flags & _ALLOC) and section.size > 0 and not unwind


def _lay_out(objects: list[_Object], externals: int, machine: Machine) -> tuple[bytearray, _Offsets, int, int]:
    """Return the image, the offset of each loaded section, the offset of the stubs, that of the writable part."""
    code, constants, writable = list[tuple[int, int]](), list[tuple[int, int]](), list[tuple[int, int]]()
    for number, item in enumerate(objects):
        for index, section in enumerate(item.sections):
            if _is_loaded(section):
                part = writable if section.flags & _WRITE else code if section.flags & _EXECUTE else constants
                part.append((number, index))
    image, offsets = bytearray(), _Offsets()

    def append(part: list[tuple[int, int]]) -> None:
        for number, index in part:
            section = objects[number].sections[index]
            if section.alignment > PAGE:
                raise ToolchainError("A section wants a larger alignment than a page.", where=section.name)
            _pad(image, section.alignment)
            offsets[number, index] = len(image)
            image.extend(objects[number].bytes_of(section))

    append(code)
    _pad(image, 16)
    stubs = len(image)
    image += bytes(externals * machine.stub_bytes)
    append(constants)
    _pad(image, machine.page if writable or externals else PAGE)
    writable_offset = len(image)
    append(writable)
    _pad(image, 8)
    return image, offsets, stubs, writable_offset


def _pad(image: bytearray, alignment: int) -> None:
    image += bytes(-len(image) % alignment)


def _places(item: _Object, number: int, offsets: _Offsets) -> list[Place]:
    places = []
    for table in item.sections:
        if table.kind != _RELA or (number, table.info) not in offsets:
            continue
        start = offsets[number, table.info]
        for offset, info, addend in struct.iter_unpack("<QQq", item.bytes_of(table)):
            symbol = item.symbols[info >> 32]
            target = _target(item, number, symbol, offsets)
            places.append(Place(start + offset, info & 0xFFFFFFFF, symbol.name, target, addend))
    return places


def _target(item: _Object, number: int, symbol: _Symbol, offsets: _Offsets) -> int | None:
    if symbol.section == _UNDEFINED:
        return None
    if (number, symbol.section) in offsets:
        return offsets[number, symbol.section] + symbol.value
    where = "a reserved section" if symbol.section >= _FIRST_RESERVED else item.sections[symbol.section].name
    raise ToolchainError("The code refers to something that is not loaded.", where=symbol.name, got=where)
