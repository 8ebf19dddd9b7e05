"""A headless Chromium that is told what to do over its debugging pipe: messages in JSON, each with a zero byte behind."""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bench.wasm_engines.engine import Array, EngineError
from sparsec.artifact import NUMPY_DTYPES
from sparsec.web.demo import serve

LIMIT = 300  # seconds
NAMES = ("chromium", "chromium-browser", "google-chrome")


_PAGE = """<!doctype html><meta charset="utf-8"><script type="module">
const base64 = (bytes) => {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
};
const report = (what) => fetch("report", { method: "POST", body: JSON.stringify(what) });
try {
  const { load } = await import("./package/model.mjs");
  const model = await load();
  const feeds = {};
  for (const [name, file] of Object.entries(await (await fetch("feeds.json")).json())) {
    feeds[name] = new model.buffers.inputs[name].constructor(await (await fetch(file)).arrayBuffer());
  }
  const results = Object.entries(model.run(feeds)).map(([name, value]) => [name, base64(new Uint8Array(value.buffer))]);
  await report({ specs: model.outputs, results: Object.fromEntries(results) });
} catch (error) {
  await report({ error: String(error) });
}
</script>"""


def find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of the browser."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO) -> None:
        self._commands, self._answers, self._count = commands, answers, 0
        target = str(self.call("Target.createTarget", url="about:blank")["targetId"])
        self._session = str(self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, object]:
        """The result of a command; what else the browser says is ignored."""
        self._count += 1
        message: dict[str, object] = {"id": self._count, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, object] = answer["result"]
                return result

    def _next(self) -> bytes:
        found = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser ended")
            found += byte
        return bytes(found)

    def open(self, address: str) -> None:
        self.call("Page.navigate", self._session, url=address)

    def evaluate(self, expression: str) -> object:
        """What an expression gives in the page, or its promise; raises `RuntimeError` for what it throws."""
        settings = {"awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", self._session, expression=expression, **settings)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        result = answer["result"]
        assert isinstance(result, dict)
        return result.get("value")

    def screenshot(self, file: Path) -> None:
        """Write what the page shows as a PNG file."""
        shown = self.call("Page.captureScreenshot", self._session, format="png")
        file.write_bytes(base64.b64decode(str(shown["data"])))


@contextmanager
def browser(program: str, profile: Path) -> Iterator[Browser]:
    """Start and end a browser with a profile of its own."""
    command_end, commands = os.pipe()
    answers, answer_end = os.pipe()
    flags = "--headless=new --no-sandbox --disable-gpu --remote-debugging-pipe --window-size=1000,800 --no-first-run"
    flags += " --disable-quic --disable-background-networking --disable-component-update --disable-sync"
    script = f'exec "$0" {flags} --user-data-dir="$1" 3<&{command_end} 4>&{answer_end}'
    process = subprocess.Popen(
        ["bash", "-c", script, program, profile], pass_fds=(command_end, answer_end), stderr=subprocess.DEVNULL
    )
    os.close(command_end)
    os.close(answer_end)
    try:
        with os.fdopen(commands, "wb") as writing, os.fdopen(answers, "rb", buffering=1 << 16) as reading:
            yield Browser(writing, reading)
    finally:
        process.terminate()
        process.wait(30)


@dataclass(frozen=True, slots=True)
class Chromium:
    """A headless Chromium that opens a page with the package."""

    def missing(self) -> str | None:
        return None if find_chromium() else "there is no Chromium here: apt-get install chromium"

    def run(self, package: Path, feeds: Mapping[str, Array]) -> dict[str, Array]:
        program = find_chromium()
        assert program is not None
        found: queue.Queue[dict[str, object]] = queue.Queue()
        with tempfile.TemporaryDirectory() as scratch:
            _write_site(Path(scratch) / "site", package, feeds)
            with serve(Path(scratch) / "site", 0, found.put) as server:
                threading.Thread(target=server.serve_forever, daemon=True).start()
                with browser(program, Path(scratch) / "profile") as chromium:
                    chromium.open(f"http://127.0.0.1:{server.server_address[1]}/")
                    report = found.get(timeout=LIMIT)
                server.shutdown()
        if "error" in report:
            raise EngineError(str(report["error"]))
        specs, results = report["specs"], report["results"]
        assert isinstance(specs, list)
        assert isinstance(results, dict)
        return {
            spec["name"]: np.frombuffer(base64.b64decode(results[spec["name"]]), NUMPY_DTYPES[spec["dtype"]])
            for spec in specs
        }


def _write_site(site: Path, package: Path, feeds: Mapping[str, Array]) -> None:
    site.mkdir()
    (site / "package").symlink_to(package, target_is_directory=True)
    (site / "index.html").write_text(_PAGE)
    files = {name: f"feed-{number}.bin" for number, name in enumerate(feeds)}
    (site / "feeds.json").write_text(json.dumps(files))
    for name, values in feeds.items():
        (site / files[name]).write_bytes(values.tobytes())
