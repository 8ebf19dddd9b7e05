"""Where things are in the memory of a network's module.

    [ stack | weights | arena | inputs | outputs | stored weights | constants of the kernels ]
    0       STACK_BYTES                                                    all fixed before code is generated

Stored weights are only there if memory is made of them; see `wasm_half`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsec.artifact import WEIGHT_ALIGNMENT, Buffer, Plan, Space

STACK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Addresses; `end` is the first free one, `stored` where the weights are loaded to."""

    weights: int
    stored: int
    arena: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    end: int

    @classmethod
    def of(cls, plan: Plan) -> Layout:
        tensors = [max(spec.nbytes, 1) for spec in (*plan.inputs, *plan.outputs)]
        starts = [STACK_BYTES]
        for size in (plan.weight_bytes, plan.arena_bytes, *tensors, plan.weights.nbytes if plan.pieces else 0):
            starts.append(starts[-1] + -(-size // WEIGHT_ALIGNMENT) * WEIGHT_ALIGNMENT)
        weights, arena, *places, stored, end = starts
        count, source = len(plan.inputs), stored if plan.pieces else weights
        return cls(weights, source, arena, tuple(places[:count]), tuple(places[count:]), end)

    def address(self, buffer: Buffer) -> int:
        match buffer.space:
            case Space.INPUT:
                return self.inputs[buffer.position]
            case Space.OUTPUT:
                return self.outputs[buffer.position]
            case Space.WEIGHTS:
                return self.weights + buffer.position
            case Space.ARENA:
                return self.arena + buffer.position
