"""Time the layers of this folder against ONNX Runtime and torch, in turns, on one thread and on all; no compiler of ours.

`python3 run.py [--threads 1,16] [--json FILE]`. Ours is compared with ONNX Runtime's result first. A row holds the median
microseconds of each engine, of each of our kernels, of which one was chosen, and that one against the best of the others.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
Calls = dict[str, Callable[[], Any]]
HERE = Path(__file__).resolve().parent
ROUNDS, CALLS = 10, 4
REST_SECONDS = 0.06  # in which the threads of the peer before go to sleep: while they spin, they take processors
OWN_REST_SECONDS = 0.01
LOOKS = 30  # each a tenth of a millisecond
TOLERANCE = {"fp32": 1e-5, "bf16": 2e-2, "int8": 1e-5}


def build() -> None:
    """The C core of the runtime."""
    target = HERE / "sparsec" / "runtime" / "_native.so"
    if not target.exists():
        sources = sorted(map(str, (HERE / "native").glob("*.c")))
        flags = ["-O2", "-std=c11", "-fvisibility=hidden", "-shared", "-fPIC", "-pthread"]
        subprocess.run(["gcc", *flags, *sources, "-o", str(target), "-lm"], check=True)


def peers(model: bytes, shape: tuple[int, int, int], threads: int) -> Calls:
    """Engines that are here, each as a call on `x`; torch computes the dense layer of this shape in bfloat16."""
    found: Calls = {}
    x = inputs(shape)
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found["onnxruntime"] = lambda: session.run(None, {"x": x})[0]
    except ImportError as error:
        print(f"no ONNX Runtime: {error}", file=sys.stderr)
    try:
        import torch

        torch.set_num_threads(threads)
        m, k, _ = shape
        weight, tokens = torch.randn(m, k).bfloat16(), torch.from_numpy(x).bfloat16()
        torch.set_grad_enabled(False)
        found["torch-bf16"] = lambda: torch.nn.functional.linear(tokens, weight)
    except ImportError as error:
        print(f"no torch: {error}", file=sys.stderr)
    return found


def quietest() -> int:
    """The processor that is fastest just now: on a shared machine others use the second thread of some cores."""
    everything, work = os.sched_getaffinity(0), bytes(1 << 16)
    took: dict[int, float] = {}
    for processor in sorted(everything):
        os.sched_setaffinity(0, {processor})
        begin = time.perf_counter()
        for _ in range(LOOKS):
            hashlib.blake2b(work).digest()
        took[processor] = time.perf_counter() - begin
    os.sched_setaffinity(0, everything)
    return min(took, key=lambda processor: took[processor])


def inputs(shape: tuple[int, int, int]) -> Any:
    """The activations [tokens, inputs]."""
    _, k, n = shape
    return np.random.default_rng(1).standard_normal((n, k), np.float32)


def race(peers: Calls, own: Calls, threads: int) -> dict[str, float]:
    """Median microseconds per call of each, in turns; our threads sleep soon."""
    times: dict[str, list[float]] = {name: [] for name in (*peers, *own)}
    for _ in range(ROUNDS if threads == 1 else ROUNDS // 3):
        for name, call in (*peers.items(), *own.items()):
            for _ in range(1 if threads == 1 else CALLS):
                call()
            for _ in range(CALLS if threads == 1 else 3 * CALLS):
                begin = time.perf_counter_ns()
                call()
                times[name].append((time.perf_counter_ns() - begin) / 1e3)
            if threads > 1:
                time.sleep(REST_SECONDS if name in peers else OWN_REST_SECONDS)
    return {name: round(float(np.median(each)), 1) for name, each in times.items()}


def measure(cell: Row, threads: int) -> Row:
    """One layer on so many threads, by each kernel that was carried."""
    from sparsec import artifact
    from sparsec.runtime.session import Session

    shape = cell["m"], cell["k"], cell["n"]
    x = inputs(shape)
    others = peers(gzip.decompress((HERE / cell["model"]).read_bytes()), shape, threads)
    expected = others["onnxruntime"]() if "onnxruntime" in others else None
    own: Calls = {}
    errors: dict[str, float] = {}
    for kernel, file in cell["kernels"].items():
        session = Session(artifact.read(str(HERE / file)), threads=threads)
        out = {"y": np.full((shape[2], shape[0]), np.nan, np.float32)}
        own[kernel] = session.bind({"x": x}, out=out)
        own[kernel]()
        if expected is not None:
            errors[kernel] = float(np.abs(out["y"] - expected).max() / np.abs(expected).max())
    chosen = cell["chosen"].get(str(threads), cell["chosen"]["1"])
    row: Row = {"cell": cell["name"], "threads": threads, "chosen": chosen}
    if errors:
        tolerance = TOLERANCE.get(cell["name"].split()[-1], TOLERANCE["fp32"])
        row |= {"error": max(errors.values()), "right": all(error <= tolerance for error in errors.values())}
    times = race(others, own, threads)
    best = min((times[name] for name in others), default=float("nan"))
    row |= {"us": {"sparsec": times[chosen], **{name: times[name] for name in others}}}
    return row | {"kernels": {name: times[name] for name in own}, "ratio": round(best / times[chosen], 3)}


def main() -> int:
    """Measure all; exit code 1 if a result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", default=f"1,{len(os.sched_getaffinity(0))}")
    parser.add_argument("--json", default="elsewhere.json")
    asked = parser.parse_args()
    build()
    sys.path.insert(0, str(HERE))
    described = json.loads((HERE / "cells.json").read_text())
    rows, everything = [], os.sched_getaffinity(0)
    for threads in map(int, asked.threads.split(",")):
        for cell in described["cells"]:
            os.sched_setaffinity(0, {quietest()} if threads == 1 else everything)
            row = measure(cell, threads)
            os.sched_setaffinity(0, everything)
            rows.append(row)
            times = "  ".join(f"{name} {us}" for name, us in row["us"].items())
            wrong = "" if row.get("right", True) else f"  WRONG by {row['error']:.2g}"
            print(
                f"{row['cell']:34} {threads:2} threads  {row['ratio']:5.2f}x  {times}  {row['chosen']}{wrong}  {row['kernels']}",
                flush=True,
            )
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    result = {"cpu": cpu, "python": platform.python_version(), "target": described["target"], "rows": rows}
    Path(asked.json).write_text(json.dumps(result, indent=1) + "\n")
    return int(not all(row.get("right", True) for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
