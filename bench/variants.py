"""Files of a pruned network in each form, made once and kept in the cache."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from bench.peers.network import PLAIN
from bench.prune import prunable, prune
from bench.quantize import quantize
from bench.sparse_models_rows import ModelCell
from bench.sparse_zoo import NETWORKS, SPARSE

TRAINED = "trained"  # the pattern of a network that came with zeros


def cells_of(
    names: tuple[str, ...],
    batches: tuple[int, ...],
    patterns: tuple[str, ...],
    sparsities: tuple[float, ...],
    precision: str,
    threads: int,
) -> tuple[ModelCell, ...]:
    """All combinations, network by network; one that came with zeros has one pattern only, and batch 1."""
    found: dict[ModelCell, None] = {}
    for name in names:
        for batch in batches:
            for pattern in patterns:
                for sparsity in sparsities:
                    if NETWORKS[name].weights == SPARSE:
                        cell = ModelCell(name, 1, TRAINED, 0.0, precision, threads)
                    else:
                        cell = ModelCell(name, batch, pattern, sparsity, precision, threads)
                    found[cell] = None
    return tuple(found)


def variant(cell: ModelCell, form: str) -> Path:
    """The file of the network pruned as the cell says, in a form of `bench.peers.rivals`."""
    dense = NETWORKS[cell.network].dense(cell.batch)
    pruned = dense
    if cell.pattern != TRAINED and cell.sparsity > 0:
        pruned = dense.with_name(f"{dense.stem}-{cell.pattern}-{100 * cell.sparsity:.3g}.onnx")
        if not pruned.exists():
            model = onnx.load(dense)
            prune(model, cell.pattern, cell.sparsity)
            whole = _unfinished(pruned)
            onnx.save(model, whole)
            whole.replace(pruned)
    if form == PLAIN:
        return pruned
    quantized = pruned.with_name(f"{pruned.stem}-{form}.onnx")
    if not quantized.exists():
        whole = _unfinished(quantized)
        quantize(pruned, whole, form)
        whole.replace(quantized)
    return quantized


def zeros_of(model: Path) -> float:
    """The share of zeros in the layers that pruning would touch."""
    weights = [numpy_helper.to_array(tensor) for _, tensor in prunable(onnx.load(model))]
    return 1 - sum(int(np.count_nonzero(each)) for each in weights) / max(1, sum(each.size for each in weights))


def _unfinished(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}")
