"""Runs compiled programs: in comes an artifact and input tensors, out come output tensors.

`Session` is the door. `native/` is the C11 core (image, threads, arena); `library` binds it with ctypes; `shapes` says
which of several programs a call is for; `tensors` checks and converts what users pass. Needs NumPy only, and knows nothing of
MLIR, LLVM, torch or onnx.
"""

from sparsec.runtime.session import Session

__all__ = ["Session"]
