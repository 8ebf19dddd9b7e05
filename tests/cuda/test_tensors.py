"""Tensors that cannot be used are refused in a sentence, and memory is given back whatever happens."""

from __future__ import annotations

from typing import Any

import pytest

from sparsec.cuda.device import tensors
from sparsec.cuda.device.driver import Buffer
from sparsec.cuda.device.tensors import scratch, view
from sparsec.errors import InputError


class Kept:
    """A tensor on a GPU whose library does not hand it out."""

    def __dlpack__(self, *, stream: int | None = None) -> object:
        raise BufferError(f"not now, stream {stream}")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0


def test_a_tensor_that_its_library_keeps_is_refused() -> None:
    with pytest.raises(InputError, match=r"x cannot be read where it is(.|\n)*not now"):
        view(Kept(), "x")


class Ordered:
    """A device that counts what it was asked for and not given back."""

    index = 0

    def __init__(self) -> None:
        self.taken = 0
        self.streams: list[int] = []

    def allocate_in_order(self, nbytes: int, stream: int) -> Buffer:
        self.taken += 1
        self.streams.append(stream)
        return Buffer(64, nbytes)

    def free_in_order(self, buffer: Buffer, stream: int) -> None:
        self.taken -= buffer.address // 64


def test_work_memory_is_given_back_after_a_failure() -> None:
    on: Any = Ordered()
    with pytest.raises(ValueError, match="a launch that fails"), scratch(None, on, 100, 0):
        raise ValueError("a launch that fails")
    assert on.taken == 0


def test_memory_of_torch_is_for_its_current_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(tensors, "current_stream", lambda *_: 5)
    on: Any = Ordered()
    with scratch(torch.zeros(1), on, 100, 5):
        assert on.streams == []
    with scratch(torch.zeros(1), on, 100, 7):
        assert on.streams == [7]
    assert on.taken == 0
