"""Every kernel, generated for each ARM target and run by QEMU as processors with and without dot products, against NumPy."""

from __future__ import annotations

from pathlib import Path

import pytest
from expected import assert_close

from bench.arm.cases import LACKS_FEATURE, OK
from bench.arm.emulator import PROCESSORS, Emulator
from sparsec.targets import TARGETS
from tests.aarch64.layers import cases, programs


@pytest.mark.parametrize("name", PROCESSORS)
def test_agrees_with_numpy(name: str, runner: Path) -> None:
    layers = cases(TARGETS[name])
    results = Emulator(runner, PROCESSORS[name]).run(programs(TARGETS[name], layers), threads=2)
    faults = []
    for layer, result in zip(layers, results, strict=True):
        assert result.status == OK
        try:
            assert_close(result.outputs[0], layer.expected, layer.allowed)
        except AssertionError as error:
            faults.append(f"{layer}: {str(error).strip().splitlines()[0]}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("name", "processor"),
    [("aarch64-dotprod", "cortex-a72"), ("aarch64-fp16", "cortex-a57"), ("aarch64-i8mm", "neoverse-n1")],
)
def test_a_processor_without_the_instructions_refuses(name: str, processor: str, runner: Path) -> None:
    layers = cases(TARGETS[name])[:1]
    (result,) = Emulator(runner, processor).run(programs(TARGETS[name], layers))
    assert result.status == LACKS_FEATURE
