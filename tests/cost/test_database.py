"""The database of measurements: round trips, two writers at once, and files that are something else."""

from __future__ import annotations

import multiprocessing
import sqlite3
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from sparsec.cost.database import Database, OfMachine, Result
from sparsec.cost.layer_key import LayerKey
from sparsec.errors import DatabaseError

KEY = LayerKey("linear 2 x 3", "id", "float32", "avx512", "density 0.1")
FAST = Result("fast", "v1", 10.0, 0.5, 7, None, "2026-01-01T00:00:00+00:00")
WRONG = Result("wrong", "v1", None, 0.0, 0, "wrong result: error 1", "2026-01-01T00:00:00+00:00")
VERSIONS = {"fast": "v1", "wrong": "v1"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "tune.db"


def test_round_trip(path: Path) -> None:
    with Database(path) as database:
        database.store("here", KEY, [FAST, WRONG])
    with Database(path, write=False) as database:
        assert database.results("here", KEY, VERSIONS) == {"fast": FAST, "wrong": WRONG}
        assert OfMachine(database, "here").results(KEY, VERSIONS) == {"fast": FAST, "wrong": WRONG}
        assert database.count() == 2


def test_a_new_result_replaces_the_old_one(path: Path) -> None:
    newer = replace(FAST, median_ns=8.0)
    with Database(path) as database:
        database.store("here", KEY, [FAST])
        database.store("here", KEY, [newer])
        assert database.results("here", KEY, VERSIONS) == {"fast": newer}


@pytest.mark.parametrize("field", ["problem", "epilogue", "dtype", "isa", "pattern"])
def test_another_layer_knows_nothing(path: Path, field: str) -> None:
    with Database(path) as database:
        database.store("here", KEY, [FAST])
        assert database.results("here", replace(KEY, **{field: "other"}), VERSIONS) == {}  # type: ignore[arg-type]


def test_another_machine_threads_or_version_knows_nothing(path: Path) -> None:
    with Database(path) as database:
        database.store("here", KEY, [FAST])
        assert database.results("there", KEY, VERSIONS) == {}
        assert database.results("here", replace(KEY, threads=2), VERSIONS) == {}
        assert database.results("here", KEY, {"fast": "v2"}) == {}
        assert database.results("here", KEY, {}) == {}


def _write(path: Path, writer: int) -> None:
    with Database(path) as database:
        for number in range(40):
            key = replace(KEY, problem=f"layer {number}")
            database.store("here", key, [replace(FAST, kernel=f"kernel {writer}"), replace(FAST, kernel="both")])


def test_several_processes_write_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with Database(path) as database:
        assert database.count() == 40 * 4


def _make(folder: Path, together: Barrier) -> None:
    for number in range(20):
        together.wait(60)
        Database(folder / f"{number}.db").close()


def test_several_processes_make_it_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4)
    makers = [context.Process(target=_make, args=(tmp_path, together)) for _ in range(4)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    assert [maker.exitcode for maker in makers] == [0, 0, 0, 0]


def test_a_reader_does_not_wait_for_a_writer(path: Path) -> None:
    with Database(path) as writing:
        writing.store("here", KEY, [FAST])
        with Database(path, write=False) as reading:
            writing.store("here", KEY, [WRONG])
            assert set(reading.results("here", KEY, VERSIONS)) == {"fast", "wrong"}


@pytest.mark.parametrize("write", [True, False])
def test_garbage_is_refused_and_kept(path: Path, write: bool) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(DatabaseError, match="damaged"):
        Database(path, write=write)
    assert path.read_bytes() == b"this is not a database" * 100


def test_a_damaged_page_is_refused(path: Path) -> None:
    with Database(path) as database:
        for number in range(300):
            database.store("here", replace(KEY, problem=f"layer {number}"), [FAST])
    data = bytearray(path.read_bytes())
    data[4096:12288] = b"\xaa" * 8192
    path.write_bytes(data)
    with pytest.raises(DatabaseError):
        Database(path)
    assert path.read_bytes() == bytes(data)


@pytest.mark.parametrize("write", [True, False])
def test_a_database_of_another_kind_is_refused(path: Path, write: bool) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE results (x)")
    other.close()
    with pytest.raises(DatabaseError, match="not a database of measurements"):
        Database(path, write=write)


def test_another_version_is_refused(path: Path) -> None:
    Database(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(DatabaseError, match="another version"):
        Database(path)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="cannot be made"):
        Database(tmp_path / "file" / "tune.db")
    with pytest.raises(DatabaseError, match="cannot be used"):
        Database(tmp_path / "nowhere.db", write=False)
