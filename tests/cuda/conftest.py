"""Fixtures of the tests of GPU code: those that need a GPU are skipped where there is none, with the reason."""

from __future__ import annotations

import pytest

from sparsec.cuda.device.driver import Device, device
from sparsec.errors import TargetError


@pytest.fixture(scope="session")
def gpu() -> Device:
    try:
        return device(0)
    except TargetError as error:
        pytest.skip(f"needs an NVIDIA GPU: {error.what}")


@pytest.fixture(scope="session")
def nvrtc() -> None:
    from sparsec.cuda.code import nvrtc

    try:
        nvrtc.version()
    except TargetError as error:
        pytest.skip(f"needs the package {nvrtc.PACKAGE}: {error.what}")
