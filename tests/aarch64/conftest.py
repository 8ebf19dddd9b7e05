"""QEMU and the runtime core compiled for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.arm import emulator


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime core as a program for 64-bit ARM Linux."""
    if (why := emulator.missing()) is not None:
        pytest.skip(why)
    return emulator.build_runner(tmp_path_factory.mktemp("runner"))
