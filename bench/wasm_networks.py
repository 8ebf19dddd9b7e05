"""`python -m bench wasm --networks`: whole networks in each engine of WebAssembly against this machine's own code.

Convolutional networks in int8 have to give equal numbers; transformers are near, and a network of all their products has
to give equal numbers (see `bench.products`). Packages for threads run on two or more, except in wasmtime.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from bench.peers.network import OPERATOR, PLAIN
from bench.products import ROUNDED, products
from bench.sparse_models_rows import ModelCell
from bench.sparse_zoo import feeds_of
from bench.spmm_cells import UNSTRUCTURED
from bench.variants import TRAINED, variant
from bench.wasm_engines.engine import Array, EngineError
from bench.wasm_engines.table import ENGINES
from bench.wasm_results import put_rows

RESULTS = Path(__file__).parent / "results" / "wasm_networks.json"
TARGETS = ("wasm32", "wasm32-relaxed", "wasm32-threads")
FLOAT = 1e-4  # tolerance of fp32


@dataclass(frozen=True, slots=True)
class Case:
    """A network; `tolerance` is the largest difference by the largest value of the output."""

    name: str
    tolerance: float
    model: Callable[[], onnx.ModelProto]


@dataclass(frozen=True, slots=True)
class Row:
    """`error` is the largest over all outputs; None with the reason in `missing` where an engine is not here or failed."""

    network: str
    target: str
    engine: str
    error: float | None
    tolerance: float
    missing: str | None

    @property
    def passed(self) -> bool:
        return self.error is not None and self.error <= self.tolerance


def cases() -> tuple[Case, ...]:
    """The three networks of the issue."""
    return (
        _case("handlandmark", TRAINED, 0.0, "fp32", FLOAT),
        _case("handlandmark", TRAINED, 0.0, "int8", 0.0),
        _case("mobilenet-v2", UNSTRUCTURED, 0.9, "fp32", FLOAT),
        _case("mobilenet-v2", "1x4", 0.9, "int8", 0.0),
        _case("minilm", UNSTRUCTURED, 0.9, "fp32", FLOAT),
        _case("minilm", "1x4", 0.9, "int8", ROUNDED),
        Case("minilm 90 % 1x4 int8, all products", 0.0, lambda: products(_model("minilm", "1x4", 0.9, "int8"))),
    )


def run(pattern: str, json_file: Path) -> int:
    """Run the networks whose names contain `pattern`, print a line for each, and put them into `json_file`."""
    rows: list[Row] = []
    for case in (case for case in cases() if pattern in case.name):
        for row in _rows(case):
            rows.append(row)
            outcome = row.missing if row.error is None else f"error {row.error:.1e}, allowed {row.tolerance:g}"
            print(f"{row.network:40} {row.target:15} {row.engine:10} {outcome}", flush=True)
        put_rows(json_file, [asdict(row) for row in rows], "network", [case.name for case in cases()])
    return 0 if all(row.passed for row in rows) else 1


def _case(network: str, pattern: str, sparsity: float, precision: str, tolerance: float) -> Case:
    what = "" if pattern == TRAINED else f" {100 * sparsity:.3g} % {pattern}"
    name = f"{network}{what} {precision}"
    return Case(name, tolerance, lambda: _model(network, pattern, sparsity, precision))


def _model(network: str, pattern: str, sparsity: float, precision: str) -> onnx.ModelProto:
    cell = ModelCell(network, 1, pattern, sparsity, precision, 1)
    return onnx.load(variant(cell, PLAIN if precision == "fp32" else OPERATOR))


def _feeds(model: onnx.ModelProto) -> Mapping[str, Array]:
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(model, file.name)
        return feeds_of(Path(file.name))


def _rows(case: Case) -> list[Row]:
    import sparsec
    from sparsec.driver import compile_wasm
    from sparsec.options import Options
    from sparsec.web.package import package_files
    from sparsec.whole_file import write_files

    model = case.model()
    feeds = _feeds(model)
    expected = sparsec.compile(model).run(feeds)
    rows = []
    for target in TARGETS:
        plan, module = compile_wasm(model, Options(target, use_measurements=False))
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), package_files(plan, module, weights_inside=True))
            for name in ENGINES:
                error, missing = _error(name, Path(folder), feeds, expected)
                rows.append(Row(case.name, target, name, error, case.tolerance, missing))
    return rows


def _error(
    engine: str, package: Path, feeds: Mapping[str, Array], expected: Mapping[str, Array]
) -> tuple[float | None, str | None]:
    """The largest difference of any output by its largest value, or why there is none."""
    missing = ENGINES[engine].missing()
    if missing is not None:
        return None, missing
    try:
        got = ENGINES[engine].run(package, feeds)
    except EngineError as error:
        return None, str(error)
    return max(relative_error(got[name], value) for name, value in expected.items()), None


def relative_error(got: Array, expected: Array) -> float:
    """The largest difference by the largest value; infinite where only one of both is NaN."""
    found, wanted = got.reshape(-1).astype(np.float64), expected.reshape(-1).astype(np.float64)
    differences = np.where(np.isnan(found) & np.isnan(wanted), 0.0, np.abs(found - wanted))
    worst = float(np.nan_to_num(differences, nan=np.inf).max(initial=0.0))
    return worst / max(float(np.nanmax(np.abs(wanted), initial=0.0)), 1e-30)
