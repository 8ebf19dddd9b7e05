"""The fastest of some launches, by what events say; needs no GPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
from recording import Recorder, recording_gpu

from sparsec.cuda.network.race import LAUNCHES, ROUNDS, fastest


class Timed(Recorder):
    """Events say these milliseconds, one after another."""

    def __init__(self, milliseconds: Sequence[float]) -> None:
        super().__init__()
        self._left = list(milliseconds)

    def call(self, function: str, *arguments: object, allowed: Sequence[int] = ()) -> int:
        code = super().call(function, *arguments, allowed=allowed)
        if function == "cuEventElapsedTime":
            arguments[0]._obj.value = self._left.pop(0)  # type: ignore[attr-defined]
        return code


@pytest.mark.parametrize(
    ("rounds", "winner"),
    [
        ([(3, 2), (3, 2), (3, 2), (3, 2)], 1),
        ([(3, 2), (1, 2), (3, 2), (3, 2)], 0),
        ([(1, 3), (3, 2), (3, 2), (3, 2)], 1),
    ],
)
def test_the_best_round_counts_but_for_the_first(rounds: list[tuple[float, float]], winner: int) -> None:
    assert len(rounds) == ROUNDS
    recorder = Timed([each for pair in rounds for each in pair])
    launched = [0, 0]

    def launch(number: int, stream: int) -> None:
        launched[number] += 1

    assert fastest(recording_gpu(recorder), [partial(launch, 0), partial(launch, 1)]) == winner
    assert launched == [1 + LAUNCHES] * 2
    assert recorder.alive == {}
