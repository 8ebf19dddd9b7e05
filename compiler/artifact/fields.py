"""JSON values of a manifest, taken for what they should be: `TypeError` for what they are not, which reading reports."""

from __future__ import annotations

from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
JsonObject: TypeAlias = "dict[str, JsonValue]"


def as_object(value: object, what: str) -> JsonObject:
    """An object, by keys."""
    if not isinstance(value, dict):
        raise TypeError(f"{what} is not an object")
    return value


def as_list(value: JsonValue) -> list[JsonValue]:
    """An array."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value


def as_int(value: JsonValue) -> int:
    """A whole number, and no boolean."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not an integer")
    return value


def as_str(value: JsonValue) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value
