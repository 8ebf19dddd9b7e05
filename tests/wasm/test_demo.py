"""The page of `sparsec demo-web`, in a headless Chromium: results, times, and a screenshot that the test run keeps."""

from __future__ import annotations

import gzip
import os
import queue
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from bench.wasm_engines.browser import browser, find_chromium
from sparsec.errors import UsageError
from sparsec.options import Options
from sparsec.web.demo import find_peer, serve, write_page

LANDMARKS = Path(__file__).parents[2] / "bench" / "models" / "handlandmark.onnx.gz"
KEPT = Path(__file__).parents[2] / "build" / "demo-web.png"
SECONDS = 120


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_page(str(LANDMARKS), folder, Options("wasm32-threads", use_measurements=False), peer=None, report=True)
    return folder


def test_the_page_computes_what_onnx_runtime_computes(page: Path, tmp_path: Path) -> None:
    """The landmarks of the picture that the page draws, in both builds."""
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    found: queue.Queue[dict[str, object]] = queue.Queue()
    with serve(page, 0, found.put) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with browser(program, tmp_path / "profile") as chromium:
            chromium.open(f"http://127.0.0.1:{server.server_address[1]}/")
            report = found.get(timeout=SECONDS)
            KEPT.parent.mkdir(exist_ok=True)
            chromium.screenshot(KEPT)
        server.shutdown()
    assert "error" not in report, report["error"]
    milliseconds, outputs = report["milliseconds"], report["outputs"]
    assert isinstance(milliseconds, dict)
    assert isinstance(outputs, dict)
    processors = min(len(os.sched_getaffinity(0)), 8)
    together = {f"sparsec, {processors} threads"} if processors > 1 else set[str]()
    assert set(milliseconds) == {"sparsec", "sparsec, zeros not used"} | together
    assert float(str(report["difference"])) < 1e-3
    assert KEPT.stat().st_size > 10_000
    session = onnxruntime.InferenceSession(gzip.decompress(LANDMARKS.read_bytes()))
    pixels = np.array(report["pixels"], np.float32).reshape(session.get_inputs()[0].shape)
    names = [each.name for each in session.get_outputs()]
    for name, expected in zip(names, session.run(None, {session.get_inputs()[0].name: pixels}), strict=True):
        scale = max(float(np.abs(expected).max()), 1e-3)
        np.testing.assert_allclose(np.array(outputs[name]), expected.reshape(-1), rtol=1e-3, atol=1e-3 * scale)


def test_both_builds_are_packages_and_the_dense_one_stores_zeros(page: Path) -> None:
    model = onnx.ModelProto.FromString(gzip.decompress(LANDMARKS.read_bytes()))
    assert len(model.graph.output) == 3
    sparse, dense = ((page / name / "model.wasm").stat().st_size for name in ("sparse", "dense"))
    assert dense > 1.5 * sparse


def test_a_folder_that_is_not_onnx_runtime_web_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the npm package"):
        find_peer(tmp_path)
