"""Sessions: numbers, threads, what may be passed in and out, and refusals."""

from __future__ import annotations

import array
import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sparsec import artifact
from sparsec.artifact import NUMPY_DTYPES, Buffer, Program, Space, Step, TensorSpec
from sparsec.errors import ArtifactError, InputError, SparsecError, UsageError
from sparsec.runtime import Session, tensors

Floats = NDArray[np.float32]


@pytest.fixture
def feeds() -> dict[str, Floats]:
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal((100, 100), dtype=np.float32) for name in "ab"}


def expected(feeds: dict[str, Floats]) -> Floats:
    weights = np.arange(16, 10_016, dtype=np.float32).reshape(100, 100)
    return (feeds["a"] + weights) + feeds["b"]


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_steps_run_in_order_over_arena_and_weights(
    two_adds: Program, feeds: dict[str, Floats], threads: int, tmp_path: Path
) -> None:
    artifact.write(two_adds, tmp_path / "a.sparsec")
    with Session(tmp_path / "a.sparsec", threads=threads) as session:
        assert session.threads == threads
        for _ in range(50):
            np.testing.assert_array_equal(session(feeds)["y"], expected(feeds))


def test_inputs_may_come_in_order(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with Session(two_adds) as session:
        np.testing.assert_array_equal(session([feeds["a"], feeds["b"]])["y"], expected(feeds))
        assert [spec.name for spec in session.inputs] == ["a", "b"]
        assert [spec.name for spec in session.outputs] == ["y"]


def test_default_threads_are_the_processors_of_this_process(two_adds: Program) -> None:
    with Session(two_adds) as session:
        assert session.threads == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("threads", [1, 2])
def test_many_threads_may_call_one_session(two_adds: Program, threads: int) -> None:
    generator = np.random.default_rng(1)
    wrong = []

    def call(inputs: dict[str, Floats]) -> None:
        for _ in range(100):
            if not np.array_equal(session(inputs)["y"], expected(inputs)):
                wrong.append(inputs)

    with Session(two_adds, threads=threads) as session:
        each = [{name: generator.standard_normal((100, 100), dtype=np.float32) for name in "ab"} for _ in range(4)]
        callers = [threading.Thread(target=call, args=(inputs,)) for inputs in each]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    assert not wrong


@pytest.mark.parametrize("shape", [(), (0, 7), (3,), (100, 100), (5, 1, 2048)])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "bfloat16"])
def test_outputs_begin_at_cache_lines(shape: tuple[int, ...], dtype: str) -> None:
    array = tensors.fresh(TensorSpec("y", dtype, shape))
    assert array.shape == shape
    assert array.dtype == NUMPY_DTYPES[dtype]
    assert array.flags.c_contiguous
    assert array.flags.aligned
    assert array.flags.writeable
    if array.nbytes >= 4096:
        assert array.ctypes.data % 64 == 0


def test_other_kinds_of_tensors_come_in(two_adds: Program, feeds: dict[str, Floats]) -> None:
    strided = np.empty((100, 200), np.float32)[:, ::2]
    strided[:] = feeds["a"]
    misaligned = np.frombuffer(bytes(1) + feeds["a"].tobytes(), np.uint8)[1:].view(np.float32).reshape(100, 100)
    assert not misaligned.flags.aligned
    buffer = memoryview(array.array("f", feeds["a"].reshape(-1).tolist())).cast("B").cast("f", (100, 100))
    wants_gradient = torch.tensor(feeds["a"], requires_grad=True)
    read_only = feeds["a"].copy()
    read_only.flags.writeable = False
    transposed = torch.tensor(feeds["a"].T.copy()).T
    with Session(two_adds) as session:
        for a in (strided, misaligned, buffer, wants_gradient, read_only, transposed, np.asfortranarray(feeds["a"])):
            np.testing.assert_array_equal(session({**feeds, "a": a})["y"], expected(feeds))


def test_results_are_tensors_of_other_libraries_without_a_copy(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with Session(two_adds) as session:
        y = session(feeds)["y"]
    tensor = torch.from_dlpack(y)
    assert tensor.data_ptr() == y.ctypes.data
    np.testing.assert_array_equal(tensor.numpy(), expected(feeds))


def test_results_go_where_the_caller_wants(two_adds: Program, feeds: dict[str, Floats]) -> None:
    own = np.empty((100, 100), np.float32)
    tensor = torch.empty(100, 100)
    with Session(two_adds) as session:
        assert session.run(feeds, out=[own])["y"] is own
        session.run(feeds, out={"y": tensor})
    np.testing.assert_array_equal(own, expected(feeds))
    np.testing.assert_array_equal(tensor.numpy(), expected(feeds))


def test_an_output_over_an_input_is_safe(two_adds: Program, feeds: dict[str, Floats]) -> None:
    right = expected(feeds)
    room = np.zeros(10_001, np.float32)
    shifted, place = room[:-1].reshape(100, 100), room[1:].reshape(100, 100)
    shifted[:] = feeds["b"]
    with Session(two_adds, threads=1) as session:
        session.run({"a": feeds["a"], "b": shifted}, out=[place])
    np.testing.assert_array_equal(place, right)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"a": np.zeros((100, 99), np.float32)},
            r"'a' has the wrong shape(.|\n)*float32\[100, 100\](.|\n)*\[100, 99\]",
        ),
        ({"a": np.zeros((100, 100))}, r"wrong shape or dtype(.|\n)*float32\[100, 100\](.|\n)*float64\[100, 100\]"),
        ({"a": np.zeros((100, 100), ">f4")}, "wrong shape or dtype"),
        ({"a": torch.zeros(100, 100, dtype=torch.bfloat16)}, "not a tensor in CPU memory(.|\n)*Tensor"),
        ({"a": torch.zeros(100, 100, device="meta")}, "not a tensor in CPU memory"),
        ({"a": [1.0, 2.0]}, "not a tensor in CPU memory(.|\n)*list"),
        ({"a": None}, "not a tensor in CPU memory"),
        ({"c": 1}, "not the ones of this model(.|\n)*a: float32(.|\n)*a, b, c"),
    ],
)
def test_wrong_inputs_say_expected_and_got(
    two_adds: Program, feeds: dict[str, Floats], change: dict[str, object], message: str
) -> None:
    with Session(two_adds) as session, pytest.raises(InputError, match=message):
        session({**feeds, **change})


def test_a_wrong_number_of_inputs_is_refused(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with Session(two_adds) as session:
        with pytest.raises(InputError, match="got: 1 tensors"):
            session([feeds["a"]])
        with pytest.raises(InputError, match="got: a"):
            session({"a": feeds["a"]})
        with pytest.raises(InputError, match="one ndarray"):
            session(feeds["a"])  # type: ignore[arg-type]


def test_unfit_places_for_results_are_refused(two_adds: Program, feeds: dict[str, Floats]) -> None:
    read_only = np.zeros((100, 100), np.float32)
    read_only.flags.writeable = False
    with Session(two_adds) as session:
        for place in (read_only, np.zeros((100, 200), np.float32)[:, ::2]):
            with pytest.raises(InputError, match="cannot be written to in place"):
                session.run(feeds, out=[place])
        with pytest.raises(InputError, match="output 'y' has the wrong shape"):
            session.run(feeds, out=[np.zeros(3, np.float32)])


def test_outputs_must_not_share_memory(two_adds: Program, feeds: dict[str, Floats]) -> None:
    again = dataclasses.replace(two_adds.outputs[0], name="z")
    place = np.zeros((100, 100), np.float32)
    with (
        Session(dataclasses.replace(two_adds, outputs=(*two_adds.outputs, again))) as session,
        pytest.raises(InputError, match="'z' shares memory"),
    ):
        session.run(feeds, out=[place, place])


def test_a_profile_has_a_time_for_every_step_of_every_run(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with Session(two_adds, threads=2) as session:
        times = session.profile(feeds, 5)
        assert times.shape == (5, 2)
        assert (times > 0).all()
        with pytest.raises(UsageError, match="at least one run"):
            session.profile(feeds, 0)


def test_a_closed_session_says_so(two_adds: Program, feeds: dict[str, Floats]) -> None:
    session = Session(two_adds)
    session.close()
    session.close()
    with pytest.raises(UsageError, match="closed"):
        session(feeds)


@pytest.mark.parametrize("bound", [False, True])
def test_closing_waits_for_runs_in_flight(two_adds: Program, feeds: dict[str, Floats], *, bound: bool) -> None:
    session = Session(two_adds, threads=2)
    run = session.bind(feeds) if bound else lambda: session(feeds)
    results: list[bool] = []

    def call() -> None:
        try:
            while True:
                results.append(np.array_equal(run()["y"], expected(feeds)))
        except UsageError:
            pass

    caller = threading.Thread(target=call)
    caller.start()
    while len(results) < 20:
        pass
    session.close()
    caller.join()
    assert all(results)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_runs_with_threads_of_its_own(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with Session(two_adds, threads=2) as session:
        session(feeds)
        bound = session.bind(feeds)
        child = os.fork()
        if child == 0:
            right = all(np.array_equal(each()["y"], expected(feeds)) for each in (bound, lambda: session(feeds)))
            session.close()
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        np.testing.assert_array_equal(session(feeds)["y"], expected(feeds))


def test_the_process_may_end_while_a_thread_runs(two_adds: Program, tmp_path: Path) -> None:
    artifact.write(two_adds, tmp_path / "m.sparsec")
    script = """
import sys, threading
import numpy as np
from sparsec.runtime import Session
session, started = Session(sys.argv[1], threads=2), threading.Event()
feeds = [np.ones((100, 100), np.float32)] * 2
def work():
    while True:
        session(feeds)
        started.set()
for _ in range(4):
    threading.Thread(target=work, daemon=True).start()
started.wait()
"""
    command = [sys.executable, "-c", script, str(tmp_path / "m.sparsec")]
    assert [subprocess.run(command, check=False).returncode for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("threads", [0, -1, 10_000, 1.5])
def test_an_impossible_number_of_threads_is_refused(two_adds: Program, threads: int) -> None:
    with pytest.raises(UsageError, match="out of range"):
        Session(two_adds, threads=threads)


def test_a_feature_that_the_processor_lacks_is_named(two_adds: Program) -> None:
    target = dataclasses.replace(two_adds.target, isa="x86-64-v9", features=("avx2", "avx2048bw", "avx2048f"))
    with pytest.raises(ArtifactError, match="compiled for x86-64-v9; this CPU lacks avx2048bw, avx2048f"):
        Session(dataclasses.replace(two_adds, target=target))


def test_another_processor_is_named(two_adds: Program) -> None:
    target = dataclasses.replace(two_adds.target, triple="riscv64-unknown-linux-gnu")
    with pytest.raises(ArtifactError, match=r"for another processor(.|\n)*riscv64"):
        Session(dataclasses.replace(two_adds, target=target))


def test_an_unknown_import_is_named(two_adds: Program) -> None:
    code = two_adds.code
    room = dataclasses.replace(code, image=code.image + bytes(8), imports={"system": len(code.image)})
    with pytest.raises(ArtifactError, match=r"does not offer(.|\n)*system"):
        Session(dataclasses.replace(two_adds, code=room))


def test_an_arena_that_does_not_fit_is_an_error(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with (
        Session(dataclasses.replace(two_adds, arena_bytes=2**47)) as session,
        pytest.raises(SparsecError, match="not enough memory"),
    ):
        session(feeds)


def test_an_inconsistent_program_is_refused_before_it_runs(two_adds: Program) -> None:
    step = Step("add", (Buffer(Space.INPUT, 7),), 1, 1, "wild")
    with pytest.raises(ArtifactError, match="points outside input at 7"):
        Session(dataclasses.replace(two_adds, steps=(step,)))


def test_a_binding_reads_and_overwrites_the_same_arrays(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with Session(two_adds) as session:
        expected = session.run(feeds)
        out = {name: np.full_like(array, np.nan) for name, array in expected.items()}
        bound = session.bind(feeds, out=out)
        for name, array in bound().items():
            assert array is out[name]
            np.testing.assert_array_equal(array, expected[name])
        for array in feeds.values():
            array *= 2
        later = session.run(feeds)
        np.testing.assert_array_equal(list(bound().values()), list(later.values()))
        assert session.bind(feeds).outputs.keys() == out.keys()


def test_what_a_run_would_copy_cannot_be_bound(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with Session(two_adds) as session:
        name, array = next(iter(feeds.items()))
        strided = np.repeat(array, 2).reshape(*array.shape, 2)[..., 0]
        with pytest.raises(InputError, match="read in place"):
            session.bind({**feeds, name: strided})
        out = session.run(feeds)
        shared = next((n for n, result in out.items() if result.shape == array.shape), None)
        assert shared is not None
        with pytest.raises(InputError, match="shares memory"):
            session.bind(feeds, out={**out, shared: array})


def test_a_binding_of_a_closed_session_says_so(two_adds: Program, feeds: dict[str, Floats]) -> None:
    with Session(two_adds) as session:
        bound = session.bind(feeds)
    with pytest.raises(UsageError, match="closed"):
        bound()
    with pytest.raises(UsageError, match="closed"):
        session.bind(feeds)
