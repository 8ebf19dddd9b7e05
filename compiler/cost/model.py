"""The analytic cost model: nanoseconds of a kernel on one core, from vectors multiplied and bytes moved.

Each estimate is the larger of an arithmetic and a memory time, plus what the format adds per nonzero. It is meant to rank
candidates; `python -m bench` measures how well it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from sparsec.cost.machine import Machine
from sparsec.formats.facts import Facts
from sparsec.formats.split import GROUP
from sparsec.kernels import tile_registers
from sparsec.kernels.conv_columns import BLOCK_BYTES as COLUMN_BYTES
from sparsec.kernels.conv_columns import GATHER
from sparsec.kernels.conv_columns import tile_vectors as tile_vectors_of_pixels
from sparsec.kernels.conv_layout import CLASH
from sparsec.kernels.conv_words import ConvWords
from sparsec.kernels.gathered_rows import GROUP as GATHERED
from sparsec.kernels.isa import Isa
from sparsec.kernels.linear_blocked import tile_vectors as tile_vectors_of_blocks
from sparsec.kernels.linear_csr import BLOCK_BYTES, block_columns, tile_vectors
from sparsec.kernels.linear_gathered import HEIGHTS as GATHERED_HEIGHTS
from sparsec.kernels.linear_gathered import block_cycles as gathered_cycles
from sparsec.kernels.linear_nm import most_tokens
from sparsec.kernels.problem import ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.kernels.spmm import HEIGHTS, block_cycles, most_vectors
from sparsec.kernels.words import FP32, Words, words_of

# Per product of two tiles of AMX: 16 by the manual, 25 with operands from L2. Beside a busy hyperthread, as on shared
# servers, it is 75, while vectors take half as long again: the mean of both, in vectors.
_TILE_PRODUCT_CYCLES = 38.0
_NEAR_PRODUCT_CYCLES = 28.0  # the same with operands from L1
_TILE_STORE_CYCLES = 16 * 6.0  # per tile of sums
_TILE_EXPAND_CYCLES = 66.0  # per tile of weights that is made of a bitmap
_TILE_WORD_CYCLES = 13.0  # per word of any four columns that is made for four tiles
_TILE_ROW_CYCLES = 60.0  # to begin and end a row of tiles
CALL_NS = 40.0  # handing one step to the runtime
_DENSE_EFFICIENCY = 0.97  # of the multiply-add peak, in long tiles
_STORE_CYCLES = 1.0  # per vector of a dense output
_LOAD_CYCLES = 1.8  # of a dense convolution, per vector of input; filters share it
_VECTORS_PER_BROADCAST = 8  # a sparse row walks about this many vectors for each weight it loads
_PIXELS_CYCLES = 0.8  # per vector of a sparse row, its input in L1
_WINDOW_CYCLES = 0.4  # more where windows make loads cross cache lines
_TILE_CYCLES = 0.4  # per nonzero and tile
_GATHERED_CYCLES = 0.52  # per multiply-add with gathered columns, in L1
_GATHERED_BROADCAST_CYCLES = 0.65  # the same per nonzero and tile
_L1_BLOCK = 32 << 10  # bytes of input that a sparse row walks at a time
_ROW_CYCLES = 12.0  # to start and store a row of a tile, or of a block of its columns
_LOADED_CYCLES = 0.70  # per multiply-add with an operand from L1, in a sparse row
_BROADCAST_CYCLES = 0.32  # per nonzero and tile, beside its multiply-adds
_NARROW_CYCLES = 1.15  # a nonzero of a tile of one vector
_NARROW_BYTES_CYCLES = {1: 2.3, 2: 1.2, 4: 0.9}  # the same of a word of bytes, in a vector of so many tokens or more
_PAIR_CYCLES = 0.95  # per column of a pair and vector: two multiply-adds, one load
_PAIR_BROADCAST_CYCLES = 0.1  # the same per tile
_NARROW_PAIR_CYCLES = 1.35  # a column of a pair in a tile of one vector
_PAIRS_CYCLES = 160.0  # per group of rows, block of columns and tile, to look for pairs
_TURN_CYCLES = 4.6  # per vector of tokens that is transposed on its way in
_TURN_OUT_CYCLES = 3.2  # the same on its way out, and stored
_FAR_STORE_CYCLES = 1.0  # more where y does not fit level-2 cache
_PERMUTED_CYCLES = {16: 1.12, 32: 0.73}  # a multiply-add beside a permutation, with so many registers
_EXPAND_CYCLES = 2.07  # to expand a vector of weights under a mask
_EXPANDED_CYCLES = 0.24  # the same per token
_MANY_EXPANDED_CYCLES = 0.57  # per token, where its loads of x take longer
_SLOT_CYCLES = 2.3  # per value of a window and tile of tokens, at least
_NEAR_BYTES = 1 << 20  # outputs beyond this are written behind level-2 cache
_COPY_CYCLES = 7.5  # per vector of input that is copied to padded planes
_PHASES_CYCLES = 10.0  # the same where a stride deals it to several planes
_EMPTY_TAPS = 0.65  # of the time of a depthwise filter goes with its taps, which a filter of zeros does not have
_BYTE_PIXELS_CYCLES = 4.0  # per row of bytes of a tile of pixels
_KEPT_CYCLES = 2.5  # per vector of sums that is kept before it is stored
_CHANNEL_CYCLES = 50.0  # to begin a channel of a depthwise convolution
_WORD_OF_TAPS_CYCLES = 1.4  # per vector of pixels and word of four taps of a depthwise convolution of bytes
_FILTER_CYCLES = 20.0  # to begin such a filter
_STRIDED_COPY_CYCLES = 4.0  # the same inside the depthwise kernel, which only copies strided inputs

_BYTE_ROW_CYCLES = 15.0  # per tile and four columns whose bytes become rows
_PACK_CYCLES = 12.0  # to convert 64 elements of x to words
_INSTRUCTIONS = {"vpmaddwd": 1.15, "vpmulld": 3.0, "mla": 2.0}  # times as long as a multiply-add, where it is not one
_SERVER_INSTRUCTIONS = {"vdpbf16ps": 8.0}  # the same on Intel, whose servers have tile registers for that


def predict(kernel: str, problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Predicted nanoseconds on one core of a layer computed by `kernel`, a name in `sparsec.kernels.table.KERNELS`."""
    return CALL_NS + _CYCLES[kernel](problem, facts, isa, machine) / machine.ghz


def _dense_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    stored = _output_vectors(problem, isa)
    inner = ConvWords.of(problem, isa).problem if isinstance(problem, ConvProblem) else problem
    depth = inner.reduction if isinstance(inner, ConvProblem) else _words(problem, isa).count(_reduction(problem))
    weight_bytes = 4 * _rows(problem) * depth
    streaming = weight_bytes / _bandwidth(weight_bytes, machine)
    sharing = (
        problem.filters // problem.groups if isinstance(problem, ConvProblem) else 16
    )  # rows that use one load of x
    per_vector = max(_dot_cycles(problem, isa, machine) / _DENSE_EFFICIENCY, _LOAD_CYCLES / sharing)
    beside = isinstance(problem, ConvProblem) or not _words(problem, isa).direct(_reduction(problem))
    packed = _converted_cycles(problem, isa) if beside else 0.0
    copied = packed + _copy_cycles(inner, isa)
    products = stored * (depth * per_vector + _STORE_CYCLES)
    exposed = min(max(4 * weight_bytes / machine.l3_bytes - 1.5, 0.0), 1.0)  # of the shorter, where L3 holds no more
    return max(products, streaming) + exposed * min(products, streaming) + copied


def _amx_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Products of whole tiles, or the bytes of the weight; each tile of sums is stored, loaded and stored again."""
    assert isinstance(problem, LinearProblem)
    words, side = _words(problem, isa), tile_registers.SIDE
    rows, columns = math.ceil(problem.tokens / side), math.ceil(problem.outputs / side)
    steps = math.ceil(words.count(problem.inputs) / side)
    weight_bytes = 4 * columns * steps * tile_registers.TILE
    packed = 0.0 if words.direct(problem.inputs) else _PACK_CYCLES * _input_elements(problem) / 64
    products = rows * columns * (steps * _TILE_PRODUCT_CYCLES + _TILE_STORE_CYCLES)
    return max(products, weight_bytes / _bandwidth(weight_bytes, machine)) + packed


def _amx_bitmap_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Each tile of weights is made once, or its bytes are waited for; products follow."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    words, side = _words(problem, isa), tile_registers.SIDE
    rows, columns = math.ceil(problem.tokens / side), math.ceil(problem.outputs / side)
    tiles = columns * math.ceil(words.count(problem.inputs) / side)
    size = 4 // words.group * facts.nonzeros + side * side * words.group // 8 * tiles
    packed = 0.0 if words.direct(problem.inputs) else _PACK_CYCLES * _input_elements(problem) / 64
    products = tiles * (_TILE_EXPAND_CYCLES + _NEAR_PRODUCT_CYCLES * rows) + rows * columns * _TILE_STORE_CYCLES
    return max(products, size / _bandwidth(size, machine)) + packed


def _amx_gathered_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Columns that any of 16 outputs has: words made of them, and products of tiles, both filled up by half a one."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    vectors, tiles = _token_vectors(problem, isa, GATHERED)
    side = tile_registers.SIDE
    rows, blocks = math.ceil(facts.rows / side), dict(facts.row_blocks)[side]
    words = blocks / GATHERED + rows / 2
    products = _NEAR_PRODUCT_CYCLES * vectors * (words / side + rows / 2)
    made = _TILE_WORD_CYCLES * words + _TILE_ROW_CYCLES * rows + _streaming((side + 4) * blocks, machine)
    made += _BYTE_ROW_CYCLES * math.ceil(problem.inputs / GATHERED)
    return products + tiles * made + _moved_cycles(problem, isa)


def _words(problem: Problem, isa: Isa) -> Words:
    words = words_of(problem.arithmetic, isa)
    assert words is not None, "kernels of an arithmetic that the instruction set has not refuse"
    return words


def _instruction_cycles(words: Words, isa: Isa) -> float:
    """How many times as long as a multiply-add the instruction of words takes."""
    slow = _SERVER_INSTRUCTIONS if isa.tile_registers else {}
    return slow.get(words.instruction, _INSTRUCTIONS.get(words.instruction, 1.0))


def _dot_cycles(problem: Problem, isa: Isa, machine: Machine) -> float:
    """Cycles of one multiply-add of vectors of words in registers."""
    return _instruction_cycles(_words(problem, isa), isa) / machine.vector_fma_per_cycle


def _depthwise_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Nearly one load per multiply-add, two cycles to store a vector, and the phase split of a strided input."""
    assert facts is not None
    assert isinstance(problem, ConvProblem)
    strided = any(axis.stride > 1 for axis in problem.axes)
    copied = _input_elements(problem) / isa.lanes() if strided else 0.0
    full = 1 - _EMPTY_TAPS * facts.empty_rows / max(facts.rows, 1)
    each = _vectors_per_row(problem, isa) * (0.8 * problem.taps + 2.0) + _CHANNEL_CYCLES
    return full * problem.filters * each + _STRIDED_COPY_CYCLES * copied


def _depthwise_bytes_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Per vector of pixels, rows of the kernel in words of four taps, and its tail; some words are shared."""
    assert isinstance(problem, ConvProblem)
    down, across = problem.axes
    words = down.kernel * math.ceil(across.kernel / 4)
    vectors = (
        math.ceil(problem.pixels / across.out) * math.ceil(across.out / 16) if across.out >= 16 else problem.pixels / 16
    )
    return problem.batch * problem.filters * (vectors * (_WORD_OF_TAPS_CYCLES * words + 3.0) + _FILTER_CYCLES)


def _counted_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """CSR of a linear layer."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    stored = dict(facts.blocks_of(_words(problem, isa).group))[1]
    return _walk_cycles(problem, facts.rows, stored, isa, machine) + _moved_cycles(problem, isa)


def _split_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Columns of pairs, what each visit of a pair costs, and the rest as CSR."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    vectors, tiles = _token_vectors(problem, isa, most_vectors(2, isa))
    products = facts.pairs * max(_PAIR_CYCLES * vectors + _PAIR_BROADCAST_CYCLES * tiles, _NARROW_PAIR_CYCLES * tiles)
    visits = facts.pair_runs * (14.0 * tiles + 3.0 * vectors)
    visits += _PAIRS_CYCLES * math.ceil(facts.rows / GROUP) * _column_blocks(problem, vectors, tiles, isa) * tiles
    rest = _walk_cycles(problem, facts.rows, facts.nonzeros - 2 * facts.pairs, isa, machine)
    streamed = (
        4 * _streaming(10 * facts.pairs, machine) * tiles
    )  # hardly hidden: pairs need twice the weights at a time
    return products + visits + streamed + rest + _moved_cycles(problem, isa)


def _walk_cycles(problem: LinearProblem, rows: int, stored: int, isa: Isa, machine: Machine) -> float:
    """Single nonzeros, or words of them: blocks of columns in L1, and what each visit of a row to a block costs."""
    vectors, tiles = _token_vectors(problem, isa, tile_vectors(isa))
    inputs, width = _words(problem, isa).count(problem.inputs), _token_lanes(problem, isa) * math.ceil(vectors / tiles)
    blocks = math.ceil(inputs / block_columns(stored / max(rows, 1), inputs, width))
    visited = rows * blocks * (1 - math.exp(-stored / max(rows * blocks, 1)))
    exact, lanes = _words(problem, isa).exact, _token_lanes(problem, isa)
    narrow = _NARROW_BYTES_CYCLES.get(lanes, _NARROW_BYTES_CYCLES[4]) if exact else _NARROW_CYCLES
    each = max(_LOADED_CYCLES * vectors + _BROADCAST_CYCLES * tiles, narrow * tiles)
    streamed = _streaming(6 * stored, machine) * tiles
    products = stored * each * _instruction_cycles(_words(problem, isa), isa)
    walked = products + streamed if vectors > 1 else max(products, streamed)
    return walked + visited * (6.0 * tiles + 1.5 * vectors)


def _token_vectors(problem: LinearProblem, isa: Isa, most: int) -> tuple[int, int]:
    """Vectors of tokens, and tiles of at most so many."""
    vectors = math.ceil(problem.tokens / _token_lanes(problem, isa))
    return vectors, math.ceil(vectors / most)


def _token_lanes(problem: LinearProblem, isa: Isa) -> int:
    """Tokens of a vector."""
    return min(isa.lanes(), 1 << (max(problem.tokens, 1).bit_length() - 1))


def _column_blocks(problem: LinearProblem, vectors: int, tiles: int, isa: Isa) -> int:
    """Blocks of columns whose part of a tile fits L1."""
    lanes = _token_lanes(problem, isa)
    return math.ceil(4 * lanes * math.ceil(vectors / tiles) * _words(problem, isa).count(problem.inputs) / BLOCK_BYTES)


def _gathered_words_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """Words of any four columns: the best height, half a word of each visit filled up, and x as rows of bytes."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    vectors, tiles = _token_vectors(problem, isa, GATHERED)

    def cycles(height: int, blocks: int) -> float:
        visits = math.ceil(facts.rows / height)
        products = gathered_cycles(height, blocks + 2 * visits, vectors, tiles, shuffles=_shuffles(isa))
        return products + tiles * (_streaming((4 + height) * blocks, machine) + _ROW_CYCLES * visits)

    walked = min(cycles(height, blocks) for height, blocks in facts.row_blocks if height in GATHERED_HEIGHTS)
    return walked + _BYTE_ROW_CYCLES * tiles * math.ceil(problem.inputs / GATHERED) + _moved_cycles(problem, isa)


def _shuffles(isa: Isa) -> int:
    """Instructions a cycle that move elements between lanes: one of 512 bit on Intel, whose servers have tile registers."""
    return 1 if isa.tile_registers else 2


def _gathered_pixels_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """The same of a convolution: a row of bytes per column and tile of pixels, and sums that are kept once."""
    assert facts is not None
    assert isinstance(problem, ConvProblem)
    vectors = _vectors_per_row(problem, isa)
    tiles = math.ceil(vectors / GATHERED)

    def cycles(height: int, blocks: int) -> float:
        visits = math.ceil(facts.rows / height)
        products = gathered_cycles(height, blocks + 2 * visits, vectors, tiles, shuffles=_shuffles(isa))
        return products + tiles * (_streaming((4 + height) * blocks, machine) + _ROW_CYCLES * visits)

    walked = min(cycles(height, blocks) for height, blocks in facts.row_blocks if height in GATHERED_HEIGHTS)
    return walked + _BYTE_PIXELS_CYCLES * tiles * problem.reduction + _KEPT_CYCLES * problem.filters * vectors


def _moved_cycles(problem: LinearProblem, isa: Isa) -> float:
    """Transposed inputs and outputs; a single token is its own transpose."""
    return _store_cycles(problem, isa) if problem.tokens > 1 else 0.0


def _permuted_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """n:m of a linear layer: every window of a row costs what the fullest one does; weights come behind each other."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    kept = max(dict(facts.windows).get(isa.lanes(), isa.lanes()), 1)
    windows = math.ceil(facts.rows / isa.lanes()) * math.ceil(facts.columns / isa.lanes())
    tiles = math.ceil(problem.tokens / most_tokens(isa))
    each = max(problem.tokens * (_PERMUTED_CYCLES[isa.registers] * kept + 0.17), tiles * _SLOT_CYCLES * kept)
    size = windows * isa.vector_bytes * (kept + math.ceil(kept / 8))
    streaming = size / _bandwidth(size, machine)
    return max(windows * each + 0.4 * streaming, streaming)


def _bitmap_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """An expansion per vector of columns, zero or not, or the bytes of the weight; lanes are added up for each row."""
    assert facts is not None
    assert isinstance(problem, LinearProblem)
    group, tokens = _words(problem, isa).group, problem.tokens
    vectors = facts.rows * math.ceil(facts.columns / (isa.lanes() * group))
    size = 4 // group * facts.nonzeros + isa.lanes() * group // 8 * vectors
    products = vectors * max(_EXPAND_CYCLES + _EXPANDED_CYCLES * tokens, _MANY_EXPANDED_CYCLES * tokens)
    return max(products, size / _bandwidth(size, machine)) + facts.rows * (3.0 + 1.6 * tokens)


def _sparse_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """CSR of a convolution: x read where it lies, or gathered first."""
    assert facts is not None
    assert isinstance(problem, ConvProblem)
    words = _words(problem, isa)
    stored = dict(facts.blocks_of(words.group))[1]
    inner = ConvWords.of(problem, isa).problem
    walked = min(_in_place_cycles(inner, stored, isa), _gathered_cycles(inner, stored, isa))
    return walked * _instruction_cycles(words, isa) + _converted_cycles(problem, isa)


def _converted_cycles(problem: Problem, isa: Isa) -> float:
    """Elements that become words."""
    return 0.0 if _words(problem, isa) == FP32 else _PACK_CYCLES * _input_elements(problem) / 64


def _in_place_cycles(problem: ConvProblem, stored: int, isa: Isa) -> float:
    """A broadcast per nonzero and tile, and loads that come from L2 or cross cache lines where there are many."""
    vectors = _vectors_per_row(problem, isa)
    tile = max(min(_VECTORS_PER_BROADCAST, vectors), 1)
    window = 1 if problem.taps == 1 else 2
    blocks = math.ceil(isa.vector_bytes * tile * window * problem.channels / problem.groups / _L1_BLOCK)
    visits = problem.filters * max(blocks, 1)
    visited = visits * (1 - math.exp(-stored / max(visits, 1)))
    per_vector = _PIXELS_CYCLES + (0.0 if problem.pointwise else _WINDOW_CYCLES)
    products = stored * max(tile * per_vector + _TILE_CYCLES, 1.4)
    copied = _copy_cycles(problem, isa) + _apart_cycles(problem, isa)
    return vectors / tile * (products + _ROW_CYCLES * visited) + copied


def _gathered_cycles(problem: ConvProblem, stored: int, isa: Isa) -> float:
    """All columns copied once, then walked in blocks that fit L1."""
    vectors = _vectors_per_row(problem, isa)
    most = tile_vectors_of_pixels(isa)
    tiles = vectors / most
    blocks = math.ceil(isa.vector_bytes * most * problem.reduction / COLUMN_BYTES)
    products = stored * (_GATHERED_CYCLES * vectors + _GATHERED_BROADCAST_CYCLES * tiles)
    visited = problem.filters * blocks * (6.0 * tiles + 1.5 * vectors)
    alike = all(axis.stride == 1 and axis.out == axis.size for axis in problem.axes)
    copied = 0.0 if alike else _copy_cycles(problem, isa)
    return GATHER * problem.channels * problem.taps * vectors + products + visited + copied


def _blocked_cycles(problem: Problem, facts: Facts | None, isa: Isa, machine: Machine) -> float:
    """The best height of blocks: their multiply-adds, padding included; a start for each row of blocks and tile."""
    assert facts is not None
    vectors = _vectors_per_row(problem, isa)

    def cycles(height: int, blocks: int) -> float:
        most = tile_vectors_of_blocks if isinstance(problem, LinearProblem) else most_vectors
        tiles = math.ceil(vectors / most(height, isa))
        starts = _ROW_CYCLES * facts.rows / height
        streamed = _streaming(4 * (height + 1) * blocks, machine)
        return block_cycles(height, blocks, vectors, tiles) + tiles * (starts + streamed)

    words = _words(problem, isa)
    found = [(height, blocks) for height, blocks in facts.blocks_of(words.group) if height in HEIGHTS]
    products = min(cycles(height, blocks) for height, blocks in found) * _instruction_cycles(words, isa)
    return products + _store_cycles(problem, isa)


def _store_cycles(problem: Problem, isa: Isa) -> float:
    """What comes before and after the products: copied or transposed inputs, transposed or shifted outputs."""
    if isinstance(problem, ConvProblem):
        inner = ConvWords.of(problem, isa).problem
        copied = _copy_cycles(inner, isa) + _apart_cycles(inner, isa) + _converted_cycles(problem, isa)
        return copied + 1.5 * problem.filters * _vectors_per_row(problem, isa)
    assert isinstance(problem, LinearProblem)
    vectors = _vectors_per_row(problem, isa)
    far = _FAR_STORE_CYCLES if 4 * problem.tokens * problem.outputs > _NEAR_BYTES else 0.0
    inputs = _words(problem, isa).count(problem.inputs)
    return vectors * (_TURN_CYCLES * inputs + (_TURN_OUT_CYCLES + far) * problem.outputs)


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
        strided = any(axis.stride > 1 for axis in problem.axes)
        return (_PHASES_CYCLES if strided else _COPY_CYCLES) * _input_elements(problem) / isa.lanes()
    return 0.0


def _apart_cycles(problem: Problem, isa: Isa) -> float:
    """The copy that moves channels to different sets of the cache."""
    if isinstance(problem, ConvProblem) and problem.pointwise and problem.pixels % CLASH == 0:
        return _TURN_CYCLES * _input_elements(problem) / isa.lanes()
    return 0.0


def _streaming(size: int, machine: Machine) -> float:
    """Cycles to read a packed weight once per tile of x, which takes half of a shared L3: nearly none from there."""
    hidden = 4.0 if size <= machine.l3_bytes // 2 else 1.0
    return size / (hidden * _bandwidth(2 * size, machine)) if size > machine.l2_bytes else 0.0


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
            along_pixels = problem.filters * math.ceil(problem.pixels / lanes)
            along_filters = problem.pixels * problem.groups * math.ceil(problem.filters / problem.groups / lanes)
            return float(problem.batch * min(along_pixels, along_filters))
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
    "bf16_conv_dense": _dense_cycles,
    "u8s8_conv_dense": _dense_cycles,
    "f32_conv_depthwise": _depthwise_cycles,
    "u8s8_conv_depthwise": _depthwise_cycles,
    "u8s8_conv_depthwise_bytes": _depthwise_bytes_cycles,
    "f32_conv_csr": _sparse_cycles,
    "bf16_conv_csr": _sparse_cycles,
    "u8s8_conv_csr": _sparse_cycles,
    "f32_conv_blocked": _blocked_cycles,
    "bf16_conv_blocked": _blocked_cycles,
    "u8s8_conv_blocked": _blocked_cycles,
    "u8s8_conv_gathered": _gathered_pixels_cycles,
    "f32_linear_dense": _dense_cycles,
    "bf16_linear_dense": _dense_cycles,
    "u8s8_linear_dense": _dense_cycles,
    "bf16_linear_amx": _amx_cycles,
    "u8s8_linear_amx": _amx_cycles,
    "bf16_linear_amx_bitmap": _amx_bitmap_cycles,
    "u8s8_linear_amx_bitmap": _amx_bitmap_cycles,
    "u8s8_linear_amx_gathered": _amx_gathered_cycles,
    "f32_linear_csr": _counted_cycles,
    "bf16_linear_csr": _counted_cycles,
    "u8s8_linear_csr": _counted_cycles,
    "f32_linear_blocked": _blocked_cycles,
    "bf16_linear_blocked": _blocked_cycles,
    "u8s8_linear_blocked": _blocked_cycles,
    "u8s8_linear_gathered": _gathered_words_cycles,
    "f32_linear_split": _split_cycles,
    "f32_linear_nm": _permuted_cycles,
    "f32_linear_bitmap": _bitmap_cycles,
    "u8s8_linear_bitmap": _bitmap_cycles,
    "f32_matmul_dense": _dense_cycles,
    "u8s8_matmul_dense": _dense_cycles,
}
