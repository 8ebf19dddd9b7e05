"""Kernels in LLVM IR, written by hand: a loop over the units that a call is for."""

from __future__ import annotations


def loop(name: str, arguments: str, body: str) -> str:
    """`@name(arguments, begin, end)`, which does `body` for each %i of [begin, end).

    The body may have blocks of its own, and go to %done from any; where it ends the loop goes on.
    """
    return f"""
define void @{name}({arguments}, i64 %begin, i64 %end) {{
start:
  br label %head
head:
  %i = phi i64 [ %begin, %start ], [ %next, %tail ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %done
body:
  {body.strip()}
  br label %tail
tail:
  %next = add i64 %i, 1
  br label %head
done:
  ret void
}}
"""


def unary(body: str, kind: str = "float", result: str = "float") -> str:
    """`@k(src, dst, begin, end)`, which stores %r to dst[i]; `body` computes it of %x = src[i], and may use %i."""
    return loop(
        "k",
        "ptr noalias %src, ptr noalias %dst",
        f"""
  %px = getelementptr {kind}, ptr %src, i64 %i
  %py = getelementptr {result}, ptr %dst, i64 %i
  %x = load {kind}, ptr %px
  {body}
  store {result} %r, ptr %py
""",
    )
