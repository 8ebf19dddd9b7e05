"""The one tree of errors that users see.

Every message says what went wrong, where, what was expected, what was got, and what to do next; the command line prints
it and exits with code 2. Bugs of ours are `AssertionError`s and are not caught.
"""

from __future__ import annotations


class SparsecError(Exception):
    """A failure that the user can act on.

    `what` is one sentence, printed with a full stop; the other parts are optional and printed one per line.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.next_step = next_step
        parts = [("where", where), ("expected", expected), ("got", got), ("try", next_step)]
        sentence = what if what.endswith((".", "!", "?")) else f"{what}."
        super().__init__("\n".join([sentence, *(f"  {label}: {text}" for label, text in parts if text)]))


class ModelError(SparsecError):
    """The model file or module is not one that can be read."""


class UnsupportedOpError(SparsecError):
    """An operator of the model cannot be compiled; `where` names the node."""


class ArtifactError(SparsecError):
    """A compiled artifact is damaged, of another version, or for another machine."""


class TargetError(SparsecError):
    """The requested target is unknown or is not what this machine has."""


class InputError(SparsecError):
    """A tensor passed to a compiled model has the wrong name, shape or dtype."""


class ToolchainError(SparsecError):
    """MLIR or LLVM refused its input; the message says where that input was written."""


class UsageError(SparsecError):
    """Options contradict each other or have a wrong form."""


class DatabaseError(SparsecError):
    """A database of measurements cannot be opened, is damaged, or is something else."""
