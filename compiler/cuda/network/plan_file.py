"""A program for GPUs as the facts and blobs of a `.sparsec` file, and back.

constants.bin   the plan's constants
weights.bin     values of each weight, then its bitmap if it has one, at the places that the manifest says
code.bin        the plan's PTX, then machine code of this package's own kernels, each with its name in the manifest
"""

from __future__ import annotations

import os
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact.fields import JsonObject, JsonValue, as_int, as_list, as_object, as_str
from sparsec.artifact.file import Contents, write_file
from sparsec.artifact.records import Reader, to_json
from sparsec.cuda.network.packed import DeviceProgram
from sparsec.cuda.network.plan import DevicePlan, DeviceWeight, Half
from sparsec.cuda.network.plan_check import check
from sparsec.cuda.products.product import Activation
from sparsec.cuda.products.weights import Pattern

KIND = "cuda"
_PLAIN = ("name", "precision", "architecture", "inputs", "outputs", "arena_bytes", "steps", "status", "complaints")
_ALIGNMENT = 64


def write(program: DeviceProgram, path: str | os.PathLike[str]) -> None:
    """Write a program to `path`, whole or not at all; equal programs give equal bytes. Raises `ArtifactError`."""
    plan = program.plan
    check(plan)
    weights, code = _Blob(), _Blob()
    plain: JsonObject = {name: to_json(getattr(plan, name)) for name in _PLAIN}
    facts: JsonObject = {
        **plain,
        "gpus": list(program.gpus),
        "report": plan.report,
        "weights": {"arrays": [_weight_json(each, weights) for each in plan.weights]},
        "code": {
            "ptx": code.add(np.frombuffer(plan.ptx.encode(), np.uint8)),
            "images": {
                name: code.add(np.frombuffer(image, np.uint8)) for name, image in sorted(program.images.items())
            },
        },
    }
    constants = np.ascontiguousarray(plan.constants, np.uint8).reshape(-1)
    blobs = {"constants": constants.data, "weights": weights.joined().data, "code": code.joined().data}
    write_file(path, KIND, facts, blobs)


def program_of(contents: Contents) -> DeviceProgram:
    """The program that a file holds, checked. Raises `ArtifactError`, and others for facts of another form."""
    facts, blobs = contents.facts, contents.blobs
    reader = Reader({"Activation": Activation, "Pattern": Pattern, "JsonObject": object})
    hints = reader.hints(DevicePlan)
    code = as_object(facts["code"], "code")
    arrays = as_list(as_object(facts["weights"], "weights")["arrays"])
    plan = DevicePlan(
        **{name: reader.read(hints[name], facts[name]) for name in _PLAIN},  # type: ignore[arg-type]
        weights=tuple(_weight(each, reader, blobs["weights"]) for each in arrays),
        constants=blobs["constants"],
        ptx=_part(blobs["code"], code["ptx"]).tobytes().decode(),
        report=as_object(facts["report"], "report"),
    )
    check(plan)
    images = as_object(code["images"], "images")
    return DeviceProgram(
        plan,
        tuple(as_str(name) for name in as_list(facts["gpus"])),
        {name: _part(blobs["code"], place).tobytes() for name, place in images.items()},
    )


class _Blob:
    """Arrays one after another, each at a multiple of 64 bytes."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.uint8]] = []
        self._size = 0

    def add(self, array: NDArray[np.generic]) -> list[JsonValue]:
        """Where it is and how many bytes it has."""
        part, begin = array.view(np.uint8), self._size
        gap = -part.nbytes % _ALIGNMENT
        self._parts += [part, np.zeros(gap, np.uint8)]
        self._size += part.nbytes + gap
        return [begin, part.nbytes]

    def joined(self) -> NDArray[np.uint8]:
        return np.concatenate([np.zeros(0, np.uint8), *self._parts])


def _part(blob: NDArray[np.uint8], place: JsonValue) -> NDArray[np.uint8]:
    begin, size = map(as_int, as_list(place))
    if not 0 <= begin <= begin + size <= blob.nbytes:
        raise ValueError(f"{place} is outside its member")
    return blob[begin : begin + size]


def _weight_json(weight: DeviceWeight, blob: _Blob) -> JsonObject:
    bitmap = None if weight.bitmap is None else blob.add(weight.bitmap)
    return {
        "name": weight.name,
        "shape": list(weight.shape),
        "dtype": weight.dtype,
        "pattern": weight.pattern,
        "values": blob.add(weight.values),
        "bitmap": bitmap,
    }


def _weight(value: JsonValue, reader: Reader, blob: NDArray[np.uint8]) -> DeviceWeight:
    facts = as_object(value, "weight")
    bitmap = facts["bitmap"]
    return DeviceWeight(
        as_str(facts["name"]),
        tuple(as_int(length) for length in as_list(facts["shape"])),
        cast(Half, reader.read(Half, facts["dtype"])),
        cast("Pattern | None", reader.read(Pattern | None, facts["pattern"])),
        _part(blob, facts["values"]).view(np.uint16),
        None if bitmap is None else _part(blob, bitmap),
    )
