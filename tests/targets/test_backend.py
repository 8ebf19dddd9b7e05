"""LLVM text to images, objects and assembly; and what is refused, with where."""

from __future__ import annotations

import re
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from sparsec.artifact import PAGE
from sparsec.errors import ToolchainError
from sparsec.targets import TARGETS, Target, abi, flat_image
from sparsec.targets.backend import emit_assembly, emit_image, emit_object
from tests.llvm_loops import loop

V3, V4 = TARGETS["x86-64-v3"], TARGETS["x86-64-v4"]

DEAD = """
@unused = global i64 1
define void @dead() {
  ret void
}
"""
SCALE = DEAD + loop(
    "scale",
    "ptr noalias %x, ptr noalias %y",
    """
  %px = getelementptr float, ptr %x, i64 %i
  %py = getelementptr float, ptr %y, i64 %i
  %v = load float, ptr %px
  %s = fmul float %v, f0x40878000
  store float %s, ptr %py
""",
)


@pytest.mark.parametrize(("target", "register"), [(V3, "ymm"), (V4, "zmm")])
def test_loops_use_the_whole_vector_registers(target: Target, register: str) -> None:
    assembly = emit_assembly(SCALE, target, ["scale"])
    assert re.search(rf"vmulps.*%{register}", assembly)


def test_only_entries_are_public() -> None:
    assembly = emit_assembly(SCALE, V4, ["scale"])
    assert re.findall(r"\.globl\s+(\S+)", assembly) == ["entry_scale"]
    assert "dead" not in assembly


def test_no_bounds_or_alias_checks_with_noalias() -> None:
    """The kernel's `noalias` reaches the vectoriser: there is one vector loop and no comparison of pointers."""
    kernel = emit_assembly(SCALE, V4, ["scale"])
    assert "vector.memcheck" not in kernel


def test_an_image_has_code_then_a_page_aligned_writable_part() -> None:
    image = emit_image(SCALE, V4, ["scale"])
    assert image.writable_offset == PAGE
    assert 0 < image.entries["scale"] < image.writable_offset
    assert image.imports == {}


def test_the_same_text_gives_the_same_image() -> None:
    assert emit_image(SCALE, V4, ["scale"]) == emit_image(SCALE, V4, ["scale"])


def test_an_object_is_elf() -> None:
    assert emit_object(SCALE, V3).startswith(b"\x7fELF")


def test_text_that_llvm_refuses_is_kept() -> None:
    with pytest.raises(ToolchainError, match="LLVM refused") as caught:
        emit_image("define void @f() { nonsense }", V4, [])
    assert caught.value.where is not None
    path = Path(caught.value.where)
    assert "nonsense" in path.read_text()
    path.unlink()


def test_a_module_that_does_not_verify_is_refused() -> None:
    body = " %v = load i64, ptr %p\n %p = getelementptr i8, ptr %x, i64 %v\n ret void"
    text = f"define void @f(ptr %x, i64 %b, i64 %e) {{\n{body}\n}}"
    with pytest.raises(ToolchainError, match="does not dominate") as caught:
        emit_image(text, V4, ["f"])
    assert caught.value.where is not None
    Path(caught.value.where).unlink()


@pytest.mark.parametrize(
    "text",
    [
        "define void @f(ptr %x, i32 %b, i64 %e) { ret void }",
        "define void @f(i64 %e) { ret void }",
        "define i64 @f(i64 %b, i64 %e) { ret i64 0 }",
        "declare void @f(i64, i64)",
    ],
)
def test_a_kernel_with_another_signature_is_refused(text: str) -> None:
    with pytest.raises(ToolchainError, match="signature of kernels"):
        emit_image(text, V4, ["f"])


def test_a_missing_kernel_is_refused() -> None:
    with pytest.raises(ToolchainError, match="not in the LLVM module"):
        emit_image(SCALE, V4, ["scale", "shift"])


def test_wrappers_are_valid_for_any_name_and_number_of_pointers() -> None:
    text = abi.wrappers({"plain": 0, "with space.1": 3})
    module = llvm.parse_assembly(text)
    module.verify()
    assert module.get_function("entry_with.space.1") is not None


# --- the linker -------------------------------------------------------------------------------------------------------


def _link(text: str) -> flat_image.CodeImage:
    return flat_image.link([emit_object(text, V4)], {"f": "f"})


def test_external_calls_get_one_slot_each() -> None:
    image = _link(
        "declare float @expf(float)\ndeclare float @erff(float)\n"
        "define float @f(float %x) {\n %a = call float @expf(float %x)\n %b = call float @erff(float %a)\n"
        " %c = call float @expf(float %b)\n ret float %c }"
    )
    assert image.imports == {"erff": PAGE, "expf": PAGE + 8}
    assert len(image.image) == PAGE + 16


def test_functions_by_address_are_read_from_their_slots() -> None:
    image = _link("declare void @memcpy()\ndefine ptr @f() { ret ptr @memcpy }")
    assert image.imports == {"memcpy": PAGE}


def test_addresses_of_public_data_need_no_table() -> None:
    image = _link("@state = global i64 7\ndefine ptr @f() { ret ptr @state }")
    assert image.imports == {}
    assert image.image[image.writable_offset] == 7


def test_zeros_are_in_the_writable_part() -> None:
    image = _link("@room = global [9000 x i8] zeroinitializer\ndefine ptr @f() { ret ptr @room }")
    assert len(image.image) == PAGE + 9000
    assert not any(image.image[PAGE:])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@t = constant [2 x ptr] [ptr @f, ptr @f]\ndefine ptr @f() { ret ptr @t }", "R_X86_64_64"),
        ("@t = thread_local global i64 0\ndefine i64 @f() {\n %v = load i64, ptr @t\n ret i64 %v }", "thread-local"),
        ("@t = common global i64 0\ndefine ptr @f() { ret ptr @t }", "not loaded|relocation"),
    ],
)
def test_what_needs_a_real_linker_is_refused(text: str, message: str) -> None:
    with pytest.raises(ToolchainError, match=message):
        _link(text)


def test_a_missing_entry_is_refused() -> None:
    with pytest.raises(ToolchainError, match="not define an entry"):
        flat_image.link([emit_object(SCALE, V4)], {"x": "nowhere"})


@pytest.mark.parametrize("data", [b"", b"\x7fELF\x02\x01", b"\xcf\xfa\xed\xfe" + bytes(100)])
def test_what_is_not_an_object_is_refused(data: bytes) -> None:
    with pytest.raises(ToolchainError):
        flat_image.link([data], {})


def test_objects_of_other_processors_are_refused() -> None:
    elf = bytearray(emit_object(SCALE, V4))
    elf[18] = 243
    with pytest.raises(ToolchainError, match="machine 243"):
        flat_image.link([bytes(elf)], {})


def test_a_truncated_object_is_refused() -> None:
    elf = emit_object(SCALE, V4)
    with pytest.raises(ToolchainError, match="damaged"):
        flat_image.link([elf[: len(elf) // 2]], {})


# --- several processes ------------------------------------------------------------------------------------------------

TWO = "declare float @expf(float)\n" + "\n".join(
    f"define void @k{index}(ptr %x, i64 %b, i64 %e) {{\n  %v = load float, ptr %x\n"
    f"  %r = call float @expf(float %v)\n  store float %r, ptr %x\n  ret void\n}}"
    for index in range(5)
)


def test_processes_share_the_entries_and_their_imports() -> None:
    names = [f"k{index}" for index in range(5)]
    one, three = emit_image(TWO, V4, names, jobs=1), emit_image(TWO, V4, names, jobs=3)
    assert one.entries.keys() == three.entries.keys() == set(names)
    assert len(set(three.entries.values())) == 5
    assert list(one.imports) == list(three.imports) == ["expf"]


def test_a_fault_in_any_share_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ToolchainError, match="not in the LLVM module"):
        emit_image(TWO, V4, ["k0", "missing"], jobs=2)


def test_no_entries_give_an_empty_image() -> None:
    assert emit_image(SCALE, V4, []).entries == {}
