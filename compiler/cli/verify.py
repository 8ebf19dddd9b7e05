"""`sparsec verify`"""

from __future__ import annotations

import math

import click

from sparsec.cli.console import make_table, print_json, print_table
from sparsec.cli.models import compile_model, load_artifact, make_feeds, reference_of, require_runnable
from sparsec.cli.parameters import (
    compiles,
    input_option,
    json_option,
    one_shape,
    parse_inputs,
    seed_option,
    threads_option,
)
from sparsec.errors import UsageError
from sparsec.source import Kind, kind_of
from sparsec.verify import Verification, verify


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--artifact", metavar="FILE.sparsec", help="Check this artifact; without it, MODEL is compiled.")
@input_option
@seed_option
@compiles
@threads_option
@json_option
def command(
    model: str,
    artifact: str | None,
    inputs: tuple[str, ...],
    seed: int,
    target: str,
    shapes: tuple[str, ...],
    precision: str | None,
    threads: int | None,
    as_json: bool,
) -> int:
    """Check MODEL, compiled, against ONNX Runtime (an exported torch program: against torch) on one set of inputs.

    An output passes if its largest error is within the tolerance, which follows from its dtype and its largest
    magnitude; codes of 8 bit of a quantised network may be one step apart, and what was compiled with --precision bf16 or fp16,
    as for GPUs, or --storage fp16 has a tolerance of its own. Inputs that are not given are random.
    Exits with 1 if an output fails.
    """
    given, sizes = parse_inputs(inputs), one_shape(shapes)
    if kind_of(model) is Kind.ARTIFACT:
        raise UsageError(
            "An artifact is checked against its model.",
            where=model,
            expected="a model",
            next_step=f"sparsec verify MODEL --artifact {model}",
        )
    if artifact:
        compiled = load_artifact(artifact, target, sizes, precision, threads, given)
    else:
        require_runnable(target)
        compiled = compile_model(model, target, sizes, precision, threads)
    engine = reference_of(model, compiled, exact=True)
    result = verify(compiled, engine, make_feeds(compiled.inputs, given, seed, fill=True))
    if as_json:
        print_json(result.as_dict())
    else:
        print_verification(result)
    return 0 if result.passed else 1


def print_verification(result: Verification) -> None:
    """One row per output, and the verdict."""
    table = make_table(
        "output", "dtype", "shape", ">largest value", ">max error", ">mean error", ">tolerance", "verdict"
    )
    for check in result.outputs:
        verdict = "pass" if check.passed else f"FAIL: {check.fault or 'the error exceeds the tolerance'}"
        if check.differing and check.dtype.startswith(("int", "uint")):
            verdict = f"{verdict}, {check.differing} of {math.prod(check.shape)} differ"
        numbers = [f"{x:.3g}" for x in (check.scale, check.max_error, check.mean_error, check.tolerance)]
        table.add_row(check.name, check.dtype, str(list(check.shape)), *numbers, verdict)
    print_table(table)
    verdict = f"{'verified' if result.passed else 'NOT verified'} against {result.reference}"
    rounding = [f"in {result.precision}"] if result.precision != "f32" else []
    rounding += [f"with weights stored as {result.storage}"] if result.storage != "fp32" else []
    if rounding:
        share = f"{result.relative_error:.2%} of an output's largest value"
        verdict += f"; {' and '.join(rounding)} the largest error is {share}"
    click.echo(verdict)
