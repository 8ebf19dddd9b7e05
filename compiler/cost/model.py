"""The analytic cost model: nanoseconds of a kernel on one core, from vectors multiplied and bytes moved.

Each estimate is the larger of an arithmetic and a memory time, plus what the format adds per nonzero. It is meant to rank
candidates; `python -m bench` measures how well it does.
"""

from __future__ import annotations

import math

from sparsec.cost.machine import Machine
from sparsec.formats.facts import Facts
from sparsec.kernels.isa import Isa
from sparsec.kernels.problem import ConvProblem, LinearProblem, MatmulProblem, Problem

CALL_NS = 40.0  # handing one step to the runtime
_DENSE_EFFICIENCY = 0.85  # of the multiply-add peak, in long tiles
_VECTORS_PER_BROADCAST = 8  # a sparse row walks this many vectors for each weight it loads


def predict(format: str, problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Predicted nanoseconds of a layer on one core with its weight in `format`."""
    cycles = _sparse_cycles(problem, facts, isa, machine) if format == "csr" and facts else _dense_cycles(problem, isa, machine)
    return CALL_NS + (cycles + _copy_cycles(problem, isa, machine)) / machine.ghz


def _dense_cycles(problem: Problem, isa: Isa, machine: Machine) -> float:
    vectors = _output_vectors(problem, isa) * _reduction(problem)
    weight_bytes = 4 * _rows(problem) * _reduction(problem)
    streaming = weight_bytes / _bandwidth(weight_bytes, machine)
    if isinstance(problem, ConvProblem) and problem.depthwise:
        outputs = _output_vectors(problem, isa)
        return max(outputs * (0.5 * problem.taps + 5.0), streaming)  # one load per multiply-add; store and border per vector
    return max(vectors / (machine.vector_fma_per_cycle * _DENSE_EFFICIENCY), streaming)


def _sparse_cycles(problem: Problem, facts: Facts, isa: Isa, machine: Machine) -> float:
    """One broadcast per nonzero and tile of pixels, one load and multiply-add per nonzero and vector."""
    vectors = _output_vectors(problem, isa) / max(_rows(problem), 1)
    tile = min(_VECTORS_PER_BROADCAST, max(vectors, 1.0))
    operand_bytes = 4 * isa.lanes() * tile * facts.columns
    per_vector = isa.vector_bytes / _bandwidth(operand_bytes, machine)
    tiles = vectors / tile
    per_tile = max(tile * max(per_vector, 1 / machine.vector_fma_per_cycle), 2.0) + 0.5
    return tiles * (facts.nonzeros * per_tile + 8.0 * facts.rows)


def _copy_cycles(problem: Problem, isa: Isa, machine: Machine) -> float:
    """Reading x and writing y once, and the padded or transposed copy of x where there is one."""
    moved = 4.0 * (_input_elements(problem) + _output_vectors(problem, isa) * isa.lanes())
    if isinstance(problem, ConvProblem) and not problem.pointwise:
        moved *= 2
    return moved / _bandwidth(moved, machine)


def _bandwidth(size: float, machine: Machine) -> float:
    """Bytes per cycle at which `size` bytes can be read again and again."""
    if size <= machine.l1_bytes:
        return machine.l1_bytes_per_cycle
    return machine.l2_bytes_per_cycle if size <= machine.l2_bytes else machine.far_bytes_per_cycle


def _output_vectors(problem: Problem, isa: Isa) -> float:
    """Vectors of outputs, the partly filled ones counted whole."""
    lanes = isa.lanes()
    match problem:
        case ConvProblem():
            return float(problem.batch * problem.filters * math.ceil(problem.pixels / lanes))
        case LinearProblem():
            return float(min(
                problem.tokens * math.ceil(problem.outputs / lanes), problem.outputs * math.ceil(problem.tokens / lanes)
            ))
        case MatmulProblem():
            return float(problem.batch * problem.rows * math.ceil(problem.columns / lanes))


def _reduction(problem: Problem) -> int:
    match problem:
        case ConvProblem():
            return problem.reduction
        case LinearProblem():
            return problem.inputs
        case MatmulProblem():
            return problem.inner


def _rows(problem: Problem) -> int:
    match problem:
        case ConvProblem():
            return problem.filters
        case LinearProblem():
            return problem.outputs
        case MatmulProblem():
            return problem.columns


def _input_elements(problem: Problem) -> int:
    match problem:
        case ConvProblem():
            return problem.batch * problem.channels * math.prod(axis.size for axis in problem.axes)
        case LinearProblem():
            return problem.tokens * problem.inputs
        case MatmulProblem():
            return problem.batch * (problem.rows + problem.columns) * problem.inner
