"""The layers and networks of `python -m bench wasm`, made once and kept in the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.peers.int8_layer import int8_layer
from bench.peers.network import OPERATOR, PLAIN, QDQ
from bench.peers.onnx_layer import onnx_layer
from bench.prune import KERNELS
from bench.sparse_models_rows import ModelCell
from bench.sparse_zoo import cache_folder
from bench.spmm_cells import UNSTRUCTURED, make_layer
from bench.spmm_cells import Cell as LayerCell
from bench.variants import TRAINED, variant

_DENSE, _SPARSE, _INT8, _NETWORK = 0.95, 5.0, 3.0, 3.0  # goals


@dataclass(frozen=True, slots=True)
class Cell:
    """A model; `goal` is how many times as fast as ONNX Runtime Web it ought to be."""

    name: str
    goal: float
    model: Callable[[], Path]


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution of as many rows as columns of pixels, "same" padding, and `channels` filters."""

    channels: int
    pixels: int
    kernel: int
    groups: int = 1
    stride: int = 1

    def __str__(self) -> str:
        kind = "depthwise" if self.groups > 1 else "conv"
        return f"{kind} {self.kernel}x{self.kernel}/{self.stride} {self.channels}x{self.pixels}x{self.pixels}"


def cells() -> tuple[Cell, ...]:
    """What issue and README speak of, and dense layers of other shapes."""
    return (
        _linear(LayerCell(1024, 1024, 128, UNSTRUCTURED, 0.0), _DENSE),
        _linear(LayerCell(1024, 1024, 128, UNSTRUCTURED, 0.9), _SPARSE),
        _linear(LayerCell(1024, 1024, 128, "1x4", 0.0, "int8"), _DENSE),
        _linear(LayerCell(1024, 1024, 128, "1x4", 0.9, "int8"), _INT8),
        _linear(LayerCell(1024, 1024, 128, "1x4", 0.9, "int8"), _INT8, QDQ),
        _linear(LayerCell(256, 256, 32, UNSTRUCTURED, 0.0), _DENSE),
        _linear(LayerCell(3072, 768, 128, UNSTRUCTURED, 0.0), _DENSE),
        _linear(LayerCell(1000, 1280, 1, UNSTRUCTURED, 0.0), _DENSE),
        _conv(Conv(64, 56, 3)),
        _conv(Conv(256, 14, 3)),
        _conv(Conv(128, 28, 1)),
        _conv(Conv(128, 28, 3, groups=128)),
        _conv(Conv(96, 112, 3, groups=96, stride=2)),
        _network("handlandmark", TRAINED, 0.0, "fp32", _NETWORK),
        _network("mobilenet-v2", UNSTRUCTURED, 0.0, "fp32", _DENSE),
        _network("mobilenet-v2", KERNELS, 0.3, "fp32", _DENSE),
        _network("mobilenet-v2", UNSTRUCTURED, 0.9, "fp32", _NETWORK),
        _network("minilm", UNSTRUCTURED, 0.9, "fp32", _NETWORK),
        _network("minilm", "1x4", 0.9, "int8", _NETWORK),
        _network("mobilenet-v2", "1x4", 0.9, "int8", _NETWORK),
    )


def _linear(cell: LayerCell, goal: float, form: str = OPERATOR) -> Cell:
    """y = x w; in int8 with x quantised inside, in a form of `bench.quantize`."""
    name = f"linear {cell}" if cell.precision == "fp32" else f"linear {cell} {form}"

    def make() -> bytes:
        return onnx_layer(make_layer(cell)) if cell.precision == "fp32" else int8_layer(make_layer(cell), form)

    return Cell(name, goal, lambda: _kept(name, make))


def _conv(conv: Conv) -> Cell:
    return Cell(f"{conv} dense", _DENSE, lambda: _kept(str(conv), lambda: onnx_conv(conv, _dense_filters(conv))))


def _dense_filters(conv: Conv) -> NDArray[np.float32]:
    shape = (conv.channels, conv.channels // conv.groups, conv.kernel, conv.kernel)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def onnx_conv(conv: Conv, weight: NDArray[np.float32]) -> bytes:
    """y = relu(conv(x) + b), as a model."""
    from onnx import TensorProto, helper, numpy_helper

    out, pad = -(-conv.pixels // conv.stride), conv.kernel // 2
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", "b"], ["a"], group=conv.groups, strides=[conv.stride] * 2, pads=[pad] * 4, name="conv"
        ),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, conv.channels, conv.pixels, conv.pixels])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, conv.channels, out, out])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.zeros(conv.channels, np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def _network(network: str, pattern: str, sparsity: float, precision: str, goal: float) -> Cell:
    what = "trained sparse" if pattern == TRAINED else f"{100 * sparsity:.3g} % {pattern}" if sparsity else "dense"
    form = PLAIN if precision == "fp32" else OPERATOR
    name = f"{network} {what}" if precision == "fp32" else f"{network} {what} {precision}"
    return Cell(name, goal, lambda: variant(ModelCell(network, 1, pattern, sparsity, precision, 1), form))


def _kept(name: str, make: Callable[[], bytes]) -> Path:
    path = cache_folder() / f"wasm-{name.replace(' ', '-').replace('/', '-')}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make())
    return path
