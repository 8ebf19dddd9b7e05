"""LLVM IR text in, object code out: the one place that drives llvmlite."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache

import llvmlite.binding as llvm

from sparsec.artifact import CodeImage
from sparsec.errors import ToolchainError
from sparsec.targets import abi, flat_image, llvm_text
from sparsec.targets.target import Target


def emit_image(llvm_ir: str, target: Target, entries: Sequence[str]) -> CodeImage:
    """Compile kernels `void @k(ptr…, i64 begin, i64 end)` and link them into one flat image.

    `llvm_ir` is a module as torch-mlir prints it; `entries` are the kernels to call from outside, each through a
    wrapper with the uniform ABI of `abi`. Raises `ToolchainError`, which says where the text was written.
    """
    machine = _machine(target)
    with _optimised(llvm_ir, target, machine, entries) as module:
        elf = machine.emit_object(module)
    return flat_image.link(elf, {name: abi.entry_symbol(name) for name in entries})


def emit_object(llvm_ir: str, target: Target, entries: Sequence[str] = ()) -> bytes:
    """Return a relocatable object; without `entries`, of all public functions as they are."""
    machine = _machine(target)
    with _optimised(llvm_ir, target, machine, entries) as module:
        elf: bytes = machine.emit_object(module)
    return elf


def emit_assembly(llvm_ir: str, target: Target, entries: Sequence[str] = ()) -> str:
    """Return assembly text of what `emit_object` returns."""
    machine = _machine(target)
    with _optimised(llvm_ir, target, machine, entries) as module:
        text: str = machine.emit_assembly(module)
    return text


@cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def _machine(target: Target) -> llvm.TargetMachine:
    _initialise()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


@contextmanager
def _optimised(
    text: str, target: Target, machine: llvm.TargetMachine, entries: Sequence[str]
) -> Iterator[llvm.ModuleRef]:
    """Give the optimised module, and close it before its context: the garbage collector may take the other order."""
    with closing(llvm.create_context()) as context, closing(_parsed(text, context)) as module:
        module.triple, module.data_layout = target.triple, str(machine.target_data)
        if entries:
            _add_wrappers(module, context, entries)
        _checked(module)
        builder = llvm.create_pass_builder(machine, _tuning())
        builder.getModulePassManager().run(module, builder)
        yield module


def _add_wrappers(module: llvm.ModuleRef, context: llvm.ContextRef, entries: Sequence[str]) -> None:
    text = abi.wrappers({name: _pointer_count(module, name) for name in entries})
    with closing(_parsed(text, context)) as wrappers:
        wrappers.triple, wrappers.data_layout = module.triple, module.data_layout
        module.link_in(wrappers)
    _internalise(module, {abi.entry_symbol(name) for name in entries})


def _tuning() -> llvm.PipelineTuningOptions:
    """Vectorise loops; unrolling, interleaving and SLP cost much compile time, and did not pay on fused loops."""
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.loop_interleaving = False
    options.loop_unrolling = False
    options.slp_vectorization = False
    return options


def _pointer_count(module: llvm.ModuleRef, kernel: str) -> int:
    """Return how many buffers a kernel takes, after checking that it is `void (ptr…, i64, i64)`."""
    try:
        function = module.get_function(kernel)
    except NameError:
        raise ToolchainError("A kernel is not in the LLVM module.", where=kernel) from None
    types = [str(argument.type) for argument in function.arguments]
    pointers = len(types) - 2
    signature = str(function.global_value_type)
    if function.is_declaration or types != ["ptr"] * pointers + ["i64", "i64"] or not signature.startswith("void "):
        raise ToolchainError(
            "A kernel does not have the signature of kernels.",
            where=kernel,
            expected="void (ptr..., i64, i64)",
            got=signature,
        )
    return pointers


def _internalise(module: llvm.ModuleRef, public: set[str]) -> None:
    """Hide all but the wrappers, so that unused code goes away and calls need no indirection.

    Kernels stay apart from their wrappers: only as parameters do pointers keep their `noalias` up to the loop
    vectoriser.
    """
    for function in module.functions:
        if not function.is_declaration and function.name not in public:
            function.linkage = "internal"
            function.add_function_attribute("noinline")
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"


def _parsed(text: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    older = llvm_text.for_older_parser(text)
    try:
        return llvm.parse_assembly(older, context)
    except RuntimeError as error:
        raise _refused(older, error) from error


def _checked(module: llvm.ModuleRef) -> None:
    try:
        module.verify()
    except RuntimeError as error:
        raise _refused(str(module), error) from error


def _refused(text: str, error: Exception) -> ToolchainError:
    handle, path = tempfile.mkstemp(prefix="sparsec-", suffix=".ll")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return ToolchainError(
        "LLVM refused the generated code; this is a bug of sparsec.",
        where=path,
        got=str(error).strip(),
        next_step=f"report it with that file; `llvm-as {path}` shows the same",
    )
