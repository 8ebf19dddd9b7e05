"""The table of targets, and finding the one of this machine."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from sparsec.errors import TargetError
from sparsec.targets import NATIVE, TARGETS, host_features, resolve
from sparsec.targets.isa import isa_of


@pytest.mark.parametrize("name", TARGETS)
def test_a_row_is_found_by_its_name(name: str) -> None:
    target = resolve(name)
    assert target.name == name
    assert target.spec.features == target.requires
    assert target.vector_bytes * target.vector_registers > 0


def test_native_is_the_best_row_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, target in TARGETS.items():
        host = (target.triple, frozenset(target.requires))
        monkeypatch.setattr("sparsec.targets._host", lambda host=host: host)
        assert resolve(NATIVE).name == name


@pytest.mark.parametrize("feature", ["avx512vnni", "avx512bf16", "avxvnni"])
def test_dot_products_are_in_code_only_where_a_target_requires_them(feature: str) -> None:
    for target in TARGETS.values():
        assert (f"+{feature}" in target.features) == (feature in target.spec.features)
    assert any(feature in target.requires for target in TARGETS.values())


def test_only_some_instruction_sets_round_to_integers() -> None:
    known = {name: isa_of(target).rounds_to_integers for name, target in TARGETS.items()}
    expected = {"x86": "cvtps2dq", "aarch64": "fcvtns", "wasm32": None}
    assert known == {name: expected[name.split("-")[0]] for name in TARGETS}


def test_a_machine_without_a_row_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsec.targets._host", lambda: ("x86_64-unknown-linux-gnu", frozenset({"sse2"})))
    with pytest.raises(TargetError, match="not one that sparsec compiles for"):
        resolve(NATIVE)


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(TargetError, match=r"no such target(.|\n)*native, x86-64-v3(.|\n)*pdp11"):
        resolve("pdp11")


def test_features_that_rows_require_are_names_that_llvm_reports() -> None:
    import llvmlite.binding as llvm

    known = llvm.get_host_cpu_features().keys()
    assert host_features() <= known
    here = [target for target in TARGETS.values() if target.triple.startswith(platform.machine())]
    assert {name for target in here for name in target.requires} <= known


def test_listing_targets_does_not_load_llvm() -> None:
    code = "import sys, sparsec.targets; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
