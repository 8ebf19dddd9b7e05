"""Kernels are put together from the headers that they include, and only those of one folder know instructions of a GPU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sparsec.cuda.code import source
from sparsec.cuda.code.source import source_of

FOLDER = Path(source.__file__).parent
KERNELS = sorted(path.stem for path in FOLDER.glob("*.cu"))
MACROS = (
    dict.fromkeys(("TOKENS", "ROWS", "KEYS"), 64)
    | {"WGMMA": 1}
    | dict.fromkeys(("X_LINES", "W_LINES", "BF16", "KIND"), 0)
)
LINE = re.compile('#line ([0-9]+) "(.+)"')


@pytest.mark.parametrize("kernel", KERNELS)
def test_lines_are_those_of_their_files_each_file_once(kernel: str) -> None:
    seen: dict[str, dict[int, str]] = {}
    for line in source_of(kernel, MACROS).splitlines():
        if found := LINE.fullmatch(line):
            name, number = found[2], int(found[1])
            assert number > 1 or name not in seen
            lines = seen.setdefault(name, {})
        else:
            lines[number] = line
            number += 1
    for name, lines in seen.items():
        if not name.startswith("made/"):
            text = (FOLDER / name).read_text().splitlines()
            own = {number: line for number, line in enumerate(text, 1) if not line.startswith("#include")}
            assert lines == own


def test_all_headers_are_included() -> None:
    included = {found[2] for kernel in KERNELS for found in LINE.finditer(source_of(kernel, MACROS))}
    headers = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.cuh")}
    assert headers <= included


def test_only_one_folder_has_instructions() -> None:
    others = [*FOLDER.glob("*.cu"), *FOLDER.glob("*.cuh")]
    assert [path.name for path in others if re.search(r"\basm\b", path.read_text())] == []


def test_folders_are_left_out() -> None:
    left = source_of("dense_mma", MACROS, without=("machine", "made"))
    assert {found[2] for found in LINE.finditer(left) if int(found[1]) == 1} == {
        "dense_mma.cu",
        "dense_tile.cuh",
        "epilogue.cuh",
        "activation.cuh",
        "tile_order.cuh",
    }
