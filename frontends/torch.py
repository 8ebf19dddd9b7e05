"""torch modules and exported programs into the torch dialect."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch_mlir import ir

from sparsec.errors import UsageError
from sparsec.frontends.imported import Imported

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    ExampleInputs = torch.Tensor | Sequence[object] | Mapping[str, object]


def import_torch(
    model: torch.nn.Module | ExportedProgram,
    example_inputs: ExampleInputs | None = None,
    *,
    context: ir.Context,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    weights: Mapping[str, object] | None = None,
) -> Imported:
    """Import a module, exported for the shapes of `example_inputs` (a tensor, or positional or named arguments).

    The module is exported in evaluation mode and is left as it was. Its weights are not copied: don't train it while
    compiling. `shapes` are of some inputs, by name, in the place of those of their examples. `weights` come instead of its
    own, by their names in the state dictionary. Raises `UsageError` when torch or the example inputs are missing, or a shape or
    a weight does not fit, `ModelError` when the export fails, `UnsupportedOpError` when an operator cannot be expressed.
    """
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise UsageError(
            "This needs torch, which is not installed", next_step="pip install 'sparsec[torch]'"
        ) from error
    from sparsec.frontends.torch_import import import_program

    return import_program(model, example_inputs, context, shapes or {}, weights or {})
