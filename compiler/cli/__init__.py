"""The command line: arguments go in, an exit code comes out.

0: done. 1: not verified. 2: the user can mend it. 70: a bug. 130: Ctrl-C. One file per command, loaded when the command
is used. Results go to stdout, everything else to stderr.
"""

from sparsec.cli.group import main

__all__ = ["main"]
