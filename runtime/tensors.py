"""What users pass, as addresses: checks names, dtypes and shapes, and copies only what is not contiguous or aligned."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import NUMPY_DTYPES, TensorSpec
from sparsec.errors import InputError

Array: TypeAlias = NDArray[np.generic]
Feeds: TypeAlias = Mapping[str, object] | Sequence[object]

_LINE = 64  # bytes of a cache line
_LARGE = 4096  # bytes


def match(values: Feeds, specs: Sequence[TensorSpec], what: str) -> list[object]:
    """Return the tensors of `values` in the order of `specs`; raises `InputError` if names or their number differ."""
    if isinstance(values, Mapping):
        if values.keys() != {spec.name for spec in specs}:
            raise _wrong_set(what, specs, ", ".join(map(str, values)) or "none")
        return [values[spec.name] for spec in specs]
    if isinstance(values, np.ndarray) or not isinstance(values, Sequence):
        raise _wrong_set(what, specs, f"one {type(values).__name__}, not a mapping or sequence of tensors")
    if len(values) != len(specs):
        raise _wrong_set(what, specs, f"{len(values)} tensors")
    return list(values)


def _wrong_set(what: str, specs: Sequence[TensorSpec], got: str) -> InputError:
    return InputError(
        f"The {what}s are not the ones of this model.", expected="; ".join(map(str, specs)) or "none", got=got
    )


def fresh(spec: TensorSpec) -> Array:
    """Return an array for an output; a large one begins at a cache line, so that none is written in two parts."""
    if spec.nbytes < _LARGE:
        return np.empty(spec.shape, NUMPY_DTYPES[spec.dtype])
    room = np.empty(spec.nbytes + _LINE, np.uint8)
    start = -room.ctypes.data % _LINE
    return room[start : start + spec.nbytes].view(NUMPY_DTYPES[spec.dtype]).reshape(spec.shape)


def readable(value: object, spec: TensorSpec) -> Array:
    """Return `value` as a contiguous aligned array of the dtype and shape of `spec`, without a copy where possible.

    Takes NumPy arrays, torch tensors, whatever speaks DLPack on the CPU, and the buffer protocol. bfloat16 is
    accepted as torch.bfloat16, ml_dtypes.bfloat16, or uint16 that holds the bits.
    """
    array = _checked(value, spec, "input")
    if array.flags.c_contiguous and array.flags.aligned:
        return array
    return np.require(array, requirements=("C", "A")).reshape(spec.shape)


def in_place(value: object, spec: TensorSpec) -> Array:
    """Return `value` as an array over the caller's own memory, for an input that is read again and again."""
    array = _checked(value, spec, "input")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise _elsewhere(f"The input {spec.name!r} cannot be read in place.", "contiguous, aligned memory", array)
    return array


def writable(value: object, spec: TensorSpec) -> Array:
    """Return `value` as an array over the caller's own memory, for a result to be written to."""
    array = _checked(value, spec, "output")
    if not (array.flags.c_contiguous and array.flags.aligned and array.flags.writeable):
        what = f"The array for output {spec.name!r} cannot be written to in place."
        raise _elsewhere(what, "contiguous, aligned and writable memory", array)
    return array


def _elsewhere(what: str, expected: str, array: Array) -> InputError:
    flags = array.flags
    got = f"strides {array.strides}, aligned {flags.aligned}, writable {flags.writeable}"
    return InputError(what, expected=expected, got=got)


def address(array: Array) -> int:
    """Where the first element of a contiguous array is."""
    if array.flags.writeable and array.size:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))  # four times as fast as `array.ctypes.data`
    return array.ctypes.data


def overlap(one: Array, other: Array) -> bool:
    """Tell whether two contiguous arrays share bytes."""
    first, second = address(one), address(other)
    return first < second + other.nbytes and second < first + one.nbytes


def _checked(value: object, spec: TensorSpec, what: str) -> Array:
    array = _as_array(value, spec, what)
    if array.dtype != NUMPY_DTYPES[spec.dtype] or array.shape != spec.shape:
        got = f"{_dtype_name(value, array)}[{', '.join(map(str, array.shape))}]"
        raise InputError(f"The {what} {spec.name!r} has the wrong shape or dtype.", expected=str(spec), got=got)
    return array


def _dtype_name(value: object, array: Array) -> str:
    return str(getattr(value, "dtype", array.dtype)).removeprefix("torch.")


def _as_array(value: object, spec: TensorSpec, what: str) -> Array:
    if spec.dtype == "bfloat16":
        value = _bits_of_bfloat16(value)
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "__dlpack__"):
            detach = getattr(value, "detach", None)  # a tensor that wants gradients does not export itself
            return np.from_dlpack(detach() if detach else value)
        return np.asarray(memoryview(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"The {what} {spec.name!r} is not a tensor in CPU memory that can be read.",
            expected=f"{spec}, as a NumPy array, a torch tensor, or an object with DLPack or the buffer protocol",
            got=f"{type(value).__name__} ({error})",
        ) from error


def _bits_of_bfloat16(value: object) -> object:
    """NumPy does not read bfloat16 through DLPack, so look at the same memory as uint16 first."""
    name = str(getattr(value, "dtype", ""))
    if name == "torch.bfloat16":
        return value.detach().view(sys.modules["torch"].uint16)  # type: ignore[attr-defined]
    if name == "bfloat16" and isinstance(value, np.ndarray):
        return value.view(np.uint16)
    return value
