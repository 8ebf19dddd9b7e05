"""A headless Chromium that is told what to do over its debugging pipe: messages in JSON, each with a zero byte behind."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

NAMES = ("chromium", "chromium-browser", "google-chrome")


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
