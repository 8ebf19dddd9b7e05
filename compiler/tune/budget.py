"""Reading how long to tune."""

from __future__ import annotations

import math
import re

from sparsec.errors import UsageError

_UNITS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_FORM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)")


def parse_budget(text: str, option: str) -> float:
    """Seconds of "60s", "2m", "1.5h", "500ms" or "60"; raises `UsageError` that names the option."""
    match = _FORM.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _UNITS[match[2]] if match and match[2] in _UNITS else math.nan
    if not 0 < seconds < math.inf:
        raise UsageError(f"The option {option} has a wrong form.", expected="a time such as 60s, 5m or 1h", got=text)
    return seconds
