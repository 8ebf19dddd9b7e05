"""Which of the shapes that a model was compiled for a call has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from operator import index
from typing import TypeAlias

from sparsec.artifact import TensorSpec
from sparsec.errors import InputError, UsageError
from sparsec.runtime.tensors import Feeds, match

Inputs: TypeAlias = Sequence[TensorSpec]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_MOST_ELEMENTS = 2**40  # of an input: terabytes


def pick(feeds: Feeds, choices: Sequence[Inputs]) -> int:
    """The number of the inputs whose shapes these tensors have; raises `InputError` that names those there are.

    A single choice is not looked into: what checks each tensor says more.
    """
    if len(choices) == 1:
        return 0
    found = [_shape_of(value) for value in match(feeds, choices[0], "input")]
    for number, specs in enumerate(choices):
        if found == [spec.shape for spec in specs]:
            return number
    got = ", ".join(_described(spec.name, shape) for spec, shape in zip(choices[0], found, strict=True))
    raise InputError(
        "The model was not compiled for these shapes.",
        expected=all_of(choices),
        got=got,
        next_step="compile it for these, too: --shape may be given several times",
    )


def find(shapes: Shapes, choices: Sequence[Inputs]) -> int:
    """The number of the inputs of which some have these shapes, by name; raises `UsageError` if they are not those of one."""
    wanted = set(_sizes(shapes).items())
    fitting = [number for number, specs in enumerate(choices) if wanted <= {(spec.name, spec.shape) for spec in specs}]
    if len(fitting) != 1:
        fault = "several such shapes" if fitting else "no such shape"
        got = ", ".join(_described(*each) for each in shapes.items()) or "no shape"
        raise UsageError(f"The model was compiled for {fault}.", expected=all_of(choices), got=got)
    return fitting[0]


def sets_of(shapes: Shapes | Sequence[Shapes] | None) -> list[Shapes | None]:
    """What a model is to be compiled for: as it says itself, for one set of shapes, or for several that have to differ.

    Raises `UsageError` for sets of which one could not be told from another, and for what is no shape.
    """
    if shapes is None:
        return [None]
    if isinstance(shapes, Mapping):
        return [_sizes(shapes)]
    if not shapes or not isinstance(shapes, Sequence) or not all(isinstance(each, Mapping) for each in shapes):
        raise UsageError("There is no shape to compile for.", expected="shapes of inputs by name, or several such")
    shapes = [_sizes(each) for each in shapes]
    if any(each.keys() != shapes[0].keys() for each in shapes):
        got = " or ".join(", ".join(each) for each in shapes)
        raise UsageError("The sets of shapes are not for the same inputs.", expected=", ".join(shapes[0]), got=got)
    for number, each in enumerate(shapes):
        if each in shapes[:number]:
            got = ", ".join(_described(*shape) for shape in each.items())
            raise UsageError("A set of shapes is given twice.", got=got)
    return [*shapes]


def _sizes(shapes: Shapes) -> Shapes:
    """Each shape as a tuple of integers; raises `UsageError` for anything else, and for tensors beyond all memory."""
    found = {}
    for name, shape in shapes.items():
        try:
            found[name] = tuple(index(size) for size in shape)
        except TypeError as error:
            raise UsageError(
                f"What is given for input {name!r} is no shape.", expected="(1, 3, 224, 224)", got=repr(shape)
            ) from error
        if any(size < 0 for size in found[name]) or prod(found[name]) > _MOST_ELEMENTS:
            raise UsageError(f"No tensor has the shape that is given for input {name!r}.", got=repr(found[name]))
    return found


def all_of(choices: Sequence[Inputs]) -> str:
    """All shapes, in words."""
    return " or ".join(", ".join(_described(spec.name, spec.shape) for spec in specs) for specs in choices)


def _described(name: str, shape: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, shape))}]"


def _shape_of(value: object) -> tuple[int, ...]:
    """Of what has a shape, as arrays and tensors of all libraries do, or speaks the buffer protocol."""
    shape = getattr(value, "shape", None)
    try:
        return tuple(shape) if shape is not None else memoryview(value).shape or ()  # type: ignore[arg-type]
    except TypeError as error:
        raise InputError("This is not a tensor.", got=type(value).__name__) from error
