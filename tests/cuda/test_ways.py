"""Which kernels there are for a weight's zeros, in which order; and that a compressed weight is in the forms that it needs. No GPU."""

from __future__ import annotations

import numpy as np
import pytest
from matrices import blocks, quantized, two_of_four, unstructured
from recording import Recorder, recording_gpu
from targets import Target

from sparsec.cuda.products import compressed_weight
from sparsec.cuda.products.bsr_pairs_wgmma import BsrPairsWgmma
from sparsec.cuda.products.bsr_wgmma import BsrWgmma
from sparsec.cuda.products.compressed_weight import CompressedWeight, of_bytes, of_four_bits, of_halves
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.form import encoded_as
from sparsec.cuda.products.nm24_wgmma import Nm24Wgmma
from sparsec.cuda.products.sparse_weight import SparseWeight
from sparsec.cuda.products.spmv import SpmvWeight
from sparsec.cuda.products.ways import Way, preferred, ways, ways_of_bytes
from sparsec.cuda.streams.factors import Factors
from sparsec.cuda.streams.w4_nm24_streams import W4Nm24Streams
from sparsec.cuda.streams.zeros import Zeros

H100, A100 = Target(), Target(108, 163 << 10, 1.555e12, (8, 0))
SIDE = 8192


def zeros_of(share: float, *, two_of_four: bool = False, block: int = 1) -> Zeros:
    """Of a large matrix with that share of blocks."""
    units, squares = (round((SIDE // each) ** 2 * (1 - share ** max(1, (each // block) ** 2))) for each in (32, 64))
    return Zeros(SIDE, SIDE, round(SIDE * SIDE * (1 - share)), two_of_four, units, squares)


def kernels(zeros: Zeros, tokens: int, on: Target = H100) -> list[str]:
    return [way.kernel for way in ways(zeros, tokens, on)]


@pytest.mark.parametrize("tokens", [1, 16, 100, 4096])
def test_a_weight_with_few_zeros_is_dense(tokens: int) -> None:
    assert kernels(zeros_of(0.2), tokens) == ["dense"]


@pytest.mark.parametrize(
    ("zeros", "tokens", "kernel"),
    [
        (zeros_of(0.5), 1, "spmv"),
        (zeros_of(0.5), 16, "bitmap_mma"),
        (zeros_of(0.5), 4096, "dense"),
        (zeros_of(0.92), 40, "coo_wgmma"),
        (zeros_of(0.5, two_of_four=True), 100, "nm24_wgmma"),
        (zeros_of(0.75, two_of_four=True), 1, "spmv"),
        (zeros_of(0.75, two_of_four=True), 4096, "nm24_wgmma"),
        (zeros_of(0.9, block=32), 100, "bsr_wgmma"),
        (zeros_of(0.9, block=64), 4096, "bsr_pairs_wgmma"),
        (zeros_of(0.9, block=32), 4096, "bsr_tall_wgmma"),
        (zeros_of(0.7, block=32), 4096, "bsr_rows_mma"),
        (zeros_of(0.5, block=32), 300, "dense"),
    ],
)
def test_the_fastest_is_first(zeros: Zeros, tokens: int, kernel: str) -> None:
    assert kernels(zeros, tokens)[0] == kernel


def test_other_gpus_have_no_products_of_warpgroups() -> None:
    found = kernels(zeros_of(0.9, two_of_four=True, block=64), 64, A100)
    assert set(found) == {"dense", "bitmap_mma", "coo_mma", "nm24_mma", *(each for each in found if "spmv" in each)}


def test_float8_of_more_than_eight_tokens_needs_warpgroups_on_hopper() -> None:
    for tokens, expected in ((8, {"nm24_mma", "nm24_wgmma"}), (9, {"nm24_wgmma"})):
        assert {way.kernel for way in ways_of_bytes(SIDE, SIDE, tokens, H100, float8=True)} == expected
    assert {way.kernel for way in ways_of_bytes(SIDE, SIDE, 9, H100, float8=False)} == {"nm24_mma", "nm24_wgmma"}
    assert {way.kernel for way in ways_of_bytes(SIDE, SIDE, 9, A100, float8=True)} == {"nm24_mma"}


def test_what_is_there_is_used_unless_another_is_a_tenth_faster() -> None:
    found = (Way("spmv", 9.5), Way("coo_mma", 10.0), Way("dense", 20.0))
    assert [way.kernel for way in preferred(found, ["coo_mma"])] == ["coo_mma", "spmv", "dense"]
    assert [way.kernel for way in preferred(found, ["dense"])] == ["spmv", "coo_mma", "dense"]


@pytest.mark.parametrize(
    "kernel", ["bitmap_mma", "coo_mma", "coo_wgmma", "bsr_wgmma", "bsr_rows_mma", "bsr_tall_wgmma", "bsr_pairs_wgmma"]
)
def test_all_forms_hold_what_was_put_in(kernel: str) -> None:
    bits = blocks(300, 500, 16, 0.1, 1)
    encoded = encoded_as(kernel, bits, Target(4))  # type: ignore[arg-type]
    assert encoded is None or np.array_equal(encoded.decode(), bits)


def test_streams_that_there_is_no_room_for_are_not_made() -> None:
    assert encoded_as("bitmap_mma", unstructured(64, 256, 0.5, 1), Target(4, 4 << 10)) is None


def forms_of(weight: CompressedWeight, *tokens: int) -> list[type]:
    return [type(weight.form(each)) for each in tokens]


def test_a_weight_has_a_form_for_each_number_of_tokens_that_comes() -> None:
    recorder = Recorder()
    weight = of_halves(unstructured(4096, 4096, 0.3, 1), "float16", recording_gpu(recorder))
    assert recorder.device_bytes == 0
    assert forms_of(weight, 1, 16, 2000) == [SpmvWeight, SparseWeight, DenseWeight]
    there = recorder.device_bytes
    assert weight.form(2000) is weight.form(4000)
    assert recorder.device_bytes == there


def test_blocks_and_groups_have_forms_of_their_own() -> None:
    of_blocks = of_halves(blocks(4096, 4096, 32, 0.1, 1), "float16", recording_gpu(Recorder()))
    assert forms_of(of_blocks, 64) == [BsrWgmma]
    of_squares = of_halves(blocks(4096, 4096, 64, 0.1, 1), "float16", recording_gpu(Recorder()))
    assert forms_of(of_squares, 4096) == [BsrPairsWgmma]
    of_groups = of_halves(two_of_four(4096, 4096, 1), "bfloat16", recording_gpu(Recorder()))
    assert forms_of(of_groups, 8, 1024) == [SparseWeight, Nm24Wgmma]
    assert of_groups.way(1024).pattern == "2:4"


def test_bytes_have_two_forms() -> None:
    bits = two_of_four(512, 512, 1).astype(np.uint8)
    weight = of_bytes(bits, Factors("int8", np.ones(512, np.float32)), "float16", recording_gpu(Recorder()))
    assert {type(weight.form(tokens)) for tokens in (1, 4096)} == {SparseWeight, Nm24Wgmma}


def test_four_bits_are_streams_for_few_tokens_and_dense_for_many() -> None:
    numbers, scales = quantized(2048, 2048, 1)
    streams = W4Nm24Streams.encode(numbers, scales, 132)
    weight = of_four_bits(streams, int(np.count_nonzero(numbers)), "bfloat16", recording_gpu(Recorder()))
    assert forms_of(weight, 1, 4096) == [SparseWeight, DenseWeight]


def test_a_form_that_cannot_be_made_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed_weight, "encoded_as", lambda *_: None)
    weight = of_halves(unstructured(4096, 4096, 0.1, 1), "float16", recording_gpu(Recorder()))
    assert forms_of(weight, 1) == [DenseWeight]
