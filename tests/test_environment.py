"""The environment variables, read in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsec.environment import Environment, read_environment
from sparsec.errors import UsageError


def test_nothing_set_shows_nothing() -> None:
    assert read_environment({}) == Environment(debug=0, dump=None)


def test_both_are_read() -> None:
    assert read_environment({"SPARSEC_DEBUG": "2", "SPARSEC_DUMP": "out"}) == Environment(2, Path("out"))


@pytest.mark.parametrize("level", ["4", "-1", "yes"])
def test_an_unknown_level_is_refused(level: str) -> None:
    with pytest.raises(UsageError, match="SPARSEC_DEBUG"):
        read_environment({"SPARSEC_DEBUG": level})
