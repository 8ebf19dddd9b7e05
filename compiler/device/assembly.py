"""The planned module for a GPU becomes a plan: steps with their addresses, weights of products, constants, PTX."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from torch_mlir import ir

from sparsec.artifact import JsonObject, Space, TensorSpec
from sparsec.assemble import WeightBlob, status_offset
from sparsec.cuda.network.lower_choice import Choice, Reference, choose_pattern
from sparsec.cuda.network.plan import (
    Address,
    Attention,
    BatchedProduct,
    Convolution,
    DevicePlan,
    Half,
    Heads,
    Launch,
    Mask,
    Pool,
    Product,
    Rows,
    Step,
    Strided,
    Tail,
)
from sparsec.device.extents import axes_of, batch_of, image_strides, steps_of, strides_of
from sparsec.device.pool import DevicePool
from sparsec.errors import UnsupportedOpError
from sparsec.formats.facts import Facts, facts_of
from sparsec.frontends.imported import Imported
from sparsec.ir.module import element_of, function, integers, main_block, shape_of
from sparsec.ir.weights import weight_name
from sparsec.kernels.problem import Axis, ConvProblem, LinearProblem, MatmulProblem, Problem
from sparsec.passes.device.fit_operands import even_rows
from sparsec.passes.device.lower_products import PRODUCT
from sparsec.passes.device.point_products import IMAGE
from sparsec.passes.plan_memory import base_of, element_bytes
from sparsec.passes.select_format import OPS, describe
from sparsec.passes.unit import Unit
from sparsec.report import Candidate, LayerReport, Report
from sparsec.targets.nvptx import ARCHITECTURE

_HALVES: Mapping[str, tuple[Half, str, np.dtype[np.generic]]] = {  # by MLIR's name: the plan's, the user's, NumPy's
    "f16": ("float16", "fp16", np.dtype(np.float16)),
    "bf16": ("bfloat16", "bf16", np.dtype(ml_dtypes.bfloat16)),
}


class DeviceAssembly:
    """What a planned unit says of the plan, apart from its PTX. Its weights are in a pool that units may share."""

    def __init__(self, unit: Unit, imported: Imported, pool: DevicePool) -> None:
        self._unit, self._imported, self._pool = unit, imported, pool
        self._half, self._precision, self._dtype = _HALVES[unit.half]
        self._blob = WeightBlob(unit.weights, pool.constants)
        self._weights: dict[tuple[str, str | None], int] = {}  # name and pattern -> number in the pool
        self._reports: list[LayerReport] = []
        with unit.module.context:
            calls = [op.operation for op in main_block(unit.module).operations if op.operation.name == "func.call"]
            self._steps = [self._product(op) if PRODUCT in op.attributes else self._launch(op) for op in calls]
            self._arena = ir.IntegerAttr(function(unit.module, "main").attributes["arena_bytes"]).value
            self._status = status_offset(unit)

    def plan(self, ptx: str) -> DevicePlan:
        """All of the plan, with the text of its kernels, when the pool is complete."""
        return DevicePlan(
            name=self._imported.name,
            precision=self._half,
            architecture=ARCHITECTURE,
            inputs=tuple(TensorSpec(*spec) for spec in self._imported.inputs),
            outputs=tuple(TensorSpec(*spec) for spec in self._imported.outputs),
            arena_bytes=self._arena,
            steps=tuple(self._steps),
            weights=self._pool.weights,
            constants=self._pool.constants.bytes(),
            ptx=ptx,
            report=cast("JsonObject", self._report().as_dict()),
            status=self._status,
            complaints=tuple(self._unit.complaints),
        )

    def _report(self) -> Report:
        unit = self._unit
        return Report(tuple(self._reports), tuple(unit.notes), unit.quantised, self._precision)

    def _launch(self, call: ir.Operation) -> Launch:
        (blocks,), (threads,) = integers(call.attributes["grid"]), integers(call.attributes["block"])
        name = ir.FlatSymbolRefAttr(call.attributes["callee"]).value
        arguments = tuple(self._address(value) for value in call.operands)
        return Launch(name, (blocks, 1, 1), (threads, 1, 1), 0, arguments, _layer(call))

    def _product(self, call: ir.Operation) -> Step:
        facts = ir.DictAttr(call.attributes[PRODUCT])
        roles = [ir.StringAttr(role).value for role in ir.ArrayAttr(facts["operands"])]
        values = dict(zip(roles, call.operands, strict=True))
        match ir.StringAttr(facts["contraction"]).value:
            case "sparsec.linear":
                return self._linear(call, facts, values)
            case "sparsec.conv":
                return self._convolution(call, facts, values)
            case "sparsec.pool":
                return self._maximum(call, facts, values)
            case "sparsec.matmul":
                return self._matmul(call, facts, values)
            case "sparsec.attention":
                return self._attention(call, facts, values)
        raise AssertionError(f"unknown product {facts}")

    def _linear(self, call: ir.Operation, facts: ir.DictAttr, values: Mapping[str, ir.Value]) -> Product:
        x, y, name = values["x"], values["y"], weight_name(values["w"].owner.operation)
        tokens, m, k = math.prod(shape_of(x)[:-1]), shape_of(y)[-1], shape_of(x)[-1]
        bits = self._bits(name)
        tail = self._tail(facts, values, self._rows)
        choice = choose_pattern(bits, tokens, Reference(), dense_only=self._unit.dense_only)
        problem: Problem = LinearProblem(tokens, k, m)
        if IMAGE in facts:
            batch, channels, *space = integers(facts[IMAGE])
            problem = ConvProblem(batch, channels, m, 1, tuple(Axis(size, 1) for size in space))
            choice = replace(choice, reason=f"a product of {tokens} pixels, {choice.reason}")
        self._describe(call, problem, choice, name)
        weight = self._weight(name, bits, choice)
        return Product(weight, tokens, self._rows(x), self._rows(y), tail, _layer(call))

    def _convolution(self, call: ir.Operation, facts: ir.DictAttr, values: Mapping[str, ir.Value]) -> Convolution:
        x, y, name = shape_of(values["x"]), shape_of(values["y"]), weight_name(values["w"].owner.operation)
        w = shape_of(values["w"])
        axes = axes_of(facts, x[2:], w[2:])
        if len(axes) not in (1, 2):
            raise UnsupportedOpError(
                "GPUs have convolutions of one and two axes", where=_layer(call), got=f"{len(axes)}"
            )
        height, width = axes if len(axes) == 2 else (Axis(1, 1), *axes)
        groups = ir.IntegerAttr(facts["groups"]).value
        bits = self._bits(name)
        bits = bits.reshape(*bits.shape[:2], height.kernel, width.kernel)
        direct = groups == x[1]
        reason = (
            "dense: each filter has one channel" if direct else "dense: windows of several pixels are read as they lie"
        )
        candidate = Candidate("conv_depthwise" if direct else "conv_mma", "dense", None)
        choice = Choice(None, candidate.kernel, (candidate,), reason, 0.0)
        self._describe(call, ConvProblem(x[0], x[1], y[1], groups, axes), choice, name)
        weight = self._weight(name, bits, choice)
        return Convolution(
            weight=weight,
            batch=x[0],
            channels=x[1],
            filters=y[1],
            groups=groups,
            axes=(height, width),
            strides=image_strides(values["x"], width.size),
            x=self._address(values["x"]),
            y=self._address(values["y"]),
            tail=self._tail(facts, values, lambda residual: Rows(self._address(residual), y[1])),
            layer=_layer(call),
        )

    def _maximum(self, call: ir.Operation, facts: ir.DictAttr, values: Mapping[str, ir.Value]) -> Pool:
        batch, channels, *sizes = shape_of(values["x"])
        down, right = axes_of(facts, sizes, integers(facts["kernel"]))
        x, y = self._address(values["x"]), self._address(values["y"])
        return Pool(batch, channels, (down, right), x, y, self._half, _layer(call))

    def _matmul(self, call: ir.Operation, facts: ir.DictAttr, values: Mapping[str, ir.Value]) -> BatchedProduct:
        p, q, y = values["p"], values["q"], values["y"]
        rows, inner, columns = shape_of(p)[-2], shape_of(p)[-1], shape_of(y)[-1]
        steps = [strides_of(value) for value in (p, q, y)]
        if "transposed" in facts:
            steps[1] = (*steps[1][:-2], steps[1][-1], steps[1][-2])
        sizes, strides = batch_of(shape_of(y)[:-2], [each[:-2] for each in steps], _layer(call))
        first, second, result = (
            Strided(self._address(value), batch, step[-2], step[-1])
            for value, batch, step in zip((p, q, y), strides, steps, strict=True)
        )
        problem = MatmulProblem(math.prod(sizes), rows, inner, columns)
        candidate = Candidate("dense_mma", "dense", None)
        choice = Choice(None, candidate.kernel, (candidate,), "dense: of two activations", 0.0)
        self._describe(call, problem, choice, None)
        scale = ir.FloatAttr(facts["scale"]).value
        return BatchedProduct(sizes, rows, inner, columns, first, second, result, scale, self._half, _layer(call))

    def _attention(self, call: ir.Operation, facts: ir.DictAttr, values: Mapping[str, ir.Value]) -> Attention:
        batch, heads, queries, size = shape_of(values["q"])
        keys = shape_of(values["k"])[2]
        q, k, v, y = (Heads(self._address(values[each]), *steps_of(values[each])[:3]) for each in "qkvy")
        mask = None
        if "mask" in values:
            mask = Mask(self._address(values["mask"]), *steps_of(values["mask"]))
        candidate = Candidate("attention", "dense", None)
        choice = Choice(None, candidate.kernel, (candidate,), "attention: products and softmax in one kernel", 0.0)
        self._describe(call, MatmulProblem(batch * heads, queries, size, keys), choice, None)
        scale = ir.FloatAttr(facts["scale"]).value
        sizes = (batch, heads, heads, queries, keys, size)
        return Attention(*sizes, q, k, v, y, mask, scale, False, self._half, _layer(call))

    def _tail(self, facts: ir.DictAttr, values: Mapping[str, ir.Value], rows: Callable[[ir.Value], Rows]) -> Tail:
        activation = ir.StringAttr(facts["activation"]).value or None
        residual = values.get("residual")
        return Tail(
            bias=self._address(values["bias"]) if "bias" in values else None,
            activation=cast("None", activation),
            residual=rows(residual) if residual is not None else None,
            residual_first=bool(ir.BoolAttr(facts["residual_first"]).value),
        )

    def _rows(self, value: ir.Value) -> Rows:
        stride = even_rows(value)
        assert stride is not None, "fit_operands copies what has no even rows"
        return Rows(self._address(value), stride)

    def _address(self, value: ir.Value) -> Address:
        base = base_of(value)
        _, offset = ir.MemRefType(value.type).get_strides_and_offset()
        start = offset * element_bytes(element_of(value))
        if isinstance(base.owner, ir.Block):
            number, inputs = base.arg_number, len(self._imported.inputs)
            space = Space.INPUT if number < inputs else Space.OUTPUT
            return Address(space, start, number if number < inputs else number - inputs)
        op = base.owner.operation
        if op.name == "sparsec.weight":
            return Address(Space.WEIGHTS, start + self._blob.offset(weight_name(op)))
        return Address(Space.ARENA, start + ir.IntegerAttr(op.attributes["arena_offset"]).value)

    def _bits(self, name: str) -> NDArray[np.uint16]:
        """A weight in the plan's precision."""
        rounded = self._unit.weights.dense(name).astype(self._dtype)
        return np.ascontiguousarray(rounded).view(np.uint16)

    def _weight(self, name: str, bits: NDArray[np.uint16], choice: Choice) -> int:
        key = name, choice.pattern
        if key not in self._weights:
            self._weights[key] = self._pool.weight(name, bits, self._half, choice.pattern)
        return self._weights[key]

    def _describe(self, call: ir.Operation, problem: Problem, choice: Choice, weight: str | None) -> None:
        facts: Facts | None = facts_of(self._unit.weights[weight]) if weight is not None else None
        self._reports.append(
            LayerReport(
                name=_layer(call),
                op=OPS[type(problem)],
                shape=describe(problem),
                density=facts.density if facts else None,
                pattern=facts.pattern if facts else "two activations",
                candidates=choice.candidates,
                choice=choice.kernel,
                reason=choice.reason,
                predicted_ns=choice.predicted_ns,
            )
        )


def _layer(call: ir.Operation) -> str:
    return str(ir.StringAttr(call.attributes["layer"]).value)
