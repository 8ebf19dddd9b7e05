"""Images for x86-64: relocations that no compiler makes are refused."""

from __future__ import annotations

import pytest

from sparsec.errors import ToolchainError
from sparsec.targets.linkage import Place
from sparsec.targets.linkage_x86_64 import X86_64


@pytest.mark.parametrize(("kind", "name"), [(4, "4"), (9, "9"), (1, "R_X86_64_64"), (2, "2")])
def test_what_leads_nowhere_is_refused(kind: int, name: str) -> None:
    with pytest.raises(ToolchainError, match=f"relocation {name}"):
        X86_64.relocate(bytearray(64), Place(8, kind, "", None, 0), None, None)
