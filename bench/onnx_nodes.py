"""`python -m bench nodes`: the ONNX backend node tests, compiled and run one by one.

Every case ends as passed, refused (a `SparsecError`, with its reason), wrong, or crashed. Cases run in worker processes, so that a
crash is counted and the rest goes on. Cases of other types than float32, integers and booleans are left out.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx.backend.test.case.test_case import TestCase

RESULTS = Path(__file__).parent / "results" / "onnx_nodes.json"
_KINDS = "fiub"  # NumPy kinds: floats, signed and unsigned integers, booleans
_BATCH = 25


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case ended; `reason` is empty for a pass."""

    name: str
    result: str  # passed, refused, wrong, crashed
    reason: str = ""


def cases() -> dict[str, TestCase]:
    """The node tests whose tensors are all float32, integers or booleans, by name."""
    import onnx.backend.test.loader as loader

    found = {case.name: case for case in loader.load_model_tests(kind="node")}
    return {name: case for name, case in found.items() if _is_plain(case)}


def _is_plain(case: TestCase) -> bool:
    graph = case.model.graph
    for value in (*graph.input, *graph.output):
        if not value.type.HasField("tensor_type"):
            return False
    arrays = [array for data in case.data_sets for side in data for array in side]
    return all(
        isinstance(array, np.ndarray)
        and array.dtype.kind in _KINDS
        and (array.dtype.kind != "f" or array.dtype == np.float32)
        for array in arrays
    )


def run_case(case: TestCase) -> Outcome:
    """Compile and run one case in this process."""
    import sparsec

    try:
        model = sparsec.compile(case.model, shapes=_shapes(case))
    except sparsec.SparsecError as error:
        return Outcome(case.name, "refused", " ".join(str(error).split())[:300])
    for inputs, expected in case.data_sets:
        try:
            got = list(model.run(dict(zip((spec.name for spec in model.inputs), _used(model, case, inputs), strict=True))).values())
        except sparsec.SparsecError as error:
            return Outcome(case.name, "refused", " ".join(str(error).split())[:300])
        for position, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
            fault = _difference(ours, np.asarray(theirs), case)
            if fault:
                return Outcome(case.name, "wrong", f"output {position}: {fault}")
    return Outcome(case.name, "passed")


def _shapes(case: TestCase) -> dict[str, tuple[int, ...]]:
    inputs = case.data_sets[0][0]
    return {
        value.name: tuple(np.asarray(array).shape) for value, array in zip(case.model.graph.input, inputs, strict=False)
    }


def _used(model: object, case: TestCase, inputs: Sequence[object]) -> list[object]:
    by_name = {value.name: array for value, array in zip(case.model.graph.input, inputs, strict=False)}
    return [by_name[spec.name] for spec in model.inputs]  # type: ignore[attr-defined]


def _difference(ours: np.ndarray, theirs: np.ndarray, case: TestCase) -> str:
    if ours.shape != theirs.shape:
        return f"shape {ours.shape}, expected {theirs.shape}"
    if ours.dtype != theirs.dtype:
        return f"dtype {ours.dtype}, expected {theirs.dtype}"
    try:
        np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=case.atol)
    except AssertionError as error:
        return " ".join(str(error).split())[:200]
    return ""


def _run_batch(names: Sequence[str]) -> list[Outcome]:
    chosen = cases()
    outcomes = []
    for name in names:
        try:
            outcomes.append(run_case(chosen[name]))
        except Exception:
            outcomes.append(Outcome(name, "crashed", traceback.format_exc(limit=-2)[-400:]))
    return outcomes


def run_all(names: Sequence[str], workers: int = 2) -> Iterator[Outcome]:
    """Run cases in batches; a batch whose process dies is run again case by case."""
    context = multiprocessing.get_context("spawn")
    batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
    while batches:
        failed: list[Sequence[str]] = []
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures = [(batch, pool.submit(_run_batch, batch)) for batch in batches]
            for batch, future in futures:
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    failed.append(batch)
        batches = []
        for batch in failed:
            if len(batch) == 1:
                yield from _alone(batch[0], context)
            else:
                batches += [[name] for name in batch]


def _alone(name: str, context: multiprocessing.context.SpawnContext) -> Iterator[Outcome]:
    """One case in a process of its own: the one that dies here is the one that crashes."""
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            yield from pool.submit(_run_batch, [name]).result()
        except BrokenProcessPool:
            yield Outcome(name, "crashed", "the process died")


def main(pattern: str = "") -> int:
    """Run every case whose name contains `pattern`; with no pattern, keep the table."""
    names = [name for name in cases() if pattern in name]
    outcomes: list[Outcome] = []
    for outcome in run_all(names):
        outcomes.append(outcome)
        if outcome.result in ("wrong", "crashed"):
            print(f"{outcome.result}: {outcome.name}: {outcome.reason}", file=sys.stderr, flush=True)
        if len(outcomes) % 100 == 0:
            print(f"{len(outcomes)} of {len(names)}", file=sys.stderr, flush=True)
    counts = Counter(outcome.result for outcome in outcomes)
    total = max(len(outcomes), 1)
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("passed", "refused", "wrong", "crashed")), f"of {len(outcomes)}")
    print(f"passed {100 * counts['passed'] / total:.1f} %")
    if not pattern:
        rows = [asdict(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.name)]
        RESULTS.write_text(json.dumps({"counts": dict(counts), "cases": rows}, indent=1) + "\n")
    return 1 if counts["wrong"] or counts["crashed"] else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
