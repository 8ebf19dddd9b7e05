"""Dense kernels against the machine's multiply-add roof and ONNX Runtime, one thread, interleaved in one process.

    PYTHONPATH=tests/kernels taskset -c 1 python bench/kernels.py [--isa avx2] [--rounds 20] [--only NAME] [--json FILE]

Prints per case the median time with the 10th and 90th percentile over the rounds, GFLOP/s, per cent of the roof, and
the ratio to ONNX Runtime (more than 1: faster than it). Time is the thread's: the machine may be shared.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from expected import F64, output_shape
from harness import F32, compile_layer, compile_text, place, to_llvm
from onnx import TensorProto, helper, numpy_helper
from torch_mlir import ir

from sparsec.kernels.attention_dense import AttentionDense
from sparsec.kernels.conv_dense import ConvDense
from sparsec.kernels.emit import Vectors, carry, define, fma
from sparsec.kernels.isa import AVX2, AVX512, Isa
from sparsec.kernels.kernel import Kernel
from sparsec.kernels.linear_dense import LinearDense
from sparsec.kernels.matmul_dense import MatmulDense
from sparsec.kernels.problem import (
    AttentionProblem,
    Axis,
    ConvProblem,
    LinearProblem,
    MatmulProblem,
    Problem,
    dense_products,
)


def square(
    channels: int, filters: int, size: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
) -> ConvProblem:
    axis = Axis(size, kernel, stride, 1, padding, padding)
    return ConvProblem(1, channels, filters, groups, (axis, axis))


CASES: dict[str, Problem] = {
    "linear 128x768x768": LinearProblem(128, 768, 768),
    "linear 128x384x1536": LinearProblem(128, 384, 1536),
    "linear 128x1536x384": LinearProblem(128, 1536, 384),
    "linear 1x768x768": LinearProblem(1, 768, 768),
    "linear 1x4096x4096": LinearProblem(1, 4096, 4096),
    "linear 17x1280x1000": LinearProblem(17, 1280, 1000),
    "heads 12x128x32x128": MatmulProblem(12, 128, 32, 128),
    "heads 12x128x32x128 transposed": MatmulProblem(12, 128, 32, 128, transposed=True),
    "heads 12x128x128x32": MatmulProblem(12, 128, 128, 32),
    "attention 12x128x32": AttentionProblem(1, 12, 128, 128, 32, 32**-0.5),
    "attention 12x512x64": AttentionProblem(1, 12, 512, 512, 64, 64**-0.5),
    "1x1 768->768 at 128": ConvProblem(1, 768, 768, 1, (Axis(128, 1),)),
    "1x1 32->16 at 112": square(32, 16, 112),
    "1x1 24->144 at 56": square(24, 144, 56),
    "1x1 144->24 at 56": square(144, 24, 56),
    "1x1 192->32 at 28": square(192, 32, 28),
    "1x1 96->576 at 14": square(96, 576, 14),
    "1x1 960->320 at 7": square(960, 320, 7),
    "1x1 160->960 at 7": square(160, 960, 7),
    "1x1 256->256 at 32": square(256, 256, 32),
    "1x1/2 256->512 at 28": square(256, 512, 28, 1, 2),
    "3x3/2 3->32 at 224": square(3, 32, 224, 3, 2, 1),
    "7x7/2 3->64 at 224": square(3, 64, 224, 7, 2, 3),
    "3x3 64->64 at 56": square(64, 64, 56, 3, 1, 1),
    "3x3 128->128 at 28": square(128, 128, 28, 3, 1, 1),
    "3x3 256->256 at 14": square(256, 256, 14, 3, 1, 1),
    "3x3 512->512 at 7": square(512, 512, 7, 3, 1, 1),
    "3x3 32 groups 256 at 28": square(256, 256, 28, 3, 1, 1, 32),
    "16x16/16 3->192 at 224": square(3, 192, 224, 16, 16),
    "3 80->384 at 3000": ConvProblem(1, 80, 384, 1, (Axis(3000, 3, 1, 1, 1, 1),)),
}


def kernel_for(problem: Problem) -> Kernel:
    match problem:
        case ConvProblem():
            return ConvDense()
        case LinearProblem():
            return LinearDense()
        case MatmulProblem():
            return MatmulDense()
        case AttentionProblem():
            return AttentionDense()


def data(problem: Problem) -> tuple[dict[str, F32], F32 | None]:
    """Random inputs by buffer name, and the weight."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> F32:
        return random.standard_normal(shape, dtype=np.float32)

    match problem:
        case ConvProblem():
            inside = problem.channels // problem.groups
            x = normal(problem.batch, problem.channels, *(axis.size for axis in problem.axes))
            return {"x": x}, normal(problem.filters, inside, *(axis.kernel for axis in problem.axes)) * np.float32(
                1 / 16
            )
        case LinearProblem():
            return {"x": normal(problem.tokens, problem.inputs)}, normal(problem.outputs, problem.inputs) * np.float32(
                1 / 16
            )
        case MatmulProblem():
            inner = (problem.columns, problem.inner) if problem.transposed else (problem.inner, problem.columns)
            return {"p": normal(problem.batch, problem.rows, problem.inner), "q": normal(problem.batch, *inner)}, None
        case AttentionProblem():
            lengths = {"q": problem.queries, "k": problem.keys, "v": problem.keys}
            heads = problem.batch, problem.heads
            return {name: normal(*heads, length, problem.size) for name, length in lengths.items()}, None


def onnx_model(problem: Problem, inputs: dict[str, F32], weight: F32 | None) -> bytes:
    """The layer as an ONNX model."""
    constants = []
    match problem:
        case ConvProblem():
            nodes = [
                helper.make_node(
                    "Conv",
                    ["x", "w"],
                    ["y"],
                    strides=[axis.stride for axis in problem.axes],
                    dilations=[axis.dilation for axis in problem.axes],
                    pads=[axis.before for axis in problem.axes] + [axis.after for axis in problem.axes],
                    group=problem.groups,
                )
            ]
            constants = [("w", weight)]
        case LinearProblem():
            nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
            constants = [("w", np.ascontiguousarray(weight.T))] if weight is not None else []
        case MatmulProblem():
            turn = [helper.make_node("Transpose", ["q"], ["t"], perm=[0, 2, 1])] if problem.transposed else []
            nodes = [*turn, helper.make_node("MatMul", ["p", "t" if turn else "q"], ["y"])]
        case AttentionProblem():
            nodes = [
                helper.make_node("Transpose", ["k"], ["t"], perm=[0, 1, 3, 2]),
                helper.make_node("MatMul", ["q", "t"], ["s"]),
                helper.make_node("Mul", ["s", "scale"], ["z"]),
                helper.make_node("Softmax", ["z"], ["p"], axis=-1),
                helper.make_node("MatMul", ["p", "v"], ["y"]),
            ]
            constants = [("scale", np.asarray(problem.scale, np.float32))]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape(problem))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(onnx.ModelProto.SerializeToString(model))


def runtime_call(problem: Problem, inputs: dict[str, F32], weight: F32 | None) -> tuple[Callable[[], None], F32]:
    """One run of ONNX Runtime with bound buffers on one thread, and its output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model(problem, inputs, weight), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    y = np.zeros(output_shape(problem), dtype=np.float32)
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(value)))
    out = onnxruntime.OrtValue.ortvalue_from_numpy(y)
    binding.bind_ortvalue_output("y", out)
    session.run_with_iobinding(binding)
    return lambda: session.run_with_iobinding(binding), out.numpy()


def our_call(problem: Problem, inputs: dict[str, F32], weight: F32 | None, isa: Isa) -> tuple[Callable[[], None], F32]:
    """One run of our kernel with bound buffers, and its output."""
    layer = compile_layer(kernel_for(problem), problem, weight, isa=isa)
    bound, buffers = layer.timer(inputs)

    def call() -> None:
        for function, arguments in bound:
            function(*arguments)

    call.__dict__["alive"] = (layer, buffers)
    call()
    return call, buffers["y"].reshape(output_shape(problem)).view(np.float32)


def roof(isa: Isa) -> float:
    """GFLOP/s of independent multiply-adds in registers."""
    vectors, chains, steps = Vectors(isa.lanes()), 12, 1_000_000
    with ir.Context(), ir.Location.unknown():
        module = ir.Module.create()

        def body(memory: object, begin: object, end: object) -> None:
            buffer = memory["y"]  # type: ignore[index]
            a, b = vectors.load(buffer, 0), vectors.load(buffer, vectors.lanes)
            start = [vectors.load(buffer, i * vectors.lanes) for i in range(chains)]
            for i, total in enumerate(carry(0, steps, 1, start, lambda _, sums: [fma(a, b, x) for x in sums])):
                vectors.store(total, buffer, i * vectors.lanes)

        define(module, "roof", {"y": ("f32", chains * vectors.lanes)}, body)
        machine = compile_text(to_llvm(module), isa)
    y, run = place(np.zeros(chains * vectors.lanes, dtype=np.float32)), machine.function("roof", 1)
    times = []
    for _ in range(20):
        started = time.thread_time()
        run(y.ctypes.data, 0, 1)
        times.append(time.thread_time() - started)
    return 2 * chains * vectors.lanes * steps / float(np.median(times)) / 1e9


def measure(calls: list[Callable[[], None]], rounds: int) -> list[F64]:
    """Seconds per call, [rounds] for each, taking turns; a turn lasts a few milliseconds."""
    repeats = []
    for call in calls:
        call()
        started = time.thread_time()
        call()
        repeats.append(max(3, int(4e-3 / (time.thread_time() - started + 1e-7))))
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, count, series in zip(calls, repeats, times, strict=True):
            call()
            started = time.thread_time()
            for _ in range(count):
                call()
            series.append((time.thread_time() - started) / count)
    return [np.array(series) for series in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isa", choices=["avx512", "avx2"], default="avx512")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    isa = {"avx512": AVX512, "avx2": AVX2}[options.isa]
    peak = roof(isa)
    print(f"{isa.suffix}: multiply-add roof {peak:.0f} GFLOP/s, onnxruntime {onnxruntime.__version__}")
    print(f"{'case':32}{'us':>9}{'p10':>9}{'p90':>9}{'GF/s':>8}{'roof':>6}{'ORT us':>10}{'ratio':>7}")
    rows = []
    for name, problem in CASES.items():
        if options.only not in name:
            continue
        inputs, weight = data(problem)
        ours, y = our_call(problem, inputs, weight, isa)
        theirs, expected = runtime_call(problem, inputs, weight)
        np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)
        mine, peer = measure([ours, theirs], options.rounds)
        low, middle, high = (float(np.quantile(mine, q)) for q in (0.1, 0.5, 0.9))
        speed = 2 * dense_products(problem) / middle / 1e9
        other = float(np.median(peer))
        rows.append({"case": name, "seconds": [low, middle, high], "gflops": speed, "onnxruntime_seconds": other})
        print(
            f"{name:32}{middle * 1e6:9.1f}{low * 1e6:9.1f}{high * 1e6:9.1f}{speed:8.1f}{speed / peak:6.0%}"
            f"{other * 1e6:10.1f}{other / middle:7.2f}",
            flush=True,
        )
    if options.json:
        head = {"isa": isa.suffix, "roof_gflops": peak, "machine": platform.processor() or platform.machine()}
        options.json.write_text(json.dumps({**head, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
