"""Kernel generators: a problem, a weight, an epilogue and an ISA go in; MLIR functions, packed weights and calls come out.

`kernel` is the contract, `emit` the words that generators are written in, `table` the list of all kernels.
"""
