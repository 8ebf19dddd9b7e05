"""Attention is right: emulated on a CPU, against float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from emulation import COMPILER, EmulatedDevice, emulated_function
from halves import NUMPY, nan_halves, random_halves
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsec.cuda.code import program
from sparsec.cuda.products import attention
from sparsec.cuda.products.attention import AttentionSizes, AttentionTile, HeadRows, MaskRows, best_tile, refusal
from sparsec.errors import InputError

KINDS = [  # of kernels: size of a head, mask, tile, type
    (64, "none", None, "float16"),
    (64, "keys", AttentionTile(2, 2, 64, 3, 1), "bfloat16"),
    (40, "all", None, "float16"),
    (128, "keys", None, "float16"),
    (8, "none", AttentionTile(1, 1, 32, 2, 1), "bfloat16"),
]


@settings(max_examples=30)
@given(
    st.sampled_from(KINDS),
    st.tuples(st.integers(1, 2), st.integers(1, 2), st.sampled_from([1, 2])),
    st.integers(1, 150),
    st.integers(1, 150),
    st.booleans(),
    st.integers(0, 1 << 30),
)
def test_attention_is_right_emulated(
    kind: tuple[int, str, AttentionTile | None, str],
    heads: tuple[int, int, int],
    queries: int,
    keys: int,
    causal: bool,
    seed: int,
) -> None:
    size, masked, tile, dtype = kind
    if COMPILER is None:
        pytest.skip("needs g++")
    batch, key_heads, shared_by = heads
    sizes = AttentionSizes(
        batch, key_heads * shared_by, key_heads, queries, max(keys, queries) if causal else keys, size
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "function", emulated_function)
        check(EmulatedDevice(), sizes, masked, causal, tile, dtype, np.random.default_rng(seed))


def check(
    on: EmulatedDevice,
    sizes: AttentionSizes,
    masked: str,
    causal: bool,
    tile: AttentionTile | None,
    dtype: str,
    generator: np.random.Generator,
) -> None:
    """Heads side by side, as a projection leaves them, with NaN at the ends of rows."""
    of_queries = (sizes.batch, sizes.queries, sizes.heads, sizes.size)
    of_keys = (sizes.batch, sizes.keys, sizes.key_heads, sizes.size)
    q, k, v, y = (heads_of(generator, shape, dtype) for shape in (of_queries, of_keys, of_keys, of_queries))
    y.inside[...] = np.nan
    mask = mask_of(generator, sizes, masked)
    before = y.space.copy()
    rows = [each.rows for each in (q, k, v, y)]
    given_mask = None if mask is None else mask_rows(mask)
    attention.launch(on, dtype, sizes, *rows, 0, scale=0.3, mask=given_mask, causal=causal, tile=tile)  # type: ignore[arg-type]
    expected = reference(q.inside, k.inside, v.inside, mask, 0.3, causal)
    error = np.abs(y.inside.astype(np.float64) - expected)
    unit = 2.0 ** (-10 if dtype == "float16" else -7)
    assert error.max() <= unit * 2 * np.abs(v.inside.astype(np.float64)).max()
    y.inside[...] = np.nan
    assert (y.space == before).all()  # nothing beside it was written


def reference(
    q: NDArray[np.generic],
    k: NDArray[np.generic],
    v: NDArray[np.generic],
    mask: NDArray[np.float32] | None,
    scale: float,
    causal: bool,
) -> NDArray[np.float64]:
    """[batch, tokens, heads, size] in float64."""
    wide = [each.astype(np.float64).transpose(0, 2, 1, 3) for each in (q, k, v)]
    wide[1:] = [each.repeat(wide[0].shape[1] // each.shape[1], axis=1) for each in wide[1:]]
    products = scale * wide[0] @ wide[1].swapaxes(-1, -2) + (0 if mask is None else mask.astype(np.float64))
    if causal:
        queries, keys = products.shape[-2:]
        products[..., np.arange(keys) > np.arange(queries)[:, None] + keys - queries] = -np.inf
    powers = np.exp(products - products.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True) @ wide[2]).transpose(0, 2, 1, 3)


@dataclass(frozen=True, slots=True, eq=False)
class GuardedHeads:
    """[batch, tokens, heads, size] within longer rows that are otherwise NaN."""

    space: NDArray[np.uint16]
    inside: NDArray[np.generic]  # a view of the space

    @property
    def rows(self) -> HeadRows:
        batch, token, head, _ = (each // 2 for each in self.inside.strides)
        return HeadRows(self.inside.ctypes.data, batch, head, token)


def heads_of(generator: np.random.Generator, shape: tuple[int, int, int, int], dtype: str) -> GuardedHeads:
    """Random numbers."""
    space = nan_halves((*shape[:3], shape[3] + 16))
    inside = space[..., 8:-8].view(NUMPY[dtype])
    inside[...] = random_halves(generator, shape, dtype)
    return GuardedHeads(space, inside)


def mask_of(generator: np.random.Generator, sizes: AttentionSizes, masked: str) -> NDArray[np.float32] | None:
    """None, one for all queries and heads, or its own for each; some keys are masked, the first never."""
    if masked == "none":
        return None
    shape = (sizes.batch, sizes.heads if masked == "all" else 1, sizes.queries if masked == "all" else 1, sizes.keys)
    mask = generator.standard_normal(shape).astype(np.float32)
    mask[(generator.random(shape) < 0.3) & (np.arange(sizes.keys) > 0)] = -np.inf
    return mask


def mask_rows(mask: NDArray[np.float32]) -> MaskRows:
    strides = [0 if length == 1 else each // 4 for each, length in zip(mask.strides, mask.shape, strict=True)]
    return MaskRows(mask.ctypes.data, *strides)


def test_what_there_is_no_kernel_for_is_refused() -> None:
    sizes, rows = AttentionSizes(1, 1, 1, 4, 4, 64), HeadRows(0, 256, 64, 64)
    assert refusal(sizes, rows, rows, rows, rows) is None
    assert "heads of 20" in (refusal(AttentionSizes(1, 1, 1, 4, 4, 20), rows, rows, rows, rows) or "")
    assert "16 bytes" in (refusal(sizes, rows, HeadRows(2, 256, 64, 64), rows, rows) or "")
    assert "16 bytes" in (refusal(sizes, rows, rows, rows, HeadRows(0, 256, 64, 60)) or "")
    with pytest.raises(InputError, match="There is no kernel for this attention"):
        attention.launch(
            EmulatedDevice(),  # type: ignore[arg-type]
            "float16", AttentionSizes(1, 1, 1, 4, 4, 256), rows, rows, rows, rows, 0, scale=1.0,
        )  # fmt: skip


def test_tiles_are_those_of_the_architecture() -> None:
    long, short = AttentionSizes(1, 1, 1, 500, 500, 64), AttentionSizes(1, 1, 1, 1, 500, 64)
    hopper, older = EmulatedDevice(architecture=(9, 0)), EmulatedDevice(architecture=(8, 9))
    assert best_tile(long, hopper).wgmma  # type: ignore[arg-type]
    assert best_tile(long, hopper, masked=True).keys == 64  # type: ignore[arg-type]
    assert not best_tile(long, older).wgmma  # type: ignore[arg-type]
    assert best_tile(short, hopper).queries == 16  # type: ignore[arg-type]
    for size in (8, 32, 64, 128):
        sizes = AttentionSizes(1, 1, 1, 500, 500, size)
        assert best_tile(sizes, older).shared_bytes(size) <= 101376  # type: ignore[arg-type]
