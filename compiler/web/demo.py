"""A page that runs one network in the browser, compiled with and without the use of its zeros: its files, and a server.

index.html, demo.mjs, settings.json
sparse/, dense/        packages as `--emit wasm` writes them
model.onnx, ort/       for ONNX Runtime Web, where its package is present
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

from sparsec.artifact import TensorSpec
from sparsec.driver import compile_wasm
from sparsec.errors import UsageError
from sparsec.options import Options, Progress
from sparsec.source import Kind, kind_of, readable
from sparsec.targets import resolve
from sparsec.web.package import package_files
from sparsec.whole_file import write_files

_PEER_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
_MOST_REPORT = 64 << 20  # bytes
Report = Callable[[dict[str, object]], None]


def write_page(
    model: str, folder: Path, options: Options, *, peer: Path | None, report: bool, progress: Progress | None = None
) -> None:
    """Compile `model` for the page and write all of it to `folder`; `peer` is the npm package of ONNX Runtime Web.

    With `report`, the page sends what it measured to its server. Raises a `SparsecError`, also for a network of anything but
    one picture.
    """
    threads = resolve(options.target).has_threads
    for name, build in (("sparse", options), ("dense", replace(options, dense_only=True))):
        plan, module = compile_wasm(readable(model), build, progress=progress)
        _require_picture(model, plan.inputs)
        write_files(folder / name, package_files(plan, module, weights_inside=True))
    version = _copy_peer(model, peer, folder) if peer is not None and kind_of(model) is Kind.ONNX else None
    pages = files("sparsec.runtime") / "web"
    page = {to: (pages / source).read_bytes() for source, to in (("demo.html", "index.html"), ("demo.mjs", "demo.mjs"))}
    settings = json.dumps({"peer": version, "report": report, "threads": threads})
    write_files(folder, {**page, "settings.json": settings.encode()})


def _require_picture(model: str, inputs: Sequence[TensorSpec]) -> None:
    """Raise `UsageError` unless the page can draw what the network takes."""
    match [(spec.dtype, spec.shape) for spec in inputs]:
        case [("float32", (1, 3, _, _) | (1, _, _, 3))]:
            return
    raise UsageError(
        "The page is for networks of one picture.",
        where=model,
        expected="float32[1, 3, H, W] or float32[1, H, W, 3]",
        got="; ".join(map(str, inputs)),
        next_step="--emit wasm makes a package of any network",
    )


def find_peer(given: Path | None) -> Path | None:
    """The npm package of ONNX Runtime Web: the folder `given`, or one in ./node_modules; None if there is none.

    Raises `UsageError` if `given` is something else.
    """
    folder = given or Path("node_modules") / "onnxruntime-web"
    if all((folder / "dist" / name).exists() for name in _PEER_FILES):
        return folder
    if given is None:
        return None
    raise UsageError(
        "The folder is not the npm package onnxruntime-web.",
        where=str(given),
        expected=", ".join(f"dist/{name}" for name in _PEER_FILES),
        next_step="npm install onnxruntime-web",
    )


def serve(folder: Path, port: int, report: Report | None = None) -> ThreadingHTTPServer:
    """A server of the page for this machine alone; port 0 picks a free one. The caller runs and closes it.

    Raises `UsageError` for a port that is taken.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Handler, directory=str(folder), report=report))
    except OSError as error:
        free = "--port 0 picks a free one"
        raise UsageError(f"The port {port} cannot be used.", got=error.strerror, next_step=free) from error


def _copy_peer(model: str, peer: Path, folder: Path) -> str:
    """Copy what the page needs of ONNX Runtime Web, and the model as it was; returns the version."""
    (folder / "ort").mkdir(parents=True, exist_ok=True)
    for name in _PEER_FILES:
        shutil.copyfile(peer / "dist" / name, folder / "ort" / name)
    data = Path(model).read_bytes()
    (folder / "model.onnx").write_bytes(gzip.decompress(data) if model.endswith(".gz") else data)
    return str(json.loads((peer / "package.json").read_text())["version"])


class _Handler(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012 - the base class declares it so
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, *arguments: object, directory: str, report: Report | None) -> None:
        self._report = report
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def do_POST(self) -> None:
        """What the page found, if anybody asked."""
        size = int(self.headers.get("content-length") or 0)
        if self._report is None or self.path != "/report" or size > _MOST_REPORT:
            self.send_error(404)
            return
        self._report(json.loads(self.rfile.read(size)))
        self.send_response(204)
        self.end_headers()

    def end_headers(self) -> None:
        """With what makes the page cross-origin isolated: only then threads may share memory."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the command line says where the page is, and that is all."""
