"""Comparing a compiled model with a reference, and what may differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from sparsec.artifact import NUMPY_DTYPES, TensorSpec
from sparsec.model import CompiledModel
from sparsec.reference import Engine
from sparsec.runtime.tensors import Array

# Per dtype: allowed error relative to the largest magnitude of the output. For float32: a sum of k products that is
# rounded in another order differs by about eps * sqrt(k), 8e-6 for k = 4096; over 150 layers such errors add up like a
# random walk to 1e-4.
_RELATIVE: Mapping[str, float] = {"float64": 1e-10, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
# A quantised network rounds within: where two engines' numbers lie at either side of a tie, the step between them goes on.
# ONNX Runtime differs from itself, without its own optimisations, by half of this. Few elements do: the mean error tells
# such steps from wrong results. What is not quantised may be in a lower precision on top.
_QUANTISED = 5e-2  # of the largest magnitude
_MEAN_SHARE = 0.1  # of the tolerance, in a quantised network
# Per precision, of the largest magnitude: each factor is rounded to 2^-9, or to 2^-11 and each short sum as well, and errors
# go on from layer to layer.
_REDUCED: Mapping[str, float] = {"bf16": 5e-2, "fp16": 2e-2}
_FP16_STORAGE = 1e-2  # of the largest magnitude: each weight is rounded to 2^-11, and nothing else is
_STEP = 1  # codes of 8 bit may differ by this much there
# Outputs of sigmoid, softmax and tanh can be tiny where their arguments are not: a tenth of the above on top, relative
# to 1.
_ABSOLUTE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """One output against the reference; `fault` says what is wrong other than the error, or is None.

    `differing` counts the elements that are not equal: of codes of 8 bit, those that are a quantisation step apart.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    max_error: float
    mean_error: float
    scale: float
    tolerance: float
    fault: str | None
    differing: int = 0

    @property
    def passed(self) -> bool:
        """Whether the output is right within the tolerance."""
        return self.fault is None and self.max_error <= self.tolerance


@dataclass(frozen=True, slots=True)
class Verification:
    """All outputs against one reference.

    `precision` is that in which layers of float32 may multiply, `storage` how their weights are stored.
    """

    reference: str
    outputs: tuple[OutputCheck, ...]
    precision: str = "f32"
    storage: str = "fp32"

    @property
    def relative_error(self) -> float:
        """The largest error of an output, as a share of its largest magnitude."""
        return max((check.max_error / check.scale for check in self.outputs if check.scale), default=0.0)

    @property
    def passed(self) -> bool:
        """Whether all outputs are right."""
        return all(check.passed for check in self.outputs)

    def as_dict(self) -> dict[str, object]:
        """JSON-able."""
        outputs = [{**asdict(check), "passed": check.passed} for check in self.outputs]
        found = {"precision": self.precision, "storage": self.storage, "relative_error": self.relative_error}
        return {"reference": self.reference, "passed": self.passed, **found, "outputs": outputs}


def tolerance(
    dtype: str, scale: float, *, quantised: bool = False, precision: str = "f32", storage: str = "fp32"
) -> float:
    """The largest absolute error allowed in an output of `dtype` whose largest magnitude is `scale`.

    Integers must be equal, but codes of 8 bit of a quantised network may be one step apart (truth values may not).
    """
    if quantised and dtype in ("uint8", "int8"):
        return _STEP if scale > 1 else 0.0
    relative = _RELATIVE.get(dtype, 0.0)
    if quantised and dtype == "float32":
        return (_QUANTISED + _REDUCED.get(precision, 0.0)) * scale + _ABSOLUTE_SHARE * relative
    if precision in _REDUCED and dtype == "float32":
        relative = _REDUCED[precision]
    elif storage == "fp16" and dtype == "float32":
        relative = _FP16_STORAGE
    return relative * scale + _ABSOLUTE_SHARE * relative


def verify(model: CompiledModel, engine: Engine, feeds: Mapping[str, Array]) -> Verification:
    """Run both on `feeds` and compare every output."""
    expected, found = engine.run(feeds), list(model.run(feeds).values())
    report = model.report
    checks = compare(
        model.outputs,
        expected,
        found,
        quantised=report.quantised,
        precision=report.precision,
        storage=report.storage,
    )
    return Verification(engine.name, checks, report.precision, report.storage)


def compare(
    specs: Sequence[TensorSpec],
    expected: Sequence[Array],
    found: Sequence[Array],
    *,
    quantised: bool = False,
    precision: str = "f32",
    storage: str = "fp32",
) -> tuple[OutputCheck, ...]:
    """Check arrays against those of the reference, in the order of the outputs."""
    compared = zip(specs, expected, found, strict=True)
    return tuple(_check(*each, quantised=quantised, precision=precision, storage=storage) for each in compared)


def _check(
    spec: TensorSpec, expected: Array, found: Array, *, quantised: bool, precision: str, storage: str
) -> OutputCheck:
    reference = np.asarray(expected)
    if reference.shape != found.shape:
        shapes = f"the reference has shape {list(reference.shape)}"
        return OutputCheck(spec.name, spec.dtype, found.shape, np.inf, np.inf, 0.0, 0.0, shapes)
    one, other = _doubles(reference, spec.dtype), _doubles(found, spec.dtype)
    finite = np.isfinite(one)
    same_holes = bool(np.array_equal(one[~finite], other[~finite], equal_nan=True) and np.isfinite(other[finite]).all())
    errors = np.abs(one[finite] - other[finite]) if same_holes else np.array([np.inf])
    scale = float(np.abs(one[finite]).max(initial=0.0))
    allowed = tolerance(spec.dtype, scale, quantised=quantised, precision=precision, storage=storage)
    mean = float(errors.mean()) if errors.size else 0.0
    fault: str | None = None if same_holes else "infinities or NaNs stand in other places than in the reference"
    if (
        fault is None
        and quantised
        and spec.dtype == "float32"
        and mean > _MEAN_SHARE * allowed
        and errors.size > 1 / _MEAN_SHARE
    ):
        fault = "too many elements differ for the rounding of codes to be the cause"
    return OutputCheck(
        name=spec.name,
        dtype=spec.dtype,
        shape=found.shape,
        max_error=float(errors.max(initial=0.0)),
        mean_error=mean,
        scale=scale,
        tolerance=allowed,
        fault=fault,
        differing=int(np.count_nonzero(errors)),
    )


def _doubles(array: Array, dtype: str) -> NDArray[np.float64]:
    if dtype == "bfloat16" and array.dtype == NUMPY_DTYPES["bfloat16"]:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(array, np.float64)
