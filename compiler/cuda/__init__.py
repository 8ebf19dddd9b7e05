"""Sparse products on NVIDIA GPUs: a matrix goes in once, DLPack tensors on a GPU then go in and out.

    weight = sparsec.cuda.compress(w)              # [m, k], float16 or bfloat16; or pattern="2:4"
    y = sparsec.cuda.matmul(weight, x)             # [tokens, k] to [tokens, m], on torch's current stream

**How it is made.** Kernels are CUDA C++ in this folder, compiled for the GPU at hand by NVRTC from its PyPI package
(`pip install sparsec[cuda]`; no toolkit, and no GPU to compile) and kept in the cache folder; to run, the driver is called
by ctypes. Architectures from sm_80 on; measured on sm_90. GPUs with 99 KiB of shared memory for a block (sm_86, sm_89)
have no room for denser unstructured weights: `matmul` says so.

**Two kernels**, both for few tokens, where the weight's bytes are what a product costs:
`bitmap_mma` for any zeros (format: `lane_streams`) and `nm24_mma` for 2:4 (format: `nm24_streams`). Each copies the weight
asynchronously, step by step, into shared memory, has X there in tiles, multiplies on tensor cores with sums in float32,
and splits K so that all multiprocessors have equal work (`partition`). Bias and activation are applied before the one
rounding. More than 64 tokens are done 64 at a time, so the weight is read again for each 64.

**What bounds `bitmap_mma`** on an H100 (132 multiprocessors, 3.35 TB/s, four instructions a cycle in each): at 50 % zeros
an element has 1.125 bytes, so memory allows 12 elements a cycle in each multiprocessor, and there are ten instructions
for 32 of them; at 90 % it has 0.325 bytes, 43 elements a cycle and three instructions. Taking elements apart costs about
three in the inner loop and two around it (`bitmap_mma.cu`), so memory bounds it up to about 70 % zeros, instructions above.
"""

from sparsec.cuda.product import Activation, matmul
from sparsec.cuda.weights import Pattern, SparseWeight, compress

__all__ = ["Activation", "Pattern", "SparseWeight", "compress", "matmul"]
