"""A whole ONNX model as it goes into a peer, and the layer as one: Y'[N, M] = X'[N, K] W'[K, M]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.peers.onnx_layer import onnx_layer
from bench.peers.peer import F32, Array, Arrays, Contestant, Layer, Turn

PLAIN, OPERATOR, QDQ = "plain", "operator", "qdq"  # forms of a model: as it is, and see bench.quantize


@dataclass(frozen=True, slots=True)
class Network:
    """`model` is a path or the bytes of an ONNX model, `feeds` its inputs in order; `precision` what floats are computed in."""

    model: Path | bytes
    feeds: Mapping[str, Array]
    threads: int = 1
    precision: str = "fp32"


class NetworkEngine(Protocol):
    """A peer that runs whole models."""

    @property
    def version(self) -> str:
        """Of the library."""
        ...

    def enter_network(self, network: Network) -> Contestant[Arrays]:
        """Prepare a model; raises what it likes."""
        ...

    def close(self) -> None:
        """End processes and delete files."""
        ...


class OfTokens:
    """The contestant of a one-layer network, which gives [N, M], as one of a layer, which gives [M, N]."""

    def __init__(self, inner: Contestant[Arrays]) -> None:
        self._inner = inner

    def turn(self, calls: int, /) -> Turn:
        return self._inner.turn(calls)

    def output(self) -> F32:
        return np.asarray(self._inner.output()[0], np.float32).T

    def close(self) -> None:
        self._inner.close()


def enter_layer(engine: NetworkEngine, layer: Layer) -> Contestant[F32]:
    """A layer in an engine for whole models."""
    return OfTokens(engine.enter_network(Network(onnx_layer(layer), {"x": layer.tokens})))
