"""What counts as right."""

from __future__ import annotations

import numpy as np
import pytest

from sparsec.artifact import TensorSpec
from sparsec.runtime.tensors import Array
from sparsec.verify import OutputCheck, compare, tolerance


def check(expected: Array, found: Array, *, quantised: bool = False) -> OutputCheck:
    """One output against its reference."""
    (result,) = compare([TensorSpec("y", str(expected.dtype), found.shape)], [expected], [found], quantised=quantised)
    return result


def test_errors_count_relative_to_the_largest_value() -> None:
    reference = np.array([1000.0, 0.0], np.float32)
    assert check(reference, reference + np.float32(0.05)).passed
    assert not check(reference, reference + np.float32(0.2)).passed


def test_small_outputs_have_an_absolute_tolerance() -> None:
    reference = np.full(3, 1e-6, np.float32)
    assert check(reference, reference + np.float32(5e-6)).passed
    assert not check(reference, reference + np.float32(2e-5)).passed


def test_integers_must_be_equal() -> None:
    assert tolerance("int64", 1e9) == 0
    assert check(np.array([1, 2]), np.array([1, 2])).passed
    assert not check(np.array([1, 2]), np.array([1, 3])).passed


def test_codes_of_a_quantised_network_may_be_one_step_apart() -> None:
    reference = np.array([7, 200, 3], np.uint8)
    one_step = check(reference, reference + np.array([0, 1, 0], np.uint8), quantised=True)
    assert one_step.passed
    assert one_step.differing == 1
    assert not check(reference, reference + np.array([0, 2, 0], np.uint8), quantised=True).passed
    assert not check(reference, reference + np.array([0, 1, 0], np.uint8)).passed


def test_few_numbers_of_a_quantised_network_may_be_steps_apart() -> None:
    reference = np.ones(100, np.float32)
    few, many = reference.copy(), reference + np.float32(0.02)
    few[3] += 0.04
    assert check(reference, few, quantised=True).passed
    assert not check(reference, few).passed
    assert not check(reference, many, quantised=True).passed


def test_what_a_quantised_network_has_in_bfloat16_may_differ_more() -> None:
    alone = [tolerance("float32", 1.0, quantised=True), tolerance("float32", 1.0, precision="bf16")]
    assert tolerance("float32", 1.0, quantised=True, precision="bf16") > max(alone)


def test_truth_values_of_a_quantised_network_must_be_equal() -> None:
    reference = np.array([0, 1, 1], np.uint8)
    assert not check(reference, np.array([1, 1, 1], np.uint8), quantised=True).passed


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_infinities_and_nans_must_stand_in_the_same_places(hole: float) -> None:
    reference = np.array([1.0, hole], np.float32)
    assert check(reference, reference.copy()).passed
    assert not check(reference, np.array([1.0, 2.0], np.float32)).passed
    assert not check(np.array([1.0, 2.0], np.float32), reference).passed


def test_another_shape_is_a_fault() -> None:
    result = check(np.zeros(3, np.float32), np.zeros(4, np.float32))
    assert not result.passed
    assert "shape [3]" in (result.fault or "")


def test_the_more_exact_the_dtype_the_smaller_the_tolerance() -> None:
    assert tolerance("float64", 1) < tolerance("float32", 1) < tolerance("float16", 1) < tolerance("bfloat16", 1)
