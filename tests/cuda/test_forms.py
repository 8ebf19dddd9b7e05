"""Forms of a network's weights: which products share one, and that none outlives what has it; needs no GPU."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from plans import checked, residual_blocks, sparse_matrix, two_of_four, weight
from recording import Recorder, recording_gpu

from sparsec.cuda.device.absent import absent_gpu
from sparsec.cuda.network import forms as network_forms
from sparsec.cuda.network.encoded import EncodedWeights
from sparsec.cuda.network.forms import Forms
from sparsec.cuda.network.plan import DeviceWeight
from sparsec.cuda.products.convolution import ConvolutionWeight, Geometry
from sparsec.cuda.products.coo_wgmma import CooWgmma
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.sparse_weight import SparseWeight
from sparsec.cuda.products.spmv import SpmvWeight
from sparsec.kernels.problem import Axis

M, K = 1024, 512


def forms(*tokens: int, pattern: str = "unstructured", gpu: str = "h100") -> Forms:
    """Of a block whose first weight has a pattern, for so many tokens."""
    first = weight("first", two_of_four(M, K, 1), pattern)
    plans = residual_blocks(tokens, first, weight("second", sparse_matrix(K, M, 1.0, 2), None), np.zeros(M, np.float32))
    return Forms(plans, absent_gpu(gpu), EncodedWeights({}))


def sparse(found: Forms, tokens: int) -> object:
    """Of the first weight, whatever dense would take."""
    form = found.sparse(0, tokens, 100.0)
    assert form is not None
    return form


def test_tokens_for_which_others_are_no_tenth_faster_share_a_form() -> None:
    first = weight("first", sparse_matrix(M, K, 0.3, 1), "unstructured")
    plans = residual_blocks((1, 2, 16, 64), first, first, np.zeros(M, np.float32))
    found = Forms(plans, absent_gpu("a100"), EncodedWeights({}))
    one, sixteen = sparse(found, 1), sparse(found, 16)
    assert isinstance(one, SpmvWeight)
    assert sparse(found, 2) is one
    assert isinstance(sixteen, SparseWeight)
    assert sparse(found, 64) is sixteen


@pytest.mark.parametrize(("gpu", "kind"), [("h100", CooWgmma), ("a100", SparseWeight)])
def test_few_nonzeros_have_a_form_for_some_tokens_on_hopper(gpu: str, kind: type) -> None:
    first = weight("first", sparse_matrix(M, K, 0.1, 1), "unstructured")
    plans = residual_blocks((8, 32, 64), first, first, np.zeros(M, np.float32))
    found = Forms(plans, absent_gpu(gpu), EncodedWeights({}))
    assert isinstance(sparse(found, 64), kind)


@pytest.mark.parametrize(("gpu", "kind"), [("h100", Nm24Wgmma), ("a100", SparseWeight)])
def test_many_tokens_of_two_of_four_have_tiles_on_hopper(gpu: str, kind: type) -> None:
    found = forms(256, pattern="2:4", gpu=gpu)
    assert isinstance(sparse(found, 256), kind)


def test_what_takes_longer_than_dense_is_not_made() -> None:
    found = forms(1, 4096)
    assert found.sparse(0, 4096, 0.1) is None
    assert found.sparse(0, 1, 1.0) is not None


def test_a_kernel_that_the_matrix_is_not_for_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def encode(kernel: str, *_: object) -> None:
        asked.append(kernel)

    monkeypatch.setattr(network_forms, "encoded_as", encode)
    assert forms(8).sparse(0, 8, 100.0) is None
    assert {"bitmap_mma", "spmv", "nm24_mma"} < set(asked)


def test_a_dense_weight_is_one_for_all() -> None:
    found = forms(1, 64)
    kept = found.dense(1)
    assert found.dense(1) is kept
    assert found.dense(0) is not kept


def test_what_nothing_holds_is_given_back() -> None:
    recorder = Recorder()
    first = weight("first", sparse_matrix(M, K, 0.5, 1), "unstructured")
    plans = residual_blocks((16,), first, first, np.zeros(M, np.float32))
    found = Forms(plans, recording_gpu(recorder), EncodedWeights({}))
    kept, lost = sparse(found, 16), found.dense(0)
    both = recorder.device_bytes
    del lost
    gc.collect()
    assert 0 < recorder.device_bytes < both
    assert sparse(found, 16) is kept


def test_filters_are_one_for_images_of_all_sizes() -> None:
    filters = DeviceWeight.of("filters", np.ones((8, 4, 3, 3), np.uint16), "float16", None)
    recorder, plan = Recorder(), replace(checked(), weights=(filters,))
    found = Forms([plan], recording_gpu(recorder), EncodedWeights({}))
    sizes: list[ConvolutionWeight] = []
    taken: list[int] = []
    for size in (8, 16, 32):
        axes = Axis(size, 3), Axis(size, 3)
        sizes.append(found.convolution(0, Geometry.whole(4, 8, 1, axes)))
        taken.append(recorder.device_bytes)
        assert found.convolution(0, Geometry.whole(4, 8, 1, axes)) is sizes[-1]
    assert len({id(each._filters) for each in sizes}) == 1
    assert taken[2] - taken[1] == taken[1] - taken[0] < taken[0]
