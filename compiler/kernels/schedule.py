"""How walks over packed weights are scheduled: sums in flight, unrolling, and what is asked for ahead."""

from __future__ import annotations

from sparsec.kernels.isa import Isa

CHAINS = 8  # multiply-adds in flight: latency 4 cycles, 2 per cycle
BLOCK_CHAINS = 14  # where loads are not the limit, some to spare are faster
HEIGHTS = (4, 8)  # of the blocks that kernels compute; a taller block is several of these
MOST_SUMS = 24  # vectors in registers
AHEAD = 512  # weights, and offsets, from one that is read to one that is asked for: those of a network are far
FAR_BYTES = 1 << 20  # a weight of so many bytes does not stay in level-2 cache


def unroll(sums: int, chains: int = CHAINS - 1) -> int:
    """Nonzeros or blocks per step of the inner loop, each with sums of its own, so that there are so many chains."""
    return next(count for count in (1, 2, 4, 8, 16) if count * sums >= chains)


def row_unroll(sums: int, isa: Isa) -> int:
    """Nonzeros of a row per step of the inner loop; each reads a vector per sum, and its weight."""
    count = unroll(sums)
    while count > isa.unrolling(count, sums, sums + 1):
        count //= 2
    return count


def most_vectors(height: int, isa: Isa, *, most: int = 4) -> int:
    """Vectors of a tile, `most` at most, whose sums with `height` rows fit the registers, beside what a block reads."""
    free = isa.registers - 1 - (height if isa.early_loads else 0)
    return max(1, min(most, MOST_SUMS // height, free // (height + 1)))


def block_unroll(sums: int, isa: Isa) -> int:
    """Blocks per step of the inner loop; there must be registers for that."""
    return 1 if isa.early_loads else unroll(sums, BLOCK_CHAINS if isa.registers >= 32 else CHAINS - 1)


def block_cycles(height: int, blocks: int, vectors: int, tiles: int) -> float:
    """Estimated cycles of `blocks` blocks for `vectors` vectors in so many tiles: two multiply-adds a cycle, or 0.75 loads
    from level-2 cache; CHAINS sums hide the latency."""
    wide = max(height * vectors, tiles * CHAINS * 0.65)
    return blocks * (max(wide * 0.515, vectors * 1.33) + 0.35 * tiles)
