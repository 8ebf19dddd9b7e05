"""Code for Hopper: kernels wait for what is before them, and nothing that others write is taken for read-only."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from plans import ADD

from sparsec.cuda.network.overlap import overlapping


def test_each_kernel_waits_before_anything_else() -> None:
    lines = [line.strip() for line in overlapping(ADD).splitlines()]
    begins = [number for number, line in enumerate(lines) if ".entry" in line]
    assert len(begins) == 2
    for begin in begins:
        assert lines[begin + 1 : begin + 3] == ["griddepcontrol.launch_dependents;", "griddepcontrol.wait;"]
    assert ".version 7.8" in lines
    assert ".target sm_90" in lines


def test_what_is_newer_stays_and_loads_are_coherent() -> None:
    ptx = ".version 8.1\n.target sm_89\n.visible .entry f(\n\t.param .u64 a\n)\n{\n\tld.global.nc.v4.f32 {%f1}, [%rd1];\n}\n"
    made = overlapping(ptx)
    assert ".version 8.1\n.target sm_90\n" in made
    assert "\tld.global.v4.f32 {%f1}, [%rd1];" in made


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="needs ptxas, of the CUDA toolkit")
def test_it_assembles(tmp_path: Path) -> None:
    (tmp_path / "add.ptx").write_text(overlapping(ADD))
    subprocess.run(["ptxas", "-arch=sm_90", tmp_path / "add.ptx", "-o", tmp_path / "add.cubin"], check=True)
