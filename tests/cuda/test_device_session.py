"""Plans on a GPU, against float64: tensors of torch and of the host, addresses, streams, graphs, memory."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from plans import (
    Halves,
    checked,
    residual_block,
    residual_block_reference,
    residual_blocks,
    sparse_matrix,
    two_of_four,
    weight,
)

from sparsec.cuda.code import nvrtc
from sparsec.cuda.code import program as kernels
from sparsec.cuda.device.driver import Buffer, Device
from sparsec.cuda.network.encoded import EncodedWeights
from sparsec.cuda.network.packed import DeviceProgram, packed
from sparsec.device.session import DeviceSession
from sparsec.errors import InputError, UsageError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("gpu", "nvrtc")

TOKENS, K, HIDDEN = 24, 128, 320
BIAS = np.random.default_rng(5).standard_normal(HIDDEN).astype(np.float32)
FIRST, SECOND = sparse_matrix(HIDDEN, K, 0.3, 1), sparse_matrix(K, HIDDEN, 1.0, 2)


def session(tokens: int = TOKENS) -> DeviceSession:
    weights = weight("first", FIRST, "unstructured"), weight("second", SECOND, None)
    return DeviceSession(DeviceProgram((residual_block(tokens, *weights, BIAS),)))


def numbers(seed: int, tokens: int = TOKENS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((tokens, K)).astype(np.float16)


def check(y: object, x: np.ndarray) -> None:
    found = y.cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    expected = residual_block_reference(x, FIRST, SECOND, BIAS)
    assert float(np.abs(found - expected).max()) < 4e-3 * float(np.abs(expected).max())


def test_arrays_of_the_host() -> None:
    with session() as running:
        for seed in range(3):
            check(running.run({"x": numbers(seed)})["y"], numbers(seed))


def test_tensors_on_the_gpu_and_poisoned_outputs() -> None:
    running = session()
    for seed in range(20):  # more than there are graphs, so some are changed
        x, y = torch.from_numpy(numbers(seed)).cuda(), torch.full((TOKENS, K), torch.nan, device="cuda").half()
        assert running.launch([x], out=[y])["y"] is y
        check(y, numbers(seed))
        again = running.launch({"x": x})["y"]
        check(again, numbers(seed))


@pytest.mark.parametrize("tokens", [1, 3, 129, 512])
@pytest.mark.parametrize("pattern", ["unstructured", "2:4", None])
def test_patterns_and_tokens(tokens: int, pattern: str | None) -> None:
    first = two_of_four(HIDDEN, K, 3)
    weights = weight("first", first, pattern), weight("second", SECOND, None)
    running = DeviceSession(DeviceProgram((residual_block(tokens, *weights, BIAS),)))
    x = numbers(tokens, tokens)
    expected = residual_block_reference(x, first, SECOND, BIAS)
    found = running.run([x])["y"]
    assert float(np.abs(found - expected).max()) < 4e-3 * float(np.abs(expected).max())


@pytest.mark.parametrize(
    ("first", "pattern"),
    [
        (sparse_matrix(HIDDEN, K, 0.1, 3), "unstructured"),
        (two_of_four(HIDDEN, K, 3), "unstructured"),
        (two_of_four(HIDDEN, K, 3), "2:4"),
        (two_of_four(HIDDEN, K, 3), None),
    ],
)
def test_shapes_take_turns(first: Halves, pattern: str | None) -> None:
    """On the GPU's tensors and a host's, in any order: each shape is loaded at its first call, among runs of others."""
    sizes = (1, 3, 32, 129, 512)
    weights = weight("first", first, pattern), weight("second", SECOND, None)
    running = DeviceSession(DeviceProgram(residual_blocks(sizes, *weights, BIAS)))
    streams, results = [torch.cuda.Stream() for _ in range(2)], []
    for number in np.random.default_rng(0).integers(0, len(sizes), 40):
        x = numbers(int(number), sizes[number])
        with torch.cuda.stream(streams[len(results) % 2]):
            placed = torch.from_numpy(x).cuda()
            results.append((x, running.launch([placed])["y"]))
    torch.cuda.synchronize()
    for x, y in [*results, *((x, running.run([x])["y"]) for x, _ in results[:10])]:
        expected = residual_block_reference(x, first, SECOND, BIAS)
        found = y.cpu().numpy() if isinstance(y, torch.Tensor) else y
        assert float(np.abs(found - expected).max()) < 4e-3 * float(np.abs(expected).max())
    with pytest.raises(InputError, match=r"not compiled for these shapes(.|\n)*x\[32, 128\](.|\n)*x\[2, 128\]"):
        running.launch([torch.zeros((2, K), dtype=torch.float16, device="cuda")])


def test_streams_wait_for_each_other() -> None:
    running, streams = session(), [torch.cuda.Stream() for _ in range(3)]
    xs = [torch.from_numpy(numbers(seed)).cuda() for seed in range(30)]
    torch.cuda.synchronize()
    results = []
    for number, x in enumerate(xs):
        with torch.cuda.stream(streams[number % 3]):
            results.append(running.launch([x])["y"])
    torch.cuda.synchronize()
    for seed, y in enumerate(results):
        check(y, numbers(seed))


def test_a_run_becomes_part_of_a_graph() -> None:
    running = session()
    x, y = torch.from_numpy(numbers(1)).cuda(), torch.zeros((TOKENS, K), dtype=torch.float16, device="cuda")
    running.launch([x], out=[y])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        running.launch([x], out=[y])
    for seed in (3, 4):
        x.copy_(torch.from_numpy(numbers(seed)))
        graph.replay()
        check(y, numbers(seed))


def test_a_hundred_calls_and_a_closed_session_leave_no_memory_behind(
    gpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: dict[int, int] = {}
    allocate, free = gpu.allocate, gpu.free

    def counted(nbytes: int) -> Buffer:
        buffer = allocate(nbytes)
        taken[buffer.address] = nbytes
        return buffer

    def freed(buffer: Buffer) -> None:
        free(buffer)
        taken.pop(buffer.address, None)

    x = torch.from_numpy(numbers(2)).cuda()
    outs = [torch.empty((TOKENS, K), dtype=torch.float16, device="cuda") for _ in range(20)]
    with session() as first:  # what a process keeps, as cuBLAS's workspace, is not a session's
        first.launch([x], out=[outs[0]])
    monkeypatch.setattr(gpu, "allocate", counted)
    monkeypatch.setattr(gpu, "free", freed)
    running = session()
    for y in outs:
        running.launch([x], out=[y])
    loaded = dict(taken)
    for number in range(100):
        running.launch([x], out=[outs[number % 20]])
    assert taken == loaded
    running.close()
    del running
    gc.collect()
    assert taken == {}


def test_a_value_that_the_network_cannot_take_is_named() -> None:
    running = DeviceSession(DeviceProgram((checked(),)))
    bad, good = np.ones(64, np.float16), np.ones(64, np.float16)
    good[0] = 0
    for _ in range(2):
        with pytest.raises(InputError, match="the first number is not zero"):
            running.run([bad])
        with pytest.raises(InputError, match="the first number is not zero"):
            running.launch([torch.from_numpy(bad).cuda()])
        assert running.run([good])["y"][1] == 2
        assert float(running.launch([torch.from_numpy(good).cuda()])["y"][1]) == 2


def test_tensors_with_gaps_and_at_odd_places_are_copied_or_refused() -> None:
    running = session()
    wide = torch.zeros((TOKENS, K + 8), dtype=torch.float16, device="cuda")
    wide[:, :K] = torch.from_numpy(numbers(7)).cuda()
    check(running.launch([wide[:, :K]])["y"], numbers(7))
    odd = torch.zeros(TOKENS * K + 1, dtype=torch.float16, device="cuda")[1:].view(TOKENS, K)
    odd.copy_(torch.from_numpy(numbers(8)))
    check(running.launch([odd])["y"], numbers(8))
    with pytest.raises(InputError, match="cannot be used where it is"):
        running.launch([odd.contiguous()], out=[wide[:, :K]])
    with pytest.raises(InputError, match="wrong dtype, shape or device"):
        running.launch([odd.float()])
    whole = odd.clone()
    with pytest.raises(InputError, match="shares memory"):
        running.launch([whole], out=[whole])


def test_a_profile_has_a_time_for_each_step() -> None:
    times = session().profile([numbers(0)], repeats=3)
    assert times.shape == (3, 3)
    assert (times > 0).all()


def test_machine_code_in_the_program_is_enough(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    if (gpu.architecture, gpu.multiprocessors) != ((9, 0), 132):
        pytest.skip("needs an H100 of 132 multiprocessors, which there is machine code for")
    program = packed(DeviceProgram(session().programs, ("h100",)), EncodedWeights({}, keeps=True))
    monkeypatch.setattr(nvrtc, "compile_source", lambda *_: pytest.fail("compiled"))
    monkeypatch.setattr(kernels, "cache_folder", lambda: Path("/nowhere"))
    gpu.functions.clear()
    check(DeviceSession(program).run([numbers(1)])["y"], numbers(1))


def test_a_closed_session_says_so() -> None:
    running = session()
    running.run([numbers(0)])
    running.close()
    with pytest.raises(UsageError, match="closed"):
        running.run([numbers(0)])
