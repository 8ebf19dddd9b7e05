"""Sessions of models for GPUs, with a driver that writes down what it is asked for; needs no GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gpu_tensors import OnGpu
from plans import checked, residual_block, residual_blocks, sparse_matrix, weight
from recording import Recorder, recording_gpu

import sparsec
from sparsec.cuda.code import program
from sparsec.cuda.network import forms, packed, plan_file
from sparsec.cuda.network.packed import DeviceProgram, to_be_packed
from sparsec.device.session import DeviceSession
from sparsec.errors import InputError, TargetError, UsageError
from sparsec.model import CompiledModel

TOKENS, K, M = 16, 32, 64


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Its GPU is the machine's, and kernels are not compiled."""
    recorder = Recorder()
    on = recording_gpu(recorder)
    recorder.calls.clear()
    monkeypatch.setattr("sparsec.device.session.device", lambda _: on)
    monkeypatch.setattr(program, "compiled", lambda kernel, macros, architecture: kernel.encode())
    return recorder


def block() -> DeviceProgram:
    weights = (
        weight("first", sparse_matrix(M, K, 0.3, 1), "unstructured"),
        weight("second", sparse_matrix(K, M, 1, 2), None),
    )
    return DeviceProgram((residual_block(TOKENS, *weights, np.zeros(M, np.float32)),), ("h100",))


def blocks(*tokens: int) -> DeviceProgram:
    """The same for several numbers of tokens."""
    weights = (
        weight("first", sparse_matrix(512, 128, 0.3, 1), "unstructured"),
        weight("second", sparse_matrix(128, 512, 1, 2), None),
    )
    return DeviceProgram(residual_blocks(tokens, *weights, np.zeros(512, np.float32)), ("h100",))


def tensor() -> OnGpu:
    room = np.zeros(TOKENS * K + 32, np.float16)
    begin = -room.ctypes.data % 64 // 2
    return OnGpu(room[begin : begin + TOKENS * K].reshape(TOKENS, K))


def test_nothing_is_loaded_before_the_first_call(recorder: Recorder) -> None:
    session = DeviceSession(block())
    assert recorder.calls == []
    assert session.target == "cuda (sm_80 and later, h100)"
    assert [kernel for kernel, _ in session.calls(0)] == ["product (unstructured)", "product (dense)", "add_half"]
    assert session.programs[0].inputs[0].shape == (TOKENS, K)


def test_tensors_on_a_gpu_are_used_in_place(recorder: Recorder) -> None:
    session, x, y = DeviceSession(block()), tensor(), tensor()
    assert session.launch([x], out={"y": y}, stream=7) == {"y": y}
    recorder.calls.clear()
    session.launch({"x": x}, out=[y], stream=7)
    assert recorder.calls == ["cuStreamIsCapturing", "cuGraphLaunch", "cuEventRecord"]
    bound = session.bind([x], out=[y])
    recorder.calls.clear()
    assert bound(7) == {"y": y}
    assert recorder.calls == ["cuStreamIsCapturing", "cuGraphLaunch", "cuEventRecord"]


def test_arrays_of_the_host_are_copied(recorder: Recorder) -> None:
    session, x = DeviceSession(block()), np.zeros((TOKENS, K), np.float16)
    out = {"y": np.ones((TOKENS, K), np.float16)}
    assert session.run([x], out=out) == out
    recorder.calls.clear()
    assert session.run({"x": x})["y"].shape == (TOKENS, K)
    order = [each for each in recorder.calls if "Memcpy" in each or "Launch" in each]
    assert order == ["cuMemcpyHtoDAsync_v2", "cuGraphLaunch", "cuMemcpyDtoHAsync_v2"]
    assert recorder.calls[-1] == "cuStreamSynchronize"
    recorder.calls.clear()
    session.bind([x])()
    assert "cuGraphLaunch" in recorder.calls


def test_each_shape_is_loaded_when_it_comes_and_the_weights_once(recorder: Recorder) -> None:
    session = DeviceSession(blocks(24, 16, 32))
    session.run([np.zeros((16, 128), np.float16)])
    assert recorder.calls.count("cuModuleLoadDataEx") > 1
    assert "cuMemcpyHtoD_v2" in recorder.calls
    recorder.calls.clear()
    session.run([np.zeros((16, 128), np.float16)])
    assert "cuModuleLoadDataEx" not in recorder.calls
    session.run([np.zeros((24, 128), np.float16)])
    assert "cuModuleLoadDataEx" in recorder.calls
    assert "cuMemcpyHtoD_v2" not in recorder.calls
    session.close()
    assert recorder.device_bytes == 0


@pytest.mark.usefixtures("recorder")
def test_other_shapes_than_there_are_name_those() -> None:
    session = DeviceSession(blocks(24, 16))
    with pytest.raises(
        InputError, match=r"not compiled for these shapes(.|\n)*x\[24, 128\] or x\[16, 128\](.|\n)*x\[8, 128\]"
    ):
        session.run([np.zeros((8, 128), np.float16)])


def test_a_saved_model_has_all_its_shapes_and_the_weights_once(recorder: Recorder, tmp_path: Path) -> None:
    sizes = []
    for tokens in ((24,), (24, 16), (24, 16, 32)):
        plan_file.write(blocks(*tokens), tmp_path / "block.sparsec")
        sizes.append((tmp_path / "block.sparsec").stat().st_size)
    weights = sum(array.nbytes for each in blocks(24).plans[0].weights for array in each.arrays)
    assert sizes[2] - sizes[0] < weights / 4
    model = CompiledModel(blocks(24, 16))
    model.save(tmp_path / "block.sparsec")
    loaded = sparsec.load(tmp_path / "block.sparsec")
    assert loaded.shapes == model.shapes == ({"x": (24, 128)}, {"x": (16, 128)})
    assert loaded.at({"x": (16, 128)}).outputs[0].shape == (16, 128)
    for rows in (16, 24):
        assert loaded.run([np.zeros((rows, 128), np.float16)])["y"].shape == (rows, 128)
    assert recorder.calls


def test_what_was_encoded_for_a_run_is_not_encoded_again_to_be_saved(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = CompiledModel(blocks(24, 16))
    for rows in (16, 24):
        model.run([np.zeros((rows, 128), np.float16)])
    monkeypatch.setattr(forms, "encoded_as", lambda *_: pytest.fail("encoded again"))
    model.save(tmp_path / "run.sparsec")
    monkeypatch.undo()
    monkeypatch.setattr(program, "compiled", lambda kernel, macros, architecture: kernel.encode())
    CompiledModel(blocks(24, 16)).save(tmp_path / "not_run.sparsec")
    assert (tmp_path / "run.sparsec").read_bytes() == (tmp_path / "not_run.sparsec").read_bytes()
    assert recorder.calls


def test_what_is_closed_is_given_back_and_says_so(recorder: Recorder) -> None:
    x = np.zeros((TOKENS, K), np.float16)
    with DeviceSession(block()) as session:
        session.run([x])
        assert recorder.device_bytes
    assert recorder.device_bytes == 0
    with pytest.raises(UsageError, match="closed"):
        session.run([x])


@pytest.mark.usefixtures("recorder")
def test_wrong_tensors_are_refused() -> None:
    session, x = DeviceSession(block()), tensor()
    with pytest.raises(InputError, match="are not the ones of this model"):
        session.launch([x, x], out=[tensor()])
    with pytest.raises(InputError, match="shares memory"):
        session.launch([x], out=[x])
    with pytest.raises(InputError, match="nowhere to put the outputs"):
        session.launch([x])
    with pytest.raises(InputError, match="are on several GPUs, or there are none"):
        session.launch([np.zeros((TOKENS, K), np.float16)])
    with pytest.raises(UsageError, match="at least one run"):
        session.profile([np.zeros((TOKENS, K), np.float16)], 0)
    with pytest.raises(UsageError, match="leaves its outputs there"):
        session.bind([np.zeros((TOKENS, K), np.float16)], out=[np.zeros((TOKENS, K), np.float16)])


def test_a_check_that_fails_is_raised_with_its_node(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    session = DeviceSession(DeviceProgram((checked(),)))
    copied = recorder.call

    def call(function: str, *arguments: object, **options: object) -> int:
        if function == "cuMemcpyDtoH_v2":
            arguments[0]._obj.value = 1  # type: ignore[attr-defined]
        return copied(function, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(recorder, "call", call)
    with pytest.raises(InputError, match=r"the first number is not zero(.|\n)*check"):
        session.run([np.ones(64, np.float16)])


def test_a_saved_model_has_its_machine_code_and_asks_for_no_other(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    CompiledModel(block()).save(tmp_path / "block.sparsec")
    loaded = sparsec.load(tmp_path / "block.sparsec")
    assert loaded.summary.code_bytes > len(b"bitmap_mma")

    def compiled(*_: object) -> bytes:
        raise TargetError("there is no NVRTC")

    monkeypatch.setattr(program, "compiled", compiled)
    assert loaded.run([np.zeros((TOKENS, K), np.float16)])["y"].shape == (TOKENS, K)
    first = (tmp_path / "block.sparsec").read_bytes()
    loaded.save(tmp_path / "block.sparsec")  # of the file that it is mapped from
    assert (tmp_path / "block.sparsec").read_bytes() == first


def test_kinds_of_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = block().plans
    assert to_be_packed(plans, "h100, a100,h100").gpus == ("h100", "a100")
    with pytest.raises(UsageError, match=r"no such GPU(.|\n)*a100(.|\n)*abacus"):
        to_be_packed(plans, "abacus")
    monkeypatch.setattr(packed.nvrtc, "is_there", lambda: False)
    assert to_be_packed(plans, "").gpus == ()
    monkeypatch.setattr(packed.nvrtc, "is_there", lambda: True)
    assert to_be_packed(plans, "").gpus == ("h100",)
    assert plan_file.KIND == "cuda"


def test_a_loaded_model_for_gpus_needs_no_compiler(tmp_path: Path) -> None:
    plan_file.write(block(), tmp_path / "block.sparsec")
    statement = f"import sparsec, sys; sparsec.load({str(tmp_path / 'block.sparsec')!r}).calls; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "ml_dtypes" in loaded
    assert not loaded & {"torch_mlir", "llvmlite", "onnx", "torch", "onnxruntime", "click", "rich"}
