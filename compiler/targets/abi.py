"""The uniform calling convention of an entry: `void entry(void *const *args, int64_t begin, int64_t end)`.

The runtime knows nothing of a kernel's signature; a generated wrapper loads the pointers and calls the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PREFIX = "entry"


def entry_symbol(kernel: str, prefix: str = PREFIX) -> str:
    """Return the symbol of the wrapper of `kernel`, of what assemblers take without quotes: C knows it by no other name."""
    return re.sub(r"[^\w$]", ".", f"{prefix}_{kernel}")


def wrappers(pointer_counts: Mapping[str, int], pointer_bytes: int = 8, prefix: str = PREFIX) -> str:
    """Return LLVM IR of one wrapper per kernel `void @kernel(ptr... (count of them), i64 begin, i64 end)`.

    With another prefix than the usual, its objects are to be linked with others: it is hidden from outside.

    define void @entry_add(ptr %args, i64 %begin, i64 %end) {
      %a0 = load ptr, ptr %args
      ...
      tail call void @add(ptr %a0, ..., i64 %begin, i64 %end)
      ret void
    }
    """
    visibility = "" if prefix == PREFIX else "hidden "
    return "\n".join(
        _wrapper(kernel, count, pointer_bytes, f'{visibility}void @"{entry_symbol(kernel, prefix)}"')
        for kernel, count in pointer_counts.items()
    )


def _wrapper(kernel: str, count: int, pointer_bytes: int, signature: str) -> str:
    pointers = range(count)
    loads = "".join(
        f"  %p{index} = getelementptr ptr, ptr %args, i64 {index}\n  %a{index} = load ptr, ptr %p{index}, align {pointer_bytes}\n"
        for index in pointers
    )
    parameters = ", ".join([*("ptr" for _ in pointers), "i64", "i64"])
    arguments = ", ".join([*(f"ptr %a{index}" for index in pointers), "i64 %begin", "i64 %end"])
    return (
        f'declare void @"{kernel}"({parameters})\n'
        f"define {signature}(ptr %args, i64 %begin, i64 %end) {{\n"
        f"{loads}"
        f'  tail call void @"{kernel}"({arguments})\n'
        "  ret void\n"
        "}\n"
    )
