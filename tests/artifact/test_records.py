"""Dataclasses as JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsec.artifact.fields import JsonObject, JsonValue
from sparsec.artifact.records import Reader, to_json


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    ends: tuple[Point, Point]
    colour: Colour
    name: str | None


@dataclass(frozen=True, slots=True)
class Drawing:
    parts: tuple[Point | Line, ...]
    width: Literal["thin", "wide"] | None
    is_closed: bool


points = st.builds(Point, st.integers(), st.floats(allow_nan=False))
lines = st.builds(Line, st.tuples(points, points), st.sampled_from(Colour), st.none() | st.text())
drawings = st.builds(
    Drawing, st.lists(points | lines).map(tuple), st.sampled_from(["thin", "wide", None]), st.booleans()
)


@given(drawings)
def test_what_is_written_is_read(drawing: Drawing) -> None:
    assert Reader().read(Drawing, json.loads(json.dumps(to_json(drawing)))) == drawing


DRAWING: JsonObject = {"kind": "Drawing", "parts": [], "width": "thin", "is_closed": True}
POINT: JsonObject = {"kind": "Point", "x": 1, "y": 0.5}


@pytest.mark.parametrize(
    "value",
    [
        {**DRAWING, "parts": {}},
        {**DRAWING, "parts": [3]},
        {**DRAWING, "parts": [{**POINT, "kind": "Colour"}]},
        {**DRAWING, "parts": [{**POINT, "x": 1.5}]},
        {**DRAWING, "parts": [{**POINT, "x": True}]},
        {**DRAWING, "parts": [{**POINT, "y": "wide"}]},
        {**DRAWING, "parts": [{**POINT, "z": 1}]},
        {**DRAWING, "parts": [{"kind": "Point", "x": 1}]},
        {**DRAWING, "width": "wider"},
        {**DRAWING, "is_closed": 1},
        {**DRAWING, "kind": "Point"},
        None,
        [],
    ],
)
def test_other_values_are_refused(value: JsonValue) -> None:
    with pytest.raises((TypeError, KeyError, ValueError)):
        Reader().read(Drawing, value)


def test_names_that_exist_for_type_checkers_only_can_be_given() -> None:
    @dataclass(frozen=True, slots=True)
    class Late:
        width: Width  # type: ignore[name-defined]  # noqa: F821

    reader = Reader({"Width": Literal["thin", "wide"]})
    assert reader.read(Late, to_json(Late("wide"))) == Late("wide")
