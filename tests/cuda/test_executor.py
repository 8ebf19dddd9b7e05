"""What a plan's run asks of the driver, in which order, and that all of it is given back; needs no GPU."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from plans import checked, residual_block, sparse_matrix, weight
from recording import Recorder, recording_gpu

from sparsec.cuda.code import program
from sparsec.cuda.device import graphs
from sparsec.cuda.device.driver import Device
from sparsec.cuda.network.encoded import EncodedWeights
from sparsec.cuda.network.executor import Executor
from sparsec.cuda.network.network import Network
from sparsec.cuda.network.plan import DevicePlan
from sparsec.cuda.network.staging import Staging
from sparsec.errors import TargetError, UsageError


@pytest.fixture(autouse=True)
def without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "compiled", lambda *_: b"machine code")


def block(first: str | None = "unstructured") -> DevicePlan:
    weights = weight("first", sparse_matrix(64, 32, 0.3, 1), first), weight("second", sparse_matrix(32, 64, 1, 2), None)
    return residual_block(16, *weights, np.zeros(64, np.float32))


def loaded(plan: DevicePlan, on: Device) -> Executor:
    return Executor(plan, Network([plan], on, EncodedWeights({})))


def test_a_run_is_one_graph_that_is_recorded_once() -> None:
    recorder = Recorder()
    executor = loaded(block(), recording_gpu(recorder))
    recorder.calls.clear()
    executor.run([4096], [8192], 7)
    assert recorder.calls.count("cuLaunchKernelEx") == 3
    assert recorder.calls[0] == "cuStreamIsCapturing"
    assert [each for each in recorder.calls if "Launch" not in each][1:] == [
        "cuStreamWaitEvent",
        "cuStreamBeginCapture_v2",
        "cuStreamEndCapture",
        "cuGraphInstantiateWithFlags",
        "cuGraphDestroy",
        "cuEventRecord",
    ]
    recorder.calls.clear()
    executor.run([4096], [8192], 7)
    assert recorder.calls == ["cuStreamIsCapturing", "cuGraphLaunch", "cuEventRecord"]
    recorder.calls.clear()
    executor.run([4096], [8192], 8)
    assert recorder.calls == ["cuStreamIsCapturing", "cuStreamWaitEvent", "cuGraphLaunch", "cuEventRecord"]


def test_graphs_are_changed_for_further_addresses_or_made_again() -> None:
    recorder = Recorder()
    executor = loaded(block(), recording_gpu(recorder))
    for number in range(graphs.MOST):
        executor.run([4096 * (number + 1)], [1 << 20], 0)
    recorder.calls.clear()
    executor.run([4096], [2 << 20], 0)
    assert "cuGraphExecUpdate_v2" in recorder.calls
    assert "cuGraphInstantiateWithFlags" not in recorder.calls
    recorder.results["cuGraphExecUpdate_v2"] = graphs._NOT_UPDATED
    recorder.calls.clear()
    executor.run([4096], [3 << 20], 0)
    assert recorder.calls.count("cuGraphExecDestroy") == recorder.calls.count("cuGraphInstantiateWithFlags") == 1


@pytest.mark.parametrize("first", ["unstructured", "2:4", "block:32x32", None])
def test_everything_is_given_back(first: str | None) -> None:
    recorder = Recorder()
    if first == "2:4":
        values = sparse_matrix(64, 32, 1, 1)
        values[:, 2::4] = values[:, 3::4] = 0
        weights = weight("first", values, first), weight("second", sparse_matrix(32, 64, 1, 2), None)
        plan = residual_block(48, *weights, np.zeros(64, np.float32))
    else:
        plan = block(first)
    executor = loaded(plan, recording_gpu(recorder))
    staging = Staging(executor)
    staging.give([np.ones(plan.inputs[0].shape, np.float16)])
    staging.run()
    staging.take([np.ones(plan.outputs[0].shape, np.float16)])
    assert recorder.device_bytes > plan.arena_bytes + plan.constants.nbytes
    executor.close()
    with pytest.raises(UsageError, match="closed"):
        executor.run([1], [2], 0)
    del executor, staging
    gc.collect()
    assert recorder.alive == {}


def test_what_is_collected_is_given_back() -> None:
    recorder = Recorder()
    executor = loaded(block(), recording_gpu(recorder))
    executor.run([4096], [8192], 0)
    del executor
    gc.collect()
    assert recorder.alive == {}
    assert recorder.calls.count("cuModuleUnload") == 1


@pytest.mark.parametrize("limit", [100, 10_000])
def test_too_little_memory_is_said_and_what_was_taken_is_given_back(limit: int) -> None:
    recorder = Recorder(limit=limit)
    with pytest.raises(TargetError, match="not enough memory"):
        loaded(block(), recording_gpu(recorder))
    gc.collect()
    assert recorder.alive == {}


def test_a_capture_that_fails_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    executor = loaded(block(), recording_gpu(recorder))

    def fails(*_: object) -> None:
        raise TargetError("no")

    monkeypatch.setattr("sparsec.cuda.network.steps.launch", fails)
    recorder.calls.clear()
    with pytest.raises(TargetError, match="no"):
        executor.run([4096], [8192], 0)
    assert recorder.calls[-1] == "cuStreamEndCapture"


def test_the_status_of_checks_is_reset_in_each_run() -> None:
    recorder = Recorder()
    executor = loaded(checked(), recording_gpu(recorder))
    recorder.calls.clear()
    executor.run([4096], [8192], 0)
    assert recorder.calls.index("cuMemsetD8Async") < recorder.calls.index("cuLaunchKernelEx")
    assert recorder.calls[-2:] == ["cuEventSynchronize", "cuMemcpyDtoH_v2"]


def test_a_plan_for_blocks_has_other_kernels_on_another_gpu() -> None:
    loaded(block("block:32x32"), recording_gpu(Recorder("a100")))


def test_a_plan_for_newer_gpus_is_refused() -> None:
    recorder = Recorder("a100")
    with pytest.raises(TargetError, match=r"newer GPUs(.|\n)*9\.0 or later(.|\n)*8\.0"):
        loaded(replace(block(), architecture=(9, 0)), recording_gpu(recorder))
    assert recorder.alive == {}
