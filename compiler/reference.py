"""Reference engines: what a compiled model is checked against, and raced against."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from sparsec.artifact import TensorSpec
from sparsec.errors import ModelError, UsageError
from sparsec.runtime.tensors import Array

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

    OnnxSource: TypeAlias = str | os.PathLike[str] | bytes | onnx.ModelProto

GZIP_MAGIC = b"\x1f\x8b"


class Engine(Protocol):
    """Something that runs the model: arrays by input name in, arrays in the order of the outputs out."""

    @property
    def name(self) -> str:
        """As printed, with the version."""
        ...

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Run once."""
        ...


class OnnxRuntime:
    """ONNX Runtime on the CPU.

    On x86-64 without VNNI it adds products of u8 and s8 in pairs that saturate, and so can be far off; `exact` has it take
    slower instructions there, which do not.
    """

    def __init__(self, source: OnnxSource, threads: int | None = None, *, exact: bool = False) -> None:
        """Load a model; raises `UsageError` if ONNX Runtime is not installed, `ModelError` if it refuses the model."""
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it logs as an error, it raises, too
        options.inter_op_num_threads = 1
        if threads is not None:
            options.intra_op_num_threads = threads
        # Its idle threads would otherwise spin into the time of whoever is measured next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.add_session_config_entry("session.x64quantprecision", "1" if exact else "0")
        try:
            self._session = onnxruntime.InferenceSession(
                onnx_bytes(source), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it raises a dozen classes of its own
            raise ModelError("ONNX Runtime refuses the model.", got=str(error)) from error
        self.name = f"ONNX Runtime {onnxruntime.__version__}"

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        try:
            results: list[Array] = self._session.run(None, dict(feeds))
        except Exception as error:  # of classes of its own, as above
            raise ModelError("ONNX Runtime cannot run the model.", got=str(error)) from error
        return results


class OpenVino:
    """OpenVINO on the CPU, in float32."""

    def __init__(self, source: OnnxSource, feeds: Mapping[str, Array], threads: int | None = None) -> None:
        """Load a model for the shapes of `feeds`; raises `UsageError` if OpenVINO is not installed."""
        try:
            import openvino
        except ImportError as error:
            raise UsageError("OpenVINO is not installed.", next_step="pip install openvino") from error
        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            model = core.read_model(onnx_bytes(source))
            model.reshape({name: list(array.shape) for name, array in feeds.items()})
            self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            raise ModelError("OpenVINO refuses the model.", got=str(error)) from error
        self.name = f"OpenVINO {openvino.__version__.split('-')[0]}"

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        return [np.asarray(value) for value in self._request.infer(dict(feeds)).values()]


class TorchProgram:
    """The exported program itself, run by torch."""

    def __init__(self, program: ExportedProgram, inputs: tuple[TensorSpec, ...], threads: int | None = None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._module, self._signature, self._inputs = program.module(), program.call_spec.in_spec, inputs
        self.name = f"torch {torch.__version__}"

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        import torch
        from torch.utils import _pytree as pytree

        tensors = [torch.from_numpy(np.array(feeds[spec.name])) for spec in self._inputs]
        args, kwargs = pytree.tree_unflatten(tensors, self._signature)
        with torch.no_grad():
            result = self._module(*args, **kwargs)
        return [leaf.numpy() for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def onnx_bytes(source: OnnxSource) -> bytes | str:
    """What other engines take: the path of a model, or its bytes if it is gzipped or in memory."""
    if isinstance(source, bytes):
        return gzip.decompress(source) if source[:2] == GZIP_MAGIC else source
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.suffix != ".gz":
            return str(path)
        try:
            return gzip.decompress(path.read_bytes())
        except (OSError, EOFError) as error:
            raise ModelError("The model cannot be read.", where=str(path), got=str(error)) from error
    data: bytes = source.SerializeToString()
    return data


def _onnxruntime() -> ModuleType:
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise UsageError(
            "ONNX Runtime, the reference, is not installed.", next_step="pip install 'sparsec[verify]'"
        ) from error
