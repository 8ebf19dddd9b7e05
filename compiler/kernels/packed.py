"""What packed weights of all kinds say of themselves."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sparsec.kernels.emit import dtype_of


@dataclass(frozen=True, slots=True)
class Packed:
    """A weight as its kernel reads it: the fields that are arrays, all flat, are the kernel's buffers of these names."""

    @property
    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The packed weight, by buffer name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    @property
    def spec(self) -> dict[str, tuple[str, int]]:
        """The kernel's arguments for `arrays`: element types and sizes."""
        return {name: (dtype_of(array), len(array)) for name, array in self.arrays.items()}
