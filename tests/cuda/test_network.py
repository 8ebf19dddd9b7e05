"""What plans of a network share on a GPU: memory, and one order; needs no GPU."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from plans import residual_blocks, sparse_matrix, weight
from recording import Recorder, recording_gpu

from sparsec.cuda.code import program
from sparsec.cuda.network.encoded import EncodedWeights
from sparsec.cuda.network.executor import Executor
from sparsec.cuda.network.network import Network
from sparsec.cuda.network.plan import DevicePlan
from sparsec.errors import TargetError


@pytest.fixture(autouse=True)
def without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "compiled", lambda *_: b"machine code")


def plans(*tokens: int) -> tuple[DevicePlan, ...]:
    weights = (
        weight("first", sparse_matrix(64, 32, 0.3, 1), "unstructured"),
        weight("second", sparse_matrix(32, 64, 1, 2), None),
    )
    return residual_blocks(tokens, *weights, np.zeros(64, np.float32))


def test_the_arena_is_the_largest_plans() -> None:
    sizes = []
    for tokens in ((1000,), (16, 1000, 8)):
        recorder = Recorder()
        network = Network(plans(*tokens), recording_gpu(recorder), EncodedWeights({}))
        sizes.append(recorder.device_bytes)
        network.close()
        assert recorder.alive == {}
    assert sizes[0] == sizes[1]


def test_runs_of_all_plans_are_in_one_order() -> None:
    recorder, each = Recorder(), plans(16, 32)
    network = Network(each, recording_gpu(recorder), EncodedWeights({}))
    executors = [Executor(plan, network) for plan in each]
    for number, stream, waits in ((0, 7, True), (1, 7, False), (0, 8, True), (1, 8, False), (1, 7, True)):
        recorder.calls.clear()
        executors[number].run([4096], [1 << 20], stream)
        assert ("cuStreamWaitEvent" in recorder.calls) == waits


def test_a_plan_is_tried_out_when_the_runs_before_have_ended() -> None:
    recorder, each = Recorder(), plans(16, 32)
    network = Network(each, recording_gpu(recorder), EncodedWeights({}))
    Executor(each[0], network).run([4096], [1 << 20], 7)
    recorder.calls.clear()
    Executor(each[1], network)
    assert recorder.calls.index("cuEventSynchronize") < recorder.calls.index("cuLaunchKernelEx")


def test_everything_is_given_back_when_it_is_collected() -> None:
    recorder, each = Recorder(), plans(16, 32)
    network = Network(each, recording_gpu(recorder), EncodedWeights({}))
    executors = [Executor(plan, network) for plan in each]
    for executor in executors:
        executor.run([4096], [1 << 20], 7)
    executor = executors.pop()
    executor.close()
    del network, executors, executor
    gc.collect()
    assert recorder.alive == {}


def test_plans_for_newer_gpus_are_refused() -> None:
    recorder, (first, second) = Recorder("a100"), plans(16, 32)
    with pytest.raises(TargetError, match="newer GPUs"):
        Network((first, replace(second, architecture=(9, 0))), recording_gpu(recorder), EncodedWeights({}))
    assert recorder.alive == {}
