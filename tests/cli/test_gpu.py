"""The commands with --target cuda where there is no GPU: models are compiled, saved and explained, and what runs is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sparsec as package
from sparsec.cuda.device import driver
from sparsec.errors import TargetError, UsageError
from tests.cli.command_line import Finished, Sparsec

NO_DRIVER = "There is no NVIDIA driver on this machine."


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise TargetError(NO_DRIVER, next_step="compile for the CPU with --target native")

    monkeypatch.setattr(driver, "load_driver", missing)
    driver.device.cache_clear()


@pytest.fixture
def for_gpus(sparsec: Sparsec, model: Path, tmp_path: Path) -> Path:
    found = sparsec("compile", model, "--target", "cuda", "-o", tmp_path / "tiny.sparsec")
    assert found.code == 0, found
    assert "cuda (sm_80 and later" in found.err
    return tmp_path / "tiny.sparsec"


def assert_refused(found: Finished, *words: str) -> None:
    assert found.code == 2, found
    assert found.out == ""
    assert "Traceback" not in found.err
    assert found.err.count("error:") == 1
    for word in words:
        assert word in found.err


def test_an_artifact_is_compiled_and_explained_without_a_gpu(sparsec: Sparsec, for_gpus: Path) -> None:
    assert "layer" in sparsec("explain", for_gpus).out
    document = json.loads(sparsec("explain", for_gpus, "--json").out)
    assert [part["kernels"] for part in document["parts"] if part["layer"]]
    loaded = package.load(for_gpus)
    assert loaded.threads is None
    assert loaded.report.precision == "fp16"
    assert "cuda" in repr(loaded)
    assert loaded.summary.weight_bytes > 0


def test_an_artifact_for_several_shapes_is_explained(sparsec: Sparsec, dynamic_model: Path, tmp_path: Path) -> None:
    options = [part for rows in (1, 40) for part in ("--shape", f"x={rows},24")]
    found = sparsec("compile", dynamic_model, "--target", "cuda", *options, "-o", tmp_path / "m.sparsec", "--json")
    assert found.code == 0, found
    assert [each["outputs"][0]["shape"] for each in json.loads(found.out)["shapes"]] == [[1, 16], [40, 16]]
    for rows, told in ((1, ()), (40, ("--shape", "x=40,24"))):
        parts = json.loads(sparsec("explain", tmp_path / "m.sparsec", "--json", *told).out)["parts"]
        shapes = [part["layer"]["shape"] for part in parts if part["layer"]]
        assert any(str(rows) in shape for shape in shapes), shapes
    assert_refused(sparsec("explain", tmp_path / "m.sparsec", "--shape", "x=2,24"), "no such shape", "x[40, 24]")
    assert_refused(sparsec("run", tmp_path / "m.sparsec", "--random", "--shape", "x=40,24"), NO_DRIVER)


@pytest.mark.parametrize("command", [("run", "--random"), ("benchmark",), ("explain", "--profile")])
def test_what_runs_needs_a_gpu(sparsec: Sparsec, for_gpus: Path, model: Path, command: tuple[str, ...]) -> None:
    name, *options = command
    assert_refused(sparsec(name, for_gpus, *options), NO_DRIVER)
    assert_refused(sparsec(name, model, "--target", "cuda", *options), NO_DRIVER)


def test_verify_needs_a_gpu(sparsec: Sparsec, for_gpus: Path, model: Path) -> None:
    assert_refused(sparsec("verify", model, "--target", "cuda"), NO_DRIVER)
    assert_refused(sparsec("verify", model, "--artifact", for_gpus), NO_DRIVER)


def test_a_model_called_without_a_gpu_says_so(for_gpus: Path) -> None:
    loaded = package.load(for_gpus)
    feeds = [np.zeros(spec.shape, spec.dtype) for spec in loaded.inputs]
    for _ in range(2):
        with pytest.raises(TargetError, match="no NVIDIA driver"):
            loaded(*feeds)
    with pytest.raises(UsageError, match="no session of processors"):
        _ = loaded.session


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "cuda:abacus"), ("no such GPU", "a100", "abacus")),
        (("--target", "cuda", "--storage", "fp16"), ("cannot be chosen for GPUs",)),
        (("--target", "cuda", "--precision", "f32"), ("precision", "fp16, bf16")),
        (("--target", "cuda", "--emit", "asm"), ("for processors only",)),
        (("--target", "cuda", "--tune", "1s"), ("for processors only",)),
        (("--target", "cudo"), ("no such target", "cuda")),
    ],
)
def test_options_that_gpus_do_not_have(
    sparsec: Sparsec, model: Path, tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_refused(sparsec("compile", model, "-o", tmp_path / "m.sparsec", *options), *words)
    assert not (tmp_path / "m.sparsec").exists()


def test_a_damaged_artifact_for_gpus_is_refused(sparsec: Sparsec, for_gpus: Path) -> None:
    for_gpus.write_bytes(for_gpus.read_bytes()[:-3000])
    assert_refused(sparsec("explain", for_gpus), "artifact")


def test_targets_lists_gpus_and_says_why_there_is_none(sparsec: Sparsec) -> None:
    assert "NVIDIA GPUs" in sparsec("targets").out
    rows = {each["name"]: each for each in json.loads(sparsec("targets", "--json").out)["targets"]}
    assert rows["cuda"] == {"name": "cuda", "runs_here": False, "gpu": f"no: {NO_DRIVER}"}
