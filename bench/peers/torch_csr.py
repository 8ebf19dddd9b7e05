"""torch's sparse CSR matrices, which call the MKL inside torch; float32, one thread."""

from __future__ import annotations

import warnings

from bench.peers.peer import F32, Calls, Layer
from bench.peers.torch_dense import TorchDense


class TorchCsr(TorchDense):
    def enter(self, layer: Layer) -> Calls[F32]:
        torch = self._torch
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "sparse CSR is in beta state"
            weight = torch.from_numpy(layer.weight).to_sparse_csr()
        x = torch.from_numpy(layer.x)
        result = [weight @ x]

        def run() -> None:
            with torch.inference_mode():
                result[0] = weight @ x

        return Calls(run, lambda: result[0].numpy())
