"""LLVM IR of what a network's module exports: its steps, one by one, in parts, or all; and the addresses of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sparsec.artifact import Plan
from sparsec.targets import abi
from sparsec.targets.wasm_half import widening
from sparsec.targets.wasm_layout import Layout

SHARE, PART = "share", "part"


def runner(plan: Plan, layout: Layout, *, shared: bool) -> str:
    """The exports; with `shared`, steps are the host's to deal out, by its function `SHARE`, in calls of `PART`.

    define void @part(i32 %number, i32 %chunk, i32 %chunks) {
      ...                                                    ; units [%begin, %behind) are that chunk
      switch i32 %number, label %end [ i32 0, label %step0 ... ]
    step0:
      call void @entry_conv(ptr getelementptr (i8, ptr @arguments, i32 0), i64 %begin, i64 %behind)
      br label %end
      ...
    define i32 @step(i32 %number) {
      call void @part(i32 %number, i32 0, i32 1)             ; or @share(i32 %number, i32 %most)
      %failed = load i32, ptr inttoptr (i32 1048576 to ptr)  ; the number of the check that failed
      ...
    """
    status = f"ptr inttoptr (i32 {layout.arena + plan.status} to ptr)" if plan.status is not None else None
    return "\n".join(
        [
            _table("inputs", layout.inputs),
            _table("outputs", layout.outputs),
            widening(plan.pieces, layout.stored, layout.weights) if plan.pieces else "",
            *_part(plan, layout, visible=shared),
            *_step(plan, status, shared=shared),
            _run(len(plan.steps), status),
            _lookup("input", "inputs", len(layout.inputs)),
            _lookup("output", "outputs", len(layout.outputs)),
            f"define i32 @weights() {{\n  ret i32 {layout.stored}\n}}",
        ]
    )


def _part(plan: Plan, layout: Layout, *, visible: bool) -> Iterator[str]:
    """One of some chunks of a step, which are as even as they can be."""
    cases = " ".join(f"i32 {number}, label %step{number}" for number in range(len(plan.steps)))
    yield _table("arguments", [layout.address(argument) for step in plan.steps for argument in step.args])
    yield _table("extents", [step.extent for step in plan.steps], "i64")
    for kernel in plan.kernels:
        yield f'declare void @"{abi.entry_symbol(kernel)}"(ptr, i64, i64)'
    yield f"""define {"" if visible else "internal "}void @{PART}(i32 %number, i32 %chunk, i32 %chunks) {{
  %extent_place = getelementptr i64, ptr @extents, i32 %number
  %extent = load i64, ptr %extent_place
  %count = zext i32 %chunks to i64
  %first = zext i32 %chunk to i64
  %second = add i64 %first, 1
  %before = mul i64 %extent, %first
  %with = mul i64 %extent, %second
  %begin = udiv i64 %before, %count
  %behind = udiv i64 %with, %count
  switch i32 %number, label %end [ {cases} ]"""
    first = 0
    for number, step in enumerate(plan.steps):
        entry, table = abi.entry_symbol(step.kernel), f"ptr getelementptr (i8, ptr @arguments, i32 {4 * first})"
        yield f'step{number}:\n  call void @"{entry}"({table}, i64 %begin, i64 %behind)\n  br label %end'
        first += len(step.args)
    yield "end:\n  ret void\n}"


def _step(plan: Plan, status: str | None, *, shared: bool) -> Iterator[str]:
    """A step as a whole; nothing for a number that is too large."""
    if shared:
        yield _table("most", [max(step.extent // step.grain, 1) for step in plan.steps])
        yield f"declare void @{SHARE}(i32, i32)"
    yield f"""define i32 @step(i32 %number) noinline {{
  {"call void @widen()" if plan.pieces else ""}
  %known = icmp ult i32 %number, {len(plan.steps)}
  br i1 %known, label %all, label %end
all:
  {_DEALT if shared else f"call void @{PART}(i32 %number, i32 0, i32 1)"}
  br label %end
end:
  %failed = {f"load i32, {status}" if status is not None else "add i32 0, 0"}
  ret i32 %failed
}}"""


_DEALT = f"""%place = getelementptr i32, ptr @most, i32 %number
  %most = load i32, ptr %place
  call void @{SHARE}(i32 %number, i32 %most)"""


def _run(steps: int, status: str | None) -> str:
    """All steps, until a check fails."""
    return f"""define i32 @run() {{
start:
  {f"store i64 0, {status}" if status is not None else ""}
  br label %head
head:
  %number = phi i32 [ 0, %start ], [ %next, %body ]
  %more = icmp ult i32 %number, {steps}
  br i1 %more, label %body, label %done
body:
  %failed = call i32 @step(i32 %number)
  %next = add i32 %number, 1
  %good = icmp eq i32 %failed, 0
  br i1 %good, label %head, label %bad
done:
  ret i32 0
bad:
  ret i32 %failed
}}"""


def _table(name: str, values: Sequence[int], kind: str = "i32") -> str:
    numbers = ", ".join(f"{kind} {value}" for value in values) or f"{kind} 0"
    return f"@{name} = internal constant [{max(len(values), 1)} x {kind}] [{numbers}], align 8"


def _lookup(name: str, table: str, count: int) -> str:
    """A function from a number to an address; 0 for a number that is too large."""
    return f"""define i32 @{name}(i32 %number) {{
  %known = icmp ult i32 %number, {count}
  br i1 %known, label %found, label %none
found:
  %place = getelementptr i32, ptr @{table}, i32 %number
  %address = load i32, ptr %place
  ret i32 %address
none:
  ret i32 0
}}"""
