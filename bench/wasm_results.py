"""The files of results of `python -m bench wasm`: rows of one machine, which later runs replace name by name."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsec.cost.host import machine_id


def put_rows(file: Path, rows: Sequence[Mapping[str, object]], key: str, names: Sequence[str]) -> None:
    """Write `rows` to `file`, and those rows of this machine that it had under other `names`; in the order of these."""
    machine = f"{machine_id()}, {platform.system()}"
    replaced = {row[key] for row in rows}
    found = json.loads(file.read_text()) if file.exists() else {}
    before: list[Mapping[str, object]] = found["rows"] if found.get("machine") == machine else []
    kept = [row for row in before if row[key] in set(names) - replaced]
    ordered = sorted([*kept, *rows], key=lambda row: names.index(str(row[key])))
    file.write_text(json.dumps({"machine": machine, "rows": ordered}, indent=1) + "\n")
