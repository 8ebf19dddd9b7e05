"""The far side of a worker: runs in the peer's own process, with NumPy and the peer alone.

Each line of standard input is a request in JSON, and each gets one line of answer:
    {"load": FOLDER}   prepare what the near side put there
    {"turn": CALLS}    call once untimed, then CALLS times: {"wall_ns": ..., "cpu_ns": ...} per call
    {"output": FILE}   write the results of the last call as .npz
    {"drop": true}     free it
An answer {"error": TEXT} takes its place where something fails. The first line, unasked, is {"version": TEXT}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.peers.peer import Arrays, Calls

Load = Callable[[Path], Calls[Arrays]]


def serve(opened: Callable[[], tuple[str, Load]]) -> None:
    """Answer requests until the pipe closes. `opened` imports the peer and returns its version and how to load."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the peer prints must not get between the answers

    def answer(**facts: object) -> None:
        answers.write(json.dumps(facts) + "\n")

    try:
        version, load = opened()
    except Exception as error:
        answer(error=_words(error))
        return
    answer(version=version)
    server = _Server(load)
    for line in sys.stdin:
        try:
            facts = server.handle(json.loads(line))
        except Exception as error:
            facts = {"error": _words(error)}
        answer(**facts)


class _Server:
    def __init__(self, load: Load) -> None:
        self._load, self._calls = load, None

    _calls: Calls[Arrays] | None

    def handle(self, request: dict[str, object]) -> dict[str, object]:
        ((verb, value),) = request.items()
        if verb == "load":
            self._calls = self._load(Path(str(value)))
            return {}
        assert self._calls is not None, "nothing is loaded"
        if verb == "turn":
            assert isinstance(value, int)
            turn = self._calls.turn(value)
            return {"wall_ns": turn.wall_ns, "cpu_ns": turn.cpu_ns}
        if verb == "output":
            np.savez(str(value), *self._calls.output())
            return {}
        assert verb == "drop", f"unknown request {verb}"
        self._calls.close()
        self._calls = None
        return {}


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
