"""RNN, GRU and LSTM of ONNX, unrolled: upstream ignores peepholes and some attributes, and its loops cannot be planned.

The input projection of all steps is one matrix product; each step then has one product with the recurrence weight. Every
attribute and operand of the three operators is obeyed: direction, activations, clip, layout, sequence lengths, peepholes,
`input_forget`, `linear_before_reset`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto

from sparsec.frontends.onnx_builder import Builder

MOST_STEPS = 512
"""Steps times directions that are unrolled; each becomes a handful of nodes."""

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
PARAMETERS = {
    "affine": (1.0, 0.0),
    "elu": (1.0, None),
    "hardsigmoid": (0.2, 0.5),
    "leakyrelu": (0.01, None),
    "scaledtanh": (1.0, 1.0),
    "thresholdedrelu": (1.0, None),
}
"""The activations that take `activation_alpha` and `activation_beta`, with the defaults; None where there is no beta."""
PLAIN = {"relu": "Relu", "sigmoid": "Sigmoid", "softplus": "Softplus", "softsign": "", "tanh": "Tanh"}


@dataclass(frozen=True, slots=True)
class Activation:
    """A function between layers of a recurrent cell, by its name in lower case."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def apply(self, b: Builder, x: str) -> str:
        """Append the nodes that compute it."""
        match self.name:
            case "affine":
                return b.emit("Add", b.emit("Mul", x, self._number(b, self.alpha)), self._number(b, self.beta))
            case "scaledtanh":
                bent = b.emit("Tanh", b.emit("Mul", x, self._number(b, self.beta)))
                return b.emit("Mul", bent, self._number(b, self.alpha))
            case "softsign":
                return b.emit("Div", x, b.emit("Add", self._number(b, 1.0), b.emit("Abs", x)))
            case "elu" | "leakyrelu" | "thresholdedrelu":
                op = {"elu": "Elu", "leakyrelu": "LeakyRelu", "thresholdedrelu": "ThresholdedRelu"}[self.name]
                return b.emit(op, x, attributes={"alpha": self.alpha})
            case "hardsigmoid":
                return b.emit("HardSigmoid", x, attributes={"alpha": self.alpha, "beta": self.beta})
            case _:
                return b.emit(PLAIN[self.name], x)

    def _number(self, b: Builder, value: float) -> str:
        return b.number(value, b.element(b.input(0)))


@dataclass(frozen=True, slots=True)
class Cell:
    """One direction of a recurrent node: names of its operands, all but the first transposed to be multiplied with."""

    inputs: str  # [steps, batch, gates * hidden]: the input projection with the biases that can be added early
    recurrence: str  # [hidden, gates * hidden]
    late_bias: str  # [hidden]: of GRU's hidden gate when it is added before the reset, else ""
    peepholes: tuple[str, ...]  # of LSTM: input, output, forget gate, each [hidden]; or none
    functions: tuple[Activation, ...]
    first: int  # the step to begin with
    step: int


def recurrent(b: Builder) -> list[NodeProto] | None:
    """The unrolled network."""
    shape, weight = b.shape(b.input(0)), b.shape(b.input(2))
    if shape is None or weight is None or b.element(b.input(0)) not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return None
    batch_first = b.integer("layout", 0) == 1
    batch, steps = (shape[0], shape[1]) if batch_first else (shape[1], shape[0])
    directions, hidden = weight[0], weight[2]
    if steps * directions > MOST_STEPS:
        raise b.refuse(f"{steps} steps in {directions} directions are more than the {MOST_STEPS} that are unrolled")
    x = b.emit("Transpose", b.input(0), attributes={"perm": [1, 0, 2]}) if batch_first else b.input(0)
    cells = [_cell(b, x, number, (steps, batch, shape[2], hidden)) for number in range(directions)]
    runs = [_Run(b, cell, batch, hidden, steps, number) for number, cell in enumerate(cells)]
    for run in runs:
        run.unroll()
    _results(b, runs, batch_first=batch_first)
    return b.nodes


def _cell(b: Builder, x: str, number: int, sizes: tuple[int, int, int, int]) -> Cell:
    steps, batch, features, hidden = sizes
    gates = GATES[b.node.op_type]
    weight, recurrence = (_matrix(b, b.input(i), number) for i in (1, 2))
    flat = b.emit("MatMul", b.reshape(x, (steps * batch, features)), weight)
    late = ""
    if b.input(3):
        both = _row(b, b.input(3), number)
        early, again = (_part(b, both, i * gates * hidden, (i + 1) * gates * hidden, 0) for i in (0, 1))
        if b.node.op_type == "GRU" and b.integer("linear_before_reset", 0):
            late = _part(b, again, 2 * hidden, 3 * hidden, 0)
            zeros = b.constant("zeros", np.zeros(hidden, np.float32))
            zeros = b.cast(zeros, b.element(b.input(0))) if b.element(b.input(0)) != TensorProto.FLOAT else zeros
            again = b.emit("Concat", _part(b, again, 0, 2 * hidden, 0), zeros, attributes={"axis": 0})
        flat = b.emit("Add", flat, b.emit("Add", early, again))
    peepholes: tuple[str, ...] = ()
    if b.node.op_type == "LSTM" and b.input(7):
        row = _row(b, b.input(7), number)
        peepholes = tuple(_part(b, row, i * hidden, (i + 1) * hidden, 0) for i in range(3))
    backwards = b.word("direction", "forward") == "reverse" or number == 1
    inputs = b.reshape(flat, (steps, batch, gates * hidden))
    first, step = (steps - 1, -1) if backwards else (0, 1)
    return Cell(inputs, recurrence, late, peepholes, _functions(b, number), first, step)


def _functions(b: Builder, number: int) -> tuple[Activation, ...]:
    """The activations of a direction; alphas and betas go, in order, to those that take one."""
    defaults = DEFAULTS[b.node.op_type]
    given = next((list(a.strings) for a in b.node.attribute if a.name == "activations"), [])
    names = [name.decode(errors="replace").lower() for name in given] or [name.lower() for name in defaults] * 2
    if len(names) < (number + 1) * len(defaults):
        raise b.refuse(f"{len(defaults)} activations are needed for each direction, {len(names)} are given")
    alphas, betas = (iter(b.floats(name)) for name in ("activation_alpha", "activation_beta"))
    found = [_activation(b, name, alphas, betas) for name in names]
    return tuple(found[number * len(defaults) : (number + 1) * len(defaults)])


def _activation(b: Builder, name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    if name in PLAIN:
        return Activation(name)
    if name not in PARAMETERS:
        raise b.refuse(f"the activation {name!r} is not known")
    alpha, beta = PARAMETERS[name]
    return Activation(name, next(alphas, alpha), 0.0 if beta is None else next(betas, beta))


def _matrix(b: Builder, stack: str, number: int) -> str:
    """Matrix `number` of [directions, rows, columns], transposed."""
    rows, columns = (b.shape(stack) or (0, 0, 0))[1:]
    one = b.reshape(_part(b, stack, number, number + 1, 0), (rows, columns))
    return b.emit("Transpose", one, attributes={"perm": [1, 0]})


def _row(b: Builder, stack: str, number: int) -> str:
    """Row `number` of [directions, length]."""
    return b.reshape(_part(b, stack, number, number + 1, 0), (-1,))


def _part(b: Builder, x: str, begin: int, end: int, axis: int) -> str:
    return b.emit("Slice", x, b.whole(begin), b.whole(end), b.whole(axis))


@dataclass(slots=True)
class _Run:
    """A direction while it is unrolled: the state so far, and the output of each step, by its place in the sequence."""

    b: Builder
    cell: Cell
    batch: int
    hidden: int
    steps: int
    number: int
    state: str = ""
    memory: str = ""
    outputs: dict[int, str] | None = None

    def unroll(self) -> None:
        """Append all steps."""
        self.state, self.memory = self._initial(5), self._initial(6) if self.b.node.op_type == "LSTM" else ""
        self.outputs = {}
        compute = {"RNN": self._rnn, "GRU": self._gru, "LSTM": self._lstm}[self.b.node.op_type]
        width = GATES[self.b.node.op_type] * self.hidden
        for count in range(self.steps):
            place = self.cell.first + count * self.cell.step
            x = self.b.reshape(_part(self.b, self.cell.inputs, place, place + 1, 0), (self.batch, width))
            state, memory = compute(x)
            self.outputs[place] = self._keep(place, state, memory)

    def _initial(self, operand: int) -> str:
        b, shape = self.b, (self.batch, self.hidden)
        if not b.input(operand):
            element = b.element(b.input(0))
            zeros = b.constant("rest", np.zeros(shape, np.float32))
            return zeros if element == TensorProto.FLOAT else b.cast(zeros, element)
        axis = b.integer("layout", 0)  # [directions, batch, hidden], or [batch, directions, hidden]
        return b.reshape(_part(b, b.input(operand), self.number, self.number + 1, axis), shape)

    def _keep(self, place: int, state: str, memory: str) -> str:
        """Take the new state over, but not in sequences that have ended; returns the output of the step."""
        b = self.b
        if not b.input(4):
            self.state, self.memory = state, memory
            return state
        place_of = b.constant(f"place.{place}", np.array(place, np.int32))
        running = b.emit("Less", place_of, b.reshape(b.cast(b.input(4), TensorProto.INT32), (self.batch, 1)))
        self.state = b.emit("Where", running, state, self.state)
        self.memory = b.emit("Where", running, memory, self.memory) if memory else ""
        return b.emit("Where", running, state, b.number(0, b.element(b.input(0))))

    def _gate(self, x: str, number: int) -> str:
        return _part(self.b, x, number * self.hidden, (number + 1) * self.hidden, 1)

    def _activate(self, function: int, x: str) -> str:
        b = self.b
        clip = b.real("clip", 0.0)
        if clip > 0:
            element = b.element(b.input(0))
            x = b.emit("Clip", x, b.number(-clip, element), b.number(clip, element))
        return self.cell.functions[function].apply(b, x)

    def _rnn(self, x: str) -> tuple[str, str]:
        b = self.b
        return self._activate(0, b.emit("Add", x, b.emit("MatMul", self.state, self.cell.recurrence))), ""

    def _gru(self, x: str) -> tuple[str, str]:
        b, hidden = self.b, self.hidden
        x_gates, x_hidden = _part(b, x, 0, 2 * hidden, 1), self._gate(x, 2)
        if b.integer("linear_before_reset", 0):
            product = b.emit("MatMul", self.state, self.cell.recurrence)
            gates = self._activate(0, b.emit("Add", x_gates, _part(b, product, 0, 2 * hidden, 1)))
            late = self._gate(product, 2)
            late = b.emit("Add", late, self.cell.late_bias) if self.cell.late_bias else late
            candidate = b.emit("Add", x_hidden, b.emit("Mul", self._gate(gates, 1), late))
        else:
            product = b.emit("MatMul", self.state, _part(b, self.cell.recurrence, 0, 2 * hidden, 1))
            gates = self._activate(0, b.emit("Add", x_gates, product))
            reset = b.emit("Mul", self._gate(gates, 1), self.state)
            late = b.emit("MatMul", reset, _part(b, self.cell.recurrence, 2 * hidden, 3 * hidden, 1))
            candidate = b.emit("Add", x_hidden, late)
        candidate = self._activate(1, candidate)
        update = self._gate(gates, 0)
        change = b.emit("Mul", update, b.emit("Sub", self.state, candidate))
        return b.emit("Add", candidate, change), ""

    def _lstm(self, x: str) -> tuple[str, str]:
        b = self.b
        sums = b.emit("Add", x, b.emit("MatMul", self.state, self.cell.recurrence))
        enter = self._activate(0, self._peep(self._gate(sums, 0), 0, self.memory))
        if b.integer("input_forget", 0):
            keep = b.emit("Sub", b.number(1, b.element(b.input(0))), enter)
        else:
            keep = self._activate(0, self._peep(self._gate(sums, 2), 2, self.memory))
        candidate = self._activate(1, self._gate(sums, 3))
        memory = b.emit("Add", b.emit("Mul", keep, self.memory), b.emit("Mul", enter, candidate))
        leave = self._activate(0, self._peep(self._gate(sums, 1), 1, memory))
        return b.emit("Mul", leave, self.cell.functions[2].apply(b, memory)), memory

    def _peep(self, x: str, number: int, memory: str) -> str:
        if not self.cell.peepholes:
            return x
        return self.b.emit("Add", x, self.b.emit("Mul", self.cell.peepholes[number], memory))


def _results(b: Builder, runs: list[_Run], *, batch_first: bool) -> None:
    """Y [steps, directions, batch, hidden], and the last states [directions, batch, hidden]; batch first in layout 1."""
    batch, hidden, steps = runs[0].batch, runs[0].hidden, runs[0].steps
    names = [*b.node.output, "", "", ""]
    if names[0]:
        rows = [b.reshape((run.outputs or {})[place], (1, 1, batch, hidden)) for place in range(steps) for run in runs]
        stacked = b.emit("Concat", *rows, attributes={"axis": 0})
        shape = (steps, len(runs), batch, hidden)
        if batch_first:
            b.emit("Transpose", b.reshape(stacked, shape), to=names[0], attributes={"perm": [2, 0, 1, 3]})
        else:
            b.reshape(stacked, shape, to=names[0])
    for name, states in ((names[1], [run.state for run in runs]), (names[2], [run.memory for run in runs])):
        if name:
            shape3 = (batch, 1, hidden) if batch_first else (1, batch, hidden)
            rows = [b.reshape(state, shape3) for state in states]
            b.emit("Concat", *rows, to=name, attributes={"axis": 1 if batch_first else 0})
