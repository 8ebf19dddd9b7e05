"""Weights that the user passes beside a model, by name: a pruned one of SciPy, say, instead of the file's."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np

from sparsec.errors import UsageError
from sparsec.formats.interchange import weight_of
from sparsec.ir.weights import Weight

Known = Mapping[str, tuple[tuple[int, ...], np.dtype[np.generic]]]  # shape and dtype of each weight of the model


def given_weights(given: Mapping[str, object], known: Known, where: str) -> dict[str, Weight]:
    """The given weights in the dtypes of those they replace; memory is shared where the dtype is the same.

    Raises `UsageError` if there is no such weight, if shapes differ, or if one cannot be read.
    """
    return {name: _given(name, value, known, where) for name, value in given.items()}


def _given(name: str, value: object, known: Known, where: str) -> Weight:
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known, cutoff=0.0))
        raise UsageError(f"The model has no weight {name!r}", where=where, expected=f"its names, as {close}")
    shape, dtype = known[name]
    try:
        weight = _read(value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"The weight {name!r} cannot be read: {error}",
            where=where,
            expected="an array of NumPy, SciPy or torch, or a dense one in main memory with DLPack",
            got=type(value).__name__,
        ) from error
    if weight.shape != shape:
        raise UsageError(
            f"The weight {name!r} has another shape", where=where, expected=f"{shape}", got=f"{weight.shape}"
        )
    return weight if weight.dtype == dtype else weight.astype(dtype)


def _read(value: object) -> Weight:
    if type(value).__module__.partition(".")[0] != "torch":
        return weight_of(value)
    from sparsec.frontends.torch_weights import weight_of_tensor  # loads torch

    return weight_of_tensor(value)
