"""Runs on fixed tensors: where these lie is known, and each call costs little more than the network."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.cuda.device.tensors import current_stream
from sparsec.cuda.network.executor import Executor
from sparsec.cuda.network.staging import Staging


class OnDevice:
    """A run on tensors on a GPU, which it keeps alive; `outputs` by name."""

    def __init__(
        self,
        executor: Executor,
        given: Sequence[object],
        inputs: Sequence[int],
        outputs: Sequence[int],
        named: dict[str, object],
    ) -> None:
        self._executor, self._given, self._addresses = executor, given, (inputs, outputs)
        self.outputs = named

    def __call__(self, stream: int | None = None) -> dict[str, object]:
        """Put a run on a stream, as `DeviceSession.launch` does, and return `outputs`."""
        on = self._executor.device
        handle = current_stream(self._given[0], on.index) if stream is None else stream
        self._executor.run(*self._addresses, handle)
        return self.outputs


class OnCopies:
    """A run on inputs that were copied to a GPU."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    def __call__(self) -> None:
        """Run once, and wait for it."""
        self._staging.run()
