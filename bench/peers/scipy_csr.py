"""SciPy's CSR matrices."""

from __future__ import annotations

from bench.peers.peer import F32, AbsentError, Calls, Layer


class ScipyCsr:
    def __init__(self) -> None:
        try:
            import scipy
            import scipy.sparse
        except ImportError as error:
            raise AbsentError(str(error)) from error
        self._library = scipy
        self.version: str = scipy.__version__

    def enter(self, layer: Layer) -> Calls[F32]:
        weight = self._library.sparse.csr_array(layer.weight)
        result = [layer.x]

        def run() -> None:
            result[0] = weight @ layer.x

        return Calls(run, lambda: result[0])

    def close(self) -> None:
        pass
