"""All engines, by name. To add one: write its file, add its row."""

from __future__ import annotations

from collections.abc import Mapping

from bench.wasm_engines.browser import Chromium
from bench.wasm_engines.engine import Engine
from bench.wasm_engines.module import Wasmtime
from bench.wasm_engines.node import Node

ENGINES: Mapping[str, Engine] = {"node": Node(), "wasmtime": Wasmtime(), "chromium": Chromium()}
