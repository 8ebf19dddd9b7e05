"""The text of `wgmma` instructions, which name every register of their sums."""

from __future__ import annotations

from collections.abc import Mapping


def sparse_product(macros: Mapping[str, int]) -> str:
    """CUDA C++ of `sparse_wgmma<SELECTOR>`: D[64 x TOKENS] (+)= A[64 x 64 bytes, two of four] B[64 bytes x TOKENS].

    A and B are in shared memory; the indices are in lanes 0 and 1 of each four (SELECTOR 0) or in 2 and 3, and of factors of
    eight bits in all (0). `add` 0 overwrites D, whose bits are those of int32 for factors of int8.
    """
    tokens = macros["TOKENS"]
    count, dtype, sums, outputs = _sums(tokens, macros)
    a, b, indices, add, selector = range(count, count + 5)
    types, rest = (
        (f"k32.f32.{dtype}.{dtype}", ", 1, 1, 0, 0"),
        ("k64.s32.s8.s8", ""),
        ("k64.f32.e4m3.e4m3", ", 1, 1"),
    )[macros["KIND"]]
    if macros["KIND"] == 1:
        outputs = ", ".join(f'"+r"(*(int *)&d[{each}])' for each in range(count))
    return f"""
template <int SELECTOR>
__device__ __forceinline__ void sparse_wgmma(float (&d)[{count}], u64 a, u64 b, u32 indices, int add) {{
    asm volatile("{{\\n.reg .pred add;\\nsetp.ne.b32 add, %{add}, 0;\\n"
                 "wgmma.mma_async.sp.sync.aligned.m64n{tokens}{types} "
                 "{{{sums}}}, %{a}, %{b}, %{indices}, %{selector}, add{rest};\\n}}"
                 : {outputs}
                 : "l"(a), "l"(b), "r"(indices), "r"(add), "n"(SELECTOR));
}}
"""


def product(macros: Mapping[str, int]) -> str:
    """CUDA C++ of `wgmma`: D[64 x TOKENS] += A[64 x 16] B[16 x TOKENS], both in shared memory."""
    return _adding(macros["TOKENS"], macros)


def strip_product(macros: Mapping[str, int]) -> str:
    """CUDA C++ of `wgmma`: D[64 x 32] += A[64 x 16] B[16 x 32], both in shared memory."""
    return _adding(32, macros)


def unit_product(macros: Mapping[str, int]) -> str:
    """CUDA C++ of `multiply_unit`: D[64 x 32] += A[64 x 32] B[32 x 32], both in shared memory at these places, A in rows of 128
    bytes, B in rows of 64. Their descriptors are made in place: what all have in common takes no registers of threads."""
    count, dtype, sums, outputs = _sums(32, macros)
    lines = [".reg .b32 x, w;", ".reg .b64 a, b;"]
    for place in (0, 2):  # of 16 columns, then the others
        lines += [f"add.u32 x, %{count}, {place};", f"add.u32 w, %{count + 1}, {place};"]
        lines += ["mov.b64 a, {x, 0x40000040};", "mov.b64 b, {w, 0x80000020};"]
        lines.append(f"wgmma.mma_async.sync.aligned.m64n32k16.f32.{dtype}.{dtype} {{{sums}}}, a, b, 1, 1, 1, 0, 0;")
    text = "\n".join(f'                 "{line}\\n"' for line in lines)
    return f"""
__device__ __forceinline__ void multiply_unit(float (&d)[{count}], u32 x_place, u32 unit_place) {{
    asm volatile("{{\\n"
{text}
                 "}}"
                 : {outputs}
                 : "r"(x_place), "r"(unit_place));
}}
"""


def dense_product(macros: Mapping[str, int]) -> str:
    """CUDA C++ of `wgmma`: D[64 x ROWS] (+)= A[64 x 16] B[16 x ROWS], both in shared memory; `add` 0 overwrites D."""
    return _adding_or_not("wgmma", macros["ROWS"], macros)


def tile_product(macros: Mapping[str, int]) -> str:
    """CUDA C++ of `wgmma`: D[64 x ROWS] += A[64 x 16] B[16 x ROWS], both in shared memory, with neighbours along K or, with
    X_LINES and W_LINES, across it; then B has 64 rows. Nothing without WGMMA."""
    if not macros["WGMMA"]:
        return ""
    return _adding(64 if macros["W_LINES"] else macros["ROWS"], macros, f"{macros['X_LINES']}, {macros['W_LINES']}")


def attention_products(macros: Mapping[str, int]) -> str:
    """CUDA C++ of `by_keys`, D[64 x KEYS] (+)= A[64 x 16] B[KEYS x 16]^T (`add` 0 overwrites D), both in shared memory, and of
    `by_values`, D[64 x 64] += A[64 x 16] B[16 x 64], A in registers."""
    count, dtype, sums, outputs = _sums(64, macros)
    a = ", ".join(f"%{each}" for each in range(count, count + 4))
    return f"""{_adding_or_not("by_keys", macros["KEYS"], macros)}
__device__ __forceinline__ void by_values(float (&d)[{count}], const u32 (&a)[4], u64 b) {{
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.{dtype}.{dtype} "
                 "{{{sums}}}, {{{a}}}, %{count + 4}, 1, 1, 1, 1;"
                 : {outputs}
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}}
"""


def _adding(columns: int, macros: Mapping[str, int], across: str = "0, 0") -> str:
    """CUDA C++ of `wgmma`: D[64 x columns] += A[64 x 16] B[16 x columns], both in shared memory, with neighbours along K, or of
    A and of B `across` it."""
    count, dtype, sums, outputs = _sums(columns, macros)
    return f"""
__device__ __forceinline__ void wgmma(float (&d)[{count}], u64 a, u64 b) {{
    asm volatile("wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{dtype}.{dtype} "
                 "{{{sums}}}, %{count}, %{count + 1}, 1, 1, 1, {across};"
                 : {outputs}
                 : "l"(a), "l"(b));
}}
"""


def _adding_or_not(name: str, columns: int, macros: Mapping[str, int]) -> str:
    """The same, which overwrites D where `add` is 0."""
    count, dtype, sums, outputs = _sums(columns, macros)
    a, b, add = range(count, count + 3)
    return f"""
__device__ __forceinline__ void {name}(float (&d)[{count}], u64 a, u64 b, int add) {{
    asm volatile("{{\\n.reg .pred add;\\nsetp.ne.b32 add, %{add}, 0;\\n"
                 "wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{dtype}.{dtype} "
                 "{{{sums}}}, %{a}, %{b}, add, 1, 1, 0, 0;\\n}}"
                 : {outputs}
                 : "l"(a), "l"(b), "r"(add));
}}
"""


def _sums(columns: int, macros: Mapping[str, int]) -> tuple[int, str, str, str]:
    """How many sums a thread has, the type of the factors, and the sums in the text and among its operands."""
    count, dtype = columns // 2, "bf16" if macros["BF16"] else "f16"
    sums = ", ".join(f"%{each}" for each in range(count))
    outputs = ", ".join(f'"+f"(d[{each}])' for each in range(count))
    return count, dtype, sums, outputs
