"""`python -m bench cuda`: which parts of the table go together."""

import pytest
from click.testing import CliRunner

from bench.__main__ import bench


@pytest.mark.parametrize("words", [["--all", "--json", "all.json"], ["--all", "--quick"], ["--block", "--many"]])
def test_what_contradicts_itself_is_refused(words: list[str]) -> None:
    result = CliRunner().invoke(bench, ["cuda", *words])
    assert result.exit_code == 2
    assert "goes without" in result.output
