"""Options that commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from sparsec.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., object])

Shapes = dict[str, tuple[int, ...]]


def parse_shapes(texts: tuple[str, ...]) -> list[Shapes]:
    """Read `NAME=1,3,224,224` texts: sets of shapes, of which a name that is given again begins another.

    Raises `UsageError` for texts of another form, and unless each name is given equally often.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        sizes = [number.strip() for number in numbers.split(",")] if numbers.strip() else []
        if not equals or not name or not all(each.isdecimal() for each in sizes):
            raise UsageError("The option --shape has a wrong form.", expected="NAME=1,3,224,224", got=text)
        shapes.setdefault(name, []).append(tuple(int(each) for each in sizes))
    if len({len(each) for each in shapes.values()}) > 1:
        got = ", ".join(f"{len(each)} of {name}" for name, each in shapes.items())
        raise UsageError("Each set of shapes needs one of each input that --shape names.", got=got)
    return [dict(zip(shapes, each, strict=True)) for each in zip(*shapes.values(), strict=True)]


def one_shape(texts: tuple[str, ...], what: str = "This command") -> Shapes:
    """Read the same for `what` is about one set of shapes; empty for none. Raises `UsageError`."""
    sets = parse_shapes(texts)
    if len(sets) > 1:
        raise UsageError(f"{what} is for one set of shapes.", expected="each --shape once", got=f"{len(sets)} sets")
    return sets[0] if sets else {}


def parse_inputs(texts: tuple[str, ...]) -> dict[str, str]:
    """Read `NAME=file.npy` and `NAME=random` texts; raises `UsageError`."""
    inputs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise UsageError("The option --input has a wrong form.", expected="NAME=file.npy or NAME=random", got=text)
        if name in inputs:
            raise UsageError(f"The input {name!r} is given twice.", got=text)
        inputs[name] = value
    return inputs


def require_seconds(seconds: float) -> None:
    """Raise `UsageError` unless this is a time that one waits for."""
    if not 0 < seconds <= 3600:
        raise UsageError("The option --seconds is out of range.", expected="above 0, up to 3600", got=f"{seconds:g}")


target_option = click.option(
    "--target", default="native", show_default=True, metavar="NAME", help="What to compile for; see `sparsec targets`."
)
shape_option = click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=1,3,224,224",
    help="Fix the shape of an input that has unknown dimensions, or say which shape of an artifact is meant; one for each input.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 4096), metavar="N", help="Threads per run [default: all that may be used]."
)
chosen_for_option = click.option(
    "--threads",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Choose kernels for so many threads per run [default: 1].",
)
input_option = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=FILE.npy|random",
    help="A tensor for an input, or random numbers; may be repeated.",
)
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Of the random inputs.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")


precision_option = click.option(
    "--precision",
    type=click.Choice(["f32", "bf16", "fp16"]),
    help="What layers of float32 multiply in: bf16 or fp16 where it is faster, with sums in float32 (in fp16, of short sums)."
    "  [default: f32; for GPUs, fp16]",
)


def compiles(command: Command) -> Command:
    """Add the options of a command that compiles a model: `target`, `shapes` and `precision`."""
    return target_option(shape_option(precision_option(command)))
