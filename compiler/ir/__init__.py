"""The thin layer over MLIR: contexts, finding and building ops, upstream pipelines, the `sparsec` dialect.

Modules come in as text or from a frontend; the weights that they name live beside them, in a `WeightStore`.
"""
