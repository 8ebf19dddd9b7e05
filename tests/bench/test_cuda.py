"""`python -m bench cuda`: which parts of the table go together, and which GPU times them."""

from threading import Barrier, Lock

import pytest
from click.testing import CliRunner

from bench import cuda_all
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
