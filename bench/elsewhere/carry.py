"""`python -m bench carry`: compile a small grid for another machine, and put all that it needs into one folder."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

import sparsec
from bench.peers.onnx_layer import onnx_layer
from bench.quantize import quantized_weight
from bench.spmm_cells import UNSTRUCTURED, Cell, make_layer
from sparsec import artifact
from sparsec.driver import Options, compile_program
from sparsec.errors import UsageError
from sparsec.report import Report

RUNNER = Path(__file__).parent / "run.py"
RUNTIME = ("artifact", "errors.py", "runtime")

INT8 = tuple(
    Cell(m, k, 128, pattern, sparsity, "int8")
    for m, k in ((768, 768), (3072, 768), (1024, 4096))
    for pattern, sparsity in (
        (UNSTRUCTURED, 0.0),
        *((UNSTRUCTURED, sparsity) for sparsity in (0.5, 0.7, 0.8, 0.9)),
        *((pattern, 0.9) for pattern in ("1x4", "4x1", "16x1")),
    )
)
FLOAT = tuple(
    Cell(768, 768, 128, pattern, sparsity, precision)
    for precision in ("fp32", "bf16")
    for pattern, sparsity in ((UNSTRUCTURED, 0.0), (UNSTRUCTURED, 0.9), ("4x1", 0.9), ("16x1", 0.9))
)
LARGE = tuple(Cell(3072, 768, 512, pattern, 0.9, "fp32") for pattern in (UNSTRUCTURED, "4x1"))
FEW = (  # tokens, for which weights come from far away
    *(Cell(4096, 4096, n, UNSTRUCTURED, 0.8, "int8") for n in (16, 64)),
    Cell(4096, 1024, 16, UNSTRUCTURED, 0.8, "bf16"),
)
CELLS = (*INT8, *FLOAT, *LARGE, *FEW)


def carry(folder: Path, target: str, cells: Sequence[Cell] = CELLS) -> int:
    """Fill `folder`, which must not exist; returns the exit code."""
    if folder.exists():
        raise UsageError("The folder exists already.", got=str(folder))
    package = folder / "sparsec"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    installed = Path(sparsec.__file__).parent
    for name in RUNTIME:
        source = installed / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, package / name)
    native = Path(sparsec.__file__).resolve().parent.parent / "runtime" / "native"
    shutil.copytree(native, folder / "native")
    for old in (package / "runtime").glob("_native*"):
        old.unlink()
    shutil.copy(RUNNER, folder)
    entries = [_carry_cell(cell, folder, target) for cell in cells]
    (folder / "cells.json").write_text(json.dumps({"target": target, "cells": entries}, indent=1) + "\n")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{len(entries)} layers for {target} in {folder}, {size / 2**20:.0f} MiB; there: python3 run.py --json FILE")
    return 0


def _carry_cell(cell: Cell, folder: Path, target: str) -> dict[str, object]:
    model = _model(cell)
    name = str(cell).replace(" ", "-").replace(":", "of")
    precision = "bf16" if cell.precision == "bf16" else "f32"
    program = compile_program(model, Options(target, precision=precision))
    artifact.write(program, folder / f"{name}.sparsec")
    (folder / f"{name}.onnx.gz").write_bytes(gzip.compress(model, 6))
    chosen = [layer.choice for layer in Report.from_dict(program.report).layers]
    return {"name": str(cell), "file": name, "m": cell.m, "k": cell.k, "n": cell.n, "chosen": chosen}


def _model(cell: Cell) -> bytes:
    """The layer in float32, or with activations that are quantised as they come: DynamicQuantizeLinear and MatMulInteger."""
    layer = make_layer(cell)
    if cell.precision != "int8":
        return onnx_layer(layer)
    weight, scale = quantized_weight(layer.weight)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["codes", "w", "zero"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["floats"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "w_scale"], ["both"]),
        helper.make_node("Mul", ["floats", "both"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [cell.n, cell.k])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [cell.n, cell.m])],
        [numpy_helper.from_array(weight.T.copy(), "w"), numpy_helper.from_array(np.asarray(scale), "w_scale")],
    )
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    ).SerializeToString()
    return data
