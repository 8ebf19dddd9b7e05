"""Weights as they are encoded for kinds of GPUs, kept so that they are encoded once: with the network in memory, and in its file.

In a file they are dataclasses of `sparsec.cuda.streams` by their names, with arrays in a member of their own. They are read by
the sources that wrote them only: to others they mean nothing, and weights are encoded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact.fields import JsonObject, JsonValue, as_int, as_list, as_object, as_str
from sparsec.cuda.device.driver import Device
from sparsec.cuda.network.blob import Blob, part
from sparsec.cuda.products.form import Encoded

_STREAMS = "sparsec.cuda.streams"


@dataclass(frozen=True, slots=True)
class Key:
    """What is encoded: the number of a weight, the form that it gets, and all of a GPU that encoding may look at."""

    weight: int
    form: str
    architecture: tuple[int, int]
    multiprocessors: int
    shared_bytes: int

    @classmethod
    def on(cls, gpu: Device, weight: int, form: str) -> Key:
        return cls(weight, form, gpu.architecture, gpu.multiprocessors, gpu.shared_bytes)

    def is_for(self, gpu: Device) -> bool:
        """Whether encoding for this GPU gives the same."""
        return self == Key.on(gpu, self.weight, self.form)


class EncodedWeights:
    """Those that are `known`; what is encoded beside them is kept if `keeps` says so."""

    def __init__(self, known: Mapping[Key, Encoded], *, keeps: bool = False) -> None:
        self._known = dict(known)
        self._keeps = keeps

    def of(self, gpus: Sequence[Device]) -> dict[Key, Encoded]:
        """Those that are kept for these GPUs, in an order that does not depend on who asked first."""
        keys = [key for key in self._known if any(key.is_for(gpu) for gpu in gpus)]
        return {key: self._known[key] for key in sorted(keys, key=astuple)}

    def get(self, key: Key, encode: Callable[[], Encoded | None]) -> Encoded | None:
        """What there is, or what `encode` returns, which may be nothing."""
        found = self._known.get(key) or encode()
        if self._keeps and found is not None:
            self._known[key] = found
        return found


def to_json(weights: Mapping[Key, Encoded], blob: Blob) -> JsonObject:
    """Facts of a file, with arrays in the blob."""
    rows: list[JsonValue] = [
        {"key": cast("JsonObject", asdict(key)), "streams": _value_json(encoded, blob)}
        for key, encoded in weights.items()
    ]
    return {"sources": _sources(), "weights": rows}


def from_json(facts: JsonObject, blob: NDArray[np.uint8]) -> dict[Key, Encoded]:
    """The weights, if they were encoded by these sources; raises `TypeError`, `KeyError` or `ValueError` for other facts."""
    if as_str(facts["sources"]) != _sources():
        return {}
    rows = [as_object(row, "row") for row in as_list(facts["weights"])]
    return {_key(as_object(row["key"], "key")): cast("Encoded", _value(row["streams"], blob)) for row in rows}


@cache
def _sources() -> str:
    """A sum of all that says how streams are laid out."""
    modules = sorted(each.name for each in files(_STREAMS).iterdir() if each.name.endswith(".py"))
    texts = [f"{name}\0{(files(_STREAMS) / name).read_text()}" for name in modules]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _key(facts: JsonObject) -> Key:
    major, minor = map(as_int, as_list(facts["architecture"]))
    sizes = as_int(facts["multiprocessors"]), as_int(facts["shared_bytes"])
    return Key(as_int(facts["weight"]), as_str(facts["form"]), (major, minor), *sizes)


def _value_json(value: object, blob: Blob) -> JsonValue:
    match value:
        case np.ndarray():
            descr = cast("JsonValue", np.lib.format.dtype_to_descr(value.dtype))
            return {"array": blob.add(value), "dtype": descr, "shape": list(value.shape)}
        case None | bool() | int() | float() | str():
            return value
    assert is_dataclass(value), f"{value!r} has no form in a file"
    kind = type(value)
    own: JsonObject = {field.name: _value_json(getattr(value, field.name), blob) for field in fields(value)}
    return {"class": f"{kind.__module__.removeprefix(_STREAMS + '.')}.{kind.__qualname__}", "fields": own}


def _value(value: JsonValue, blob: NDArray[np.uint8]) -> object:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        descr = value["dtype"]
        dtype = np.dtype([tuple(as_list(each)) for each in descr] if isinstance(descr, list) else as_str(descr))
        return part(blob, value["array"]).view(dtype).reshape([as_int(length) for length in as_list(value["shape"])])
    module, _, name = as_str(value["class"]).rpartition(".")
    kind: object = getattr(import_module(f"{_STREAMS}.{module}"), name)
    if not (isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == f"{_STREAMS}.{module}"):
        raise ValueError(f"there are no streams {name}")
    return kind(**{name: _value(each, blob) for name, each in as_object(value["fields"], "fields").items()})
