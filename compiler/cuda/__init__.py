"""Sparse products on NVIDIA GPUs: a matrix goes in once, DLPack tensors on a GPU then go in and out.

    weight = sparsec.cuda.compress(w)              # [m, k], float16 or bfloat16; or pattern="2:4", "4:8", "block:32x32"
    y = sparsec.cuda.matmul(weight, x)             # [tokens, k] to [tokens, m], on torch's current stream
    sparsec.cuda.convert(net, x)                   # linear layers of a torch network, where it pays; `explain(net)`
    torch.compile(net, backend="sparsec")          # the same within torch's compiler

**Rooms.** `device`: the driver, memory, streams and graphs. `code`: the kernels and what compiles them. `streams`: how
sparse matrices lie on a GPU. `products`: how each product is cut up, launched, and what it costs. `network`: whole models.
`torch`: for torch's users.

**How it is made.** Kernels are CUDA C++ in `code`, one a file (`*.cu`); what several share is in headers (`*.cuh`), and a GPU's
instructions have their names in `code/machine` and nowhere else. They are compiled for the GPU at hand by NVRTC from its PyPI package
(`pip install sparsec[cuda]`; no toolkit, and no GPU to compile) and kept in the cache folder; to run, the driver is called
by ctypes. Architectures from sm_80 on; measured on sm_90. GPUs with 99 KiB of shared memory for a block (sm_86, sm_89)
have no room for denser unstructured weights, which are multiplied dense there.

**Whole models** (`--target cuda`): the compiler makes a `plan` of launches of its own PTX and of products, which `plan_file`
writes and reads, `plan_check` makes sure of, and `packed` adds machine code to, found by launching on a GPU that is not
there (`absent`). There is a plan for each set of shapes, over the same weights and constants. A `network` has what they
share on a GPU: work memory, and weights in the `forms` that products ask for, made once each, of what the file has `encoded`
for such GPUs or else here. An `executor` has one plan there: for each product the form that is fastest (`resident`, `race`),
and a CUDA graph for each set of addresses (`graphs`); `arguments` are tensors where they are, `staging` copies a host's.

**Which kernel** a product is done by is one question with one answer (`ways`): all kernels that there are for a weight's
zeros and the GPU at hand, dense ones among them, by what the cost model says of the number of tokens. Nobody has to say how
many tokens there will be: a `CompressedWeight` makes what a kernel reads (`form`) at the first product that wants it, and
keeps it; what is there is used unless another kernel is predicted to be a tenth faster. So a weight that has products of one
token, of 30 and of 4096 is on the GPU in up to three forms, the last of them dense if no kernel makes use of its zeros for
so many. `convert`, `torch.compile` and whole models ask the same; `explain`, and `way` of a weight, say what was chosen and what it
would cost dense.

**For few tokens**, where the weight's bytes are what a product costs: `bitmap_mma` for any zeros (format: `lane_streams`, of
values or, from 7/8 of zeros on, of pairs of neighbours), `coo_mma` for more than 88 % of zeros (`coo_streams`), `nm24_mma`
for 2:4 (`nm24_streams`) and, with four bits a value (`compress_int4`), `w4_nm24_mma` for 2:4 (`w4_nm24_streams`) and
`w4_group_mma` for groups of 16 that are there or not (`w4_group_streams`). Each has X in shared memory in tiles, copied
asynchronously, multiplies on tensor cores with sums in float32, and splits K so that all multiprocessors have equal work
(`partition`). Bias and activation are applied before the one rounding. More than 64 tokens are done 64 at a time, so the
weight is read again for each 64.

**For 9 to 64 tokens** of a weight of at least 80 % of zeros, on Hopper: `coo_wgmma` (`bank_streams`). Eight warps scatter
nonzeros into tiles of 128 x 64 in shared memory and zeros in their places afterwards; two warpgroups multiply meanwhile, 64 rows
of W by 16, 32 or 64 tokens at a time.

**For one to eight tokens** of an unstructured weight, `spmv` (`spmv_streams`): no tensor cores, each lane has a row and
gathers X from shared memory for each nonzero.

**For many tokens**, on Hopper: `nm24_wgmma` for 2:4 (`nm24_tiles`), `bsr_wgmma` for blocks by strips of 32 rows
(`bsr_steps`) and `bsr_pairs_wgmma` for those of 64 rows and more (`bsr_pairs`). One warp copies tiles of X and of W to
shared memory (tensor maps, barriers), two or three warpgroups multiply from there, blocks of threads stay and take tile
after tile. Up to about 80 % of zeros, `bsr_rows_mma` multiplies blocks by single warps with a strip each (`bsr_rows`); from about 85 %
on, `bsr_tall_wgmma` has tiles of more strips and fewer tokens (`bsr_tall`). On other GPUs, `nm24_tile_mma` multiplies 2:4 streams by
tiles of 128 tokens.

**Elements of eight bits**: 2:4 weights of int8 or float8 with scales of rows and tokens run on the same kernels for few and
for many tokens (macro `KIND`, `factors`); two elements are told as one of 16 bits, so copies are the same. Sums of int8 are
exact; those of float8 are tensor cores' own, about 13 bits. Hopper has float8 for warpgroups only, so up to eight tokens
are multiplied as float16 within the instruction.

**Patterns** (`patterns`) are checked by name; what counts is what is there (`zeros`). N:M with at most two of four nonzeros
(1:2, 1:4, 2:8, V:2:8, ...) is 2:4 too: for many tokens it has the time of 2:4, for few tokens that of as many nonzeros
anywhere, whichever is less. 4:8 and other N:M are unstructured
for few tokens, and dense for many. V:N:M allows more for many tokens (two of four selected columns are a quarter of the products
for V:2:8) if X is gathered by columns for each V rows. Of X as it is, token by token, that is element by element through shared
memory: 192 cycles for 64 columns and 128 tokens, more than the 144 that 2:4 takes for 64 rows. Of X transposed first (4096 tokens
of 8192: 54 microseconds) whole lines could be copied to where they belong; by the bytes that a multiprocessor takes in, that is
as fast as 2:4 for V = 64 and M = 8, at most 1.75 times as fast for V = 128, and not done.

**What is dense** in whole models: `dense` (a weight; `dense_few` up to 64 tokens, where its bytes are the cost,
`dense_wgmma` on Hopper, cuBLAS where the machine has it and there is no bias), `dense_mma` (batches with any strides, either
factor transposed, rows that begin anywhere), `attention` (softmax between two products, nothing of it in memory) and
`convolution` (`conv_mma`: a product with pixels that are gathered as it goes; `conv_depthwise`). NHWC is the fast layout:
eight channels are copied at a time. All have their bias, activation and residual before the one rounding. The words of
`code/machine` that they and `spmv` are written in, `tests/cuda/emulation.h` has for a CPU: so these are tested without a GPU, but
for products of warpgroups (`WGMMA`).

**What bounds the kernels for many tokens**: sparse `wgmma` reads all of X's tile and its part of W from shared memory, 144
cycles for what a dense one does in 256; a multiprocessor takes in about 54 bytes a cycle from the L2, in pieces of 128 (rows
of 64 bytes take as long); and 700 W bound both, dense and sparse, to clocks of 1.4 to 1.5 GHz. Without copies the same
products run at 1.66x cuBLAS, with them at 1.5x. Tried and slower: X sent to two multiprocessors at once (clusters), W
fetched ahead to the L2, and W from memory to registers (it comes too late, and there are too few registers to ask for it
earlier). Tiles of 192 rows and 256 tokens have room only without a warp that copies: a thread that multiplies and copies is
held up by its copies, 1.4 to 1.9 times as long. Other orders of tiles are as fast; meetings within tiles 1.05 to 1.15 times as
long. Products read the indices of a step until they are done, so two steps' must be in different registers.

Blocks of 32 x 32 need for each product of a unit and 64 tokens 32 cycles of the tensor cores and 48 of shared memory. A window
of 128 columns and 12 strips takes 0.75 microseconds at 90 % of zeros and 0.95 at 80 %: copies alone 0.7 and 0.8 (boxes of
128 rows of X take 0.3 each, 54 to 60 GB/s for a multiprocessor and 7 to 8 TB/s for all, however many are on their way), products
alone 0.7 and 1.0, of which 0.4 are barriers, jumps over strips without a unit (30 cycles each) and the end of the last
products. Tried and slower: clusters of two to eight multiprocessors that share X, W or both (multicast: half the bytes of the L2
and up to 100 GB/s for each in a loop of copies alone, but windows then wait for each other); X from registers, a jump for each
strip (asynchronous only if jumps are known to be the same for all lanes; 1.2 times as long); windows of 64 columns (1.3 times) and
of 256 (1.2 times at 80 %); and pairs of strips with the most units in
common as one product of 64 rows, in pieces of 32 columns (1.5 times: twice as many copies). For blocks of 64 x 64, pairs are the
fastest. Where tiles are too few for all multiprocessors (up to about 500 tokens), clusters of two to eight of them share a tile of
`bsr_wgmma`, each a part of its windows, and add up their sums through each other's shared memory: 0.4 to 0.7 of the time.

`bsr_rows_mma` reads as much of shared memory for each unit as `bsr_wgmma`, but no warp waits for others within eight or ten steps,
and steps are in an order in which all have about as much to do (in that of columns it takes 1.06 times as long). A unit and 120
tokens take 32 nanoseconds, a step of 64 columns 0.29 microseconds besides, however many tokens it has; that is why `bsr_wgmma`
is faster for more zeros, 1.12 times at 90 %. Copies alone take 0.34 a step, products alone 0.41 (80 %). Two multiprocessors
share X; alone they take 1.1 times as long, and of four together too few run at the same time. Tried and slower: units from the
L2 straight to registers, which come too late, and one thread that asks for room and copies, and tells the other block so with
`release.cluster` (0.65 a step).

`bsr_tall_wgmma` has 64 tokens and up to 24 strips where `bsr_wgmma` has 128 and 12, so windows may have three (90 % of zeros) or four
steps (95 %), and two multiprocessors share units: 0.88 and 0.83 of the time. A window costs each warpgroup about 600 cycles, however
many columns it has, and 190 for each of its units, as many as all warpgroups' need of shared memory; the copying warps ask for 32
windows ahead. Copies of X are hidden: without them, or without sharing units, windows of two steps take as long. Units need room for
about four windows: with room for two and a half, four steps at 90 % take 1.3 times as long. Tried and slower: X from registers (1.4 times:
a jump for each strip and each 32 columns), waiting for a window's products a window later (1.1 times), and clusters of four (1.2 times).

Attention of long sequences with warpgroups takes 1.1 (heads of 64) to 1.5 times (128) as long as torch's FlashAttention. Two
warpgroups with the same keys gain a tenth for heads of 64, nothing for 128: it is not what comes from the L2. Multiplying by the
next keys and the values together while powers are taken (FlashAttention-3) gains nothing beside two or three blocks of threads on
a multiprocessor, which do that for each other.

**What bounds the kernels for few tokens** on an H100 (132 multiprocessors, 3.35 TB/s): up to about 60 % of zeros memory,
then the pipe to shared memory. At 70 and 80 % of zeros and 16 or 32 tokens, `bitmap_mma` has that busy for 75 % of the time, the
ones of whole numbers for 40 to 46 and 30 to 35 %, the tensor cores for 17 to 31 %, and issues instructions in 58 to 66 % of the cycles.
Each 1024 elements need 16 cycles of that pipe and 90 instructions to become fragments, however few of them there are, and 8
and 12 for each of a lane's chunks of values to be laid out, or 3 cycles for each 32 nonzeros (`coo_mma`); X needs 4 for
each eight tokens, loads of the stream about 10. Pairs need no masks: 50 instructions, and 4 cycles for each chunk, but up to twice the
bytes: 0.85 to 0.88 of the time at 90 % of zeros, 1.2 to 1.3 times at 80 %. Tried and no faster: X's fragments for 64 rows
at a time, which are too many sums for more than 8 warps (a fifth fewer cycles of shared memory, but as long: each warp then
waits for itself), and batches of eight words (1.1 to 1.3 times).
`bitmap_mma` has its stream in registers a step ahead, from the L2, where it is brought 4 KiB before: that is 1.1 to 1.25
times as fast as copies through shared memory (which take 60 microseconds for 124 MB with nothing else to do). Products of
warpgroups (`wgmma`) with the same fragments from registers were tried: for large weights and 32 tokens they are as fast to 4
% faster, else 1 to 11 % slower, for four warps wait for the slowest of them. `spmv` is bound by memory for one to four
tokens (5 microseconds and 2.97 TB/s); for eight a column is 16 bytes, and lanes that need the same banks cost 2.6 times the
time of lanes that do not, so nonzeros are put in an order in which they seldom do (`spmv_order`: 1.2 to 1.3 times). For 16
tokens it is slower than `coo_mma`. 2:4, of 16 and of four bits, has its stream in registers a step ahead, too, straight from
memory (fetched to the L2 before, or two steps ahead, it is no faster): 1.07 and 1.1 times as fast as by copies through
shared memory with one to eight tokens, 1.14 and 1.2 times with 32 and 16. Groups of four bits need ten instructions for the 16
numbers of a group, whether it is there or not (float16, up to eight tokens; else 18). They are bound by how long each waits
for the one before: a fifth fewer of them (numbers as they are stored for 16 tokens too, what is too much found once for all
warps; steps by bulk copies) take as long to 1.15 times as long, for warps then wait for each other. Two blocks of threads on a
multiprocessor, so that a kernel begins in the one before it, were tried and were no faster.

`coo_wgmma` needs for each 64 x 64 elements 64 cycles of shared memory to read W, four for each four tokens to read X (columns
come once for four of them: one more), for nonzeros twice as many as the fullest bank has (18, where a tenth of nonzeros is 13 of
each), and to write and to read their bytes: 142 at 90 % of zeros and 16 tokens, 0.8 of what there is in that time. A product of
16 tokens is done in 20 cycles; where its descriptors were worked out by lanes and moved to the warp's registers it took 48 to
issue, and all 1.05 to 1.07 times as long. Columns of X come seven steps before they are needed, if there is room: that is another
1 to 4 %. Tried and slower: tiles of 64 rows by 8, 12 or 16 warps (1.1 to 1.3 times: more waits, and fuller banks), four
warpgroups (as fast, slower for 64 tokens), blocks of 128 rows (1.1), all of a worker's segments counted at its end (1.05: some
then finish two blocks, others none). Of no use: whole words for nonzeros, for two bytes take as long as four. Columns of X for 16
tokens gathered by `ldmatrix`, for products with a nonzero of each row on the diagonal, take 1.3 times as long: lanes that need the
same banks, and loads of the stream, are 40 % of what shared memory has to do.

Of a small weight's time (16 million elements of four bits: 6.3 microseconds), the multiplication is half; the rest is the end:
sums that are written, counted and read, each a way to the L2 and back. A fence between them costs 0.4 to 1 microsecond, so
there is one. The beginning is hidden by the end of the kernel before: where steps lie known without a table is no gain, and
more of the stream fetched then to the L2 makes that end longer, up to 1.1 times the whole."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sparsec.cuda.products.product import Activation, matmul, prepare
from sparsec.cuda.products.sparse_weight import SparseWeight
from sparsec.cuda.products.weights import Pattern, compress, compress_int4, compress_quantized

if TYPE_CHECKING:
    from sparsec.cuda.torch.conversion import convert, explain

__all__ = [
    "Activation",
    "Pattern",
    "SparseWeight",
    "compress",
    "compress_int4",
    "compress_quantized",
    "convert",
    "explain",
    "matmul",
    "prepare",
]


def __getattr__(name: str) -> object:
    if name in ("convert", "explain"):  # which need torch
        return getattr(import_module("sparsec.cuda.torch.conversion"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
