"""`python -m bench carry`: compile a small grid for another machine, and put all that it needs into one folder."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch_mlir import ir

import sparsec
from bench.peers.onnx_layer import onnx_layer
from bench.quantize import quantized_weight
from bench.spmm_cells import UNSTRUCTURED, Cell, make_layer
from sparsec import artifact
from sparsec.driver import compile_layers, compile_program
from sparsec.errors import UsageError
from sparsec.options import Options
from sparsec.passes.select_format import decide, facts_of_layer, named_layers
from sparsec.report import LayerReport

RUNNER = Path(__file__).parent / "run.py"
RUNTIME = ("artifact", "errors.py", "runtime", "whole_file.py")

THREADS = (1, 16)  # that choices are made for
RIVALS = 3  # kernels that are raced beside the chosen one, if they are predicted
WORTH_RACING = 3.0  # times the best predicted time at most

SPARSE = ((UNSTRUCTURED, 0.9), (UNSTRUCTURED, 0.8), ("1x4", 0.9), ("4x1", 0.9), ("16x1", 0.9))
SHAPES = (
    *((768, 768, 128), (3072, 768, 128), (768, 3072, 128), (1024, 4096, 128), (4096, 1024, 128), (1024, 4096, 512)),
    *((4096, 4096, 16), (4096, 4096, 1), (4096, 11008, 1)),  # few tokens: weights come from far away
)
INT8 = tuple(Cell(*shape, *kind, "int8") for shape in SHAPES for kind in SPARSE)
OTHERS = (
    Cell(768, 768, 128, UNSTRUCTURED, 0.0, "int8"),
    Cell(4096, 4096, 64, UNSTRUCTURED, 0.8, "int8"),
    *(Cell(768, 768, 128, pattern, 0.9, "bf16") for pattern in (UNSTRUCTURED, "16x1")),
    Cell(4096, 1024, 16, UNSTRUCTURED, 0.8, "bf16"),
)
CELLS = (*INT8, *OTHERS)


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
    """Write the model, and an artifact for each kernel that is chosen, or might have been."""
    model = _model(cell)
    name = str(cell).replace(" ", "-").replace(":", "of")
    options = Options(target, use_measurements=False, precision="bf16" if cell.precision == "bf16" else "f32")
    (folder / f"{name}.onnx.gz").write_bytes(gzip.compress(model, 6))
    decided = _decided(model, options)
    files: dict[str, str] = {}
    for kernel in dict.fromkeys(each for layer in decided.values() for each in worth_racing(layer)):
        files[kernel] = f"{name}.{kernel}.sparsec"
        artifact.write(compile_program(model, replace(options, kernels=(kernel,))), folder / files[kernel])
    chosen = {str(threads): layer.choice for threads, layer in decided.items()}
    size = {"m": cell.m, "k": cell.k, "n": cell.n}
    return {"name": str(cell), **size, "model": f"{name}.onnx.gz", "chosen": chosen, "kernels": files}


def _decided(model: bytes, options: Options) -> dict[int, LayerReport]:
    """What is chosen for the only layer of a model, by number of threads."""
    unit = compile_layers(model, options)
    with unit.module.context, ir.Location.unknown():
        ((name, layer),) = named_layers(unit)
        problem, facts = layer.problem(), facts_of_layer(layer, unit)
        machines = {threads: replace(unit.machine, threads=threads) for threads in THREADS}
        return {threads: decide(name, problem, facts, unit.isa, machine) for threads, machine in machines.items()}


def worth_racing(layer: LayerReport) -> list[str]:
    """The chosen kernel, and the best predicted others."""
    able = {each.kernel: each.predicted_ns for each in layer.candidates if each.predicted_ns is not None}
    limit = WORTH_RACING * min(able.values())
    rivals = sorted(
        (each for each in able if each != layer.choice and able[each] <= limit), key=lambda each: able[each]
    )
    return [layer.choice, *rivals[:RIVALS]]


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
