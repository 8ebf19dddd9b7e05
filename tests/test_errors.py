"""The form of what users are told."""

from __future__ import annotations

import pytest

from sparsec.errors import ModelError, SparsecError


@pytest.mark.parametrize("what", ["The model is empty", "The model is empty."])
def test_a_sentence_ends_with_a_full_stop(what: str) -> None:
    assert str(SparsecError(what)) == "The model is empty."


def test_parts_that_are_known_have_a_line_each() -> None:
    error = ModelError("It is empty", where="m.onnx", got="0 bytes", next_step="make another")
    assert str(error).splitlines() == ["It is empty.", "  where: m.onnx", "  got: 0 bytes", "  try: make another"]
    assert error.what == "It is empty"
