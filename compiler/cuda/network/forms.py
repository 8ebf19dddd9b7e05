"""A network's weights on the GPU at hand, encoded for its multiprocessors in the forms that products ask for."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sparsec.cuda.device.driver import Device
from sparsec.cuda.network.encoded import EncodedWeights, Key
from sparsec.cuda.network.plan import DevicePlan, DeviceWeight, Product
from sparsec.cuda.products import nm24_wgmma, spmv
from sparsec.cuda.products.convolution import ConvolutionWeight, Filters, Geometry
from sparsec.cuda.products.dense import DenseWeight
from sparsec.cuda.products.weights import Encoded, Weight, encoded_for, fastest, on_gpu
from sparsec.cuda.streams import patterns
from sparsec.cuda.streams.nm24_tiles import Nm24Tiles
from sparsec.cuda.streams.patterns import Groups

Form: TypeAlias = Weight | DenseWeight | Filters | ConvolutionWeight
Made = TypeVar("Made", bound=Form)


class Forms:
    """Forms of weights, by their numbers: each is made once for all plans, and there as long as something holds it.

    Methods raise `TargetError` for what this GPU has no kernel or no memory for.
    """

    def __init__(self, plans: Sequence[DevicePlan], on: Device, encoded: EncodedWeights) -> None:
        self.weights = plans[0].weights
        self._device, self._encoded = on, encoded
        self._made: weakref.WeakValueDictionary[tuple[int, object], Form] = weakref.WeakValueDictionary()
        self._tokens: dict[int, set[int]] = {}
        for plan in plans:
            for step in plan.steps:
                if isinstance(step, Product):
                    self._tokens.setdefault(step.weight, set()).add(step.tokens)

    def few(self, number: int, tokens: int) -> Weight:
        """For products of so many tokens, which are few, with a sparse weight: the form that serves all plans' such products."""
        small = self._small(number)
        return self._streams(number, small if tokens in small else ())

    def many(self, number: int) -> Weight:
        """For products of many tokens with a sparse weight."""
        if self._device.architecture == nm24_wgmma.ARCHITECTURE and _two_of_four(self.weights[number]):
            return self._sparse(number, "tiles", Nm24Tiles.encode)
        return self._streams(number, ())

    def dense(self, number: int) -> DenseWeight:
        """With the zeros."""
        return self._once(number, "dense", lambda each: DenseWeight(each.bits(), each.dtype, self._device))

    def convolution(self, number: int, geometry: Geometry) -> ConvolutionWeight:
        """For convolutions of this geometry."""
        order = geometry.order
        filters = self._once(number, order, lambda each: Filters(each.bits(), each.dtype, order, self._device))
        return self._once(number, geometry, lambda _: ConvolutionWeight(filters, geometry))

    def _small(self, number: int) -> tuple[int, ...]:
        """Numbers of tokens of the plans' products with an unstructured weight for which `spmv` is the fastest."""
        weight, on = self.weights[number], self._device
        if weight.pattern != "unstructured" or not spmv.fits(weight.shape[1], on.shared_bytes):
            return ()
        m, k = weight.shape
        numbers = sorted(self._tokens[number])
        return tuple(each for each in numbers if fastest(m, k, weight.nonzeros, (each,), on).startswith("spmv"))

    def _streams(self, number: int, tokens: tuple[int, ...]) -> Weight:
        """The weight encoded for these numbers of tokens or, without any, for whatever comes."""
        pattern, on = self.weights[number].pattern, self._device
        assert pattern is not None, "a dense weight has no streams"
        return self._sparse(number, f"streams {tokens}", lambda bits: encoded_for(bits, pattern, on, tokens))

    def _sparse(self, number: int, form: str, encode: Callable[[NDArray[np.uint16]], Encoded]) -> Weight:
        def make(weight: DeviceWeight) -> Weight:
            key = Key.on(self._device, number, form)
            return on_gpu(self._encoded.get(key, lambda: encode(weight.bits())), weight.dtype, self._device)

        return self._once(number, form, make)

    def _once(self, number: int, kind: object, make: Callable[[DeviceWeight], Made]) -> Made:
        found = self._made.get((number, kind))
        if found is None:
            found = self._made[number, kind] = make(self.weights[number])
        return cast(Made, found)


def _two_of_four(weight: DeviceWeight) -> bool:
    assert weight.pattern is not None, "a dense weight has no pattern"
    kind = patterns.parse(weight.pattern)
    return isinstance(kind, Groups) and kind.two_of_four
