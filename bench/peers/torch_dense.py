"""torch's oneDNN linear with packed weights, which torch.compile calls in a frozen model; one thread."""

from __future__ import annotations

from bench.peers.peer import F32, AbsentError, Calls, Layer


class TorchDense:
    """In float32."""

    precision = "float32"

    def __init__(self) -> None:
        try:
            import torch
        except ImportError as error:
            raise AbsentError(str(error)) from error
        torch.set_num_threads(1)
        self._torch = torch
        self.version: str = torch.__version__

    def enter(self, layer: Layer) -> Calls[F32]:
        torch = self._torch
        tokens, dtype = torch.from_numpy(layer.tokens), getattr(torch, self.precision)
        with torch.inference_mode():
            weight = torch.from_numpy(layer.weight).to(dtype)
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(tokens))
        linear, result = torch.ops.mkldnn._linear_pointwise, [tokens]

        def run() -> None:
            with torch.inference_mode():
                result[0] = linear(tokens.to(dtype), packed, None, "none", [], "").float()

        return Calls(run, lambda: result[0].numpy().T)

    def close(self) -> None:
        pass


class TorchBf16(TorchDense):
    """In bfloat16, from and to float32."""

    precision = "bfloat16"

    def __init__(self) -> None:
        super().__init__()
        if not self._torch.ops.mkldnn._is_mkldnn_bf16_supported():
            raise AbsentError("oneDNN has no bfloat16 on this processor")
