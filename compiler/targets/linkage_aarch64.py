"""Relocations of AArch64 (ELF for the Arm 64-bit Architecture, section 5.7).

An address is built by two instructions: `adrp` gives the page (4096 bytes) that something lies in, relative to the
page of the instruction, and an `add`, load or store has the lower 12 bits. Both are known, because images are mapped at
multiples of a page.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from sparsec.errors import ToolchainError
from sparsec.targets.linkage import Machine, Place, absolute, write_distance

_NAMES = {257: "R_AARCH64_ABS64", 258: "R_AARCH64_ABS32", 259: "R_AARCH64_ABS16"}
_PAGE = 4096
_DATA: Mapping[int, int] = {260: 8, 261: 4, 262: 2}  # PREL64, PREL32, PREL16: bytes
# Jumps and literals by a distance of instructions: (bits, first bit). TSTBR14, CONDBR19, LD_PREL_LO19, JUMP26, CALL26.
_DISTANCES: Mapping[int, tuple[int, int]] = {279: (14, 5), 280: (19, 5), 273: (19, 5), 282: (26, 0), 283: (26, 0)}
_CALLS = (282, 283)
# The lower 12 bits of an address, as a multiple of so many bytes: ADD, and LDST8 to LDST128.
_LOWER: Mapping[int, int] = {277: 1, 278: 1, 284: 2, 285: 4, 286: 8, 299: 16}
_ADR, _ADRP, _GOT_PAGE, _GOT_LOWER = 274, 275, 311, 312
_LOAD, _ADD = 0xF9400000, 0x91000000  # ldr x, [x, #imm] and add x, x, #imm, without operands
_OPERANDS = 0x3FF  # the two registers of either
_ADRP_X16, _LOAD_X16, _JUMP_X16, _TRAP = 0x90000010, 0xF9400210, 0xD61F0200, 0xD4200000


def _relocate(image: bytearray, place: Place, stub: int | None, slot: int | None) -> None:
    kind, target = place.kind, place.target
    if kind in _CALLS and target is None:
        target = stub
    elif kind in (_GOT_PAGE, _GOT_LOWER) and target is None:
        target = slot
    if target is None or place.kind in _NAMES:
        raise absolute(place, _NAMES.get(kind, str(kind)))
    aim = target + place.addend
    if kind in _DATA:
        write_distance(image, place, target, _DATA[kind])
    elif kind in _DISTANCES:
        bits, first = _DISTANCES[kind]
        _set(image, place, _scaled(place, aim - place.at, 4, bits), bits, first)
    elif kind in _LOWER:
        _set(image, place, _scaled(place, aim % _PAGE, _LOWER[kind], 13), 12, 10)
    elif kind == _ADR:
        _set_adr(image, place, aim - place.at)
    elif kind in (_ADRP, _GOT_PAGE):
        _set_adr(image, place, aim // _PAGE - place.at // _PAGE)
    elif kind == _GOT_LOWER and place.target is None:
        _set(image, place, _scaled(place, aim % _PAGE, 8, 13), 12, 10)
    elif kind == _GOT_LOWER and _word(image, place.at) & ~(_OPERANDS | 0x3FFC00) == _LOAD:
        # The load of an address that is in the image becomes its addition to the page.
        operands = _word(image, place.at) & _OPERANDS
        struct.pack_into("<I", image, place.at, _ADD | aim % _PAGE << 10 | operands)
    else:
        raise absolute(place, str(kind))


def _word(image: bytearray, at: int) -> int:
    word: int = struct.unpack_from("<I", image, at)[0]
    return word


def _scaled(place: Place, value: int, unit: int, bits: int) -> int:
    """A signed number of units that fits so many bits."""
    count, rest = divmod(value, unit)
    if rest or not -(1 << bits - 1) <= count < 1 << bits - 1:
        raise ToolchainError(
            "Code refers to something that lies too far away, or between two units.",
            where=place.symbol or "a constant",
            got=f"relocation {place.kind}, distance {value}",
        )
    return count


def _set(image: bytearray, place: Place, value: int, bits: int, first: int) -> None:
    """Replace `bits` bits of the instruction from bit `first` on."""
    mask = (1 << bits) - 1
    word = _word(image, place.at) & ~(mask << first) | (value & mask) << first
    struct.pack_into("<I", image, place.at, word)


def _set_adr(image: bytearray, place: Place, value: int) -> None:
    """The 21 bits of `adr` or `adrp`, of which the lower two stand apart."""
    value = _scaled(place, value, 1, 21)
    _set(image, place, value, 2, 29)
    _set(image, place, value >> 2, 19, 5)


def _stub(at: int, slot: int) -> bytes:
    """adrp x16, slot; ldr x16, [x16, slot]; br x16: a register that calls may change."""
    code = bytearray(struct.pack("<4I", _ADRP_X16, _LOAD_X16, _JUMP_X16, _TRAP))
    pages = slot // _PAGE - at // _PAGE
    _set_adr(code, Place(0, _ADRP, "a stub", None, 0), pages)
    _set(code, Place(4, _GOT_LOWER, "a stub", None, 0), slot % _PAGE // 8, 12, 10)
    return bytes(code)


AARCH64 = Machine(183, _relocate, _stub, stub_bytes=16, page=65536)
