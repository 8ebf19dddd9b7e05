"""Unstructured weights of few nonzeros on Hopper's tensor cores: how products are cut up and launched."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int, c_void_p
from dataclasses import dataclass

from sparsec.cuda.code.program import function
from sparsec.cuda.device.driver import Device, TensorMap
from sparsec.cuda.device.memory import Memory
from sparsec.cuda.device.tensors import BFLOAT16
from sparsec.cuda.products.operands import Output, Results, Rows
from sparsec.cuda.streams.bank_streams import HEIGHT, SCATTERERS, SIDE, TILES, BankStreams

ARCHITECTURE = (9, 0)  # what there is a kernel for
TOKENS = (16, 32, 64)  # that a block of threads does
# Tiles' points that a warp has in shared memory, and steps that columns of X are brought before nonzeros of theirs are scattered: the
# best use of it first.
ROOM = ((3, 7), (2, 7), (3, 0), (2, 0), (1, 0))
THREADS = 128 * TILES + 32 * SCATTERERS


@dataclass(frozen=True, slots=True)
class Width:
    """So many tokens at a time, with so many places for points of each warp, and columns of X so many steps `ahead`."""

    tokens: int
    places: int
    ahead: int
    shared_bytes: int


class _Operands(ctypes.Structure):
    _fields_ = (
        ("x", TensorMap),
        ("out", Output),
        *((name, c_void_p) for name in ("streams", "heads", "offsets", "parts", "segments", "partial", "counters")),
        *((name, c_int) for name in ("steps", "blocks", "segment_count")),
        ("padding", c_char * 52),  # to a multiple of 64 bytes
    )


class CooWgmma:
    """A matrix W [m, k] of float16 or bfloat16 on one GPU.

    Products with one weight must be in one order (one stream, or streams that wait): they share the weight's counters.
    """

    def __init__(self, streams: BankStreams, dtype: str, on: Device) -> None:
        self.streams = streams
        self.dtype = dtype
        self.device = on
        self._memory = Memory(self, on)
        partition = streams.partition
        tables = streams.heads(), streams.offsets, partition.worker_table(), partition.block_table()
        self._arrays = [self._memory.upload(each) for each in (streams.units, *tables)]

    @property
    def shape(self) -> tuple[int, int]:
        return self.streams.m, self.streams.k

    def launch(self, x: Rows, y: Results, stream: int) -> None:
        """Put a product on a stream."""
        partition, by = self.streams.partition, width(self.streams, x.tokens, self.device.shared_bytes)
        rows = -(-x.tokens // by.tokens)
        operands = _Operands(
            self.device.tensor_map(x.address, x.tokens, x.k, x.stride, (by.tokens, SIDE)),
            y.output(x.tokens),
            *(each.address for each in self._arrays),
            self._memory.scratch("sums", rows * partition.segments * partition.rows * by.tokens * 4).address,
            self._memory.scratch("counters", rows * partition.blocks * 4).address,
            *(self.streams.steps, partition.blocks, partition.segments),
        )
        macros = {"BF16": int(self.dtype == BFLOAT16), "ACTIVATION": y.activation}
        kernel = function(self.device, "coo_wgmma", {**macros, **kernel_macros(self.streams, by)}, by.shared_bytes)
        self.device.launch(kernel, (partition.workers, rows), THREADS, operands, stream)


def kernel_macros(streams: BankStreams, by: Width) -> dict[str, int]:
    """What the kernel is to be compiled with, but for the type of elements and what is done to sums."""
    own = {"ROWS": TILES * HEIGHT, "HEIGHT": HEIGHT, "SCATTERERS": SCATTERERS}
    return {**own, "PLACES": by.places, "AHEAD": by.ahead, "TOKENS": by.tokens, **streams.macros}


def width(streams: BankStreams, tokens: int, available: int) -> Width:
    """For so many tokens: as many at a time, up to 64, with the best use of what shared memory there is."""
    wanted = next((each for each in TOKENS if tokens <= each), TOKENS[-1])

    def shared_bytes(places: int, ahead: int) -> int:
        # Points have a barrier; tiles of W and columns of X have two; two numbers.
        points, tile, columns = streams.tile_bytes + 8, 2 * HEIGHT * SIDE + 16, 2 * wanted * SIDE + 16
        return SCATTERERS * (places * points + tile) + (SCATTERERS // TILES + 1 + ahead) * columns + 8

    ways = [Width(wanted, *each, shared_bytes(*each)) for each in ROOM]
    return next((each for each in ways if each.shared_bytes <= available), ways[-1])
