"""Keys of measurements: the same for weights that behave the same, others for others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparsec.cost.layer_key import LayerKey, kernel_version, signature
from sparsec.formats.coo import Coo
from sparsec.formats.facts import facts_of
from sparsec.kernels.arithmetic import BF16, F32, U8S8
from sparsec.kernels.isa import AVX2, AVX512, AVX512_BF16
from sparsec.kernels.problem import LinearProblem
from sparsec.kernels.table import KERNELS


def weight(density: float, seed: int = 0, rows: int = 256, columns: int = 512) -> np.ndarray:
    """Random values at random places."""
    random = np.random.default_rng(seed)
    values = random.standard_normal((rows, columns)).astype(np.float32)
    values[random.permutation(values.size).reshape(values.shape) >= density * values.size] = 0
    return values


def of(array: np.ndarray) -> str:
    return signature(facts_of(array), array)


def test_values_do_not_matter() -> None:
    assert of(weight(0.1)) == of(2 * weight(0.1))


def test_dense_and_coo_agree() -> None:
    array = weight(0.1)
    coo = Coo.from_dense(array)
    assert signature(facts_of(coo), coo) == of(array)


def test_density_matters() -> None:
    assert of(weight(0.1)) != of(weight(0.2))


def test_distribution_over_rows_matters() -> None:
    skewed = np.zeros((256, 512), np.float32)
    skewed[: 256 // 10] = 1
    assert of(skewed) != of(weight(np.count_nonzero(skewed) / skewed.size))


def test_blocks_matter() -> None:
    assert of(weight(0.1)) != of(np.repeat(weight(0.1, rows=64), 4, axis=0))


def test_no_rows() -> None:
    assert of(np.zeros((0, 8), np.float32))
    assert of(np.zeros((8, 0), np.float32))


def test_keys_are_told_apart() -> None:
    array, problem = weight(0.1), LinearProblem(4, 512, 256)
    facts = facts_of(array)
    keys = {
        LayerKey.of(problem, "id", AVX512, facts, array),
        LayerKey.of(problem, "id", AVX2, facts, array),
        LayerKey.of(problem, "relu", AVX512, facts, array),
        LayerKey.of(LinearProblem(5, 512, 256), "id", AVX512, facts, array),
        *(
            LayerKey.of(replace(problem, arithmetic=each), "id", AVX512_BF16, facts, array)
            for each in (F32, BF16, U8S8)
        ),
        LayerKey.of(replace(problem, arithmetic=U8S8), "id", AVX512, facts, array),
    }
    assert len(keys) == 7
    assert LayerKey.of(problem, "id", AVX512, facts, array) in keys


def test_versions_of_kernels_are_told_apart() -> None:
    versions = {name: kernel_version(kernel) for name, kernel in KERNELS.items()}
    assert len(versions["f32_linear_csr"]) == 12
    assert versions["f32_linear_csr"] != versions["f32_conv_dense"]
