"""Tensors that say that they are on a GPU: arrays of the host, whose DLPack capsules name another device."""

from __future__ import annotations

import numpy as np

from sparsec.cuda.device.tensors import capsule_tensor


class OnGpu:
    """An array as a tensor on GPU number `index`."""

    def __init__(self, array: np.ndarray, index: int = 0) -> None:
        self.array, self._index = array, index

    def __dlpack__(self, *, stream: int | None = None) -> object:
        capsule = self.array.__dlpack__()
        found = capsule_tensor(capsule)
        found.device_type, found.device_id = 2, self._index
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._index
