"""Images for AArch64: what each relocation leaves in the code, and what is refused."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

import pytest

from sparsec.errors import ToolchainError
from sparsec.targets import TARGETS, flat_image
from sparsec.targets.backend import emit_assembly, emit_image, emit_object
from sparsec.targets.linkage import Place
from sparsec.targets.linkage_aarch64 import AARCH64

TARGET = TARGETS["aarch64"]


def patched(kind: int, word: int, at: int, target: int, addend: int = 0) -> int:
    """The instruction `word` at offset `at` after its relocation."""
    image = bytearray(1 << 20)
    struct.pack_into("<I", image, at, word)
    AARCH64.relocate(image, Place(at, kind, "symbol", target, addend), None, None)
    result: int = struct.unpack_from("<I", image, at)[0]
    return result


def link(text: str) -> flat_image.CodeImage:
    return flat_image.link([emit_object(text, TARGET)], {"f": "f"})


@pytest.mark.parametrize(
    ("kind", "word", "at", "target", "expected"),
    [
        (283, 0x94000000, 0x100, 0x200, 0x94000040),  # bl forwards
        (282, 0x14000000, 0x200, 0x100, 0x17FFFFC0),  # b backwards
        (280, 0x54000000, 0x100, 0x120, 0x54000100),  # b.eq
        (275, 0x90000000, 0x1FFC, 0x5008, 0x90000020),  # adrp x0: four pages on
        (275, 0x90000001, 0x5000, 0x1000, 0x90FFFFE1),  # adrp x1: four pages back
        (274, 0x10000000, 0x100, 0x107, 0x70000020),  # adr x0, seven bytes on
        (277, 0x91000000, 0, 0x5008, 0x91002000),  # add x0, x0, 8
        (299, 0x3DC00000, 0, 0x5010, 0x3DC00400),  # ldr q0, [x0, 16]
        (286, 0xF9400000, 0, 0x5010, 0xF9400800),  # ldr x0, [x0, 16]
        (312, 0xF9400041, 0, 0x5018, 0x91006041),  # the load of an address becomes an addition
    ],
)
def test_instructions_are_patched(kind: int, word: int, at: int, target: int, expected: int) -> None:
    assert patched(kind, word, at, target) == expected


def test_distances_in_data() -> None:
    assert patched(261, 0, 0x100, 0x80) == 0xFFFFFF80


@pytest.mark.parametrize(
    ("kind", "at", "target"),
    [(280, 0, 1 << 20), (279, 0, 1 << 16), (299, 0, 0x5008), (283, 0, 0x102), (274, 0, 1 << 21)],
)
def test_what_is_too_far_or_crooked_is_refused(kind: int, at: int, target: int) -> None:
    with pytest.raises(ToolchainError, match="too far away"):
        patched(kind, 0, at, target)


def test_absolute_addresses_are_refused() -> None:
    with pytest.raises(ToolchainError, match="R_AARCH64_ABS64"):
        link("@t = constant [2 x ptr] [ptr @f, ptr @f]\ndefine ptr @f() { ret ptr @t }")


def test_calls_go_through_stubs_to_slots_on_a_page_of_any_system() -> None:
    image = link(
        "declare float @expf(float)\ndefine float @f(float %x) {\n %a = call float @expf(float %x)\n ret float %a }"
    )
    assert image.imports == {"expf": 65536}
    assert image.writable_offset == 65536
    stub = image.image.index(struct.pack("<I", 0xD61F0200)) - 8  # br x16 is its last instruction
    page, lower, _ = struct.unpack_from("<3I", image.image, stub)
    assert (page >> 5 & 0x7FFFF) << 2 | page >> 29 & 3 == 16
    assert lower == 0xF9400210


def test_code_alone_needs_no_room_for_slots() -> None:
    assert len(emit_image("define void @f(i64 %b, i64 %e) { ret void }", TARGET, ["f"]).image) == 4096


def test_objects_of_two_processors_are_refused() -> None:
    text = "define void @f() { ret void }"
    with pytest.raises(ToolchainError, match="different processors"):
        flat_image.link([emit_object(text, TARGET), emit_object(text, TARGETS["x86-64-v3"])], {})


def test_no_code_uses_the_register_that_macos_keeps_for_itself() -> None:
    values = range(40)  # more than there are registers, so that all are used
    loads = "\n".join(
        f"%p{i} = getelementptr i64, ptr %p, i64 {i}\n%v{i} = load volatile i64, ptr %p{i}" for i in values
    )
    stores = "\n".join(f"store volatile i64 %v{i}, ptr %p{i}" for i in values)
    text = f"define void @f(ptr %p) {{\n{loads}\n{stores}\nret void\n}}"
    used = {
        name: set(re.findall(r"\b[wx](\d+)\b", emit_assembly(text, replace(TARGET, tuning=tuning))))
        for name, tuning in (("plain", ()), ("ours", TARGET.tuning))
    }
    assert used["plain"] - used["ours"] == {"18"}
    assert all("+reserve-x18" in each.features for each in TARGETS.values() if each.triple.startswith("aarch64"))
