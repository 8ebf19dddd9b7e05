"""A program for GPUs as the facts and blobs of a `.sparsec` file, and back.

constants.bin   the plans' constants
weights.bin     values of each weight, then its bitmap if it has one, at the places that the manifest says
code.bin        the plans' PTX, then machine code of this package's own kernels, each with its name in the manifest
encoded.bin     what loading the weights onto the GPUs that the program was made for would compute, if there are any
"""

from __future__ import annotations

import os
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact.fields import JsonObject, JsonValue, as_int, as_list, as_object, as_str
from sparsec.artifact.file import Contents, by_shape, each_shape, write_file
from sparsec.artifact.records import Reader, to_json
from sparsec.cuda.network import encoded
from sparsec.cuda.network.blob import Blob, part
from sparsec.cuda.network.packed import DeviceProgram
from sparsec.cuda.network.plan import DevicePlan, DeviceWeight, Half
from sparsec.cuda.network.plan_check import check_all
from sparsec.cuda.products.product import Activation
from sparsec.cuda.products.weights import Pattern
from sparsec.cuda.streams.zeros import Zeros

KIND = "cuda"
_SHARED = ("name", "precision", "architecture")  # by the plans for all shapes
_OWN = ("inputs", "outputs", "arena_bytes", "steps", "status", "complaints")


def write(program: DeviceProgram, path: str | os.PathLike[str]) -> None:
    """Write a program to `path`, whole or not at all; equal programs give equal bytes. Raises `ArtifactError`."""
    check_all(program.plans)
    first, weights, code, streams = program.plans[0], Blob(), Blob(), Blob()
    own = [_own_facts(plan, code) for plan in program.plans]
    images: JsonObject = {
        name: code.add(np.frombuffer(image, np.uint8)) for name, image in sorted(program.images.items())
    }
    shared: JsonObject = {
        **{name: to_json(getattr(first, name)) for name in _SHARED},
        "gpus": list(program.gpus),
        "weights": {"arrays": [_weight_json(each, weights) for each in first.weights]},
        "code": {**as_object(own[0]["code"], "code"), "images": images},
        "encoded": encoded.to_json(program.encoded, streams),
    }
    constants = np.ascontiguousarray(first.constants, np.uint8).reshape(-1)
    blobs = {"constants": [constants.data], "weights": weights.parts, "code": code.parts, "encoded": streams.parts}
    write_file(path, KIND, by_shape(shared, own), blobs)


def _own_facts(plan: DevicePlan, code: Blob) -> JsonObject:
    plain: JsonObject = {name: to_json(getattr(plan, name)) for name in _OWN}
    return {**plain, "report": plan.report, "code": {"ptx": code.add(np.frombuffer(plan.ptx.encode(), np.uint8))}}


def program_of(contents: Contents) -> DeviceProgram:
    """The program that a file holds, checked. Raises `ArtifactError`, and others for facts of another form."""
    facts, blobs = contents.facts, contents.blobs
    reader = Reader({"Activation": Activation, "Pattern": Pattern, "JsonObject": object})
    hints = reader.hints(DevicePlan)
    code = as_object(facts["code"], "code")
    arrays = as_list(as_object(facts["weights"], "weights")["arrays"])
    weights = tuple(_weight(each, reader, blobs["weights"]) for each in arrays)
    shared = {name: reader.read(hints[name], facts[name]) for name in _SHARED}
    plans = tuple(
        DevicePlan(
            **shared,  # type: ignore[arg-type]
            **{name: reader.read(hints[name], own[name]) for name in _OWN},  # type: ignore[arg-type]
            weights=weights,
            constants=blobs["constants"],
            ptx=part(blobs["code"], as_object(own["code"], "code")["ptx"]).tobytes().decode(),
            report=as_object(own["report"], "report"),
        )
        for own in each_shape(facts)
    )
    check_all(plans)
    images = as_object(code["images"], "images")
    return DeviceProgram(
        plans,
        tuple(as_str(name) for name in as_list(facts["gpus"])),
        {name: part(blobs["code"], place).tobytes() for name, place in images.items()},
        encoded.from_json(as_object(facts["encoded"], "encoded"), blobs["encoded"]) if "encoded" in facts else {},
    )


def _weight_json(weight: DeviceWeight, blob: Blob) -> JsonObject:
    bitmap = None if weight.bitmap is None else blob.add(weight.bitmap)
    return {
        "name": weight.name,
        "shape": list(weight.shape),
        "dtype": weight.dtype,
        "pattern": weight.pattern,
        "values": blob.add(weight.values),
        "bitmap": bitmap,
        "zeros": to_json(weight.zeros),
    }


def _weight(value: JsonValue, reader: Reader, blob: NDArray[np.uint8]) -> DeviceWeight:
    facts = as_object(value, "weight")
    bitmap = facts["bitmap"]
    return DeviceWeight(
        as_str(facts["name"]),
        tuple(as_int(length) for length in as_list(facts["shape"])),
        cast(Half, reader.read(Half, facts["dtype"])),
        cast("Pattern | None", reader.read(Pattern | None, facts["pattern"])),
        part(blob, facts["values"]).view(np.uint16),
        None if bitmap is None else part(blob, bitmap),
        cast("Zeros | None", reader.read(Zeros | None, facts["zeros"])),
    )
