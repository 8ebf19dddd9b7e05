"""A torch module becomes an exported program, and is afterwards as it was."""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.export import ExportedProgram

from sparsec.errors import ModelError, UsageError
from sparsec.formats.coo import Coo
from sparsec.frontends.torch_weights import coo_of, is_sparse

if TYPE_CHECKING:
    from sparsec.frontends.torch import ExampleInputs


def exported(
    model: nn.Module | ExportedProgram, example_inputs: ExampleInputs | None, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[ExportedProgram, dict[str, Coo], str]:
    """The program of a module for these examples, with the contents of its sparse weights, and its name; a program is its own.

    Raises `UsageError` for examples and shapes that do not fit, `ModelError` if torch cannot export it.
    """
    if isinstance(model, ExportedProgram):
        if shapes:
            raise UsageError(
                "An exported program has the shapes that it was exported with",
                got=", ".join(shapes),
                next_step="compile the module, or export it for each shape",
            )
        return model, {}, "program"
    if example_inputs is None:
        raise UsageError(
            "A torch module needs example inputs, which say the shapes to compile for",
            where=type(model).__name__,
            expected="example_inputs=(tensor, ...)",
        )
    args, kwargs = _shaped(model, *_arguments(example_inputs), shapes)
    with _hollow_sparse_weights(model) as sparse, _evaluating(model):
        return _export(model, args, kwargs), sparse, type(model).__name__


def _arguments(example_inputs: ExampleInputs) -> tuple[tuple[object, ...], dict[str, object]]:
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, torch.Tensor):
        return (example_inputs,), {}
    return tuple(example_inputs), {}


def _shaped(
    model: nn.Module, args: tuple[object, ...], kwargs: dict[str, object], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """The examples, those of these names (of the parameters of `forward`) with other shapes, of zeros."""
    names = list(inspect.signature(model.forward).parameters)[: len(args)]
    known = {
        name for name, each in (*zip(names, args, strict=False), *kwargs.items()) if isinstance(each, torch.Tensor)
    }
    if unknown := shapes.keys() - known:
        raise UsageError(
            "There is no such input that is a tensor",
            where=type(model).__name__,
            expected=", ".join(sorted(known)) or "none",
            got=", ".join(sorted(unknown)),
        )

    def shaped(name: str, example: object) -> object:
        return example.new_zeros(shapes[name]) if name in shapes and isinstance(example, torch.Tensor) else example

    first = [shaped(*each) for each in zip(names, args, strict=False)]
    return (*first, *args[len(names) :]), {name: shaped(name, each) for name, each in kwargs.items()}


def _export(model: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> ExportedProgram:
    try:
        with warnings.catch_warnings(), torch.no_grad(), quiet():
            warnings.simplefilter("ignore")
            return torch.export.export(model, args, kwargs, strict=False)
    except Exception as error:  # export runs the user's code, which raises anything
        raise ModelError(f"torch.export failed: {error}", where=type(model).__name__) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave the log of torch.export out: what it raises says the same."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Every submodule in evaluation mode, and afterwards as before."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def _hollow_sparse_weights(model: nn.Module) -> Iterator[dict[str, Coo]]:
    """Stand-ins for sparse parameters and buffers while exporting; gives their contents by name.

    The stand-ins are dense in type only (their memory is never touched), so that export sees the ops of the dense
    layer.
    """
    taken: dict[str, Coo] = {}
    restore: list[tuple[dict[str, torch.Tensor | None], str, torch.Tensor]] = []
    try:
        for prefix, module in model.named_modules():
            for table in (module._parameters, module._buffers):
                for key, tensor in list(table.items()):
                    if tensor is None or not is_sparse(tensor):
                        continue
                    taken[f"{prefix}.{key}" if prefix else key] = coo_of(tensor)
                    restore.append((table, key, tensor))
                    hollow = torch.empty(tensor.shape, dtype=tensor.dtype)
                    table[key] = nn.Parameter(hollow, requires_grad=False) if table is module._parameters else hollow
        yield taken
    finally:
        for table, key, tensor in restore:
            table[key] = tensor
