"""Tensors for a model's inputs: random ones, and ones read from files."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sparsec.artifact import NUMPY_DTYPES, TensorSpec
from sparsec.errors import InputError
from sparsec.runtime.tensors import Array


def random_feeds(specs: Sequence[TensorSpec], seed: int = 0) -> dict[str, Array]:
    """A tensor for each input, the same for the same seed.

    Floats are uniform in [0, 1). Integers and booleans are 0 or 1, which are valid as token, index and mask alike.
    """
    generator = np.random.default_rng(seed)
    return {spec.name: _random(spec, generator) for spec in specs}


def _random(spec: TensorSpec, generator: np.random.Generator) -> Array:
    if spec.dtype == "bfloat16":  # the upper half of a float32
        floats = generator.random(spec.shape, np.float32)
        return np.asarray((floats.view(np.uint32) >> 16).astype(np.uint16))
    if spec.dtype.startswith("float"):
        return np.asarray(generator.random(spec.shape), NUMPY_DTYPES[spec.dtype])
    return np.asarray(generator.integers(0, 2, spec.shape), NUMPY_DTYPES[spec.dtype])


def read_tensor(path: str | os.PathLike[str]) -> Array:
    """Read a `.npy` file; raises `InputError`."""
    try:
        array = np.load(Path(path), allow_pickle=False)
    except OSError as error:
        raise InputError(f"The input file cannot be read: {error.strerror or error}.", where=str(path)) from error
    except (ValueError, EOFError, MemoryError) as error:
        raise InputError("This is not a NumPy array file (.npy).", where=str(path), got=str(error)) from error
    if not isinstance(array, np.ndarray):
        raise InputError("The file holds several arrays.", where=str(path), expected="a .npy file", got="a .npz file")
    return array


def checked(array: Array, spec: TensorSpec, where: str) -> Array:
    """Return `array` if it has the dtype and shape of `spec`; raises `InputError` that says `where` it came from."""
    if array.dtype != NUMPY_DTYPES[spec.dtype] or array.shape != spec.shape:
        got = f"{array.dtype}[{', '.join(map(str, array.shape))}], {math.prod(array.shape)} elements"
        raise InputError(
            f"The input {spec.name!r} has the wrong shape or dtype.", where=where, expected=str(spec), got=got
        )
    return array
