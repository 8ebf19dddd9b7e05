"""Whether this processor runs code for a target."""

from __future__ import annotations

import os

from sparsec.artifact import TargetSpec
from sparsec.errors import ArtifactError
from sparsec.runtime import library


def refusal(target: TargetSpec) -> ArtifactError | None:
    """Why code for `target` cannot run here, where it would end in an illegal instruction; None if it can."""
    machine = os.uname().machine.replace("arm64", "aarch64")
    built_for = target.triple.split("-")[0]
    if built_for != machine:
        return ArtifactError("The code is for another processor.", expected=machine, got=f"{built_for} ({target.isa})")
    if missing := sorted(set(target.features) - library.cpu_features()):
        return ArtifactError(
            f"The code was compiled for {target.isa}; this CPU lacks {', '.join(missing)}.",
            next_step="compile the model on this machine, or with --target for an older instruction set",
        )
    return None


def check(target: TargetSpec) -> None:
    """Raise `ArtifactError` if code for `target` cannot run here."""
    if (why := refusal(target)) is not None:
        raise why
