"""Programs for GPUs in files: what is written is read, and what is damaged or inconsistent is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import checked, residual_block, residual_blocks, sparse_matrix, weight

from sparsec import artifact
from sparsec.artifact import Space
from sparsec.artifact.file import read_file
from sparsec.cuda.network import plan_file
from sparsec.cuda.network.packed import DeviceProgram
from sparsec.cuda.network.plan import (
    Address,
    Attention,
    BatchedProduct,
    Convolution,
    DevicePlan,
    DeviceWeight,
    Heads,
    Launch,
    Mask,
    Pool,
    Product,
    Rows,
    Strided,
    Tail,
)
from sparsec.errors import ArtifactError
from sparsec.kernels.problem import Axis

ARENA, INPUT, OUTPUT = (Address(space, 0) for space in (Space.ARENA, Space.INPUT, Space.OUTPUT))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plans") / "plan.sparsec"


def read(path: Path) -> DeviceProgram:
    return read_file(path, {plan_file.KIND: plan_file.program_of})


def block(pattern: str | None = "unstructured", share: float = 0.3) -> DevicePlan:
    first, second = sparse_matrix(64, 32, share, 1), sparse_matrix(32, 64, 1, 2)
    return residual_block(16, weight("first", first, pattern), weight("second", second, None), np.ones(64, np.float32))


def all_kinds() -> DevicePlan:
    """A step of each kind, in an arena of a megabyte."""
    plan = block()
    filters = DeviceWeight.of("filters", np.ones((6, 2, 3, 3), np.uint16), "float16", None)
    axis = Axis(8, 3, 2, 1, 1, 1)
    heads, key_heads, mask = Heads(ARENA, 4096, 64, 256), Heads(ARENA, 2048, 64, 128), Mask(ARENA, 0, 0, 16, 1)
    steps = (
        *plan.steps,
        BatchedProduct(
            (2, 3), 4, 5, 6, Strided(ARENA, (60, 20), 5, 1), Strided(ARENA, (0, 30), 1, 5), Strided(ARENA, (72, 24), 6, 1),
            0.125, "bfloat16", "scores",
        ),
        Attention(2, 4, 2, 16, 16, 64, heads, key_heads, key_heads, heads, mask, 0.125, True, "float16", "attention"),
        Convolution(2, 1, 4, 6, 2, (axis, axis), (256, 32, 4), ARENA, ARENA, Tail(None, "silu", Rows(ARENA, 6)), "conv"),
        Pool(2, 8, (axis, axis), ARENA, ARENA, "float16", "pool"),
    )  # fmt: skip
    return replace(plan, steps=steps, weights=(*plan.weights, filters), arena_bytes=1 << 20)


def same(one: DeviceProgram, other: DeviceProgram) -> bool:
    equal = (one.gpus, dict(one.images)) == (other.gpus, dict(other.images))
    return equal and all(map(same_plans, one.plans, other.plans)) and len(one.plans) == len(other.plans)


def same_plans(one: DevicePlan, other: DevicePlan) -> bool:
    arrays = ("weights", "constants")
    plain = [field.name for field in fields(DevicePlan) if field.name not in arrays]
    equal = all(getattr(one, name) == getattr(other, name) for name in plain)
    equal &= bool(np.array_equal(one.constants, other.constants))
    pairs = zip(one.weights, other.weights, strict=True)
    return equal and all(
        (a.name, a.shape, a.dtype, a.pattern) == (b.name, b.shape, b.dtype, b.pattern)
        and np.array_equal(a.bits(), b.bits())
        for a, b in pairs
    )


@pytest.mark.parametrize("plan", [block(), block("2:4", 0.0), block(None, 1.0), checked(), all_kinds()])
def test_what_is_written_is_read(place: Path, plan: DevicePlan) -> None:
    program = DeviceProgram((plan,), ("h100",), {"one": b"machine code", "none": b""})
    plan_file.write(program, place)
    assert same(read(place), program)
    first = place.read_bytes()
    plan_file.write(read(place), place)
    assert place.read_bytes() == first


def test_plans_for_several_shapes_are_read(place: Path) -> None:
    first, second = sparse_matrix(64, 32, 0.3, 1), sparse_matrix(32, 64, 1, 2)
    weights = weight("first", first, "unstructured"), weight("second", second, None)
    program = DeviceProgram(residual_blocks((16, 2, 40), *weights, np.ones(64, np.float32)))
    plan_file.write(program, place)
    found = read(place)
    assert same(found, program)
    assert found.plans[2].weights is found.plans[0].weights
    first_bytes = place.read_bytes()
    plan_file.write(found, place)
    assert place.read_bytes() == first_bytes


def test_plans_that_are_not_of_one_network_are_refused(place: Path) -> None:
    one, other = block(), block()
    for plans, message in (
        ((one, other), "do not share a network and its weights"),
        ((one, one), "two of its shapes are the same"),
        ((), "there is no plan"),
    ):
        with pytest.raises(ArtifactError, match=message):
            plan_file.write(DeviceProgram(plans), place)


@settings(max_examples=50)
@given(
    m=st.integers(1, 40),
    k=st.integers(1, 40),
    share=st.floats(0, 1),
    names=st.lists(st.text("abc", min_size=1), unique=True, max_size=3),
    data=st.binary(max_size=300),
)
def test_weights_constants_and_machine_code_are_read(
    place: Path, m: int, k: int, share: float, names: list[str], data: bytes
) -> None:
    weights = tuple(weight(name, sparse_matrix(m, k, share, index), None) for index, name in enumerate(names))
    constants = np.frombuffer(data, np.uint8)
    plan = replace(block(), steps=(), weights=weights, constants=constants, ptx="// ünïcode")
    program = DeviceProgram((plan,), (), dict.fromkeys(names, data))
    plan_file.write(program, place)
    assert same(read(place), program)


def test_a_reader_for_another_kind_says_so(place: Path) -> None:
    plan_file.write(DeviceProgram((block(),)), place)
    with pytest.raises(ArtifactError, match=r"another kind of processor(.|\n)*cpu(.|\n)*cuda"):
        artifact.read(place)


def test_a_flipped_byte_is_noticed_or_harmless(place: Path) -> None:
    program = DeviceProgram((all_kinds(),), ("h100",), {"one": bytes(range(256))})
    plan_file.write(program, place)
    whole, random = place.read_bytes(), np.random.default_rng(0)
    for position in random.integers(0, len(whole), 100):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << random.integers(0, 8)
        place.write_bytes(damaged)
        try:
            assert same(read(place), program)
        except ArtifactError:
            continue


def _replaced(plan: DevicePlan, number: int, **changes: object) -> DevicePlan:
    steps = list(plan.steps)
    steps[number] = replace(steps[number], **changes)  # type: ignore[arg-type]
    return replace(plan, steps=tuple(steps))


def _faults() -> Iterator[tuple[DevicePlan, str]]:
    plan, far = all_kinds(), Address(Space.ARENA, (1 << 20) - 4)
    first, batched, attention, convolution = (plan.steps[number] for number in (0, 3, 4, 5))
    assert isinstance(first, Product)
    assert isinstance(batched, BatchedProduct)
    assert isinstance(attention, Attention)
    assert isinstance(convolution, Convolution)
    yield replace(plan, arena_bytes=-1), "arena size is impossible"
    yield replace(plan, status=0), "checks and their status"
    yield replace(checked(), status=1 << 20), "status of checks lies outside"
    yield _replaced(plan, 0, weight=7), "uses weight 7"
    yield _replaced(plan, 0, weight=2), "has not 2 axes"
    yield _replaced(plan, 0, tokens=17), "points outside input at 0"
    yield _replaced(plan, 0, tokens=-1), "impossible number of tokens"
    yield _replaced(plan, 0, x=Rows(Address(Space.INPUT, 0, 1), 32)), "uses input 1"
    yield _replaced(plan, 0, x=Rows(INPUT, 31)), "rows that overlap"
    yield _replaced(plan, 0, y=Rows(far, 64)), "points outside arena"
    yield _replaced(plan, 0, y=Rows(Address(Space.ARENA, -2), 64)), "points outside arena at -2"
    yield _replaced(plan, 0, tail=Tail(Address(Space.WEIGHTS, 4))), "points outside weights at 4"
    yield _replaced(plan, 0, tail=Tail(None, None, Rows(OUTPUT, 64))), "points outside output"
    yield _replaced(plan, 2, function="other"), "calls other, which is not in the code"
    yield _replaced(plan, 5, strides=(256, 1 << 20, 4)), "points outside arena"
    yield _replaced(plan, 5, strides=(256, -1, 4)), "negative length or stride"
    yield _replaced(plan, 6, y=far), "points outside arena"
    yield _replaced(plan, 6, axes=(Axis(8, 0), Axis(8, 3))), "impossible kernel"
    yield _replaced(plan, 2, grid=(0, 1, 1)), "impossible grid"
    yield _replaced(plan, 2, block=(1024, 2, 1)), "too many threads"
    yield _replaced(plan, 2, arguments=(Address(Space.OUTPUT, 1 << 20),)), "points outside output"
    yield _replaced(plan, 3, p=replace(batched.p, rows=2, columns=5)), "without neighbours"
    yield _replaced(plan, 3, q=replace(batched.q, rows=-1)), "negative length or stride"
    yield _replaced(plan, 3, q=replace(batched.q, address=far)), "points outside arena"
    yield _replaced(plan, 3, y=replace(batched.y, rows=1, columns=4)), "rows with gaps"
    yield _replaced(plan, 4, key_heads=3), "shares heads"
    yield _replaced(plan, 4, v=replace(attention.v, address=far)), "points outside arena"
    yield _replaced(plan, 4, mask=Mask(INPUT, 0, 0, 160, 1)), "points outside input"
    yield _replaced(plan, 5, groups=1), "channels of its weight"
    yield _replaced(plan, 5, filters=5), "filters of its weight"
    yield _replaced(plan, 5, axes=(Axis(8, 3), Axis(8, 1))), "kernel of its weight"
    yield _replaced(plan, 5, axes=(Axis(8, 3), Axis(8, 3, 0))), "impossible stride"
    yield _replaced(plan, 5, axes=(Axis(800, 3), Axis(800, 3))), "points outside arena"
    values = replace(plan.weights[0], values=plan.weights[0].values[1:])
    yield replace(plan, weights=(values, *plan.weights[1:])), "has not the values"
    yield replace(plan, inputs=plan.inputs * 2), "two inputs have the same name"


@pytest.mark.parametrize(("plan", "message"), list(_faults()))
def test_inconsistent_plans_are_refused(place: Path, plan: DevicePlan, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        plan_file.write(DeviceProgram((plan,)), place)


def test_a_launch_of_an_empty_plan_is_consistent(place: Path) -> None:
    plan = replace(block(), steps=(Launch("add_half", (1, 1, 1), (1, 1, 1), 0, (INPUT, INPUT, OUTPUT), "sum"),))
    plan_file.write(DeviceProgram((plan,)), place)
