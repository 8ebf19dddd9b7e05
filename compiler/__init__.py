"""sparsec: a compiler for sparse neural networks.

A model (ONNX file or proto, torch module, exported program) goes in; a `CompiledModel` comes out, which runs, reports
what was chosen for each layer and why, and is saved as one file. Importing this loads nothing heavy: names load when
they are first used.

    model = sparsec.compile("model.onnx")
    y = model(x)
    model.save("model.sparsec")
    model = sparsec.load("model.sparsec")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsec.errors import (
    ArtifactError,
    InputError,
    ModelError,
    SparsecError,
    TargetError,
    ToolchainError,
    UnsupportedOpError,
    UsageError,
)

if TYPE_CHECKING:
    from sparsec.api import compile, load
    from sparsec.inference import InferenceSession
    from sparsec.model import CompiledModel

    __version__: str

__all__ = [
    "ArtifactError",
    "CompiledModel",
    "InferenceSession",
    "InputError",
    "ModelError",
    "SparsecError",
    "TargetError",
    "ToolchainError",
    "UnsupportedOpError",
    "UsageError",
    "__version__",
    "compile",
    "load",
]

_HOMES = {
    "CompiledModel": "sparsec.model",
    "InferenceSession": "sparsec.inference",
    "compile": "sparsec.api",
    "load": "sparsec.api",
}


def __getattr__(name: str) -> object:
    from importlib import import_module, metadata

    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
    elif name == "__version__":
        try:
            value = metadata.version("sparsec")
        except metadata.PackageNotFoundError:
            value = "uninstalled"
    else:
        raise AttributeError(f"module 'sparsec' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
