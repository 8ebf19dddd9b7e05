"""The analytic cost model: nanoseconds of a kernel on one core, from vectors multiplied and bytes moved.

Each estimate is the larger of an arithmetic and a memory time, plus what the format adds per nonzero. It is meant to rank
candidates; `python -m bench` measures how well it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from sparsec.cost.machine import Machine
from sparsec.formats.facts import Facts
from sparsec.kernels.isa import Isa
from sparsec.kernels.problem import ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.spmm import HEIGHTS, block_cycles, most_vectors

CALL_NS = 40.0  # handing one step to the runtime
_DENSE_EFFICIENCY = 0.85  # of the multiply-add peak, in long tiles
_VECTORS_PER_BROADCAST = 8  # a sparse row walks about this many vectors for each weight it loads
_ISSUE_CYCLES = 0.4  # per vector of a sparse row, beside the load
_MOST_CYCLES = 1.35  # per vector: inputs that leave L1 are walked in blocks of columns, or copied
_ROW_CYCLES = 12.0  # to start and store a row of a tile
_TURN_CYCLES = 4.6  # per vector of tokens that is transposed, on its way in or out
_NEAR_BYTES = 1 << 20  # outputs beyond this are written behind level-2 cache
_COPY_CYCLES = 6.0  # per vector of input that is copied to padded planes
_STRIDED_COPY_CYCLES = 4.0  # the same inside the depthwise kernel, which only copies strided inputs


def predict(kernel: str, problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Predicted nanoseconds on one core of a layer computed by `kernel`, a name in `sparsec.kernels.table.KERNELS`."""
    return CALL_NS + _CYCLES[kernel](problem, facts, isa, machine) / machine.ghz


def _dense_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    vectors = _output_vectors(problem, isa) * _reduction(problem)
    weight_bytes = 4 * _rows(problem) * _reduction(problem)
    streaming = weight_bytes / _bandwidth(weight_bytes, machine)
    sharing = (
        problem.filters // problem.groups if isinstance(problem, ConvProblem) else 16
    )  # rows that use one load of x
    per_vector = max(1 / (machine.vector_fma_per_cycle * _DENSE_EFFICIENCY), 1.2 / sharing)
    return max(vectors * per_vector, streaming) + _copy_cycles(problem, isa)


def _depthwise_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Nearly one load per multiply-add, two cycles to store a vector, and the phase split of a strided input."""
    assert isinstance(problem, ConvProblem)
    strided = any(axis.stride > 1 for axis in problem.axes)
    copied = _input_elements(problem) / isa.lanes() if strided else 0.0
    return _output_vectors(problem, isa) * (0.8 * problem.taps + 2.0) + _STRIDED_COPY_CYCLES * copied


def _sparse_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """One broadcast per nonzero and tile of pixels, one load and multiply-add per nonzero and vector."""
    assert facts is not None
    vectors = _vectors_per_row(problem, isa)
    tile = min(_VECTORS_PER_BROADCAST, vectors)
    operand_bytes = 4 * isa.lanes() * tile * facts.columns
    per_vector = isa.vector_bytes / _bandwidth(operand_bytes, machine) + _ISSUE_CYCLES
    products = facts.nonzeros * max(tile * min(per_vector, _MOST_CYCLES), 1.4)
    return vectors / max(tile, 1) * (products + _ROW_CYCLES * facts.rows) + _copy_cycles(problem, isa)


def _blocked_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """The best height of blocks: their multiply-adds, padding included; a start for each row of blocks and tile."""
    assert facts is not None
    vectors = _vectors_per_row(problem, isa)

    def cycles(height: int, blocks: int) -> float:
        tiles = math.ceil(vectors / most_vectors(height, isa))
        return block_cycles(height, blocks, vectors, tiles) + _ROW_CYCLES * tiles * facts.rows / height

    products = min(cycles(height, blocks) for height, blocks in facts.row_blocks if height in HEIGHTS)
    return products + _store_cycles(problem, isa)


def _store_cycles(problem: Problem, isa: Isa) -> float:
    """What comes before and after the products: copied or transposed inputs, transposed or shifted outputs."""
    if isinstance(problem, ConvProblem):
        return _copy_cycles(problem, isa) + 1.5 * problem.filters * _vectors_per_row(problem, isa)
    assert isinstance(problem, LinearProblem)
    vectors = _vectors_per_row(problem, isa)
    far = 2.5 if 4 * problem.tokens * problem.outputs > _NEAR_BYTES else 0.0
    return vectors * (_TURN_CYCLES * problem.inputs + (_TURN_CYCLES + far) * problem.outputs)


def _vectors_per_row(problem: Problem, isa: Isa) -> int:
    """Vectors of pixels or tokens that one row of a sparse weight is multiplied with."""
    match problem:
        case ConvProblem():
            return problem.batch * math.ceil(problem.pixels / isa.lanes())
        case LinearProblem():
            return math.ceil(problem.tokens / isa.lanes())
        case MatmulProblem():
            raise AssertionError("a matmul has no weight")


def _copy_cycles(problem: Problem, isa: Isa) -> float:
    """The padded copy of the input of a convolution that does not read each pixel at its own place."""
    if isinstance(problem, ConvProblem) and not problem.pointwise:
        return _COPY_CYCLES * _input_elements(problem) / isa.lanes()
    return 0.0


def _bandwidth(size: float, machine: Machine) -> float:
    """Bytes per cycle at which `size` bytes can be read again and again."""
    if size <= machine.l1_bytes:
        return machine.l1_bytes_per_cycle
    if size <= machine.l2_bytes:
        return machine.l2_bytes_per_cycle
    return machine.far_bytes_per_cycle if size <= machine.l3_bytes else machine.memory_bytes_per_cycle


def _output_vectors(problem: Problem, isa: Isa) -> float:
    """Vectors of outputs, the partly filled ones counted whole."""
    lanes = isa.lanes()
    match problem:
        case ConvProblem():
            return float(problem.batch * problem.filters * math.ceil(problem.pixels / lanes))
        case LinearProblem():
            return float(problem.tokens * math.ceil(problem.outputs / lanes))
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


Cycles = Callable[[Problem, Facts | None, Isa, Machine], float]

# One row per kernel.
_CYCLES: Mapping[str, Cycles] = {
    "f32_conv_dense": _dense_cycles,
    "f32_conv_depthwise": _depthwise_cycles,
    "f32_conv_csr": _sparse_cycles,
    "f32_conv_blocked": _blocked_cycles,
    "f32_linear_dense": _dense_cycles,
    "f32_linear_csr": _sparse_cycles,
    "f32_linear_blocked": _blocked_cycles,
    "f32_matmul_dense": _dense_cycles,
}
