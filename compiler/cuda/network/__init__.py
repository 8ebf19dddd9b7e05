"""Whole networks on a GPU: the plan that the compiler makes, its check and its file, and the runs of it."""
