"""Reading budgets."""

from __future__ import annotations

import pytest

from sparsec.errors import UsageError
from sparsec.tune.budget import parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("60", 60), ("2m", 120), ("1.5 h", 5400), ("500ms", 0.5), (".5s", 0.5), ("3MIN", 180)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_budget(text, "--budget") == seconds


@pytest.mark.parametrize("text", ["", "s", "0s", "-1s", "1x", "1s 2m", "nan", "inf", "1e3s", "60 seconds"])
def test_no_times(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        parse_budget(text, "--budget")
