"""Relocations of x86-64 (psABI, table 4.10)."""

from __future__ import annotations

import struct

from sparsec.targets.linkage import Machine, Place, absolute, write_distance

_NAMES = {1: "R_X86_64_64", 10: "R_X86_64_32", 11: "R_X86_64_32S"}
_PC64 = 24
_MOV, _LEA = 0x8B, 0x8D


def _relocate(image: bytearray, place: Place, stub: int | None, slot: int | None) -> None:
    target = place.target
    match place.kind:
        case 2 | 24 if target is not None:  # PC32, PC64
            write_distance(image, place, target, 8 if place.kind == _PC64 else 4)
        case 4 if (destination := stub if target is None else target) is not None:  # PLT32: a call or jump
            write_distance(image, place, destination, 4)
        case 9 | 41 | 42 if (
            target is None and slot is not None
        ):  # GOTPCREL, GOTPCRELX, REX_GOTPCRELX: loads from a slot
            write_distance(image, place, slot, 4)
        case 9 | 41 | 42 if (
            target is not None and image[place.at - 2] == _MOV
        ):  # mov of an address that is in the image: lea
            image[place.at - 2] = _LEA
            write_distance(image, place, target, 4)
        case _:
            raise absolute(place, _NAMES.get(place.kind, str(place.kind)))


def _stub(at: int, slot: int) -> bytes:
    return b"\xff\x25" + struct.pack("<i", slot - at - 6) + b"\x0f\x0b"  # jmp *distance(%rip); ud2


X86_64 = Machine(62, _relocate, _stub, stub_bytes=8, page=4096)
