"""The database of measurements: one SQLite file, which several processes may use at once.

layers    what was measured, where: machine, ISA, threads, dtype, problem, epilogue, pattern of the weight
results   per layer, kernel and version of that kernel: median and spread in ns, or what is wrong with it, and when
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sparsec.cost.layer_key import LayerKey
from sparsec.environment import cache_folder
from sparsec.errors import DatabaseError

FILE_NAME = "tune.db"
_APPLICATION = 0x73707363  # marks the file as ours: "spsc"
_VERSION = 1
_PATIENCE = 30.0  # seconds to wait for another process that writes
_PAUSE = 0.005  # seconds between two attempts at what SQLite itself does not wait for
_PRIMARY_CODE = 0xFF  # SQLite's error codes have details in the higher bits
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS layers (
    id INTEGER PRIMARY KEY, machine TEXT NOT NULL, problem TEXT NOT NULL, epilogue TEXT NOT NULL, dtype TEXT NOT NULL,
    isa TEXT NOT NULL, pattern TEXT NOT NULL, threads INTEGER NOT NULL,
    UNIQUE (machine, problem, epilogue, dtype, isa, pattern, threads));
CREATE TABLE IF NOT EXISTS results (
    layer INTEGER NOT NULL REFERENCES layers(id), kernel TEXT NOT NULL, version TEXT NOT NULL, median_ns REAL,
    spread_ns REAL NOT NULL, rounds INTEGER NOT NULL, fault TEXT, measured TEXT NOT NULL,
    PRIMARY KEY (layer, kernel, version));
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""
_OF_LAYER = "machine=? AND problem=? AND epilogue=? AND dtype=? AND isa=? AND pattern=? AND threads=?"


@dataclass(frozen=True, slots=True)
class Result:
    """One kernel on one layer: ns per run over `rounds` rounds, median and interquartile range.

    If `fault` says what is wrong with the kernel, `median_ns` is None. `measured` is the time in ISO 8601.
    """

    kernel: str
    version: str
    median_ns: float | None
    spread_ns: float
    rounds: int
    fault: str | None
    measured: str


class Measurements(Protocol):
    """What was measured on one machine."""

    def results(self, key: LayerKey, versions: Mapping[str, str]) -> Mapping[str, Result]:
        """Results by kernel, of the kernels and versions in `versions` only."""


@dataclass(frozen=True, slots=True)
class OfMachine:
    """The part of a database that is about one machine."""

    database: Database
    machine: str

    def results(self, key: LayerKey, versions: Mapping[str, str]) -> Mapping[str, Result]:
        """See `Measurements`."""
        return self.database.results(self.machine, key, versions)


def default_database() -> Path:
    """The database that is used when none is named."""
    return cache_folder() / FILE_NAME


class Database:
    """Opened for writing (made if it is not there), or with `write=False` for reading only.

    Raises `DatabaseError` if the file is damaged, is something else, or cannot be opened; it is never deleted.
    """

    def __init__(self, path: Path, *, write: bool = True) -> None:
        self.path = path
        with self._explained():
            self._connection = self._open() if write else self._open_for_reading()

    def store(self, machine: str, key: LayerKey, results: Sequence[Result]) -> None:
        """Keep all or none of `results`; each replaces an older one of the same kernel and version."""
        row = (machine, *astuple(key))
        with self._explained(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "INSERT OR IGNORE INTO layers (machine, problem, epilogue, dtype, isa, pattern, threads) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            (layer,) = self._connection.execute(f"SELECT id FROM layers WHERE {_OF_LAYER}", row).fetchone()
            self._connection.executemany(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(layer, *astuple(result)) for result in results],
            )

    def results(self, machine: str, key: LayerKey, versions: Mapping[str, str]) -> Mapping[str, Result]:
        """Results of a layer by kernel, of the kernels and versions in `versions` only."""
        query = (
            "SELECT kernel, version, median_ns, spread_ns, rounds, fault, measured "
            f"FROM results JOIN layers ON layers.id = results.layer WHERE {_OF_LAYER}"
        )
        with self._explained():
            rows = [Result(*row) for row in self._connection.execute(query, (machine, *astuple(key)))]
        return {row.kernel: row for row in rows if versions.get(row.kernel) == row.version}

    def count(self) -> int:
        """How many results there are, of all machines."""
        with self._explained():
            return int(self._connection.execute("SELECT count(*) FROM results").fetchone()[0])

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        try:
            self._check(connection, new=True)
            _use_wal(connection)
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_for_reading(self) -> sqlite3.Connection:
        try:
            return self._read("mode=ro")
        except sqlite3.OperationalError:  # in a folder that may not be written to, WAL has no place for its index
            return self._read("mode=ro&immutable=1")

    def _read(self, options: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{options}", uri=True, timeout=_PATIENCE, isolation_level=None
        )
        try:
            self._check(connection, new=False)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection, *, new: bool) -> None:
        """Raise `DatabaseError` for another kind of database, and for a damaged one."""
        connection.execute("BEGIN")  # one snapshot: another process may be making the database
        application, version, tables = (
            connection.execute(query).fetchone()[0]
            for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if new and not tables and not application:
            connection.execute("COMMIT")
            return
        if application != _APPLICATION or version != _VERSION:
            is_other = application != _APPLICATION
            raise DatabaseError(
                "This is not a database of measurements." if is_other else "The database is of another version.",
                where=str(self.path),
                next_step="name another file with --log",
            )
        fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise sqlite3.DatabaseError(fault)
        connection.execute("COMMIT")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Failures of SQLite and of the file system, as a `DatabaseError`."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise DatabaseError(
                "The database of measurements cannot be used.", where=str(self.path), got=str(error)
            ) from error
        except sqlite3.DatabaseError as error:
            raise DatabaseError(
                "The database of measurements is damaged, or is something else.",
                where=str(self.path),
                got=str(error),
                next_step="move the file away, or name another; compile does without it with --no-tune-cache",
            ) from error
        except OSError as error:
            raise DatabaseError(
                "The database of measurements cannot be made.", where=str(self.path), got=error.strerror
            ) from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Writers and readers side by side; SQLite itself waits for nobody in this step."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)
