"""Which of several shapes is meant."""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsec.artifact import TensorSpec
from sparsec.errors import InputError, UsageError
from sparsec.runtime.shapes import find, pick, sets_of

Shape = tuple[int, ...]
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
SETS = st.integers(1, 3).flatmap(
    lambda count: st.lists(st.tuples(*[SHAPES] * count), min_size=1, max_size=5, unique=True)
)


def specs(shapes: Sequence[Shape]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"input{number}", "float32", shape) for number, shape in enumerate(shapes))


@given(SETS, st.data())
def test_a_call_is_of_the_set_that_has_its_shapes(sets: list[tuple[Shape, ...]], data: st.DataObject) -> None:
    choices = [specs(each) for each in sets]
    wanted = data.draw(st.integers(0, len(sets) - 1))
    arrays = [np.zeros(shape, np.float32) for shape in sets[wanted]]
    assert pick(arrays, choices) == wanted
    assert pick({f"input{number}": each for number, each in enumerate(arrays)}, choices) == wanted
    assert find({spec.name: spec.shape for spec in choices[wanted]}, choices) == wanted


@given(SETS, st.data())
def test_other_shapes_are_refused_with_all_that_there_are(sets: list[tuple[Shape, ...]], data: st.DataObject) -> None:
    choices = [specs(each) for each in sets]
    other = data.draw(st.tuples(*[SHAPES] * len(sets[0])).filter(lambda each: each not in sets))
    shapes = {f"input{number}": shape for number, shape in enumerate(other)}
    with pytest.raises(UsageError, match="no such shape") as refused:
        find(shapes, choices)
    assert str(refused.value).count(" or ") == len(sets) - 1
    if len(sets) > 1:
        with pytest.raises(InputError, match="not compiled for these shapes"):
            pick([np.zeros(shape, np.float32) for shape in other], choices)


def test_some_inputs_are_enough_if_they_are_of_one_set() -> None:
    choices = [specs([(1,), (2, 2)]), specs([(1,), (3, 3)]), specs([(4,), (3, 3)])]
    assert find({"input1": (2, 2)}, choices) == 0
    assert find({"input0": (4,)}, choices) == 2
    for shapes in ({"input0": (1,)}, {"input1": (3, 3)}, {}):
        with pytest.raises(UsageError, match=r"several such shapes(.|\n)*input0\[1\], input1\[2, 2\] or"):
            find(shapes, choices)


def test_whatever_has_a_shape_is_looked_at() -> None:
    choices = [specs([(3,)]), specs([(2, 2)])]
    for value in (np.zeros(3), torch.zeros(3), array.array("f", [0, 0, 0]), memoryview(bytes(3))):
        assert pick([value], choices) == 0
    assert pick([torch.zeros(2, 2)], choices) == 1
    with pytest.raises(InputError, match=r"not a tensor(.|\n)*float"):
        pick([1.0], choices)


def test_one_set_is_not_looked_into() -> None:
    assert pick([object()], [specs([(3,)])]) == 0


def test_sets_are_one_or_several() -> None:
    assert sets_of(None) == [None]
    assert sets_of({}) == [{}]
    assert sets_of({"x": (1,)}) == [{"x": (1,)}]
    assert sets_of([{"x": (1,)}, {"x": (2,)}]) == [{"x": (1,)}, {"x": (2,)}]
    for wrong, fault in (
        ([], "no shape to compile for"),
        ([{"x": (1,)}, {"x": (1,)}], "given twice"),
        ([{"x": (1,)}, {"y": (2,)}], "not for the same inputs"),
    ):
        with pytest.raises(UsageError, match=fault):
            sets_of(wrong)


@pytest.mark.parametrize("shape", [4, None, "4,64", ("4", 64), (1.5, 64), (-1, 64), (2**40, 64), (10**30,)])
def test_what_is_no_shape_is_refused(shape: object) -> None:
    with pytest.raises(UsageError, match="input 'x'"):
        sets_of({"x": shape})  # type: ignore[dict-item]


@pytest.mark.parametrize("shapes", [5, "x", [], [None], [{"x": (1,)}, 2]])
def test_what_are_no_sets_of_shapes_is_refused(shapes: object) -> None:
    with pytest.raises(UsageError, match="no shape to compile for"):
        sets_of(shapes)  # type: ignore[arg-type]


def test_shapes_of_any_integers_become_tuples() -> None:
    assert sets_of({"x": [np.int64(4), 0]}) == [{"x": (4, 0)}]  # type: ignore[dict-item]


def test_shapes_that_are_lists_are_found() -> None:
    assert find({"input0": [2, 3]}, [specs([(2, 3)]), specs([(4, 3)])]) == 0  # type: ignore[dict-item]
