"""Options that commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from sparsec.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., object])

Shapes = dict[str, tuple[int, ...]]


def parse_shapes(texts: tuple[str, ...]) -> Shapes:
    """Read `NAME=1,3,224,224` texts; raises `UsageError`."""
    shapes: Shapes = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        sizes = [number.strip() for number in numbers.split(",")] if numbers.strip() else []
        if not equals or not name or not all(each.isdecimal() for each in sizes):
            raise UsageError("The option --shape has a wrong form.", expected="NAME=1,3,224,224", got=text)
        if name in shapes:
            raise UsageError(f"The shape of {name!r} is given twice.", got=text)
        shapes[name] = tuple(int(each) for each in sizes)
    return shapes


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


target_option = click.option(
    "--target", default="native", show_default=True, metavar="NAME", help="What to compile for; see `sparsec targets`."
)
shape_option = click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=1,3,224,224",
    help="Fix the shape of an input that has unknown dimensions; may be repeated.",
)
threads_option = click.option(
    "--threads", type=click.IntRange(1, 4096), metavar="N", help="Threads per run [default: all that may be used]."
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
