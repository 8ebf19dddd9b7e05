"""Which tensors on a GPU a plan takes, and where they lie."""

from __future__ import annotations

import numpy as np
import pytest
from gpu_tensors import OnGpu
from hypothesis import given
from hypothesis import strategies as st
from recording import Recorder, recording_gpu

from sparsec.artifact import NUMPY_DTYPES, TensorSpec
from sparsec.cuda.network import arguments
from sparsec.errors import InputError

GPU = recording_gpu(Recorder())
SPEC = TensorSpec("x", "float16", (2, 3))


def aligned(shape: tuple[int, ...], dtype: str = "float16", off: int = 0) -> np.ndarray:
    """An array that begins so many bytes behind a multiple of 64."""
    size = int(np.prod(shape)) * NUMPY_DTYPES[dtype].itemsize
    room = np.zeros(size + 128, np.uint8)
    begin = -room.ctypes.data % 64 + off
    return room[begin : begin + size].view(NUMPY_DTYPES[dtype]).reshape(shape)


@given(
    shape=st.lists(st.integers(0, 4), max_size=4).map(tuple),
    dtype=st.sampled_from([name for name in NUMPY_DTYPES if name != "bfloat16"]),
)
def test_the_place_of_a_tensor_is_where_its_elements_are(shape: tuple[int, ...], dtype: str) -> None:
    array = aligned(shape, dtype)
    found = arguments.address(OnGpu(array), TensorSpec("x", dtype, shape), "input", GPU)
    assert found == array.ctypes.data or array.size == 0


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (OnGpu(aligned((3, 2))), "wrong dtype, shape or device"),
        (OnGpu(aligned((2, 3), "float32")), "wrong dtype, shape or device"),
        (OnGpu(aligned((2, 3)), index=1), r"float16\[2, 3\] on GPU 1"),
        (OnGpu(aligned((2, 3), off=2)), "at a multiple of 16"),
        (OnGpu(aligned((2, 4))[:, :3]), "without gaps"),
        (OnGpu(aligned((3, 2)).T), "without gaps"),
        (aligned((2, 3)), "not on an NVIDIA GPU"),
        ([1, 2], "is not a tensor"),
    ],
)
def test_other_tensors_are_refused(tensor: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        arguments.address(tensor, SPEC, "input", GPU)


def test_tensors_on_several_gpus_are_refused() -> None:
    with pytest.raises(InputError, match=r"on several GPUs(.|\n)*0, 1"):
        arguments.gpu_of([OnGpu(aligned((2,))), OnGpu(aligned((2,)), index=1)])
    assert arguments.gpu_of([OnGpu(aligned((2,)), index=1)]) == 1
    assert not arguments.is_on_gpu(aligned((2,)))


def test_outputs_over_other_tensors_are_refused() -> None:
    arguments.check_apart([(64, SPEC), (128, SPEC)], [(76, SPEC)])
    for places, others in (([(64, SPEC), (75, SPEC)], []), ([(64, SPEC)], [(54, SPEC)])):
        with pytest.raises(InputError, match="shares memory"):
            arguments.check_apart(places, others)


def test_results_have_nowhere_to_go_without_torch_or_out() -> None:
    with pytest.raises(InputError, match="nowhere to put the outputs"):
        arguments.empty_like_torch([SPEC], [OnGpu(aligned((2, 3)))], GPU)


def test_copies_are_made_of_tensors_of_torch_only_where_needed() -> None:
    torch = pytest.importorskip("torch")
    whole = torch.zeros(2, 3, dtype=torch.float16)
    assert arguments.read_in_place(whole, SPEC) is whole
    turned = torch.arange(6).view(3, 2).T
    copied = arguments.read_in_place(turned, TensorSpec("x", "int64", (2, 3)))
    assert copied.is_contiguous()
    assert torch.equal(copied, turned)
    odd = torch.zeros(7, dtype=torch.float16)[1:].view(2, 3)
    assert arguments.read_in_place(odd, SPEC).data_ptr() % 16 == 0
