"""Frozen dataclasses of plain values as JSON and back, by their annotations.

A field is a `bool`, `int`, `float`, `str`, `Literal`, an `Enum` of texts, a `tuple`, a dataclass, or a union of such: one of
dataclasses has their names in the JSON. Reading raises `TypeError`, `KeyError` or `ValueError` for anything else than what
the annotations say.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Literal, Union, cast, get_args, get_origin, get_type_hints

from sparsec.artifact.fields import JsonObject, JsonValue, as_int, as_list, as_object, as_str

_KIND = "kind"


def to_json(value: object) -> JsonValue:
    """The value as JSON; dataclasses say what they are, in case they stand in a union."""
    match value:
        case Enum():
            return as_str(value.value)
        case tuple():
            return [to_json(item) for item in value]
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
    assert is_dataclass(value), f"{value!r} has no form in JSON"
    names = [field.name for field in fields(value)]
    return {_KIND: type(value).__name__, **{name: to_json(getattr(value, name)) for name in names}}


class Reader:
    """Reads values of annotated types; `names` are those that annotations use and their modules do not have at run time."""

    def __init__(self, names: Mapping[str, object] | None = None) -> None:
        self._names = dict(names or {})
        self._hints: dict[type, dict[str, object]] = {}

    def read(self, annotation: object, value: JsonValue) -> object:
        """The value that `to_json` made this of."""
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in (Union, types.UnionType):
            return self._one_of(arguments, value)
        if origin is Literal:
            if value not in arguments or isinstance(value, bool):
                raise ValueError(f"{value!r} is none of {arguments}")
            return value
        if origin is tuple:
            return self._tuple(arguments, as_list(value))
        if isinstance(annotation, type) and is_dataclass(annotation):
            return self._record(annotation, as_object(value, annotation.__name__))
        return _plain(annotation, value)

    def hints(self, kind: type) -> Mapping[str, object]:
        """The annotations of a dataclass's fields."""
        if kind not in self._hints:
            self._hints[kind] = get_type_hints(kind, localns=self._names)
        return self._hints[kind]

    def _one_of(self, arguments: tuple[object, ...], value: JsonValue) -> object:
        if value is None and type(None) in arguments:
            return None
        choices = [each for each in arguments if each is not type(None)]
        if len(choices) > 1:  # all are dataclasses
            kind = as_str(as_object(value, "record")[_KIND])
            choices = [each for each in choices if cast(type, each).__name__ == kind]
            if not choices:
                raise ValueError(f"there is no {kind} here")
        return self.read(choices[0], value)

    def _tuple(self, arguments: tuple[object, ...], values: list[JsonValue]) -> tuple[object, ...]:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(self.read(arguments[0], value) for value in values)
        return tuple(self.read(each, value) for each, value in zip(arguments, values, strict=True))

    def _record(self, kind: type, value: JsonObject) -> object:
        hints = self.hints(kind)
        if value.keys() != {_KIND, *hints} or value[_KIND] != kind.__name__:
            raise ValueError(f"this is no {kind.__name__}")
        return kind(**{name: self.read(annotation, value[name]) for name, annotation in hints.items()})


def _plain(annotation: object, value: JsonValue) -> object:
    if annotation is bool:
        if not isinstance(value, bool):
            raise TypeError(f"{value!r} is not true or false")
        return value
    if annotation is int:
        return as_int(value)
    if annotation is float:
        return float(as_str(value)) if isinstance(value, str) else float(_number(value))
    if annotation is str:
        return as_str(value)
    assert isinstance(annotation, type)
    assert issubclass(annotation, Enum), f"{annotation} has no form in JSON"
    return annotation(as_str(value))


def _number(value: JsonValue) -> int | float:
    return value if isinstance(value, float) else as_int(value)
