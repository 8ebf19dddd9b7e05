"""One MLIR context per test: importers leave nothing behind in it that another test could see."""

import pytest
from torch_mlir import ir

from sparsec.ir.context import make_context


@pytest.fixture
def context() -> ir.Context:
    return make_context()
