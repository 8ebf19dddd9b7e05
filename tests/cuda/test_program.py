"""Kernels compile for every architecture without a GPU; what is missing is said in one sentence."""

from __future__ import annotations

import ctypes

import pytest

from sparsec.cuda.code import program
from sparsec.cuda.code.nvrtc import compile_source
from sparsec.cuda.device import driver, library
from sparsec.cuda.products.bsr_pairs_wgmma import WIDEST
from sparsec.cuda.products.bsr_rows_mma import WIDTHS, row_tiling
from sparsec.cuda.products.bsr_tall_wgmma import tall_tiling
from sparsec.cuda.products.bsr_wgmma import CLUSTERS, StepTiling
from sparsec.cuda.products.dense_wgmma import ROWS
from sparsec.cuda.products.nm24_wgmma import TILES
from sparsec.cuda.products.weights import FLOAT8_ARCHITECTURE
from sparsec.cuda.streams.bsr_tall import STEPS
from sparsec.errors import TargetError, ToolchainError


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("architecture", [(8, 0), (8, 9), (9, 0)])
@pytest.mark.parametrize("kernel", ["bitmap_mma", "coo_mma", "nm24_mma", "w4_nm24_mma", "w4_group_mma", "pad_rows"])
def test_kernels_compile(kernel: str, architecture: tuple[int, int]) -> None:
    macros = {"WARPS": 16, "HALVES": 2, "BF16": 1, "TILES": 2, "ACTIVATION": 2, "STAGES": 4, "COLUMNS": 256}
    macros |= {"KIND": 0, "UNITS": 144, "PAIRS": 0, "WORDS": 2, "LEAST": 12, "ROUNDS": 16, "FULL": 3, "HELD": 6}
    assert program.compiled(kernel, macros, architecture).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("architecture", [(8, 0), (8, 9), (9, 0)])
@pytest.mark.parametrize("halves", [1, 2])
def test_kernels_of_pairs_compile(halves: int, architecture: tuple[int, int]) -> None:
    macros = {"WARPS": 16, "HALVES": halves, "BF16": 0, "TILES": 4, "ACTIVATION": 1, "STAGES": 3, "COLUMNS": 256}
    macros |= {"KIND": 0, "PAIRS": 1, "WORDS": 2, "FULL": 1, "HELD": 6}
    assert program.compiled("bitmap_mma", macros, architecture).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("architecture", [(8, 0), (8, 9), (9, 0)])
@pytest.mark.parametrize("kernel", ["nm24_mma", "nm24_tile_mma"])
def test_kernels_for_all_factors_compile(kernel: str, architecture: tuple[int, int], kind: int) -> None:
    macros = {"WARPS": 16, "HALVES": 2, "BF16": 1, "TILES": 8, "ACTIVATION": 2, "STAGES": 2, "COLUMNS": 64}
    macros |= {"UNITS": 160 if kind else 144, "KIND": kind}
    if kind == 2 and (architecture < FLOAT8_ARCHITECTURE or (kernel == "nm24_tile_mma" and architecture == (9, 0))):
        return  # they are not asked for
    assert program.compiled(kernel, macros, architecture).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("each", TILES)
@pytest.mark.parametrize(("bf16", "kind"), [(0, 0), (1, 0), (0, 1), (0, 2)])
def test_kernels_for_many_tokens_compile(each: tuple[int, int, int, int], bf16: int, kind: int) -> None:
    groups, blocks, tokens, cluster = each
    macros = {
        "GROUPS": groups,
        "MT": blocks,
        "TOKENS": tokens,
        "CLUSTER": cluster,
        "STAGES": 4,
        "BF16": bf16,
        "ACTIVATION": 3,
        "KIND": kind,
    }
    assert program.compiled("nm24_wgmma", macros, (9, 0)).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("bf16", [0, 1])
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_kernels_for_blocks_compile(cluster: tuple[int, int], bf16: int) -> None:
    macros = {**StepTiling(*cluster).macros, "BF16": bf16, "ACTIVATION": 1}
    assert program.compiled("bsr_wgmma", macros, (9, 0)).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("bf16", [0, 1])
@pytest.mark.parametrize("tokens", WIDTHS)
def test_kernels_for_rows_of_blocks_compile(tokens: int, bf16: int) -> None:
    macros = {**row_tiling(tokens, 4.8).macros, "BF16": bf16, "ACTIVATION": 2}
    assert program.compiled("bsr_rows_mma", macros, (9, 0)).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("bf16", [0, 1])
@pytest.mark.parametrize("steps", STEPS)
def test_kernels_for_tall_tiles_of_blocks_compile(steps: int, bf16: int) -> None:
    macros = {**tall_tiling(steps, 17.0).macros, "BF16": bf16, "ACTIVATION": 2}
    assert program.compiled("bsr_tall_wgmma", macros, (9, 0)).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("tokens", [64, 176, WIDEST])
def test_kernels_for_pairs_of_blocks_compile(tokens: int) -> None:
    macros = {"GROUPS": 3, "TOKENS": tokens, "STAGES": 4, "SLOTS": 6, "BF16": 0, "ACTIVATION": 1}
    assert program.compiled("bsr_pairs_wgmma", macros, (9, 0)).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("architecture", [(8, 0), (8, 9), (9, 0)])
@pytest.mark.parametrize("kernel", ["dense_mma", "dense_few", "attention_mma", "conv_mma", "conv_depthwise"])
@pytest.mark.parametrize("bf16", [0, 1])
def test_dense_kernels_compile(kernel: str, bf16: int, architecture: tuple[int, int]) -> None:
    macros = {"BF16": bf16, "ACTIVATION": 3, "TOKENS": 64, "ROWS": 128, "WARPS_T": 2, "WARPS_R": 2, "STAGES": 3}
    macros |= {
        "WGMMA": 0,
        "X_LINES": 0,
        "W_LINES": 1 - bf16,
        "X_WIDE": 1,
        "W_WIDE": bf16,
        "BY_EIGHTS": bf16,
        "ACROSS": 4 * bf16,
        "RIGHT": 3,
        "STEP": 2,
    }
    if kernel in ("attention_mma", "dense_few"):
        macros = {"BF16": bf16, "ACTIVATION": 2, "WARPS": 4, "SLABS": 1 + bf16, "KEYS": 64, "STAGES": 2, "SIZE": 64}
        macros |= {"MASK": 1 + bf16, "RESIDENT": 2, "UNITS": 4, "TILES": 2}
    assert program.compiled(kernel, macros, architecture).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("rows", ROWS)
def test_dense_kernels_for_many_tokens_compile(rows: int) -> None:
    splits = 4 if rows == 64 else 1
    macros = {"GROUPS": 2 // (1 + (rows == 64)), "ROWS": rows, "STAGES": 4, "BF16": rows // 128 % 2, "ACTIVATION": 2}
    macros |= {"SPLITS": splits, "WINDOWS": rows // 64 % 2}
    assert program.compiled("dense_wgmma", macros, (9, 0)).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("lines", [0, 1])
@pytest.mark.parametrize("kernel", ["dense_mma", "conv_mma"])
def test_dense_kernels_for_hopper_compile(kernel: str, lines: int) -> None:
    macros = {"BF16": lines, "ACTIVATION": 1, "TOKENS": 128, "ROWS": 128, "WARPS_T": 8, "WARPS_R": 1, "STAGES": 3}
    macros |= {
        "WGMMA": 1,
        "X_LINES": 0,
        "W_LINES": lines,
        "X_WIDE": 1,
        "W_WIDE": 1,
        "BY_EIGHTS": 1 - lines,
    }
    assert program.compiled(kernel, macros, (9, 0)).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
@pytest.mark.parametrize("size", [64, 128])
def test_attention_for_hopper_compiles(size: int) -> None:
    macros = {"BF16": size // 128, "ACTIVATION": 0, "WARPS": 4, "SLABS": 1, "KEYS": 64, "STAGES": 2, "SIZE": size}
    macros |= {"MASK": size // 64, "RESIDENT": 2}
    assert program.compiled("attention_wgmma", macros, (9, 0)).startswith(b"\x7fELF")


@pytest.mark.usefixtures("nvrtc")
def test_a_compiled_kernel_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    macros = {"WARPS": 16, "HALVES": 2, "BF16": 0, "TILES": 1, "ACTIVATION": 0, "STAGES": 2, "COLUMNS": 8}
    macros |= {"UNITS": 32}
    first = program.compiled("pad_rows", macros, (9, 0))
    monkeypatch.setattr(program.nvrtc, "compile_source", lambda *_: pytest.fail("compiled again"))
    assert program.compiled("pad_rows", macros, (9, 0)) == first


@pytest.mark.usefixtures("nvrtc")
def test_what_does_not_compile_is_shown() -> None:
    with pytest.raises(ToolchainError, match="NVRTC does not compile") as caught:
        compile_source("no such language", "x.cu", ["--gpu-architecture=sm_90"])
    assert "x.cu(1)" in (caught.value.got or "")


def test_no_driver_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(driver, "load_driver", library._Driver)
    with pytest.raises(TargetError, match="There is no NVIDIA driver on this machine"):
        driver.Device(0)


@pytest.mark.parametrize(
    ("version", "count", "architecture", "message"),
    [
        (11080, 1, (9, 0), "driver of this machine is too old"),
        (13000, 0, (9, 0), "There is no NVIDIA GPU"),
        (13000, 1, (7, 5), "This GPU is older than"),
    ],
)
def test_what_a_machine_lacks_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, version: int, count: int, architecture: tuple[int, int], message: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: _Library(version, count, architecture))
    monkeypatch.setattr(driver, "load_driver", library._Driver)
    with pytest.raises(TargetError, match=message):
        driver.Device(0)


class _Library:
    """A driver that succeeds in everything that its version has, and answers with what it was made with."""

    def __init__(self, version: int, count: int, architecture: tuple[int, int]) -> None:
        self._answers = {"cuDriverGetVersion": version, "cuDeviceGetCount": count, "cuDeviceGet": 0}
        self._attributes = {75: architecture[0], 76: architecture[1]}
        self._lacking = ["cuTensorMapEncodeTiled"] if version < library.OLDEST_DRIVER else []

    def __getattr__(self, name: str) -> object:
        if name in self._lacking:
            raise AttributeError(name)

        def function(*arguments: object) -> int:
            value = self._attributes.get(arguments[1], 0) if name == "cuDeviceGetAttribute" else self._answers.get(name)
            if value is not None:
                arguments[0]._obj.value = value
            return 0

        return function
