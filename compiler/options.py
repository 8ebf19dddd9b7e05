"""How a model is compiled: what users choose, as every kind of compilation takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sparsec.errors import TargetError, UsageError
from sparsec.kernels.arithmetic import F32, REDUCED, Arithmetic
from sparsec.kernels.words import words_of
from sparsec.storage import FP32
from sparsec.targets import TARGETS
from sparsec.targets.isa import isa_of
from sparsec.targets.target import Target

if TYPE_CHECKING:
    import onnx
    import torch
    from torch.export import ExportedProgram

    # Said to be an alias, here and where other packages' types are in one: where a package is missing, mypy would not know.
    Readable: TypeAlias = str | Path | bytes | onnx.ModelProto | torch.nn.Module | ExportedProgram  # a path: of ONNX

PRECISIONS: Mapping[str, Arithmetic] = {F32.name: F32, **REDUCED}
Shapes = Mapping[str, tuple[int, ...]]  # of inputs, by name
Progress = Callable[[str, int, int], None]  # stage, number of the stage, number of stages


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile. `shapes` fixes input shapes by name.

    `measurements` is the database of the tuner; None for the user's own, if there is one. `use_measurements` says
    whether choices may follow it. `weights` replaces weights of the model, by name. `precision` is
    the arithmetic that layers of float32 may use: f32, bf16 or fp16. `storage` is how weights of float32 are stored: fp32, or fp16
    with half the bytes, widened before the first run. With `dense_only` no layer uses its zeros, with `kernels` all use those
    named, or there is an error: for comparison. Choices are for `threads` threads per run.
    """

    target: str = "native"
    shapes: Shapes | None = None
    measurements: Path | None = None
    use_measurements: bool = True
    weights: Mapping[str, object] | None = None
    precision: str = F32.name
    dense_only: bool = False
    kernels: tuple[str, ...] | None = None
    storage: str = FP32
    threads: int = 1


DEFAULTS = Options()


def precision_of(name: str, target: Target) -> Arithmetic:
    """The arithmetic of that name; raises `UsageError` if there is none, `TargetError` if the target cannot do it."""
    if name not in PRECISIONS:
        raise UsageError("There is no such precision.", expected=", ".join(PRECISIONS), got=name)
    if words_of(PRECISIONS[name], isa_of(target)) is None:
        able = [each.name for each in TARGETS.values() if words_of(PRECISIONS[name], isa_of(each)) is not None]
        raise TargetError(
            f"The target has no instruction that multiplies in {name}.",
            expected=" or ".join(able),
            got=target.name,
            next_step="compile without --precision, or name another --target",
        )
    return PRECISIONS[name]
