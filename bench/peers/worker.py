"""The near side of a worker: a peer in a process of its own, called in turns with the others all the same."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Generic

import numpy as np

from bench.peers.peer import AbsentError, Arrays, FailedError, Out, Turn

ROOT = Path(__file__).parents[2]  # the folder that holds the package `bench`


class Worker:
    """An engine whose far side is `python -m <module>`; it is started again if it dies."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start it; raises `AbsentError` with what it says."""
        self._command, self._environment = command, {**environment, "PYTHONPATH": str(ROOT)}
        self._folder = tempfile.TemporaryDirectory(prefix="sparsec-bench-")
        self._process: subprocess.Popen[str] | None = None
        try:
            self.version = self._start()
        except (OSError, FailedError) as error:
            self.close()
            raise AbsentError(str(error)) from error

    @property
    def folder(self) -> Path:
        """Where the far side finds what it shall prepare."""
        return Path(self._folder.name)

    def load(self, view: Callable[[Arrays], Out]) -> WorkerContestant[Out]:
        """Let the far side prepare what is in the folder; `view` makes the output of its arrays. Raises `FailedError`."""
        if self._process is None:
            self._start()
        self.ask(load=str(self.folder))
        return WorkerContestant(self, self.folder / "output.npz", view)

    def ask(self, **request: object) -> dict[str, object]:
        """Send one request and wait for its answer; raises `FailedError`."""
        if self._process is None:
            raise FailedError("its process has ended")
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer will say that it died
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._end()
        self._folder.cleanup()

    def _start(self) -> str:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._environment,
        )
        return str(self._answer()["version"])

    def _answer(self) -> dict[str, object]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._end()
            raise FailedError(f"its process ended with code {code}")
        facts: dict[str, object] = json.loads(line)
        if "error" in facts:
            raise FailedError(str(facts["error"]))
        return facts

    def _end(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            return process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class WorkerContestant(Generic[Out]):
    """What a worker has prepared."""

    def __init__(self, worker: Worker, output: Path, view: Callable[[Arrays], Out]) -> None:
        self._worker, self._output, self._view = worker, output, view

    def turn(self, calls: int, /) -> Turn:
        facts = self._worker.ask(turn=calls)
        return Turn(float(str(facts["wall_ns"])), float(str(facts["cpu_ns"])))

    def output(self) -> Out:
        self._worker.ask(output=str(self._output))
        found = np.load(self._output)
        return self._view(tuple(found[f"arr_{index}"] for index in range(len(found.files))))

    def close(self) -> None:
        with suppress(FailedError):  # if it died, the next layer starts it again
            self._worker.ask(drop=True)
