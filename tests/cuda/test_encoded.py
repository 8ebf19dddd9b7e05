"""Encoded weights in files: what is written is read, and used in the place of encoding again; needs no GPU."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from plans import residual_blocks, sparse_matrix, two_of_four, weight

from sparsec.artifact.file import read_file
from sparsec.cuda.code import program
from sparsec.cuda.device.absent import absent_gpu
from sparsec.cuda.network import encoded, forms, plan_file
from sparsec.cuda.network.blob import Blob, part
from sparsec.cuda.network.encoded import EncodedWeights, Key
from sparsec.cuda.network.executor import Executor
from sparsec.cuda.network.network import Network
from sparsec.cuda.network.packed import DeviceProgram, packed
from sparsec.cuda.products.form import Encoded, encoded_as
from sparsec.cuda.products.ways import WayKernel

M, K = 256, 512
H100 = absent_gpu("h100")


def joined(blob: Blob) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(blob.parts), np.uint8)


def same(one: object, other: object) -> bool:
    """Whether dataclasses are equal, arrays and all."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if not is_dataclass(one):
        return one == other
    return type(one) is type(other) and all(
        same(getattr(one, each.name), getattr(other, each.name)) for each in fields(one)
    )


def of_each_kind() -> list[Encoded]:
    dense, half = sparse_matrix(M, K, 0.6, 1).view(np.uint16), two_of_four(M, K, 2).view(np.uint16)
    sparse, none = sparse_matrix(M, K, 0.05, 3).view(np.uint16), np.zeros((5, 7), np.uint16)
    blocks = np.kron(np.eye(4, dtype=np.float16), np.ones((64, 128), np.float16)).view(np.uint16)
    of_any: list[WayKernel] = ["bitmap_mma", "spmv", "spmv_ordered"]
    of_few: list[WayKernel] = ["coo_mma", "coo_wgmma"]
    of_groups: list[WayKernel] = ["nm24_mma", "nm24_wgmma"]
    of_blocks: list[WayKernel] = ["bsr_wgmma", "bsr_rows_mma", "bsr_tall_wgmma", "bsr_pairs_wgmma"]
    made = [
        *(encoded_as(kernel, each, H100) for kernel in of_any for each in (dense, none)),
        *(encoded_as(kernel, sparse, H100) for kernel in of_few),
        *(encoded_as(kernel, half, H100) for kernel in of_groups),
        *(encoded_as(kernel, blocks, H100) for kernel in of_blocks),
    ]
    return [each for each in made if each is not None]


@pytest.mark.parametrize("streams", of_each_kind(), ids=lambda streams: type(streams).__name__)
def test_what_is_written_is_read(streams: Encoded) -> None:
    blob, key = Blob(), Key.on(H100, 3, "some")
    facts = json.loads(json.dumps(encoded.to_json({key: streams}, blob)))
    found = encoded.from_json(facts, joined(blob))
    assert list(found) == [key]
    assert same(found[key], streams)


def test_those_of_other_sources_mean_nothing() -> None:
    blob = Blob()
    facts = encoded.to_json({Key.on(H100, 0, "some"): of_each_kind()[0]}, blob)
    assert encoded.from_json({**facts, "sources": "others"}, joined(blob)) == {}


def test_arrays_are_inside_the_blob() -> None:
    blob = Blob()
    place = blob.add(np.arange(10))
    assert blob.add(np.arange(3, dtype=np.uint8)) == [128, 3]
    assert part(joined(blob), place).view(np.int64).tolist() == list(range(10))
    for outside in ([0, 300], [-1, 3], [5, -3]):
        with pytest.raises(ValueError, match="outside"):
            part(joined(blob), outside)


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_what_was_packed_is_not_encoded_again(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "compiled", lambda *_: b"machine code")
    weights = weight("first", two_of_four(M, K, 2), pattern), weight("second", sparse_matrix(K, M, 1.0, 1), None)
    plans = residual_blocks((1, 8, 16, 64), *weights, np.zeros(M, np.float32))
    plan_file.write(packed(DeviceProgram(plans, ("h100",)), EncodedWeights({}, keeps=True)), tmp_path / "plan.sparsec")
    found = read_file(tmp_path / "plan.sparsec", {plan_file.KIND: plan_file.program_of})
    assert {key.weight for key in found.encoded} == {0}
    monkeypatch.setattr(forms, "encoded_as", lambda *_: pytest.fail("encoded again"))
    network = Network(found.plans, absent_gpu("h100"), EncodedWeights(found.encoded))
    for plan in found.plans:
        Executor(plan, network).close()


def test_other_gpus_encode_for_themselves() -> None:
    a100, (streams, made) = absent_gpu("a100"), of_each_kind()[:2]
    keys = [Key.on(H100, 1, "some"), Key.on(H100, 0, "some"), Key.on(a100, 0, "some")]
    for keeps in (False, True):
        weights = EncodedWeights({keys[0]: streams, keys[1]: streams}, keeps=keeps)
        assert weights.get(keys[1], lambda: made) is streams
        assert weights.get(keys[2], lambda: made) is made
        assert list(weights.of([H100])) == [keys[1], keys[0]]
        assert list(weights.of([a100, H100])) == ([keys[2]] if keeps else []) + [keys[1], keys[0]]
