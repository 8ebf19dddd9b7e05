"""A step that sets the status ends its run; the next run starts clean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from sparsec.artifact import Buffer, Complaint, Program, Space, Step, TensorSpec
from sparsec.errors import InputError
from sparsec.runtime import Session
from sparsec.targets import NATIVE, resolve
from sparsec.targets.backend import emit_image
from tests.llvm_loops import loop

COUNT = 1000
# y[i] = x[i], unless x[i] > 0: then it is the number to report
COPY = loop(
    "copy",
    "ptr %x, ptr %y, ptr %status",
    """
  %px = getelementptr i64, ptr %x, i64 %i
  %v = load i64, ptr %px
  %bad = icmp sgt i64 %v, 0
  br i1 %bad, label %failed, label %good
failed:
  store i64 %v, ptr %status
  br label %done
good:
  %py = getelementptr i64, ptr %y, i64 %i
  store i64 %v, ptr %py
""",
)


@pytest.fixture(scope="module")
def program() -> Program:
    """Two parallel copies: the input to one output, and the same input to another."""
    target = resolve(NATIVE)
    steps = tuple(
        Step("copy", (Buffer(Space.INPUT, 0), Buffer(Space.OUTPUT, each), Buffer(Space.ARENA, 64)), COUNT, 1, "layer")
        for each in range(2)
    )
    return Program(
        name="copies",
        target=target.spec,
        inputs=(TensorSpec("x", "int64", (COUNT,)),),
        outputs=tuple(TensorSpec(name, "int64", (COUNT,)) for name in ("y", "z")),
        arena_bytes=128,
        steps=steps,
        code=emit_image(COPY, target, ["copy"]),
        weights=np.zeros(0, np.uint8),
        report={},
        status=64,
        complaints=tuple(Complaint(f"node {number}", f"complaint {number}") for number in range(3)),
    )


@pytest.fixture(scope="module", params=[1, 2])
def session(program: Program, request: pytest.FixtureRequest) -> Iterator[Session]:
    with Session(program, threads=request.param) as opened:
        yield opened


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 1, COUNT - 1])
def test_a_failed_check_ends_the_run(session: Session, number: int, place: int) -> None:
    x, y, z = (np.full(COUNT, -value) for value in (3, 1, 2))
    session.run([x])
    x[place] = number + 1
    with pytest.raises(InputError, match=f"complaint {number}") as failure:
        session.run([x], out=[y, z])
    assert failure.value.where == f"node {number}"
    assert np.all(z == -2), "the step after the failed one ran"
    x[place] = -3
    np.testing.assert_array_equal(session.run([x])["y"], x)


def test_several_threads_may_fail_at_once(session: Session) -> None:
    x = np.arange(COUNT) % 3 + 1
    for _ in range(100):
        with pytest.raises(InputError, match=r"complaint [012]"):
            session.run([x])


def test_a_program_without_checks_has_no_status(program: Program) -> None:
    # The kernel still stores there, and nobody looks.
    with Session(replace(program, status=None, complaints=()), threads=1) as session:
        session.run([np.full(COUNT, 1)])
