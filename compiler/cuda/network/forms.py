"""A network's weights on the GPU at hand, encoded for its multiprocessors in the forms that products ask for."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar, cast

from sparsec.cuda.device.driver import Device
from sparsec.cuda.network.encoded import EncodedWeights, Key
from sparsec.cuda.network.plan import DevicePlan, DeviceWeight
from sparsec.cuda.products.convolution import ConvolutionWeight, Filters, Geometry
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.form import SparseForm, encoded_as, on_gpu
from sparsec.cuda.products.ways import WayKernel, dense_apart, preferred, ways

Form: TypeAlias = SparseForm | DenseWeight | Filters | ConvolutionWeight
Made = TypeVar("Made", bound=Form)


class Forms:
    """Forms of weights, by their numbers: each is made once for all plans, and there as long as something holds it.

    Methods raise `TargetError` for what this GPU has no kernel or no memory for.
    """

    def __init__(self, plans: Sequence[DevicePlan], on: Device, encoded: EncodedWeights) -> None:
        self.weights = plans[0].weights
        self._device, self._encoded = on, encoded
        self._made: weakref.WeakValueDictionary[tuple[int, object], Form] = weakref.WeakValueDictionary()
        self._kernels: dict[int, list[WayKernel]] = {}  # that each weight has forms for, or had

    def sparse(self, number: int, tokens: int, at_most: float) -> SparseForm | None:
        """For products of so many tokens, without the zeros: the form that should be the fastest or, if that is no more than a
        tenth slower, one that other products have. None if all should take longer than so many times what dense does."""
        weight, known = self.weights[number], self._kernels.setdefault(number, [])
        assert weight.zeros is not None, "products are with matrices"
        dense, others = dense_apart(ways(weight.zeros, tokens, self._device))
        for way in preferred(others, known):
            if way.microseconds > at_most * dense.microseconds:
                return None
            if (form := self._sparse(number, way.kernel)) is not None:
                known.append(way.kernel)
                return form
        return None

    def dense(self, number: int) -> DenseWeight:
        """With the zeros."""
        return self._once(number, "dense", lambda each: DenseWeight(each.bits(), each.dtype, self._device))

    def convolution(self, number: int, geometry: Geometry) -> ConvolutionWeight:
        """For convolutions of this geometry."""
        order = geometry.order
        filters = self._once(number, order, lambda each: Filters(each.bits(), each.dtype, order, self._device))
        return self._once(number, geometry, lambda _: ConvolutionWeight(filters, geometry))

    def _sparse(self, number: int, kernel: WayKernel) -> SparseForm | None:
        """As a kernel reads it, or None if the matrix is not for it."""
        on, weight = self._device, self.weights[number]
        found = self._made.get((number, kernel))
        if found is None:
            encoded = self._encoded.get(Key.on(on, number, kernel), lambda: encoded_as(kernel, weight.bits(), on))
            if encoded is None:
                return None
            found = self._made[number, kernel] = on_gpu(encoded, weight.dtype, on)
        return cast(SparseForm, found)

    def _once(self, number: int, kind: object, make: Callable[[DeviceWeight], Made]) -> Made:
        found = self._made.get((number, kind))
        if found is None:
            found = self._made[number, kind] = make(self.weights[number])
        return cast(Made, found)
