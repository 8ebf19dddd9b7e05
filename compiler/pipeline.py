"""What compilations for processors and for GPUs have in common: a model is imported, and the passes of a table change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sparsec.errors import ToolchainError, UsageError
from sparsec.frontends.imported import Imported
from sparsec.ir.context import make_context
from sparsec.options import Options, Progress, Shapes
from sparsec.passes.unit import Unit
from sparsec.trace import Trace

if TYPE_CHECKING:
    from sparsec.options import Readable

Passes = Sequence[tuple[str, Callable[[Unit], None], str]]  # name, what it does, why here
Report = Callable[[str], None]  # of the stage that begins


def stages_of(passes: Passes, *later: str) -> tuple[str, ...]:
    """The names of all stages: the import, the passes, and what comes behind them."""
    return ("import", *(name for name, _, _ in passes), *later)


def reporter(progress: Progress | None, stages: Sequence[str], turn: int = 0, turns: int = 1) -> Report:
    """What tells `progress` of stages, in one of several compilations that follow each other."""

    def report(stage: str) -> None:
        if progress is not None:
            progress(stage, turn * len(stages) + stages.index(stage), turns * len(stages))

    return report


def in_turn(
    options: Options, shapes: Sequence[Shapes | None], progress: Progress | None, stages: Sequence[str]
) -> Iterator[tuple[Options, Report]]:
    """For each of the `shapes` the options with it in the place of their own, and what reports the stages."""
    for turn, each in enumerate(shapes):
        yield replace(options, shapes=each), reporter(progress, stages, turn, len(shapes))


def run_passes(imported: Imported, unit: Unit, passes: Passes, report: Report, trace: Trace) -> None:
    """Run the passes on the unit that was made of what was imported; raises the refusal of the node that one stops at."""
    trace.after("import", unit.module)
    for name, run, _ in passes:
        report(name)
        try:
            run(unit)
        except ToolchainError as error:
            raise imported.refusal(error) from error
        trace.after(name, unit.module)


def import_model(source: Readable, options: Options, example_inputs: object) -> Imported:
    """Send the source to the frontend that reads it; raises `UsageError` for what none reads."""
    context = make_context()
    if isinstance(source, (str, Path, bytes)) or type(source).__module__.startswith("onnx"):
        from sparsec.frontends.onnx import import_onnx

        if example_inputs is not None:
            raise UsageError("Example inputs are for torch modules; an ONNX model says what its inputs are.")
        return import_onnx(source, context=context, shapes=options.shapes, weights=options.weights)  # type: ignore[arg-type]
    if not hasattr(source, "state_dict"):
        models = "an ONNX file (its path or bytes, or a ModelProto), a torch module or an exported program"
        raise UsageError("This is not a model.", expected=models, got=type(source).__name__)
    from sparsec.frontends.torch import import_torch

    return import_torch(
        source,
        example_inputs,  # type: ignore[arg-type]
        context=context,
        shapes=options.shapes,
        weights=options.weights,
    )
