"""Symbols of entries."""

from __future__ import annotations

from sparsec.targets.abi import entry_symbol


def test_symbols_are_names_that_assemblers_take() -> None:
    assert entry_symbol("f32_key_tiles_2x2_8-56_neon", "network") == "network_f32_key_tiles_2x2_8.56_neon"
