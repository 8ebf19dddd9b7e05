"""`python -m bench cuda`: which parts of the table go together, which GPU times them, and what they amount to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Barrier, Lock
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from bench import cuda, cuda_all, cuda_block, cuda_goals, cuda_models, cuda_results
from bench.__main__ import bench


@pytest.mark.parametrize(
    "words",
    [["--all", "--json", "a.json"], ["--goals", "--json", "a.json"], ["--all", "--quick"], ["--block", "--many"]],
)
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


def test_goals_are_counted_in_the_cells_that_they_are_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in (cuda, cuda_block, cuda_models):
        monkeypatch.setattr(part, "RESULTS", tmp_path / f"{part.__name__}.json")
    monkeypatch.setattr(cuda, "RESULTS_OF_MANY", tmp_path / "many.json")
    pattern = "2:4" + cuda.FOUR_BITS
    rows = [
        product(pattern, 8, 10.0, 50.0, dense_int4_microseconds=9.0),
        product(pattern, 16, 10.0, 30.0, dense_int4_microseconds=20.0),
        product(pattern, 32, 10.0, 10.0),
        product("2:4", 8, 10.0, 8.0, taken=False),
    ]
    cuda.RESULTS.write_text(json.dumps({"rows": [asdict(row) for row in rows]}))
    found = {(goal.what, goal.rival): goal for goal in cuda_goals.goals()}
    four_bits = [found["four bits, 2:4, up to 16 tokens", rival] for rival in ("cuBLAS", "dense int4")]
    assert [(goal.reached, [ratio for ratio, _ in goal.found]) for goal in four_bits] == [(1, [5, 3]), (1, [0.9, 2])]
    assert found["2:4, 4096x4096", "cuBLAS"].found == [(1.0, "4096x4096, 8 tokens, float16")]
    assert not found["BERT-base, 2:4", "torch.compile"].found
    cuda_goals.run()
    assert "no such cell" in capsys.readouterr().out


def product(pattern: str, tokens: int, microseconds: float, cublas: float, **more: Any) -> cuda.Row:
    times = microseconds, 0.0, cublas, 0.0, cublas / microseconds
    return cuda.Row(*cuda.SQUARE, tokens, pattern, 0.5, "float16", *times, 2.0, 1, 1.0, 1.0, 0.0, **more)


def test_goals_of_the_table_that_is_kept_are_told_without_a_gpu() -> None:
    result = CliRunner().invoke(bench, ["cuda", "--goals"])
    assert result.exit_code == 0
    assert "cuSPARSELt" in result.output
