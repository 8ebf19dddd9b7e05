"""What widens weights that `sparsec.storage` stored as float16, before the first step: half the bytes to load."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.artifact import Piece


def widening(pieces: Sequence[Piece], source: int, target: int) -> str:
    """LLVM IR of `void @widen()`, which makes the weights at `target` of what is stored at `source`, the first time only.

    A half without its sign, moved to where float32 has exponent and fraction, is 2^112 times too small, also if it is
    subnormal.
    """
    sizes = ", ".join(f"i32 {piece.bytes}" for piece in pieces)
    halves = ", ".join(f"i32 {int(piece.half)}" for piece in pieces)
    return f"""
@widened = internal global i32 0, align 4
@sizes = internal constant [{len(pieces)} x i32] [{sizes}], align 4
@halves = internal constant [{len(pieces)} x i32] [{halves}], align 4
declare void @llvm.memcpy.p0.p0.i32(ptr, ptr, i32, i1)
define internal void @widen() noinline {{
start:
  %done = load i32, ptr @widened
  %first = icmp eq i32 %done, 0
  br i1 %first, label %head, label %end
head:
  %number = phi i32 [ 0, %start ], [ %next, %tail ]
  %to = phi i32 [ {_signed(target)}, %start ], [ %to_next, %tail ]
  %from = phi i32 [ {_signed(source)}, %start ], [ %from_next, %tail ]
  %more = icmp ult i32 %number, {len(pieces)}
  br i1 %more, label %piece, label %last
piece:
  %size_place = getelementptr i32, ptr @sizes, i32 %number
  %size = load i32, ptr %size_place
  %half_place = getelementptr i32, ptr @halves, i32 %number
  %half = load i32, ptr %half_place
  %to_pointer = inttoptr i32 %to to ptr
  %from_pointer = inttoptr i32 %from to ptr
  %is_half = icmp ne i32 %half, 0
  br i1 %is_half, label %wide, label %copy
copy:
  call void @llvm.memcpy.p0.p0.i32(ptr %to_pointer, ptr %from_pointer, i32 %size, i1 false)
  br label %tail
wide:
  %at = phi i32 [ 0, %piece ], [ %at_next, %wide ]
  %source = getelementptr i16, ptr %from_pointer, i32 %at
  %short = load i16, ptr %source, align 1
  %bits = zext i16 %short to i32
  %magnitude = and i32 %bits, 32767
  %moved = shl i32 %magnitude, 13
  %small = bitcast i32 %moved to float
  %scaled = fmul float %small, 0x46F0000000000000
  %positive = bitcast float %scaled to i32
  %sign = and i32 %bits, 32768
  %sign_moved = shl i32 %sign, 16
  %whole = or i32 %positive, %sign_moved
  %target = getelementptr i32, ptr %to_pointer, i32 %at
  store i32 %whole, ptr %target, align 4
  %at_next = add i32 %at, 1
  %count = lshr i32 %size, 2
  %again = icmp ult i32 %at_next, %count
  br i1 %again, label %wide, label %tail
tail:
  %shift = phi i32 [ 0, %copy ], [ 1, %wide ]
  %taken = lshr i32 %size, %shift
  %from_next = add i32 %from, %taken
  %to_next = add i32 %to, %size
  %next = add i32 %number, 1
  br label %head
last:
  store i32 1, ptr @widened
  br label %end
end:
  ret void
}}"""


def _signed(address: int) -> int:
    return address - (address >> 31 << 32)
