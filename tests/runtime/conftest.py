"""Small programs from hand-written LLVM IR."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from sparsec.artifact import Buffer, Program, Space, Step, TensorSpec
from sparsec.targets import NATIVE, TARGETS, Target, resolve
from sparsec.targets.backend import emit_image
from tests.llvm_loops import loop, unary

# y[i] = a[i] + b[i]
ADD = loop(
    "add",
    "ptr noalias %a, ptr noalias %b, ptr noalias %y",
    """
  %pa = getelementptr float, ptr %a, i64 %i
  %pb = getelementptr float, ptr %b, i64 %i
  %py = getelementptr float, ptr %y, i64 %i
  %va = load float, ptr %pa
  %vb = load float, ptr %pb
  %sum = fadd float %va, %vb
  store float %sum, ptr %py
""",
)

DTYPES = {"half": "float16", "bfloat": "bfloat16", "float": "float32", "double": "float64"}


def program(
    source: str,
    steps: Sequence[Step],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    arena_bytes: int = 0,
    weights: NDArray[np.generic] | None = None,
    target: Target | None = None,
) -> Program:
    """Compile `source` for `target`, or for this machine."""
    target = target or resolve(NATIVE)
    code = emit_image(source, target, sorted({step.kernel for step in steps}))
    blob = np.zeros(0, np.uint8) if weights is None else weights.reshape(-1).view(np.uint8)
    return Program("test", target.spec, tuple(inputs), tuple(outputs), arena_bytes, tuple(steps), code, blob, {})


@pytest.fixture(scope="session")
def build_unary() -> Callable[..., Program]:
    """Builds a program `y[i] = f(x[i])` of `count` elements; `body` computes %r from %x, and may use the index %i."""

    def build(
        body: str, count: int, *, declarations: str = "", kind: str = "float", result: str = "float", grain: int = 64
    ) -> Program:
        source = declarations + unary(body, kind, result)
        step = Step("k", (Buffer(Space.INPUT, 0), Buffer(Space.OUTPUT, 0)), count, grain, "layer")
        x, y = TensorSpec("x", DTYPES[kind], (count,)), TensorSpec("y", DTYPES[result], (count,))
        return program(source, [step], [x], [y])

    return build


def _runnable() -> list[str]:
    """The targets up to the best that this machine has."""
    names = list(TARGETS)
    return names[: names.index(resolve(NATIVE).name) + 1]


@pytest.fixture(scope="session", params=_runnable())
def two_adds(request: pytest.FixtureRequest) -> Program:
    """y = (a + weights) + b through the arena, 10000 elements, both steps parallel."""
    count = 10_000
    first = Step("add", (Buffer(Space.INPUT, 0), Buffer(Space.WEIGHTS, 64), Buffer(Space.ARENA, 128)), count, 16, "one")
    second = Step("add", (Buffer(Space.ARENA, 128), Buffer(Space.INPUT, 1), Buffer(Space.OUTPUT, 0)), count, 16, "two")
    weights = np.arange(count + 16, dtype=np.float32)
    specs = [TensorSpec(name, "float32", (100, 100)) for name in "aby"]
    return program(
        ADD,
        [first, second],
        specs[:2],
        specs[2:],
        arena_bytes=128 + 4 * count,
        weights=weights,
        target=TARGETS[request.param],
    )
