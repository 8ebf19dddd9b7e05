"""Relocatable objects to one module: what is joined, placed, exported and refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import wasmtime

from bench.wasm_engines.module import Instance, unshared
from sparsec.errors import ToolchainError
from sparsec.targets import TARGETS
from sparsec.targets.backend import emit_object
from sparsec.targets.wasm_binary import HEADER, Reader, signed, unsigned
from sparsec.targets.wasm_link import link, undefined
from sparsec.targets.wasm_memory import PAGE, Segment

WASM = TARGETS["wasm32"]
CALLER = """
@table = internal constant [3 x i32] [i32 10, i32 20, i32 30]
declare float @scale(float)
define i32 @look(i32 %number) {
  %place = getelementptr i32, ptr @table, i32 %number
  %value = load i32, ptr %place
  ret i32 %value
}
define float @twice(float %x) {
  %a = call float @scale(float %x)
  %b = call float @scale(float %a)
  ret float %b
}
"""
CALLEE = """
@factor = internal constant float 2.500000e+00
@mine = internal global i32 7
@where = internal global ptr @mine
define float @scale(float %x) {
  %factor = load volatile float, ptr @factor
  %y = fmul float %x, %factor
  ret float %y
}
define i32 @through() {
  %p = load volatile ptr, ptr @where
  %v = load i32, ptr %p
  ret i32 %v
}
"""
STACK = """
define i32 @sum(i32 %n) noinline {
  %room = alloca [64 x i32], align 64
  %place = getelementptr i32, ptr %room, i32 %n
  store volatile i32 %n, ptr %place
  %value = load volatile i32, ptr %place
  %end = icmp eq i32 %n, 0
  br i1 %end, label %last, label %more
more:
  %next = sub i32 %n, 1
  %rest = call i32 @sum(i32 %next)
  %total = add i32 %value, %rest
  ret i32 %total
last:
  ret i32 0
}
"""


def linked(*texts: str, exports: list[str], **options: object) -> bytes:
    objects = [emit_object(text, WASM) for text in texts]
    return link(objects, stack_top=PAGE, constants=PAGE, exports=exports, **options).content  # type: ignore[arg-type]


def test_functions_and_data_of_several_objects_find_each_other() -> None:
    instance = Instance(linked(CALLER, CALLEE, exports=["look", "twice", "through"]))
    assert [instance.call("look", i) for i in range(3)] == [10, 20, 30]
    assert instance.call("twice", 4.0) == 25.0
    assert instance.call("through") == 7


def test_the_order_of_objects_does_not_matter() -> None:
    assert Instance(linked(CALLEE, CALLER, exports=["twice"])).call("twice", 4.0) == 25.0


def test_what_no_object_defines_is_named_and_imported() -> None:
    text = "declare float @fmodf(float, float)\ndefine float @f(float %x) {\n %r = call float @fmodf(float %x, float 3.0)\n ret float %r\n}"
    assert undefined([emit_object(text, WASM)]) == {"fmodf"}
    assert undefined([emit_object(each, WASM) for each in (CALLER, CALLEE)]) == set()
    assert Instance(linked(text, exports=["f"])).call("f", 8.0) == 2.0


def test_the_stack_grows_down_from_where_it_is_told_and_traps_at_zero() -> None:
    instance = Instance(linked(STACK, exports=["sum"]))
    assert instance.call("sum", 20) == sum(range(21))
    with pytest.raises(Exception, match="out of bounds"):
        instance.call("sum", 63 + PAGE // 256)


def test_segments_lie_where_they_were_placed() -> None:
    data = np.arange(5, dtype=np.float32)
    module = linked(CALLEE, exports=["scale"], segments=[Segment(3 * PAGE, data.tobytes())])
    np.testing.assert_array_equal(Instance(module).read(3 * PAGE, "float32", 5), data)


def test_a_shared_memory_is_filled_by_a_call() -> None:
    """The host makes it; `Instance` makes a usual one, and calls `initialise`."""
    segment = Segment(3 * PAGE, b"data")
    module = linked(CALLER, CALLEE, exports=["look", "twice", "through"], segments=[segment], shared=True)
    assert unshared(module) != module
    instance = Instance(module)
    assert [instance.call("look", i) for i in range(3)] == [10, 20, 30]
    assert instance.call("twice", 4.0) == 25.0
    assert instance.read(segment.address, "uint8", 4).tobytes() == b"data"
    instance.write(segment.address, np.zeros(4, np.uint8))
    instance.call("initialise")
    assert instance.read(segment.address, "uint8", 4).tobytes() == b"data"


def test_instances_of_a_shared_memory_have_stacks_of_their_own() -> None:
    instance = Instance(linked(STACK, exports=["sum"], segments=[Segment(2 * PAGE, bytes(PAGE))], shared=True))
    pointer = instance.exports["stack_pointer"]
    assert isinstance(pointer, wasmtime.Global)
    pointer.set_value(instance.store, 3 * PAGE)
    assert instance.call("sum", 20) == sum(range(21))
    assert instance.read(2 * PAGE, "uint8", PAGE).any()
    assert not instance.read(0, "uint8", PAGE).any()


def test_functions_come_from_the_modules_that_have_them() -> None:
    text = "declare void @share(i32, i32)\ndefine void @f() {\n call void @share(i32 0, i32 8)\n ret void\n}"
    module = wasmtime.Module(wasmtime.Engine(), linked(text, exports=["f"], hosts={"share": "threads"}))
    assert [(each.module, each.name) for each in module.imports] == [("threads", "share")]


def test_equal_objects_give_equal_modules() -> None:
    assert linked(CALLER, CALLEE, exports=["twice"]) == linked(CALLER, CALLEE, exports=["twice"])


@pytest.mark.parametrize(
    ("texts", "exports", "why"),
    [
        ([CALLEE], ["nothing"], "do not define an entry"),
        ([CALLEE, CALLEE], ["scale"], "define the same function"),
        (["define ptr @f() {\n ret ptr @f\n}"], ["f"], "cannot be linked here"),
        (
            ["@there = external global i32\ndefine i32 @f() {\n %v = load i32, ptr @there\n ret i32 %v\n}"],
            ["f"],
            "data",
        ),
    ],
)
def test_what_cannot_be_linked_is_refused(texts: list[str], exports: list[str], why: str) -> None:
    with pytest.raises(ToolchainError, match=why):
        linked(*texts, exports=exports)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", HEADER + b"\x01\xff\x01", HEADER])
def test_damaged_objects_are_refused(data: bytes) -> None:
    with pytest.raises(ToolchainError):
        link([data], stack_top=PAGE, constants=PAGE, exports=[])


def test_a_memory_of_four_gigabytes_is_too_much() -> None:
    with pytest.raises(ToolchainError, match="does not fit"):
        link([emit_object(CALLEE, WASM)], stack_top=PAGE, constants=2**32, exports=[])


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 2**31, 2**32 - 1])
def test_numbers_are_read_as_they_were_written(value: int) -> None:
    assert Reader(unsigned(value)).unsigned() == value
    assert Reader(unsigned(value, width=5)).unsigned() == value
    for number in (value, -value):
        assert Reader(signed(number)).signed() == number
    assert struct.calcsize("5s") == len(unsigned(value, width=5))
