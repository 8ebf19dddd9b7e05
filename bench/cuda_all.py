"""`python -m bench cuda --all`: each part of the table is a process of its own, and all GPUs of the machine take parts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import click

PARTS = ("few", "models", "many", "dense", "block")  # the longest first
VISIBLE = "CUDA_VISIBLE_DEVICES"


def run(parts: Sequence[str] = PARTS) -> int:
    """Time all parts, each keeps a file of its own; returns the highest exit code: 1 if a result was wrong."""
    return in_turns(gpus(), parts, _timed)


def gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; one if there is none, to say so."""
    if visible := os.environ.get(VISIBLE):
        return visible.split(",")
    import torch

    return [str(number) for number in range(max(1, torch.cuda.device_count()))]


def in_turns(gpus: Sequence[str], parts: Sequence[str], timed: Callable[[str, str], int]) -> int:
    """The highest of what `timed(part, gpu)` returns, where each GPU has one part at a time."""
    idle: SimpleQueue[str] = SimpleQueue()
    for gpu in gpus:
        idle.put(gpu)

    def on_an_idle_one(part: str) -> int:
        gpu = idle.get()
        try:
            return timed(part, gpu)
        finally:
            idle.put(gpu)

    with ThreadPoolExecutor(len(gpus)) as pool:
        return max(pool.map(on_an_idle_one, parts))


def _timed(part: str, gpu: str) -> int:
    """Time a part on a GPU; its lines are printed as they come, with its name."""
    command = [sys.executable, "-u", "-m", "bench", "cuda", *([] if part == "few" else [f"--{part}"])]
    environment = {**os.environ, VISIBLE: gpu}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as found:
        assert found.stdout is not None
        for line in found.stdout:
            click.echo(f"{part}: {line}", nl=False)
    return found.returncode if found.returncode >= 0 else 128 - found.returncode  # of a signal, as shells say it
