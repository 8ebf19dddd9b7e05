"""DeepSparse, in the process of an interpreter that has it: it wants Python 3.11 or older and NumPy 1.

For measuring only: its licence allows evaluation, not production.
"""

from __future__ import annotations

import os

from bench.peers.peer import AbsentError
from bench.peers.worker import Worker

INTERPRETER = "SPARSEC_DEEPSPARSE_PYTHON"


class DeepSparse(Worker):
    def __init__(self) -> None:
        interpreter = os.environ.get(INTERPRETER, "")
        if not interpreter:
            raise AbsentError(f"the environment variable {INTERPRETER} is not set")
        super().__init__([interpreter, "-m", "bench.peers.deepsparse_worker"], os.environ)
