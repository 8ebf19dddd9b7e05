"""All kernels, by name. To add one: write its file, add its row."""

from __future__ import annotations

from collections.abc import Mapping

from sparsec.kernels.arithmetic import BF16, FP16, U8S8
from sparsec.kernels.attention_dense import AttentionDense
from sparsec.kernels.conv_blocked import ConvBlocked
from sparsec.kernels.conv_csr import ConvCsr
from sparsec.kernels.conv_dense import ConvDense
from sparsec.kernels.conv_depthwise import ConvDepthwise
from sparsec.kernels.conv_depthwise_bytes import ConvDepthwiseBytes
from sparsec.kernels.conv_gathered import ConvGathered
from sparsec.kernels.conv_split import ConvSplit
from sparsec.kernels.halves import Halves
from sparsec.kernels.kernel import Kernel
from sparsec.kernels.linear_amx import LinearAmx
from sparsec.kernels.linear_amx_bitmap import LinearAmxBitmap
from sparsec.kernels.linear_amx_gathered import LinearAmxGathered
from sparsec.kernels.linear_bitmap import LinearBitmap
from sparsec.kernels.linear_blocked import LinearBlocked
from sparsec.kernels.linear_csr import LinearCsr
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.linear_gathered import LinearGathered
from sparsec.kernels.linear_nm import LinearNm
from sparsec.kernels.linear_split import LinearSplit
from sparsec.kernels.matmul_dense import MatmulDense
from sparsec.kernels.matmul_words import MatmulWords
from sparsec.kernels.shifted import Shifted

_ALL: tuple[Kernel, ...] = (
    ConvDense(),
    ConvDense(BF16),
    Halves(ConvDense(FP16)),
    Shifted(ConvDense(U8S8)),
    ConvDepthwise(),
    ConvDepthwise(U8S8),
    ConvDepthwiseBytes(),
    ConvCsr(),
    ConvCsr(BF16),
    Halves(ConvCsr(FP16)),
    Shifted(ConvCsr(U8S8)),
    ConvBlocked(),
    ConvBlocked(BF16),
    Halves(ConvBlocked(FP16)),
    Shifted(ConvBlocked(U8S8)),
    Shifted(ConvGathered()),
    ConvSplit(),
    LinearDense(),
    LinearDense(BF16),
    Halves(LinearDense(FP16)),
    Shifted(LinearDense(U8S8)),
    LinearAmx(),
    LinearAmx(BF16),
    LinearAmxBitmap(),
    LinearAmxBitmap(BF16),
    LinearAmxGathered(),
    LinearCsr(),
    LinearCsr(BF16),
    Halves(LinearCsr(FP16)),
    Shifted(LinearCsr(U8S8)),
    LinearBlocked(),
    LinearBlocked(BF16),
    Halves(LinearBlocked(FP16)),
    Shifted(LinearBlocked(U8S8)),
    Shifted(LinearGathered()),
    LinearSplit(),
    Shifted(LinearSplit(U8S8)),
    LinearNm(),
    LinearBitmap(),
    LinearBitmap(U8S8),
    MatmulDense(),
    MatmulWords(),
    AttentionDense(),
    AttentionDense(BF16),
)

KERNELS: Mapping[str, Kernel] = {kernel.name: kernel for kernel in _ALL}
