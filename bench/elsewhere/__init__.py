"""Layers that are compiled here and timed on a machine where nothing can be installed.

`python -m bench carry DIR` fills a folder: artifacts, the models that peers get, the runtime, and `run.py`, which needs
NumPy, a C compiler, and ONNX Runtime and torch as far as they are to be raced.
"""
