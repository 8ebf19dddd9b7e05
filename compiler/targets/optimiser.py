"""LLVM IR text to an optimised module: the one place that drives llvmlite."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache

import llvmlite.binding as llvm

from sparsec.errors import ToolchainError
from sparsec.targets import abi, llvm_text
from sparsec.targets.target import Target


@cache
def initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def target_machine(target: Target) -> llvm.TargetMachine:
    """Return LLVM's code generator."""
    initialise()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc=target.relocation, codemodel="small"
    )


@contextmanager
def optimised(
    text: str, target: Target, machine: llvm.TargetMachine, entries: Sequence[str], prefix: str = abi.PREFIX
) -> Iterator[llvm.ModuleRef]:
    """Give the optimised module of what `entries` need (without entries: of all); their symbols begin with `prefix`.

    Raises `ToolchainError`. The module is closed before its context: the garbage collector may take the other order.
    """
    with closing(llvm.create_context()) as context, closing(parsed(text, context)) as module:
        module.triple, module.data_layout = target.triple, str(machine.target_data)
        if entries:
            _add_wrappers(module, context, entries, target.pointer_bytes, prefix)
        verified(module)
        builder = llvm.create_pass_builder(machine, _tuning())
        unused = llvm.create_new_module_pass_manager()
        unused.add_global_dead_code_eliminate_pass()
        unused.run(module, builder)
        builder.getModulePassManager().run(module, builder)
        yield module


def _add_wrappers(
    module: llvm.ModuleRef, context: llvm.ContextRef, entries: Sequence[str], pointer_bytes: int, prefix: str
) -> None:
    text = abi.wrappers({name: _pointer_count(module, name) for name in entries}, pointer_bytes, prefix)
    with closing(parsed(text, context)) as wrappers:
        wrappers.triple, wrappers.data_layout = module.triple, module.data_layout
        module.link_in(wrappers)
    _internalise(module, {abi.entry_symbol(name, prefix) for name in entries})


def _tuning() -> llvm.PipelineTuningOptions:
    """Vectorise loops, several vectors at a time: else latency bounds a reduction (a softmax takes 1.6 times as long).

    Unrolling doubles the compile time again and gained nothing on fused loops; SLP finds nothing there.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.loop_interleaving = True
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


def parsed(text: str, context: llvm.ContextRef) -> llvm.ModuleRef:
    older = llvm_text.for_older_parser(text)
    try:
        return llvm.parse_assembly(older, context)
    except RuntimeError as error:
        raise _refused(older, error) from error


def verified(module: llvm.ModuleRef) -> None:
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
