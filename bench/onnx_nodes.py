"""`python -m bench nodes`: the ONNX backend node tests, compiled and run one by one.

Every case ends as passed, refused (a `SparsecError`, with its reason), wrong, or crashed. Cases run in worker processes, so that a
crash is counted and the rest goes on. Cases of other types than float32, integers and booleans are left out.
"""

from __future__ import annotations

import json
import multiprocessing
import re
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
SUMMARY = RESULTS.with_suffix(".md")
REASONS = (
    (r"element type \w+ of", "an element type that has no lowering"),
    (r"holds strings", "strings"),
    (r"is not a tensor", "sequences and optionals"),
    (r"depends on the data|only known while the network runs", "the shape of a result depends on the data"),
    (r"not known when compiling", "axes that are not known when compiling"),
    (r"is random", "random results"),
    (r"cannot be inferred", "a type that ONNX does not infer"),
    (r"chosen while the network runs|hands a buffer on|iter bbArg", "control flow that depends on the data"),
    (r"A check failed while the model ran", "a check failed while the model ran"),
    (r"legalize operation 'torch.operator'", "no lowering in torch-mlir"),
    (r"legalize|backend illegal|MLIR failed", "a form that torch-mlir does not lower"),
)
"""What the texts of refusals say, in the order in which they are looked for."""
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
    if case.model is None:
        return False
    graph = case.model.graph
    for value in (*graph.input, *graph.output):
        if not value.type.HasField("tensor_type"):
            return False
    arrays = [array for data in case.data_sets or () for side in data for array in side]
    return all(
        isinstance(array, np.ndarray)
        and array.dtype.kind in _KINDS
        and (array.dtype.kind != "f" or array.dtype == np.float32)
        for array in arrays
    )


def run_case(case: TestCase) -> Outcome:
    """Compile and run one case in this process."""
    import sparsec

    assert case.model is not None, case.name
    try:
        model = sparsec.compile(case.model, shapes=_shapes(case))
    except sparsec.SparsecError as error:
        return Outcome(case.name, "refused", " ".join(str(error).split())[:600])
    for inputs, expected in case.data_sets or ():
        try:
            got = list(
                model.run(
                    dict(zip((spec.name for spec in model.inputs), _used(model, case, inputs), strict=True))
                ).values()
            )
        except sparsec.SparsecError as error:
            return Outcome(case.name, "refused", " ".join(str(error).split())[:600])
        for position, (ours, theirs) in enumerate(zip(got, expected, strict=True)):
            fault = _difference(ours, np.asarray(theirs), case)
            if fault:
                return Outcome(case.name, "wrong", f"output {position}: {fault}")
    return Outcome(case.name, "passed")


def _shapes(case: TestCase) -> dict[str, tuple[int, ...]]:
    assert case.model is not None, case.name
    assert case.data_sets is not None, case.name
    inputs = case.data_sets[0][0]
    return {
        value.name: tuple(np.asarray(array).shape) for value, array in zip(case.model.graph.input, inputs, strict=False)
    }


def _used(model: object, case: TestCase, inputs: Sequence[object]) -> list[object]:
    assert case.model is not None, case.name
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


def reason_of(outcome: Outcome) -> tuple[str, str]:
    """Why a case was refused, in the words of `REASONS`, and the operator that was."""
    operator = re.search(r"\(([\w.]+ \w+), opset", outcome.reason)
    words = next((words for pattern, words in REASONS if re.search(pattern, outcome.reason)), "another reason")
    return words, operator[1].removeprefix("ai.onnx ") if operator else outcome.name.removeprefix("test_")


def _keep(outcomes: Sequence[Outcome], counts: Counter[str]) -> None:
    """Write the table as JSON, with how many cases were refused for which reason, and a summary as Markdown."""
    refused = [reason_of(outcome) for outcome in outcomes if outcome.result == "refused"]
    reasons = Counter(words for words, _ in refused)
    rows = [asdict(outcome) for outcome in sorted(outcomes, key=lambda outcome: outcome.name)]
    table = {"counts": dict(counts), "refused for": dict(reasons.most_common()), "cases": rows}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(table, indent=1) + "\n")
    lines = [
        "# ONNX backend node tests",
        "",
        "Written by `python -m bench nodes`; every case is in `onnx_nodes.json`. A refused case is one that raises a",
        "`SparsecError` with its reason; a wrong one gives other numbers than the test expects.",
        "",
        "| result | cases | share |",
        "| --- | ---: | ---: |",
        *(
            f"| {kind} | {counts[kind]} | {100 * counts[kind] / len(outcomes):.1f} % |"
            for kind in ("passed", "refused", "wrong", "crashed")
        ),
        "",
        "| refused for | cases | operators |",
        "| --- | ---: | --- |",
    ]
    for words, count in reasons.most_common():
        operators = Counter(operator for reason, operator in refused if reason == words)
        named = ", ".join(f"{name} ({number})" if number > 1 else name for name, number in operators.most_common())
        lines.append(f"| {words} | {count} | {named} |")
    SUMMARY.write_text("\n".join(lines) + "\n")


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
    print(
        ", ".join(f"{counts[kind]} {kind}" for kind in ("passed", "refused", "wrong", "crashed")), f"of {len(outcomes)}"
    )
    print(f"passed {100 * counts['passed'] / total:.1f} %")
    if not pattern:
        _keep(outcomes, counts)
    return 1 if counts["wrong"] or counts["crashed"] else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:2]))
