"""The ARM bench: loops found in assembly, instructions counted, and a folder that a board runs with one command."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.arm import board, emulator, loops, networks
from bench.arm.cases import Case
from bench.arm.run import run
from bench.sparse_models_rows import ModelCell
from sparsec.driver import compile_program
from sparsec.errors import UsageError
from sparsec.options import Options
from tests.tune.models import two_layers, two_quantised_layers
from tests.wasm.layers import FEW, linear

LOOPS = """
.LBB0_1:
	fmla	v0.4s, v1.4s, v2.4s
.LBB0_2:
	ldp	q1, q2, [x0], #32
	ldr	q3, [x1], #16
	fmla	v0.4s, v1.4s, v3.s[0]
	fmla	v4.4s, v2.4s, v3.s[0]
	b.ne	.LBB0_2
	fmla	v0.4s, v1.4s, v2.4s
	fmla	v0.4s, v1.4s, v2.4s
	b.ne	.LBB0_1
.LBB0_3:
	fmla	v0.4s, v1.4s, v2.4s
	b.ne	.LBB0_3
"""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if (why := emulator.missing()) is not None:
        pytest.skip(why)
    return emulator.build_runner(tmp_path_factory.mktemp("runner"))


def test_other_networks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "missing", lambda: None)
    with pytest.raises(UsageError, match=r"no such network(.|\n)*mobilenet-v2"):
        run("nothing like it", tmp_path / "arm.json", None)


def test_the_busiest_loop_is_an_inner_one() -> None:
    found = loops.busiest_loop(LOOPS)
    assert found.startswith(".LBB0_2:")
    assert found.count("fmla") == 2
    assert loops.loads_of(found) == 3


def test_llvm_knows_the_loops_of_xnnpack() -> None:
    if (why := loops.missing()) is not None:
        pytest.skip(why)
    rows = list(loops._rows("32x1", loops.XNNPACK["XNNPACK f32 32x1"]))
    assert [row.processor for row in rows] == list(loops.PROCESSORS)
    assert all(row.products == 8 and row.loads == 1.125 and row.cycles >= 4 for row in rows)


def test_zeros_save_instructions(runner: Path, tmp_path: Path) -> None:
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        pytest.skip("there is no C compiler here: apt-get install gcc")
    counter = emulator.build_counter(tmp_path)
    counts = []
    for dense in (False, True):
        model = linear(64, 256, 256, FEW)
        program = compile_program(model, Options("aarch64", use_measurements=False, dense_only=dense))
        case = Case(program, [np.zeros(program.inputs[0].shape, np.float32)])
        counts.append(emulator.Emulator(runner, "cortex-a53").instructions(case, counter))
    assert 1000 < counts[0] < counts[1] / 2


@dataclass(frozen=True, slots=True)
class SmallCell(networks.NetworkCell):
    """A network of this folder in the place of a real one."""

    file: Path = Path()

    @property
    def model(self) -> Path:
        return self.file


def test_a_folder_for_a_board_runs_with_one_command(runner: Path, tmp_path: Path) -> None:
    cells = []
    for model, targets in ((two_layers(), ("aarch64",)), (two_quantised_layers(), ("aarch64", "aarch64-i8mm"))):
        file = tmp_path / f"{model.graph.name}.onnx"
        onnx.save(model, file)
        cells.append(SmallCell(ModelCell(model.graph.name, 1, "x", 0.5, "fp32", 1), targets, file=file))
    board.carry(tmp_path / "board", cells, runner)
    environment = os.environ | {"CC": f"{emulator.COMPILER} -static", "RUN": f"{emulator.EMULATOR} -cpu cortex-a76"}
    command = ["sh", tmp_path / "board" / "run.sh", "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    *_, head, floats, bytes_, i8mm = done.stdout.splitlines()
    assert head.split()[:2] == ["network", "target"]
    assert floats.endswith("as emulated")
    assert bytes_.endswith("as emulated")
    assert i8mm.endswith("lacks its instructions")


def test_differences_are_relative_to_the_largest_value() -> None:
    one, other = np.array([1.0, -4.0], np.float32), np.array([1.5, -4.0], np.float32)
    assert networks.difference([one], [other]) == 0.5 / 4
    assert networks.difference([], []) == 0
