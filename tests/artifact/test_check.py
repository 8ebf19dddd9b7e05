"""Programs that are not consistent are refused."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from sparsec import artifact
from sparsec.artifact import (
    JsonObject,
)
from sparsec.errors import ArtifactError
from tests.artifact.small import IMAGE, with_manifest

_STEP = {"kernel": "relu", "layer": "l", "extent": 6, "grain": 6, "args": [["input", 0]]}
_CODE = {"bytes": len(IMAGE), "crc32": zlib.crc32(IMAGE), "writable_offset": 4096, "entries": {"relu": 0, "gemm": 64}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [{**_STEP, "args": [["input", 2]]}]}, "points outside input at 2"),
        ({"steps": [{**_STEP, "args": [["output", -1]]}]}, "points outside output at -1"),
        ({"steps": [{**_STEP, "args": [["weights", 5001]]}]}, "points outside weights"),
        ({"steps": [{**_STEP, "args": [["arena", 2**40]]}]}, "points outside arena"),
        ({"steps": [{**_STEP, "args": [["stack", 0]]}]}, "damaged, truncated or something else"),
        ({"steps": [{**_STEP, "args": [["input", True]]}]}, "damaged, truncated or something else"),
        ({"steps": [{**_STEP, "kernel": "missing"}]}, "calls a kernel that is not in the code"),
        ({"steps": [{**_STEP, "grain": 0}]}, "impossible extent or grain"),
        ({"steps": [{**_STEP, "extent": -1}]}, "impossible extent or grain"),
        ({"steps": {}}, "damaged, truncated or something else"),
        ({"code": {**_CODE, "entries": {"relu": 4096, "gemm": 0}, "imports": {}}}, "entry 'relu' lies outside"),
        ({"code": {**_CODE, "imports": {"expf": 0}}}, "slot of import 'expf' lies outside"),
        ({"code": {**_CODE, "imports": {"expf": 4108}}}, "slot of import 'expf' lies outside"),
        ({"code": {**_CODE, "imports": {}, "writable_offset": 100}}, "does not start at a page"),
        ({"code": {**_CODE, "imports": {}, "writable_offset": 8192}}, "starts outside the image"),
        ({"inputs": [{"name": "x", "dtype": "float31", "shape": []}]}, "unknown dtype 'float31'"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": [-1]}]}, "impossible shape"),
        ({"inputs": [{"name": "x", "dtype": "float32", "shape": []}] * 2}, "two inputs have the same name"),
        ({"arena_bytes": -5}, "arena size is impossible"),
        ({"weights": {"bytes": 1, "crc32": 0}}, "wrong size"),
        ({"format": "other"}, "not a sparsec artifact"),
    ],
)
def test_an_impossible_manifest_is_refused(written: bytes, scratch: Path, change: JsonObject, message: str) -> None:
    with_manifest(written, scratch, change)
    with pytest.raises(ArtifactError, match=message):
        artifact.read(scratch)
