// What kernels of streams share: a warp reads its stream of W and multiplies by X, which all warps of its block copy to shared memory.
//
// Macros set by the caller: WARPS (of a block of threads), HALVES (1 or 2: warps that share a group of 32 rows, each with
// its part of the columns of a step), BF16 (of results and 16-bit factors, else fp16), KIND of the factors (0: 16 bits, 1: int8,
// 2: float8) of a kernel that has others than 16 bits, whose X is told as if two were one, TILES (of 8 tokens), ACTIVATION;
// UNITS of a step, at most, for kernels that have them; COLUMNS and STAGES of X in shared memory.

#include "stream_operands.cuh"
#include "stream_tokens.cuh"
#include "stream_sums.cuh"
