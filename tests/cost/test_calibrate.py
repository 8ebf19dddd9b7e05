"""Calibration: one short run gives a machine whose figures are possible, and arithmetic turns times into roofs."""

from __future__ import annotations

import numpy as np
import pytest
from torch_mlir import ir

from sparsec.cost.calibrate import cores_at_work, machine_of, probes, shared_probes
from sparsec.cost.host import core_count
from sparsec.cost.machine import GENERIC
from sparsec.kernels.isa import AVX2, AVX512, Isa
from sparsec.runtime.library import cpu_features
from sparsec.targets import TARGETS
from sparsec.tune.roofs import calibrate


@pytest.mark.parametrize("isa", [AVX2, AVX512])
def test_probes_are_valid_and_stay_in_their_cache(isa: Isa) -> None:
    caches = {1: 32 << 10, 2: 512 << 10, 3: 8 << 20}
    chosen = {probe.name: probe for probe in probes(isa, caches)}
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()
        for probe in chosen.values():
            probe.define(module)
        assert module.operation.verify()
    sizes = {name: 4 * probe.elements for name, probe in chosen.items()}
    assert sizes["read_l1"] < caches[1] < sizes["read_l2"] < caches[2] < sizes["read_l3"] < caches[3]
    assert sizes["read_memory"] > 2 * caches[3]


def test_roofs_follow_from_times() -> None:
    chosen = probes(AVX512, {})
    times = {probe.name: probe.units * probe.work / 4.0 for probe in chosen}  # four operations or vectors per ns
    times["fma"] /= 2
    times["read_l2"] *= 4
    machine = machine_of("m", times, chosen, AVX512, {1: 1000}, 7)
    assert machine.ghz == 4.0
    assert machine.vector_fma_per_cycle == 2.0
    assert (machine.l1_bytes_per_cycle, machine.l2_bytes_per_cycle) == (64.0, 16.0)
    assert (machine.l1_bytes, machine.cores) == (1000, 7)


def test_what_cores_share_is_counted_in_cores() -> None:
    alone, together = probes(AVX512, {}), shared_probes(AVX512, {}, 16)
    times = {probe.name: probe.units * probe.work / 4.0 for probe in (*alone, *together)}
    times["read_l3_by_all"] /= 5
    assert machine_of("m", times, [*alone, *together], AVX512, {}, 16).far_cores == 5.0
    times["read_memory_by_all"] /= 100
    assert machine_of("m", times, [*alone, *together], AVX512, {}, 16).memory_cores == 16.0
    assert cores_at_work(times, [*alone, *together]) == 1.0
    times["clock_by_all"] /= 16
    assert cores_at_work(times, [*alone, *together]) == 16.0
    assert shared_probes(AVX512, {}, 1) == []
    single = machine_of("m", times, alone, AVX512, {}, 1)
    assert (single.far_cores, single.memory_cores) == (GENERIC.far_cores, GENERIC.memory_cores)


@pytest.mark.parametrize("cores", [2, 3, 16])
def test_each_core_begins_with_a_part_of_its_own(cores: int) -> None:
    for probe in shared_probes(AVX512, {}, cores)[1:]:
        firsts = [thread * (probe.units // cores) % cores for thread in range(cores)]
        assert firsts == list(range(cores))
        assert (probe.threads, probe.units % cores) == (cores, 0)


@pytest.mark.parametrize("name", list(TARGETS))
def test_a_short_calibration(name: str) -> None:
    target = TARGETS[name]
    if not cpu_features().issuperset(target.requires):
        pytest.skip(f"this machine cannot run {name}")
    stages: list[int] = []
    found = calibrate(target, seconds=0.01, progress=lambda what, number, count: stages.append(number))
    known = {probe.name for probe in (*probes(AVX512, {}), *shared_probes(AVX512, {}, 2))}
    assert set(found.disturbed) <= known
    assert len(set(found.disturbed)) == len(found.disturbed)
    if core_count() > 1:
        assert found.together or "clock_by_all" in found.disturbed
    else:
        assert not found.together
    machine = found.machine
    assert stages[0] == 0
    assert stages[-1] == 100
    figures = [machine.ghz, machine.vector_fma_per_cycle, machine.l1_bytes_per_cycle, machine.memory_bytes_per_cycle]
    figures += [machine.far_cores, machine.memory_cores]
    assert np.isfinite(figures).all()
    assert min(figures) > 0
