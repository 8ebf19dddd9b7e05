"""Whole networks on emulated ARM processors: that they give what x86 gives, and how many instructions zeros save."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from bench.arm.cases import OK, Array, Case
from bench.arm.emulator import PROCESSORS, Emulator
from bench.peers.network import OPERATOR, PLAIN, QDQ
from bench.products import ROUNDED, products
from bench.prune import KERNELS
from bench.sparse_models_rows import ModelCell
from bench.sparse_zoo import feeds_of
from bench.variants import TRAINED, variant
from sparsec.artifact import Program
from sparsec.driver import compile_program
from sparsec.options import Options
from sparsec.report import Report
from sparsec.runtime import Session


@dataclass(frozen=True, slots=True)
class NetworkCell:
    """A network in one precision, for some targets; `goal` is the share of dense instructions that may be left.

    `multiplied` is what layers of float32 multiply in: `precision` of `sparsec.compile`. With `only_products` it is the
    network of all its products of whole numbers.
    """

    cell: ModelCell
    targets: tuple[str, ...]
    goal: float | None = None
    multiplied: str = "f32"
    only_products: bool = False

    def __str__(self) -> str:
        name = str(self.cell) if self.multiplied == "f32" else f"{self.cell} in {self.multiplied}"
        return f"{name}, all products" if self.only_products else name

    @property
    def least_error(self) -> float:
        """How far outputs may be from those of x86 in float32, relative to the largest value of an output."""
        if self.multiplied != "f32":
            return 2e-2
        if self.cell.precision == "fp32":
            return 1e-5  # floats are added up in another order than on x86
        return ROUNDED if self.cell.network == "minilm" and not self.only_products else 0.0

    @property
    def model(self) -> Path:
        """Its file, made if need be. Raises `UsageError` that says what to install."""
        if not self.only_products:
            return variant(self.cell, PLAIN if self.cell.precision == "fp32" else QDQ)
        whole = variant(self.cell, OPERATOR)
        file = whole.with_name(f"{whole.stem}-products.onnx")
        if not file.exists():
            onnx.save(products(onnx.load(whole)), file)
        return file


def _cell(network: str, pattern: str, sparsity: float, precision: str, goal: float | None = None) -> NetworkCell:
    targets = ("aarch64",) if precision == "fp32" else ("aarch64", "aarch64-dotprod", "aarch64-i8mm")
    return NetworkCell(ModelCell(network, 1, pattern, sparsity, precision, 1), targets, goal)


CELLS = (
    _cell("handlandmark", TRAINED, 0.0, "fp32"),
    _cell("mobilenet-v2", "unstructured", 0.9, "fp32", 0.35),
    _cell("mobilenet-v2", "unstructured", 0.3, "fp32", 0.85),
    _cell("mobilenet-v2", KERNELS, 0.3, "fp32", 0.85),
    _cell("mobilenet-v2", "4x1", 0.9, "fp32"),
    _cell("minilm", "unstructured", 0.9, "fp32"),
    _cell("handlandmark", TRAINED, 0.0, "int8"),
    _cell("mobilenet-v2", "unstructured", 0.9, "int8"),
    _cell("minilm", "unstructured", 0.9, "int8"),
    replace(_cell("minilm", "1x4", 0.9, "int8"), only_products=True),
    *(
        replace(_cell(network, "unstructured", 0.9, "fp32"), targets=("aarch64-fp16",), multiplied="fp16")
        for network in ("mobilenet-v2", "minilm")
    ),
)


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """Instructions of one run with the zeros used, and of one without, by the same compiler; `ratio` is their quotient.

    `error` is the largest difference from what code for x86 gives, relative to the largest value of its output.
    """

    network: str
    target: str
    processor: str
    instructions: int
    dense_instructions: int
    ratio: float
    goal: float | None
    error: float
    sparse_layers: int
    layers: int


def compiled(cell: NetworkCell, target: str, *, dense: bool = False) -> Program:
    """The network for a target, with its zeros used or not; nothing that was measured on this machine has a say."""
    precision = cell.multiplied if target in cell.targets else "f32"
    options = Options(target, use_measurements=False, dense_only=dense, precision=precision)
    return compile_program(cell.model, options)


def given(cell: NetworkCell, program: Program) -> list[Array]:
    """Random inputs, in order."""
    feeds = feeds_of(cell.model)
    return [feeds[spec.name] for spec in program.inputs]


def measure(cell: NetworkCell, runner: Path, counter: Path) -> Iterator[NetworkRow]:
    """A row for each target of the cell."""
    with Session(compiled(cell, "native"), threads=1) as session:
        expected = list(session.run(feeds_of(cell.model)).values())
    for target in cell.targets:
        emulator, sparse = Emulator(runner, PROCESSORS[target]), compiled(cell, target)
        case = Case(sparse, given(cell, sparse))
        (result,) = emulator.run([case])
        assert result.status == OK, f"{cell} ended with status {result.status}"
        instructions = emulator.instructions(case, counter)
        dense = emulator.instructions(Case(compiled(cell, target, dense=True), case.inputs), counter)
        formats = [layer.format for layer in Report.from_dict(sparse.report).layers]
        yield NetworkRow(
            str(cell),
            target,
            emulator.cpu,
            instructions,
            dense,
            round(instructions / dense, 4),
            cell.goal,
            difference(result.outputs, expected),
            sum(each != "dense" for each in formats),
            len(formats),
        )


def difference(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference of two lists of outputs, relative to the largest value of each output."""
    errors = [0.0]
    for one, other in zip(found, expected, strict=True):
        wide, reference = (np.asarray(each, np.float64) for each in (one, other))
        scale = float(np.abs(reference).max(initial=0.0)) or 1.0
        errors.append(float(np.abs(wide - reference).max(initial=0.0)) / scale)
    return max(errors)
