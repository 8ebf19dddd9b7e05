"""cuBLAS is asked for products as it has them, and is never needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_float, c_void_p, cast
from dataclasses import replace
from typing import Any

import pytest
from emulation import EmulatedDevice

from sparsec.cuda.products import cublas
from sparsec.cuda.products.cublas import CublasLt, LtProduct
from sparsec.errors import TargetError

PRODUCT = LtProduct(200, 96, 64, 72, 64, 100, 104, "bfloat16", bias=True, relu=True)


class Device(EmulatedDevice):
    @contextmanager
    def current(self) -> Iterator[None]:
        yield


class Library:
    """Says yes to everything, or finds no algorithm; keeps what it was called with."""

    def __init__(self, found: int = 1) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.found = found

    def __getattr__(self, name: str) -> Any:
        def function(*arguments: Any) -> int:
            self.calls.append((name, arguments))
            if name == "cublasLtMatmulAlgoGetHeuristic":
                arguments[-1]._obj.value = self.found
            return 0

        return function

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for each, arguments in self.calls if each == name]


def test_rows_are_columns_of_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(cublas, "find", lambda: library)
    lt = CublasLt(Device())  # type: ignore[arg-type]
    assert lt.has(PRODUCT)
    layouts = [
        (kind, rows.value, columns.value, stride.value)
        for _, kind, rows, columns, stride in library.named("cublasLtMatrixLayoutCreate")
    ]
    assert layouts == [(14, 64, 96, 64), (14, 64, 200, 72), (14, 96, 200, 104), (14, 96, 200, 100)]
    attributes = {each[1]: each[2]._obj.value for each in library.named("cublasLtMatmulDescSetAttribute")[:2]}
    assert attributes == {3: 1, 7: 6}  # the first factor is transposed; bias, then relu
    lt.launch(PRODUCT, 1, 2, 3, 4, bias=5, residual=6)
    (arguments,) = library.named("cublasLtMatmul")
    assert [arguments[each].value for each in (3, 5, 8, 10, 15)] == [2, 1, 6, 3, 4]  # w, x, residual, y, stream
    assert cast(arguments[7], POINTER(c_float))[0] == 1  # times the residual
    assert library.named("cublasLtMatmulDescSetAttribute")[-1][2]._obj.value == 5
    lt.launch(PRODUCT, 1, 2, 3, 4)
    assert cast(library.named("cublasLtMatmul")[-1][7], POINTER(c_float))[0] == 0
    assert isinstance(library.named("cublasLtMatmul")[-1][8], c_void_p)
    assert len(library.named("cublasLtMatmulAlgoGetHeuristic")) == 1  # of equal products once


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [((), 256), ((512, 0), 256), ((256, 48), 16), ((1024, 640), 128), ((16, 6), 2), ((7,), 1)],
)
def test_algorithms_are_asked_for_with_the_alignment_there_is(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[int, ...], expected: int
) -> None:
    assert cublas.alignment(*addresses) == expected
    library = Library()
    monkeypatch.setattr(cublas, "find", lambda: library)
    assert CublasLt(Device()).has(replace(PRODUCT, alignment=expected))  # type: ignore[arg-type]
    asked = {each[1]: each[2]._obj.value for each in library.named("cublasLtMatmulPreferenceSetAttribute")}
    assert {which: asked[which] for which in (6, 7, 8)} == dict.fromkeys((6, 7, 8), expected)


def test_products_that_cublas_has_no_algorithm_for_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublas, "find", lambda: Library(found=0))
    assert not CublasLt(Device()).has(PRODUCT)  # type: ignore[arg-type]


def test_no_cublas_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublas, "find", lambda: None)
    with pytest.raises(TargetError, match="There is no cuBLAS on this machine"):
        CublasLt(Device())  # type: ignore[arg-type]
