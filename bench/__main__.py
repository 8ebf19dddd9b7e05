"""`python -m bench` with demo, models, sparse-models, nodes, spmm, threads, arm, carry, wasm, cost, cuda or roofs."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import click

from bench import demo, models, onnx_nodes
from bench.spmm_cells import PATTERNS, QUICK, SHAPES, SPARSITIES, TOKENS, grid
from bench.spmm_cells import sample as sampled
from sparsec.errors import SparsecError


@click.group()
def bench() -> None:
    """Compile, verify and time real networks against ONNX Runtime."""


@bench.command("demo")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="How long to measure.")
def _demo(seconds: float) -> None:
    """The network of this repository: one table, in words."""
    raise SystemExit(demo.run(seconds))


@bench.command("models")
@click.argument("names", nargs=-1)
@click.option("--seconds", type=float, default=5.0, show_default=True, help="How long to measure each.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), default=models.RESULTS, show_default=True)
def _models(names: tuple[str, ...], seconds: float, json_file: Path) -> None:
    """All networks that can be had, or those NAMED; what is missing is listed with the command that installs it."""
    raise SystemExit(models.run(names, seconds, json_file))


@bench.command("sparse-models")
@click.argument("names", nargs=-1)
@click.option("--batch", metavar="N,...", default="1", show_default=True, help="Images or sentences at once.")
@click.option("--patterns", metavar="NAME,...", default="unstructured,4x1,1x4", show_default=True)
@click.option(
    "--sparsity", metavar="PER_CENT,...", default="80,90", show_default=True, help="Per cent pruned per layer."
)
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16", "int8", "int8-bf16"]), default="fp32", show_default=True
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--peers", metavar="all|NAME,...", default="all", show_default=True, help="Whom to race.")
@click.option(
    "--seconds", type=float, default=5.0, show_default=True, help="How long to measure each; never under 7 rounds."
)
@click.option("--resume", is_flag=True, help="Keep what the file has, and measure the rest.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="[default: bench/results/sparse_models.json]"
)
def _sparse_models(
    names: tuple[str, ...],
    batch: str,
    patterns: str,
    sparsity: str,
    precision: str,
    threads: int,
    peers: str,
    seconds: float,
    resume: bool,
    json_file: Path | None,
) -> None:
    """Prune real networks by magnitude and race them, whole, against dense and sparse engines; all, or those NAMED."""
    from bench import sparse_models
    from bench.peers.rivals import ENGINES
    from bench.sparse_zoo import NETWORKS
    from bench.variants import cells_of

    rivals = None if peers == "all" else tuple(peers.split(","))
    for given, known in ((names, tuple(NETWORKS)), (rivals or (), tuple(ENGINES))):
        if unknown := [name for name in given if name not in known]:
            raise click.UsageError(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    try:
        cells = cells_of(
            names or tuple(NETWORKS),
            tuple(int(each) for each in batch.split(",")),
            tuple(patterns.split(",")),
            tuple(float(each) / 100 for each in sparsity.split(",")),
            precision,
            threads,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    raise SystemExit(sparse_models.run(cells, rivals, json_file or sparse_models.RESULTS, seconds, resume=resume))


@bench.command("nodes")
@click.argument("pattern", default="")
def _nodes(pattern: str) -> None:
    """The ONNX backend node tests whose names match PATTERN, or all: passed, refused, wrong, crashed."""
    raise SystemExit(onnx_nodes.main(pattern))


@bench.command("spmm")
@click.option("--peers", metavar="all|NAME,...", default="all", show_default=True, help="Whom to race.")
@click.option("--shapes", metavar="MxK,...", help="Shapes of W; the default is the public grid.")
@click.option("--tokens", metavar="N,...", help="Columns of X.")
@click.option("--patterns", metavar="NAME,...", help="unstructured, blocks RxC, or N:M.")
@click.option("--sparsity", metavar="PER_CENT,...", help="Per cent of zeros.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "int8"]), default="fp32", show_default=True)
@click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="N cells, spread over patterns, sparsities and tokens."
)
@click.option("--budget", type=click.FloatRange(0), metavar="MINUTES", help="Begin no cell after that.")
@click.option("--quick", is_flag=True, help="A dozen cells, in about a minute.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, show_default=True, help="How long to measure each.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Append rows here; cells in it are skipped.")
def _spmm(
    peers: str,
    shapes: str | None,
    tokens: str | None,
    patterns: str | None,
    sparsity: str | None,
    precision: str,
    sample: int | None,
    budget: float | None,
    quick: bool,
    seconds: float,
    json_file: Path | None,
) -> None:
    """Race our compiled layer Y = W X against dense and sparse engines, over shapes, sparsities and patterns.

    Interrupted or out of time, the same command with the same --json goes on where it stopped. In int8, activations are
    float32 on both sides: quantising and dequantising them is in everybody's time.
    """
    from bench import spmm

    try:
        chosen = grid(
            [_shape(each) for each in shapes.split(",")] if shapes else SHAPES,
            [int(each) for each in tokens.split(",")] if tokens else TOKENS,
            patterns.split(",") if patterns else PATTERNS,
            [float(each) / 100 for each in sparsity.split(",")] if sparsity else SPARSITIES,
            precision,
        )
        if quick:
            chosen = tuple(replace(cell, precision=precision) for cell in QUICK)
        elif sample is not None:
            chosen = sampled(chosen, sample)
        raise SystemExit(spmm.run(chosen, peers, json_file, seconds, minutes=budget))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except SparsecError as error:
        raise click.ClickException(str(error)) from error


def _shape(text: str) -> tuple[int, int]:
    m, _, k = text.partition("x")
    if not (m.isdecimal() and k.isdecimal()):
        raise click.UsageError(f"a shape is written MxK, not {text!r}")
    return int(m), int(k)


@bench.command("threads")
@click.argument("names", nargs=-1)
@click.option("--threads", metavar="N,...", default="1,2", show_default=True)
@click.option("--layers/--no-layers", default=True, show_default=True, help="Single layers above 10 MFLOP.")
@click.option("--seconds", type=click.FloatRange(0.1), default=1.5, show_default=True, help="How long to measure each.")
@click.option(
    "--urgent", is_flag=True, help="Run before all other processes while measuring; for root, on a busy machine."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="[default: bench/results/threads.json]")
def _threads(
    names: tuple[str, ...], threads: str, layers: bool, seconds: float, urgent: bool, json_file: Path | None
) -> None:
    """Speed-up on several threads: layers, skewed ones among them, and the networks NAMED, pruned to 90 %."""
    from bench import threads as bench_threads
    from bench.sparse_zoo import NETWORKS
    from bench.threads_cells import layer_cases, network_cases

    if unknown := [name for name in names if name not in NETWORKS]:
        raise click.UsageError(f"there is no network {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    try:
        counts = sorted({1, *(int(each) for each in threads.split(","))})
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    cases = (*(layer_cases() if layers else ()), *network_cases(names))
    raise SystemExit(
        bench_threads.run(cases, counts, seconds, json_file or bench_threads.RESULTS, before_others=urgent)
    )


@bench.command("wasm")
@click.argument("pattern", default="")
@click.option("--seconds", type=click.FloatRange(0.1), default=6.0, show_default=True, help="How long to measure each.")
@click.option("--networks", is_flag=True, help="Compare outputs of networks in each engine, and no times.")
@click.option("--threads", is_flag=True, help="Race one thread against more of this machine's, and no other engine.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    help="[default: wasm.json, wasm_networks.json or wasm_threads.json of bench/results]",
)
def _wasm(pattern: str, seconds: float, json_file: Path | None, *, networks: bool, threads: bool) -> None:
    """WebAssembly in Node against ONNX Runtime Web: cells whose names contain PATTERN, or all."""
    from bench import wasm, wasm_networks, wasm_threads

    try:
        if networks:
            raise SystemExit(wasm_networks.run(pattern, json_file or wasm_networks.RESULTS))
        if threads:
            raise SystemExit(wasm_threads.run(pattern, seconds, json_file or wasm_threads.RESULTS))
        raise SystemExit(wasm.run(pattern, seconds, json_file or wasm.RESULTS))
    except SparsecError as error:
        raise click.ClickException(str(error)) from error


@bench.command("arm")
@click.argument("pattern", default="")
@click.option("--board", type=click.Path(path_type=Path), metavar="DIR", help="Fill DIR with what an ARM board needs.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="[default: bench/results/arm.json]")
def _arm(pattern: str, board: Path | None, json_file: Path | None) -> None:
    """64-bit ARM without an ARM machine: instructions that QEMU counts, cycles that llvm-mca predicts.

    Of the networks whose names contain PATTERN, or of all and of inner loops. With --board, nothing is counted: DIR gets the
    networks, and `sh run.sh` in it times them on any 64-bit ARM Linux with a C compiler.
    """
    from bench.arm import run as arm

    try:
        raise SystemExit(arm.run(pattern, json_file or arm.RESULTS, board))
    except SparsecError as error:
        raise click.ClickException(str(error)) from error


@bench.command("carry")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--target", default="x86-64-v4-amx", show_default=True, metavar="NAME", help="Of the other machine.")
@click.option("--match", default="", metavar="TEXT", help="Only layers whose name has this in it.")
def _carry(folder: Path, target: str, match: str) -> None:
    """Compile layers for another machine, where nothing can be installed: FOLDER gets all that run.py in it needs."""
    from bench.elsewhere import carry

    raise SystemExit(carry.carry(folder, target, [cell for cell in carry.CELLS if match in str(cell)]))


@bench.command("roofs")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the rates here too.")
def _roofs(json_file: Path | None) -> None:
    """What one core of this machine can do at most: multiply-adds, dot products, reads."""
    from bench import roofs

    raise SystemExit(roofs.run(json_file))


@bench.command("cost")
@click.option("--quick", is_flag=True, help="A few cells of the grid, in about half a minute.")
@click.option("--budget", type=click.FloatRange(0), metavar="MINUTES", help="Measure no further cell after that.")
@click.option("--new", "which", flag_value="new", help="Shapes, tokens and patterns that the model was not fitted to.")
@click.option("--mixed", "which", flag_value="mixed", help="Weights with rows, columns or blocks of other densities.")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "int8"]), default="fp32", show_default=True)
@click.option("--target", default="native", show_default=True, metavar="NAME", help="Of the kernels.")
@click.option(
    "--seconds", type=click.FloatRange(0.01), default=0.3, show_default=True, help="How long to measure each."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="[default: in bench/results]")
def _cost(
    quick: bool,
    budget: float | None,
    which: str | None,
    precision: str,
    target: str,
    seconds: float,
    json_file: Path | None,
) -> None:
    """How often the cost model chooses the best kernel, and how far its predictions are off."""
    from bench import cost_model

    name = "_".join(["cost", *([which] if which else []), *([precision] if precision != "fp32" else [])])
    cells = cost_model.cells_of(precision, which, quick=quick)
    path = json_file or cost_model.RESULTS / f"{name}.json"
    raise SystemExit(cost_model.run(cells, path, target=target, seconds=seconds, minutes=budget))


def _cuda_part(part: str, json_file: Path | None, *, quick: bool) -> int:
    """Time one part of the table; returns the exit code: 1 if a result was wrong."""
    from bench import cuda

    match part:
        case "few":
            return cuda.run(json_file or cuda.RESULTS, cuda.cells(quick=quick))
        case "many":
            return cuda.run(json_file or cuda.RESULTS_OF_MANY, cuda.cells_of_many(quick=quick))
        case _:
            chosen = import_module(f"bench.cuda_{part}")
            code: int = chosen.run(json_file or chosen.RESULTS)
            return code


@bench.command("cuda")
@click.option("--quick", is_flag=True, help="A few products.")
@click.option("--many", is_flag=True, help="Products of many tokens, instead of few.")
@click.option("--block", "which", flag_value="block", help="A Llama-shaped block of torch's, instead.")
@click.option("--dense", "which", flag_value="dense", help="Dense products, attention and convolutions, instead.")
@click.option("--models", "which", flag_value="models", help="Whole networks, compiled, instead.")
@click.option(
    "--all", "which", flag_value="all", help="All of these, on all GPUs there are; each keeps a file of its own."
)
@click.option("--goals", "which", flag_value="goals", help="Which goals the files reach, instead; needs no GPU.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="[default: bench/results/cuda[_many|_block|...].json]"
)
def _cuda(json_file: Path | None, which: str | None, *, quick: bool, many: bool) -> None:
    """Sparse products, and what else models need, on an NVIDIA GPU against torch's."""
    if which is not None and (many or quick):
        raise click.UsageError(f"--{which} goes without --many and --quick")
    if which in ("all", "goals"):
        from bench import cuda_all, cuda_goals

        if json_file is not None:
            raise click.UsageError(f"--{which} is of several files, and goes without --json")
        code = cuda_all.run() if which == "all" else 0
        cuda_goals.run()
        raise SystemExit(code)
    try:
        raise SystemExit(_cuda_part(which or ("many" if many else "few"), json_file, quick=quick))
    except SparsecError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    bench()
