"""What every frontend hands over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch_mlir import ir

from sparsec.errors import ToolchainError, UnsupportedOpError
from sparsec.ir.weights import WeightStore


class TensorSpec(NamedTuple):
    """Name, NumPy dtype name ("float32", "int64", "bool", …) and static shape of an input or output."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """A model in the torch dialect's backend contract form, with its weights beside it.

    `module` holds one `func.func @main`, whose arguments are `inputs` and whose results are `outputs`, in order. Each
    op's location is the name of the node or layer that it came from. Every constant of more than `LIFT_ABOVE`
    elements is a `sparsec.weight` op whose bytes are in `weights` under its `sym_name`.

    `origins` says, for the name in a location, which operator of the model stood there and with which shapes, for
    messages; it is empty for torch programs, whose locations are layer paths.
    """

    module: ir.Module
    weights: WeightStore
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    name: str
    origins: Mapping[str, str] = field(default_factory=dict)

    def refusal(self, error: ToolchainError) -> UnsupportedOpError:
        """The toolchain's failure on an op of this model, told as a refusal of the node that the op came from."""
        place = error.where or ""
        known = place in self.origins if self.origins else place not in ("", "unknown")
        origin = f" ({self.origins[place]})" if place in self.origins else ""
        return UnsupportedOpError(
            "An operator of the model cannot be compiled",
            where=f"node {place!r}{origin}" if known else self.name,
            got=f"{error.what}: {error.got}",
            next_step=error.next_step,
        )


LIFT_ABOVE = 64
"""Constants of more elements than this are lifted out of the module."""
