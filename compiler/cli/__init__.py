"""The command line: arguments go in, an exit code comes out.

0: done. 1: not verified. 2: the user can mend it. 70: a bug. 130: Ctrl-C. 141: nobody reads on. One file per command, loaded
when the command is used. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_USERS_MISTAKE, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process, without a traceback from the first moments on."""
    try:
        from sparsec.cli.group import run

        code = run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = _INTERRUPTED
    except ModuleNotFoundError as error:
        print(f"error: {error}.\n  try: pip install sparsec, with all that it depends on", file=sys.stderr)
        code = _USERS_MISTAKE
    sys.exit(code)
