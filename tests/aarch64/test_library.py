"""Libraries for C on ARM, linked by a cross compiler into a program that QEMU runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.arm import emulator
from sparsec.c_library.header import Linkage
from sparsec.driver import compile_program as compile_network
from sparsec.options import Options
from sparsec.runtime import Session
from tests.c_programs import build, compile_program, program_text, run
from tests.rounded_models import pruned_layers, rounded
from tests.tune.models import two_layers, two_quantised_layers

OTHER_PROCESSOR = 2


@pytest.fixture(autouse=True)
def _tools() -> None:
    if (why := emulator.missing()) is not None:
        pytest.skip(why)


@pytest.mark.parametrize("model", [two_layers(), two_quantised_layers()], ids=lambda model: str(model.graph.name))
@pytest.mark.parametrize("linkage", Linkage)
def test_a_program_gets_what_x86_gives(model: onnx.ModelProto, linkage: Linkage, tmp_path: Path) -> None:
    plan = build(model, tmp_path, target="aarch64-dotprod", linkage=linkage)
    static = ["-static"] if linkage is Linkage.STATIC else [f"-Wl,-rpath,{tmp_path}"]
    program = compile_program(program_text(plan), tmp_path, [plan.name], [emulator.COMPILER], static)
    command = [emulator.EMULATOR, "-L", "/usr/aarch64-linux-gnu"]
    feeds = {"x": np.random.default_rng(1).standard_normal((32, 24)).astype(np.float32)}
    code, said, outputs = run([*command, "-cpu", "cortex-a76", str(program)], plan, feeds, tmp_path)
    assert (code, said) == (0, "")
    with Session(compile_network(model.SerializeToString(), Options(use_measurements=False)), threads=1) as session:
        np.testing.assert_allclose(outputs["y"], session.run(feeds)["y"], rtol=1e-5, atol=1e-5)
    code, said, _ = run([*command, "-cpu", "cortex-a53", str(program)], plan, feeds, tmp_path)
    assert code == OTHER_PROCESSOR
    assert "lacks instructions" in said


@pytest.mark.parametrize("linkage", Linkage)
def test_weights_stored_as_float16_are_those_of_x86(linkage: Linkage, tmp_path: Path) -> None:
    plan = build(pruned_layers(), tmp_path, target="aarch64", linkage=linkage, storage="fp16")
    static = ["-static"] if linkage is Linkage.STATIC else [f"-Wl,-rpath,{tmp_path}"]
    program = compile_program(program_text(plan), tmp_path, [plan.name], [emulator.COMPILER], static)
    command = [emulator.EMULATOR, "-L", "/usr/aarch64-linux-gnu", "-cpu", "cortex-a53", str(program)]
    feeds = {"x": np.random.default_rng(1).standard_normal((32, 24)).astype(np.float32)}
    code, said, outputs = run(command, plan, feeds, tmp_path)
    assert (code, said) == (0, "")
    whole = compile_network(rounded(pruned_layers()).SerializeToString(), Options(use_measurements=False))
    with Session(whole, threads=1) as session:
        np.testing.assert_allclose(outputs["y"], session.run(feeds)["y"], rtol=1e-5, atol=1e-5)
