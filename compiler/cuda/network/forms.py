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
from sparsec.cuda.products.sparse_weight import FEW
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

    def sparse(self, number: int, tokens: int) -> Weight:
        """For products of so many tokens with a sparse weight: one form for all products of the plans that it is best for."""
        if tokens > FEW and self._device.architecture == nm24_wgmma.ARCHITECTURE and _two_of_four(self.weights[number]):
            return self._encoded_as(number, "tiles", Nm24Tiles.encode)
        pattern, on, alike = self.weights[number].pattern, self._device, self._alike(number, tokens)
        assert pattern is not None, "a dense weight has no streams"
        return self._encoded_as(number, f"streams {alike}", lambda bits: encoded_for(bits, pattern, on, alike))

    def dense(self, number: int) -> DenseWeight:
        """With the zeros."""
        return self._once(number, "dense", lambda each: DenseWeight(each.bits(), each.dtype, self._device))

    def convolution(self, number: int, geometry: Geometry) -> ConvolutionWeight:
        """For convolutions of this geometry."""
        order = geometry.order
        filters = self._once(number, order, lambda each: Filters(each.bits(), each.dtype, order, self._device))
        return self._once(number, geometry, lambda _: ConvolutionWeight(filters, geometry))

    def _alike(self, number: int, tokens: int) -> tuple[int, ...]:
        """Numbers of tokens of the plans' products that share a form with those of so many; none if that form does for any."""
        own = self._own(number, tokens)
        if own is None:
            return ()
        return tuple(each for each in sorted(self._tokens[number]) if self._own(number, each) == own)

    def _own(self, number: int, tokens: int) -> str | None:
        """What is fastest for an unstructured weight and so many tokens, if it reads another form than other products do."""
        weight, on = self.weights[number], self._device
        (m, k), kernel = weight.shape, "bitmap_mma"
        if weight.pattern == "unstructured":
            kernel = fastest(m, k, weight.nonzeros, (tokens,), on)
        if kernel.startswith("spmv"):
            return "spmv" if spmv.fits(k, on.shared_bytes) else None
        return kernel if kernel == "coo_wgmma" else None

    def _encoded_as(self, number: int, form: str, encode: Callable[[NDArray[np.uint16]], Encoded]) -> Weight:
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
