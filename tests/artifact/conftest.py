"""A written artifact, and a place for damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsec import artifact
from tests.artifact.small import small_program


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("artifact") / "small.sparsec"
    artifact.write(small_program(), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "damaged.sparsec"
