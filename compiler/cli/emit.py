"""What `sparsec compile` writes other than artifacts: packages for the web, libraries for C, text."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from sparsec.cli.console import progress, say, size
from sparsec.cli.outputs import write_text

if TYPE_CHECKING:
    from sparsec.options import Options


def emit_wasm(model: str, output: Path, options: Options, *, weights_inside: bool) -> int:
    """Write a package for the web; returns the exit code."""
    from sparsec.driver import compile_wasm
    from sparsec.source import readable
    from sparsec.web.package import package_files
    from sparsec.whole_file import write_files

    start = time.perf_counter()
    with progress(f"compiling {Path(model).name}") as stages:
        plan, module = compile_wasm(readable(model), options, weights_inside=weights_inside, progress=stages)
    contents = package_files(plan, module, weights_inside=weights_inside)
    write_files(output, contents)
    total = sum(map(len, contents.values()))
    say(
        f"{output}: {size(total)}, of it {size(plan.weights.nbytes)} of weights; for {plan.target.isa}, "
        f"{len(plan.steps)} steps, in {time.perf_counter() - start:.1f} s"
    )
    return 0


def emit_library(model: str, output: Path, emit: str, options: Options, *, weights_inside: bool) -> int:
    """Write a library for C, "static" or "shared", with its header; returns the exit code."""
    from sparsec.c_library.header import Linkage
    from sparsec.c_library.library import write_library
    from sparsec.driver import compile_objects
    from sparsec.source import readable
    from sparsec.targets import resolve
    from sparsec.targets.c_compiler import CCompiler

    target, start = resolve(options.target), time.perf_counter()
    if not target.is_wasm:  # which is refused below
        CCompiler.find(target)  # or say that there is none before the model is compiled
    with progress(f"compiling {Path(model).name}") as stages:
        plan, objects = compile_objects(readable(model), options, progress=stages)
    written = write_library(output, plan, objects, target, Linkage(emit), weights_inside=weights_inside)
    total = sum(file.stat().st_size for file in written)
    say(
        f"{', '.join(map(str, written))}: {size(total)}, of it {size(plan.weights.nbytes)} of weights; "
        f"for {plan.target.isa}, {len(plan.steps)} steps, in {time.perf_counter() - start:.1f} s"
    )
    return 0


def emit_text(model: str, output: Path | None, emit: str, options: Options) -> int:
    """Write, or print, the text of a level of the compilation; returns the exit code."""
    from sparsec.driver import Level, compile_text
    from sparsec.source import readable

    with progress(f"compiling {Path(model).name}") as stages:
        text = compile_text(readable(model), Level(emit), options, progress=stages)
    write_text(text, output)
    return 0
