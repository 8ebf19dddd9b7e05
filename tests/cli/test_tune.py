"""`tune`, `compile --tune`, `explain --what-if`, `targets --calibrate`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import onnx
import pytest

from tests.cli.command_line import Finished, Sparsec
from tests.tune.models import two_layers


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sparsec"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "two.onnx"
    onnx.save(two_layers(), path)
    return path


def refused(found: Finished, *words: str) -> None:
    assert found.code == 2, found
    assert found.out == ""
    assert "Traceback" not in found.err
    for word in words:
        assert word in found.err


def test_tune_and_continue(sparsec: Sparsec, network: Path, tmp_path: Path, cache: Path) -> None:
    log = tmp_path / "tune.db"
    first = sparsec("tune", network, "--budget", "20s", "--log", log)
    assert first.code == 0
    assert "[1/" in first.err
    again = sparsec("tune", network, "--budget", "20s", "--log", log, "--json")
    assert again.code == 0
    document = json.loads(again.out)
    assert again.err == ""
    assert document["left"] == 0
    assert {layer["state"] for layer in document["layers"]} == {"known"}
    assert not cache.exists()
    assert sparsec("compile", network, "-o", tmp_path / "m.sparsec", "--tune-log", log).code == 0


def test_what_is_measured_on_two_threads_counts_for_two_threads(
    sparsec: Sparsec, network: Path, tmp_path: Path
) -> None:
    log = tmp_path / "tune.db"
    assert sparsec("tune", network, "--budget", "20s", "--log", log, "--threads", 2).code == 0
    with sqlite3.connect(log) as database:
        assert {threads for (threads,) in database.execute("SELECT threads FROM layers")} == {2}
    for threads in (1, 2):
        found = sparsec("tune", network, "--budget", "0.001s", "--log", log, "--threads", threads, "--json")
        states = {layer["state"] for layer in json.loads(found.out)["layers"]}
        assert (states == {"known"}) == (threads == 2)


def test_compile_chooses_for_threads(sparsec: Sparsec, network: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.sparsec"
    for options, told in (((), False), (("--threads", 16), True)):
        assert sparsec("compile", network, "-o", output, *options).code == 0
        assert ("for 16 threads" in sparsec("explain", output).out) == told


def test_compile_and_tune_for_several_shapes(
    sparsec: Sparsec, dynamic_model: Path, tmp_path: Path, cache: Path
) -> None:
    options = [part for rows in (2, 40) for part in ("--shape", f"x={rows},24")]
    found = sparsec("compile", dynamic_model, "-o", tmp_path / "m.sparsec", "--tune", "8s", "--json", *options)
    assert found.code == 0
    assert (cache / "tune.db").exists()
    assert len(json.loads(found.out)["shapes"]) == 2


def test_compile_and_tune(sparsec: Sparsec, network: Path, tmp_path: Path, cache: Path) -> None:
    found = sparsec("compile", network, "-o", tmp_path / "m.sparsec", "--tune", "20s", "--json")
    assert found.code == 0
    assert json.loads(found.out)["output"]
    assert (cache / "tune.db").exists()
    explained = sparsec("explain", tmp_path / "m.sparsec", "--candidates")
    assert "measured by the tuner" in explained.out


@pytest.mark.parametrize("budget", ["", "x", "0s", "-3s", "10 lightyears"])
def test_bad_budget(sparsec: Sparsec, network: Path, tmp_path: Path, budget: str) -> None:
    refused(sparsec("tune", network, f"--budget={budget}"), "--budget", "60s")
    refused(sparsec("compile", network, "-o", tmp_path / "m.sparsec", f"--tune={budget}"), "--tune")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_log(sparsec: Sparsec, network: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(sparsec("tune", network, "--log", tmp_path / "file" / "tune.db"), "cannot be made")
    refused(sparsec("tune", network, "--log", tmp_path), "cannot be used", str(tmp_path))


def test_damaged_log(sparsec: Sparsec, network: Path, tmp_path: Path, cache: Path) -> None:
    log = tmp_path / "tune.db"
    log.write_bytes(b"garbage" * 1000)
    refused(sparsec("tune", network, "--log", log), "damaged", str(log))
    refused(sparsec("compile", network, "-o", tmp_path / "m.sparsec", "--tune-log", log), "damaged", str(log))
    assert log.read_bytes() == b"garbage" * 1000
    cache.mkdir(parents=True)
    (cache / "tune.db").write_bytes(b"garbage" * 1000)
    refused(sparsec("compile", network, "-o", tmp_path / "m.sparsec"), "damaged", "--no-tune-cache")
    assert sparsec("compile", network, "-o", tmp_path / "m.sparsec", "--no-tune-cache").code == 0


def test_another_database(sparsec: Sparsec, network: Path, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    refused(sparsec("tune", network, "--log", tmp_path / "other.db"), "not a database of measurements")


def test_options_that_exclude_each_other(sparsec: Sparsec, network: Path, artifact: Path) -> None:
    refused(sparsec("compile", network, "--no-tune-cache", "--tune", "1s"), "--no-tune-cache")
    refused(sparsec("explain", network, "--what-if", "0.9", "--profile"), "--what-if")
    refused(sparsec("targets", "--seconds", "1"), "--calibrate")
    refused(sparsec("tune", artifact), "compiled already")
    refused(sparsec("explain", artifact, "--what-if", "0.9"), "name the model")


def test_what_if(sparsec: Sparsec, network: Path) -> None:
    found = sparsec("explain", network, "--what-if", "0.9,2:4")
    assert found.code == 0
    assert "at 0.9" in found.out
    assert "at 2:4" in found.out
    assert "2 layers" in found.out
    document = json.loads(sparsec("explain", network, "--what-if", "0.9,2:4", "--json").out)
    assert [layer["name"] for layer in document["layers"]] == ["first", "second"]
    assert document["layers"][1]["then"]["2:4"] is None
    totals = document["total_ns"]
    assert totals["now"] == pytest.approx(sum(layer["now"]["predicted_ns"] for layer in document["layers"]))
    assert set(totals["then"]) == {"0.9", "2:4"}


def test_what_if_malformed(sparsec: Sparsec, network: Path) -> None:
    refused(sparsec("explain", network, "--what-if", "2"), "--what-if", "0.9,2:4")


def test_calibrate(sparsec: Sparsec, network: Path, cache: Path) -> None:
    assert "generic machine" in sparsec("explain", network).out
    document = json.loads(sparsec("targets", "--calibrate", "--seconds", "0.01", "--json").out)
    assert document["machine"]["ghz"] > 0
    assert Path(document["file"]).parent == cache
    assert "calibrated" in sparsec("explain", network).out
    assert "GB/s" in sparsec("targets", "--calibrate", "--seconds", "0.01").out
    Path(document["file"]).write_text("damaged")
    assert "cannot be read" in sparsec("explain", network).out


def test_calibrate_what_cannot_be(sparsec: Sparsec) -> None:
    refused(sparsec("targets", "--calibrate", "--seconds", "0"), "--seconds")
    refused(sparsec("targets", "--calibrate", "--target", "pdp11"), "no such target")
