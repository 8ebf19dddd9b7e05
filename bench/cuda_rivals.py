"""Products by what torch has beside cuBLAS: 2:4 by cuSPARSELt, dense weights of four bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sparsec.cuda.streams.four_bits import GROUP, SMALLEST, Numbers, Scales

if TYPE_CHECKING:
    import torch

_INNER_TILES = 8  # of 16 columns, that a lane loads at once


def cusparselt(x: torch.Tensor, matrices: Sequence[torch.Tensor]) -> list[Callable[[], object]]:
    """cuSPARSELt keeps its weights itself."""
    import torch

    torch.sparse.SparseSemiStructuredTensor._FORCE_CUTLASS = False
    weights = [torch.sparse.to_sparse_semi_structured(matrix) for matrix in matrices]
    return [partial(torch.nn.functional.linear, x, weight) for weight in weights]


class DenseInt4:
    """All numbers of a matrix of four bits, zeros among them, as torch's own kernel reads them; it is for bfloat16."""

    def __init__(self, numbers: Numbers, scales: Scales) -> None:
        import torch

        unsigned = (torch.from_numpy(numbers).cuda() - SMALLEST).view(torch.uint8)
        pairs = (unsigned[:, ::2] << 4 | unsigned[:, 1::2]).contiguous()
        self.packed: torch.Tensor = torch.ops.aten._convert_weight_to_int4pack(pairs, _INNER_TILES)
        factors = torch.from_numpy(scales).cuda().T
        self._factors = torch.stack([factors, torch.zeros_like(factors)], dim=2).bfloat16().contiguous()
        self.nbytes = (self.packed.numel() + self._factors.numel() // 2) * 4

    def calls(self, x: torch.Tensor, copies: int) -> list[Callable[[], object]]:
        """One for each of so many copies of the weight."""
        import torch

        weights = [self.packed] + [self.packed.clone() for _ in range(copies - 1)]
        product = torch.ops.aten._weight_int4pack_mm
        return [partial(product, x.bfloat16(), weight, GROUP, self._factors) for weight in weights]
