"""How `bench/models/handlandmark.onnx.gz` was made: `python -m bench.make_handlandmark DENSE.onnx OUT.onnx.gz`.

The network (see NOTICE) has 380,666 nonzeros among 2.6 million weights, all exact in half precision. Weights that are
mostly zeros become `sparse_initializer`s with flat indices, the layout of ONNX's standard that deflates best: indices
cost 1.2 bytes each and values 1.8, 1.4 MB in all, where the dense file takes 10.6 MB. Gunzipped, it loads in ONNX
Runtime as it is.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

SPARSE_BELOW = 0.5  # density under which indices and values take less room than zeros
SMALLEST = 256  # elements; shapes, paddings and biases stay as they are


def store_sparse(model: onnx.ModelProto) -> None:
    """Move the mostly-zero initializers of `model` to its sparse initializers, in place."""
    dense, sparse = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.size >= SMALLEST and np.count_nonzero(array) < SPARSE_BELOW * array.size:
            sparse.append(_sparse(tensor.name, array))
        else:
            dense.append(tensor)
    del model.graph.initializer[:]
    model.graph.initializer.extend(dense)
    model.graph.sparse_initializer.extend(sparse)


def _sparse(name: str, array: np.ndarray) -> onnx.SparseTensorProto:
    flat = array.reshape(-1)
    indices = np.flatnonzero(flat).astype(np.int64)
    values = numpy_helper.from_array(flat[indices], name)
    return onnx.helper.make_sparse_tensor(values, numpy_helper.from_array(indices, f"{name}.indices"), array.shape)


def main(source: str, destination: str) -> None:
    model = onnx.load(source)
    store_sparse(model)
    onnx.checker.check_model(model)
    Path(destination).write_bytes(gzip.compress(model.SerializeToString(deterministic=True), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
