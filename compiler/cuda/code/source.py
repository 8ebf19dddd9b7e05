"""The text of a kernel: `kernel`.cu and, once each, the headers that it and they include."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from importlib.resources import files
from typing import TypeAlias

from sparsec.cuda.code import wgmma

Macros: TypeAlias = Mapping[str, int]

_MADE = "made/wgmma.cuh"  # which is no file
_MAKERS: Mapping[str, Callable[[Macros], str]] = {  # of it, for each kernel that includes it
    "nm24_wgmma": wgmma.sparse_product,
    "bsr_wgmma": wgmma.strip_product,
    "bsr_pairs_wgmma": wgmma.product,
    "bsr_tall_wgmma": wgmma.unit_product,
    "dense_wgmma": wgmma.dense_product,
    "attention_wgmma": wgmma.attention_products,
    "coo_wgmma": wgmma.product,
    "dense_mma": wgmma.tile_product,
    "conv_mma": wgmma.tile_product,
}
_INCLUDE = re.compile('#include "(.+)"')


def source_of(kernel: str, macros: Macros, *, without: Container[str] = ()) -> str:
    """What there is to compile for these macros, its lines numbered as in their files; nothing of folders `without`."""
    here, there = files("sparsec.cuda.code"), set[str]()

    def lines(name: str) -> Iterator[str]:
        if name in there or name.partition("/")[0] in without:
            return
        there.add(name)
        own = _MAKERS[kernel](macros) if name == _MADE else (here / name).read_text()
        yield f'#line 1 "{name}"'
        for number, line in enumerate(own.splitlines(), 1):
            if found := _INCLUDE.fullmatch(line):
                yield from lines(found[1])
                yield f'#line {number + 1} "{name}"'
            else:
                yield line

    return "\n".join([*lines(f"{kernel}.cu"), ""])
