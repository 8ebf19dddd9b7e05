"""Programs in C that use libraries of networks: how they are written, compiled and run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from sparsec.artifact import NUMPY_DTYPES, Plan
from sparsec.c_library.header import Linkage
from sparsec.c_library.library import write_library
from sparsec.c_library.names import network_name
from sparsec.driver import compile_objects
from sparsec.options import Options
from sparsec.targets import resolve

Array = NDArray[np.generic]


def build(
    model: onnx.ModelProto,
    folder: Path,
    *,
    target: str = "native",
    linkage: Linkage,
    weights_inside: bool = True,
    storage: str = "fp32",
) -> Plan:
    """The library of a model in `folder`."""
    options = Options(target, use_measurements=False, storage=storage)
    plan, objects = compile_objects(model.SerializeToString(), options)
    write_library(folder, plan, objects, resolve(target), linkage, weights_inside=weights_inside)
    return plan


def program_text(plan: Plan, *, weights_inside: bool = True) -> str:
    """Reads the inputs behind each other from a file, runs, and writes the outputs to another; prints what goes wrong."""
    nl = "\n    "
    name, inputs, outputs = network_name(plan.name), plan.inputs, plan.outputs
    reads = "".join(f"static char in{i}[{spec.nbytes}];\n" for i, spec in enumerate(inputs))
    writes = "".join(f"static char out{i}[{spec.nbytes}];\n" for i, spec in enumerate(outputs))
    weights = "" if weights_inside else "arguments[3], "
    return f"""#include "{name}.h"
#include <stdio.h>
{reads}{writes}
int main(int count, char **arguments)
{{
    (void)count;
    FILE *given = fopen(arguments[1], "rb"), *results = fopen(arguments[2], "wb");
    {nl.join(f"if (fread(in{i}, sizeof in{i}, 1, given) != 1) return 9;" for i in range(len(inputs)))}
    {name}_inputs inputs = {{{", ".join(f"(const void *)in{i}" for i in range(len(inputs)))}}};
    {name}_outputs outputs = {{{", ".join(f"(void *)out{i}" for i in range(len(outputs)))}}};
    {name} *model;
    int status = {name}_open(&model, {weights}2);
    if (status == {name.upper()}_OK) status = {name}_run(model, &inputs, &outputs);
    if (status != {name.upper()}_OK) printf("%s", {name}_message(status));
    {name}_close(model);
    {"".join(f"fwrite(out{i}, sizeof out{i}, 1, results);" for i in range(len(outputs)))}
    return fclose(results) ? 9 : status;
}}
"""


def compile_program(
    text: str, folder: Path, libraries: Sequence[str], compiler: Sequence[str], flags: Sequence[str] = ()
) -> Path:
    """The program, linked with libraries in `folder`."""
    source, program = folder / "program.c", folder / "program"
    source.write_text(text)
    linked = [f"-l{name}" for name in libraries]
    command = [*compiler, "-Wall", "-Werror", str(source), "-I", str(folder), "-L", str(folder), *linked, *flags]
    subprocess.run([*command, "-lm", "-pthread", "-o", str(program)], check=True)
    return program


def run(
    command: Sequence[str], plan: Plan, feeds: Mapping[str, Array], folder: Path, *more: str
) -> tuple[int, str, dict[str, Array]]:
    """Exit code, what it printed, and the outputs."""
    given, results = folder / "given", folder / "results"
    given.write_bytes(b"".join(np.ascontiguousarray(feeds[spec.name]).tobytes() for spec in plan.inputs))
    done = subprocess.run([*command, str(given), str(results), *more], capture_output=True, text=True, check=False)
    data, at, outputs = results.read_bytes(), 0, {}
    for spec in plan.outputs:
        outputs[spec.name] = np.frombuffer(data[at : at + spec.nbytes], NUMPY_DTYPES[spec.dtype]).reshape(spec.shape)
        at += spec.nbytes
    return done.returncode, done.stdout, outputs
