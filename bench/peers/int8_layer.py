"""The layer in int8: what it computes exactly, and the ONNX models that engines get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from bench.peers.network import PLAIN, Network, NetworkEngine, OfTokens
from bench.peers.onnx_layer import onnx_layer
from bench.peers.peer import F32, Contestant, Layer
from bench.quantize import activation_scale, quantize_linears, quantized_weight


@dataclass(frozen=True, slots=True)
class Quantized:
    """W [M, K] is about `weight` * `weight_scale`, x about (its u8 - `x_zero`) * `x_scale`."""

    weight: NDArray[np.int8]
    weight_scale: np.float32
    x_scale: np.float32
    x_zero: np.uint8


def quantized(layer: Layer) -> Quantized:
    """By the extremes of the activations themselves."""
    weight, weight_scale = quantized_weight(layer.weight)
    return Quantized(weight, weight_scale, *activation_scale(*_range(layer)))


def product(layer: Layer, tokens: NDArray[np.intp]) -> NDArray[np.float64]:
    """Y [M, tokens] as the int8 layer defines it, in whole numbers until the last step."""
    found = quantized(layer)
    steps = np.rint(layer.x[:, tokens] / found.x_scale).astype(np.int64) + int(found.x_zero)
    x = np.clip(steps, 0, 255) - int(found.x_zero)
    # Sums below 2^53 are exact in double precision.
    sums: NDArray[np.float64] = found.weight.astype(np.float64) @ x.astype(np.float64)
    return sums * np.float64(found.weight_scale) * np.float64(found.x_scale)


def int8_layer(layer: Layer, form: str) -> bytes:
    """The model in a form of `bench.quantize`."""
    model = onnx.load_from_string(onnx_layer(layer))
    quantize_linears(model, {"x": _range(layer)}, form)
    data: bytes = model.SerializeToString()
    return data


class InForm:
    """An engine for networks that gets the layer in one form and computes floats in one precision."""

    def __init__(self, engine: NetworkEngine, form: str = PLAIN, precision: str = "fp32") -> None:
        self._engine, self._form, self._precision = engine, form, precision
        self.version = engine.version

    def enter(self, layer: Layer) -> Contestant[F32]:
        model = onnx_layer(layer) if self._form == PLAIN else int8_layer(layer, self._form)
        network = Network(model, {"x": layer.tokens}, precision=self._precision)
        return OfTokens(self._engine.enter_network(network))

    def close(self) -> None:
        self._engine.close()


def _range(layer: Layer) -> tuple[float, float]:
    return min(float(layer.x.min()), 0.0), max(float(layer.x.max()), 0.0)
