"""A `.sparsec` file, of whatever kind: a manifest, and a member for each blob that it names.

`manifest.json` says who made it, its `kind` (for which processor) and what a program of this kind is made of. A blob `code`
is the member `code.bin`, and the manifest's object `code` repeats its size and its CRC-32. Reading verifies all of them.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact.container import Content, Member, check_intact, parts_of, read_members, write_members
from sparsec.artifact.fields import JsonObject, as_int, as_list, as_object, as_str
from sparsec.errors import ArtifactError

FORMAT_VERSION = 4
SEVERAL_SHAPES = 5  # the version of files that have more programs than one, which is all that is new in it
_READABLE_VERSIONS = (2, 3, FORMAT_VERSION, SEVERAL_SHAPES)  # 2 had no pieces, and programs before 4 are for CPUs
_MANIFEST, _SUFFIX = "manifest.json", ".bin"
_MORE = "more_shapes"
_FIRST_KIND = "cpu"

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What is in a file: the format's version, the manifest's `facts`, and blobs by name, mapped from the file."""

    version: int
    facts: JsonObject
    blobs: Mapping[str, NDArray[np.uint8]]


def write_file(path: str | os.PathLike[str], kind: str, facts: JsonObject, blobs: Mapping[str, Content]) -> None:
    """Write a file, whole or not at all; equal ones are equal byte for byte. Raises `ArtifactError`.

    Of a blob, `facts` may hold an object with more than its size and sum. Facts of more programs than one are as `by_shape`
    puts them together.
    """
    head: JsonObject = {
        "format": "sparsec",
        "format_version": SEVERAL_SHAPES if _MORE in facts else FORMAT_VERSION,
        "sparsec_version": _product_version(),
        "kind": kind,
    }
    stated: JsonObject = {
        name: {**as_object(facts.get(name, {}), name), **_size_and_sum(parts_of(blob))} for name, blob in blobs.items()
    }
    manifest = json.dumps({**head, **facts, **stated}, indent=1).encode()
    members: dict[str, Content] = {
        _MANIFEST: memoryview(manifest),
        **{name + _SUFFIX: blob for name, blob in blobs.items()},
    }
    try:
        write_members(Path(path), members)
    except OSError as error:
        raise ArtifactError("The artifact cannot be written.", where=str(path), got=error.strerror) from error


def _size_and_sum(parts: list[memoryview]) -> JsonObject:
    crc32 = 0
    for part in parts:
        crc32 = zlib.crc32(part, crc32)
    return {"bytes": sum(part.nbytes for part in parts), "crc32": crc32}


def by_shape(shared: JsonObject, own: Sequence[JsonObject]) -> JsonObject:
    """Facts of programs for several shapes: what they share and what the first has of its own, then a list of the others."""
    first, *others = own
    more: JsonObject = {_MORE: [*others]} if others else {}
    return {**first, **shared, **more}


def each_shape(facts: JsonObject) -> list[JsonObject]:
    """The facts of each program of a file; the first's are among what all share."""
    return [facts, *(as_object(each, _MORE) for each in as_list(facts.get(_MORE, [])))]


def read_file(
    path: str | os.PathLike[str], readers: Mapping[str, Callable[[Contents], Made]], *, verify: bool = True
) -> Made:
    """Map the file at `path`, and return what the reader of its kind makes of it.

    Do not change a mapped file in place; `write_file` never does, it puts a new file under the same name. `verify=False`
    skips the sums of blobs. Raises `ArtifactError` if the file is damaged, of another format version, of a kind without a
    reader, or not an artifact; readers may raise any `Exception` for facts that are not what they should be.
    """
    try:
        members = read_members(path)
        manifest = members[_MANIFEST]
        check_intact(manifest.data, manifest.crc32, "manifest")
        facts = as_object(json.loads(bytes(manifest.data)), "manifest")
        version, reader = _version(facts), readers.get(_kind(facts))
        if reader is None:
            raise ArtifactError(
                "The artifact is for another kind of processor.", expected=" or ".join(readers), got=_kind(facts)
            )
        return reader(Contents(version, facts, _blobs(facts, members, verify=verify)))
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ArtifactError("The artifact cannot be opened.", where=str(path), got=error.strerror) from error
    except ArtifactError as error:
        raise ArtifactError(
            error.what, where=str(path), expected=error.expected, got=error.got, next_step=error.next_step
        ) from error
    except Exception as error:  # zipfile, json and struct raise a dozen kinds of errors on damaged input
        raise ArtifactError(
            "The file is not a readable sparsec artifact; it is damaged, truncated or something else.",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
            next_step="compile the model again",
        ) from error


def _version(facts: JsonObject) -> int:
    if facts.get("format") != "sparsec":
        raise ArtifactError("The file is a zip, but not a sparsec artifact.")
    version = facts.get("format_version")
    if version not in _READABLE_VERSIONS:
        raise ArtifactError(
            "The artifact has another format version than this sparsec reads.",
            expected=" or ".join(map(str, _READABLE_VERSIONS)),
            got=f"{version} (written by sparsec {facts.get('sparsec_version')})",
            next_step="compile the model again with this version",
        )
    return as_int(version)


def _kind(facts: JsonObject) -> str:
    return as_str(facts.get("kind", _FIRST_KIND))


def _blobs(facts: JsonObject, members: Mapping[str, Member], *, verify: bool) -> dict[str, NDArray[np.uint8]]:
    """Each member but the manifest, after its size and, with `verify`, its sum are found to be as stated."""
    blobs = {name.removesuffix(_SUFFIX): member.data for name, member in members.items() if name != _MANIFEST}
    for name, data in blobs.items():
        stated = as_object(facts[name], name)
        if as_int(stated["bytes"]) != data.nbytes:
            raise ArtifactError(f"The {name} of the artifact has the wrong size.", got=f"{data.nbytes} bytes")
        if verify:
            check_intact(data, as_int(stated["crc32"]), name)
    return blobs


def _product_version() -> str:
    from importlib import metadata  # slow to import, and only writing needs it

    try:
        return metadata.version("sparsec")
    except metadata.PackageNotFoundError:
        return "uninstalled"
