"""The interface that users of ONNX Runtime know."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from sparsec.api import compile, load
from sparsec.artifact import TensorSpec
from sparsec.errors import InputError, UsageError
from sparsec.model import CompiledModel
from sparsec.runtime.shapes import Shapes
from sparsec.runtime.tensors import Array
from sparsec.source import Kind, kind_of

if TYPE_CHECKING:
    from sparsec.source import Source


@dataclass(frozen=True, slots=True)
class NodeArg:
    """One input or output: `type` in ONNX Runtime's words, e.g. "tensor(float)"; lengths that differ from shape to shape are
    None."""

    name: str
    shape: list[int | None]
    type: str


class InferenceSession:
    """A compiled model behind ONNX Runtime's interface: `InferenceSession("model.onnx").run(None, {"x": x})`."""

    def __init__(
        self,
        path_or_model: Source | CompiledModel,
        *,
        target: str = "native",
        shapes: Shapes | Sequence[Shapes] | None = None,
        precision: str | None = None,
        threads: int | None = None,
    ) -> None:
        """Compile a model, or load an artifact; the options are those of `sparsec.compile`.

        Raises `UsageError` if `target`, `shapes` or `precision` is given for what is compiled already.
        """
        if isinstance(path_or_model, CompiledModel):
            _refuse_options(target, shapes, precision)
            self._model = path_or_model
        elif isinstance(path_or_model, (str, os.PathLike)) and kind_of(path_or_model) is Kind.ARTIFACT:
            _refuse_options(target, shapes, precision)
            self._model = load(path_or_model, threads=threads)
        else:
            self._model = compile(path_or_model, target=target, shapes=shapes, precision=precision, threads=threads)

    def get_inputs(self) -> list[NodeArg]:
        """The inputs in order."""
        return _node_args([model.inputs for model in self._each()])

    def get_outputs(self) -> list[NodeArg]:
        """The outputs in order."""
        return _node_args([model.outputs for model in self._each()])

    def _each(self) -> list[CompiledModel]:
        return [self._model.at(shapes) for shapes in self._model.shapes]

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, object]) -> list[Array]:
        """Run once; returns the outputs called `output_names`, or all of them. Raises `InputError`."""
        known = [spec.name for spec in self._model.outputs]
        wanted = known if output_names is None else list(output_names)
        if unknown := [name for name in wanted if name not in known]:
            raise InputError("The model has no such output.", expected=", ".join(known), got=", ".join(unknown))
        results = self._model.run(input_feed)
        return [results[name] for name in wanted]


def _refuse_options(target: str, shapes: object, precision: str | None) -> None:
    if shapes or target != "native" or precision is not None:
        raise UsageError("The model is compiled already: target, shapes and precision do not apply.")


def _node_args(shapes: Sequence[Sequence[TensorSpec]]) -> list[NodeArg]:
    """Of tensors as they are for each of the model's shapes."""
    return [_node_arg(specs) for specs in zip(*shapes, strict=True)]


def _node_arg(specs: Sequence[TensorSpec]) -> NodeArg:
    first = specs[0]
    element = {"float32": "float", "float64": "double"}.get(first.dtype, first.dtype)
    lengths = zip_longest(*(spec.shape for spec in specs))
    return NodeArg(first.name, [each[0] if len({*each}) == 1 else None for each in lengths], f"tensor({element})")
