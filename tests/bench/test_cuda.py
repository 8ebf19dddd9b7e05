"""`python -m bench cuda`: which parts of the table go together, and which GPU times them."""

import json
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier, Lock
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from bench import cuda_all, cuda_results
from bench.__main__ import bench


@pytest.mark.parametrize("words", [["--all", "--json", "all.json"], ["--all", "--quick"], ["--block", "--many"]])
def test_what_contradicts_itself_is_refused(words: list[str]) -> None:
    result = CliRunner().invoke(bench, ["cuda", *words])
    assert result.exit_code == 2
    assert "goes without" in result.output


def test_each_gpu_times_one_part_at_a_time() -> None:
    seen: list[tuple[str, str]] = []
    busy: set[str] = set()
    lock, both = Lock(), Barrier(2)

    def timed(part: str, gpu: str) -> int:
        with lock:
            assert gpu not in busy
            busy.add(gpu)
            seen.append((part, gpu))
        both.wait(timeout=10)  # so both GPUs are at work at once
        with lock:
            busy.remove(gpu)
        return {"b": 1, "d": 2}.get(part, 0)

    assert cuda_all.in_turns(["0", "1"], "abcd", timed) == 2
    assert sorted(part for part, _ in seen) == list("abcd")
    assert {gpu for _, gpu in seen} == {"0", "1"}


def test_gpus_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cuda_all.VISIBLE, "3,1")
    assert cuda_all.gpus() == ["3", "1"]


def test_a_machine_without_a_gpu_is_told_so_by_each_part(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(cuda_all.VISIBLE, "-1")
    assert cuda_all.run(["few"]) != 0
    said = capfd.readouterr().out
    assert "few: Error: " in said
    assert "Traceback" not in said


@dataclass(frozen=True)
class Row:
    microseconds: float


def test_rows_are_kept_as_they_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cuda_results, "device", lambda _: SimpleNamespace(name="a GPU", driver="13.0"))
    file = tmp_path / "rows.json"
    for count in (1, 2):
        cuda_results.keep(file, [Row(1.5)] * count, bytes_per_second=3.0)
        document = json.loads(file.read_text())
        assert document["rows"] == [{"microseconds": 1.5}] * count
        assert (document["device"], document["driver"], document["bytes_per_second"]) == ("a GPU", "13.0", 3.0)
    assert list(tmp_path.iterdir()) == [file]
