"""The cost model of a GPU agrees with what was measured, and with sense."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsec.cuda.products.device_cost import GATHERS, ROWS, dense_microseconds, sparse_microseconds


@dataclass(frozen=True, slots=True)
class H100:
    multiprocessors: int = 132
    bytes_per_second: float = 3.352e12
    architecture: tuple[int, int] = (9, 0)


# m, k, density, tokens, measured microseconds
MEASURED = [
    ("bitmap_mma", 28672, 8192, 0.5, 8, 103.6),
    ("bitmap_mma", 28672, 8192, 0.3, 32, 83.3),
    ("bitmap_mma", 28672, 8192, 0.2, 16, 64.0),
    ("bitmap_mma", 28672, 8192, 0.1, 8, 48.9),
    ("bitmap_mma", 28672, 8192, 0.1, 16, 52.8),
    ("bitmap_mma", 28672, 8192, 0.1, 32, 64.0),
    ("bitmap_mma", 11008, 4096, 0.1, 16, 17.4),
    ("bitmap_mma", 11008, 4096, 0.5, 8, 23.8),
    ("bitmap_mma", 11008, 4096, 0.3, 16, 21.1),
    ("bitmap_mma", 4096, 4096, 0.5, 32, 18.0),
    ("coo_mma", 28672, 8192, 0.1, 8, 49.6),
    ("coo_mma", 28672, 8192, 0.1, 32, 68.9),
    ("coo_mma", 11008, 4096, 0.1, 8, 14.3),
    ("coo_wgmma", 28672, 8192, 0.1, 16, 47.2),
    ("coo_wgmma", 28672, 8192, 0.1, 32, 50.8),
    ("coo_wgmma", 28672, 8192, 0.1, 64, 64.8),
    ("coo_wgmma", 28672, 8192, 0.2, 32, 68.8),
    ("coo_wgmma", 28672, 8192, 0.2, 64, 78.6),
    ("coo_wgmma", 28672, 8192, 0.05, 16, 44.2),
    ("coo_wgmma", 11008, 4096, 0.1, 16, 14.8),
    ("coo_wgmma", 11008, 4096, 0.1, 32, 16.2),
    ("coo_wgmma", 11008, 4096, 0.2, 64, 24.1),
    ("coo_wgmma", 4096, 4096, 0.1, 16, 9.8),
    ("spmv", 28672, 8192, 0.5, 1, 99.9),
    ("spmv", 28672, 8192, 0.3, 1, 63.5),
    ("spmv", 28672, 8192, 0.2, 4, 46.8),
    ("spmv", 8192, 28672, 0.1, 1, 26.9),
    ("spmv", 11008, 4096, 0.5, 1, 23.1),
    ("spmv", 11008, 4096, 0.1, 1, 8.6),
    ("spmv", 4096, 4096, 0.5, 1, 11.8),
    ("spmv", 4096, 4096, 0.1, 1, 6.4),
    ("spmv_ordered", 28672, 8192, 0.1, 8, 32.8),
    ("spmv_ordered", 28672, 8192, 0.2, 8, 56.9),
    ("spmv_ordered", 11008, 4096, 0.1, 8, 13.6),
    ("spmv_ordered", 4096, 4096, 0.1, 8, 9.3),
    ("nm24_mma", 28672, 8192, 0.5, 16, 92.4),
    ("nm24_mma", 11008, 4096, 0.5, 8, 20.8),
    ("nm24_mma", 4096, 4096, 0.5, 1, 9.7),
]


@pytest.mark.parametrize(("kernel", "m", "k", "density", "tokens", "measured"), MEASURED)
def test_predictions_are_near_measurements(
    kernel: str, m: int, k: int, density: float, tokens: int, measured: float
) -> None:
    nnz = int(density * m * k)
    assert sparse_microseconds(kernel, m, k, nnz, tokens, H100()) == pytest.approx(measured, rel=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("m", "k", "tokens", "measured"), [(28672, 8192, 16, 164), (11008, 4096, 8, 37), (4096, 4096, 1, 16)]
)
def test_dense_predictions_are_near_measurements(m: int, k: int, tokens: int, measured: float) -> None:
    assert dense_microseconds(m, k, tokens, H100()) == pytest.approx(measured, rel=0.1)


@given(st.sampled_from(sorted([*ROWS, *GATHERS])), st.integers(1, 30000), st.integers(1, 30000), st.integers(1, 300))
def test_more_work_costs_more(kernel: str, m: int, k: int, tokens: int) -> None:
    def cost(m: int, nnz: int, tokens: int, on: H100) -> float:
        return sparse_microseconds(kernel, m, k, nnz, tokens, on)  # type: ignore[arg-type]

    nnz = m * k // 3
    here = cost(m, nnz, tokens, H100())
    assert here > 0
    assert cost(m + 1, nnz, tokens, H100()) >= here
    assert cost(m, nnz + 1, tokens, H100()) >= here
    assert cost(m, nnz, tokens + 8, H100()) >= here
    assert cost(m, nnz, tokens, H100(multiprocessors=66)) >= here
    assert cost(m, nnz, tokens, H100(bytes_per_second=1e12)) >= here
