"""Networks to prune and race, exported as dense ONNX files into a cache folder; none of them is in this repository.

ONNX of 2021 (opset 13), which all peers read. `weights` says where they come from: networks whose real weights no
package carries get random ones, which cost the same time.
"""

from __future__ import annotations

import gzip
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from bench import demo
from bench.models_zoo import load
from bench.peers.peer import Array
from sparsec.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

OPSET = 13
IR_VERSION = 8
TOKENS = 128
PIXELS = 224
REAL, RANDOM, SPARSE = "real", "random", "trained sparse"


@dataclass(frozen=True, slots=True)
class SparseNetwork:
    """A row of the table. `weights` is `REAL`, `RANDOM`, or `SPARSE`: zeros came with it, and it is not pruned."""

    name: str
    weights: str
    export: Callable[[Path, int], None]

    def dense(self, batch: int = 1) -> Path:
        """Its file in the cache, exported if it is not there. Raises `UsageError` that says what to install."""
        path = cache_folder() / f"{self.name}-b{batch}.onnx"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = path.with_suffix(f".{os.getpid()}")
            self.export(whole, batch)
            whole.replace(path)
        return path


def cache_folder() -> Path:
    """Where exported models are kept; deleting it is safe."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparsec" / "bench"


def feeds_of(model: Path, seed: int = 0) -> dict[str, Array]:
    """Normal pixels, bytes of any size, token numbers that every vocabulary has, masks without holes; by input name."""
    random = np.random.default_rng(seed)
    graph = onnx.load(model, load_external_data=False).graph
    feeds: dict[str, Array] = {}
    for each in graph.input:
        kind = each.type.tensor_type
        shape = [dimension.dim_value for dimension in kind.shape.dim]
        if kind.elem_type == onnx.TensorProto.FLOAT:
            feeds[each.name] = random.standard_normal(shape, np.float32)
        elif kind.elem_type == onnx.TensorProto.UINT8:
            feeds[each.name] = random.integers(0, 256, shape, np.uint8)
        else:
            is_mask = each.name == "mask"
            feeds[each.name] = np.ones(shape, np.int64) if is_mask else random.integers(1000, 20_000, shape)
    return feeds


def _export_torch(net: nn.Module, inputs: Mapping[str, torch.Tensor], path: Path) -> None:
    """By the exporter that writes opset 13, without what it prints."""
    import torch

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            tuple(inputs.values()),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=["y"],
        )
    model = onnx.load(path)
    model.ir_version = IR_VERSION
    _store_constants(model.graph)
    onnx.save(model, path)


def _store_constants(graph: onnx.GraphProto) -> None:
    """Nodes that give a constant become initializers, where tools look for the bounds of a Clip."""
    kept = []
    for node in graph.node:
        if node.op_type != "Constant":
            kept.append(node)
            continue
        (value,) = node.attribute
        value.t.name = node.output[0]
        graph.initializer.append(value.t)
    del graph.node[:]
    graph.node.extend(kept)


def _image(batch: int) -> dict[str, torch.Tensor]:
    import torch

    return {"x": torch.zeros(batch, 3, PIXELS, PIXELS)}


def _export_encoder(model: torch.nn.Module, path: Path, batch: int) -> None:
    """A BERT without its pooler; the mask becomes a bias in plain arithmetic."""
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            embeddings, encoder = self.model.get_submodule("embeddings"), self.model.get_submodule("encoder")
            embedded = embeddings(input_ids=ids)
            bias = ((1.0 - mask.to(torch.float32)) * -1e4)[:, None, None, :]
            y: torch.Tensor = encoder(embedded, attention_mask=bias)[0]
            return y

    ids = torch.full((batch, TOKENS), 1000)
    _export_torch(Encoder(), {"ids": ids, "mask": torch.ones_like(ids)}, path)


def _minilm(path: Path, batch: int) -> None:
    model = load("minilm").model
    model.set_attn_implementation("eager")  # type: ignore[union-attr, operator]
    _export_encoder(model, path, batch)  # type: ignore[arg-type]


def _bert(path: Path, batch: int) -> None:
    import torch

    try:
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise UsageError("A package is missing: transformers", next_step="pip install transformers") from error
    torch.manual_seed(0)
    _export_encoder(BertModel(BertConfig(attn_implementation="eager"), add_pooling_layer=False), path, batch)


def _mobilenet_v2(path: Path, batch: int) -> None:
    """Its mean over pixels as the pooling that torchvision writes, which DeepSparse knows."""
    from torch import nn

    net = load("mobilenet-v2").model
    assert isinstance(net, nn.Module)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.get_submodule("classifier")]
    _export_torch(nn.Sequential(net.get_submodule("features"), *head), _image(batch), path)


def _mobilenet_v1(path: Path, batch: int) -> None:
    from torch import nn

    layers = [_conv(3, 32, 3, 2)]
    for c_in, c_out, stride in _MOBILENET_V1:
        layers += [_conv(c_in, c_in, 3, stride, c_in), _conv(c_in, c_out, 1)]
    _seeded()
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))
    _export_torch(net, _image(batch), path)


def _resnet50(path: Path, batch: int) -> None:
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, c_in: int, width: int, stride: int) -> None:
            super().__init__()
            c_out = 4 * width
            self.body = nn.Sequential(_conv(c_in, width, 1), _conv(width, width, 3, stride), nn.Conv2d(width, c_out, 1))
            same = stride == 1 and c_in == c_out
            self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(c_in, c_out, 1, stride)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.relu(self.body(x) + self.shortcut(x))

    _seeded()
    layers: list[nn.Module] = [_conv(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    c_in = 64
    for width, count, stride in _RESNET50:
        for index in range(count):
            layers.append(Bottleneck(c_in, width, stride if index == 0 else 1))
            c_in = 4 * width
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))
    _export_torch(net, _image(batch), path)


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, its batch normalisation folded into weight and bias, and ReLU."""
    from torch import nn

    return nn.Sequential(nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups), nn.ReLU())


def _seeded() -> None:
    import torch

    torch.manual_seed(0)


def _handlandmark(path: Path, batch: int) -> None:
    """The network of this repository with its zeros written out: not every peer reads sparse initializers."""
    if batch != 1:
        raise UsageError("This network has batch 1 only.", where="handlandmark", got=str(batch))
    model = onnx.load_from_string(gzip.decompress(demo.NETWORK.read_bytes()))
    for sparse in model.graph.sparse_initializer:
        dense = np.zeros(tuple(sparse.dims), numpy_helper.to_array(sparse.values).dtype)
        dense.reshape(-1)[numpy_helper.to_array(sparse.indices)] = numpy_helper.to_array(sparse.values)
        model.graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
    del model.graph.sparse_initializer[:]
    onnx.save(model, path)


_MOBILENET_V1 = (
    *((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)),
    *((512, 512, 1),) * 5,
    *((512, 1024, 2), (1024, 1024, 1)),
)
_RESNET50 = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))

NETWORKS: Mapping[str, SparseNetwork] = {
    each.name: each
    for each in (
        SparseNetwork("handlandmark", SPARSE, _handlandmark),
        SparseNetwork("mobilenet-v2", REAL, _mobilenet_v2),
        SparseNetwork("minilm", REAL, _minilm),
        SparseNetwork("mobilenet-v1", RANDOM, _mobilenet_v1),
        SparseNetwork("resnet-50", RANDOM, _resnet50),
        SparseNetwork("bert-base", RANDOM, _bert),
    )
}
