"""What the fixture `sparsec` gives: types for the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


class Sparsec(Protocol):
    """`sparsec("run", path)` runs the command line in this process; stdout and stderr are no terminals."""

    def __call__(self, *arguments: object) -> Finished: ...
