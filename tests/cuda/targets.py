"""Kinds of GPUs, as far as encoding and predictions look at them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A GPU with an H100's facts, if no others are given."""

    multiprocessors: int = 132
    shared_bytes: int = 227 << 10
    bytes_per_second: float = 3.352e12
    architecture: tuple[int, int] = (9, 0)
