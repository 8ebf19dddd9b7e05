"""Every kernel that WebAssembly has code for, as steps of one network that wasmtime runs, against NumPy.

For threads each step is dealt in as many chunks as it has units, the last one first: no chunk may need another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from expected import assert_close

from bench.wasm_engines.module import WasmModel
from sparsec.artifact import Buffer, Plan, Space, TensorSpec
from sparsec.targets import TARGETS
from sparsec.targets.wasm_module import emit_module
from tests.aarch64.layers import cases, plans


@pytest.mark.parametrize("name", ["wasm32", "wasm32-relaxed", "wasm32-threads"])
def test_agrees_with_numpy(name: str) -> None:
    target = TARGETS[name]
    layers = cases(target)
    text, each = plans(target, layers)
    network = WasmModel(emit_module(text, target, together(each), weights_inside=True, jobs=1))
    feeds = {f"{i}.{name}": value for i, layer in enumerate(layers) for name, value in layer.inputs.items()}
    results = network.run(feeds)
    faults = []
    for number, layer in enumerate(layers):
        try:
            assert_close(results[f"{number}.y"], layer.expected, layer.allowed)
        except AssertionError as error:
            faults.append(f"{layer}: {str(error).strip().splitlines()[0]}")
    assert not faults, "\n".join(faults)
    assert len({layer.kernel.name for layer in layers}) >= 20


def together(plans: Sequence[Plan]) -> Plan:
    """One plan with the steps of all; names of tensors begin with the number of theirs."""
    first = plans[0]
    found = replace(first, inputs=(), outputs=(), steps=(), weights=first.weights[:0])
    for number, plan in enumerate(plans):
        before = {
            Space.INPUT: len(found.inputs),
            Space.OUTPUT: len(found.outputs),
            Space.WEIGHTS: found.weights.nbytes,
            Space.ARENA: 0,  # a step reads of it only what steps of its own plan wrote
        }
        found = replace(
            found,
            inputs=found.inputs + _named(plan.inputs, number),
            outputs=found.outputs + _named(plan.outputs, number),
            steps=found.steps
            + tuple(
                replace(step, args=tuple(Buffer(at.space, at.position + before[at.space]) for at in step.args))
                for step in plan.steps
            ),
            weights=np.concatenate([found.weights, plan.weights]),
            arena_bytes=max(found.arena_bytes, plan.arena_bytes),
        )
    return found


def _named(specs: Sequence[TensorSpec], number: int) -> tuple[TensorSpec, ...]:
    return tuple(replace(spec, name=f"{number}.{spec.name}") for spec in specs)
