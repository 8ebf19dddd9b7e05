"""The folder that `--emit static` and `--emit shared` write: a network as a library for programs in C.

libNAME.a or libNAME.so   the kernels, the runtime core and, unless they lie beside it, the weights
NAME.h                    its interface: inputs and outputs of this network by name, `open`, `run`, `close`
NAME.weights              the weights, if they lie beside the library

Needs a C compiler for the target; the program that is linked with the library needs libm and threads, and nothing of ours.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from enum import Enum
from importlib.resources import as_file, files
from pathlib import Path

from sparsec.artifact import Plan, Space, TensorSpec
from sparsec.targets import abi
from sparsec.targets.c_compiler import CCompiler
from sparsec.targets.target import Target

_TYPES: Mapping[str, str] = {
    "float64": "double",
    "float32": "float",
    "float16": "uint16_t",
    "bfloat16": "uint16_t",
    "bool": "uint8_t",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_SPACES = {space: f"SPARSEC_{space.name}" for space in Space}
_NO_STATUS = "SPARSEC_NO_STATUS"
# Words of C and C++, and macros of their libraries and compilers, that no name may be.
_TAKEN = """
 alignas alignof and asm auto bool break case catch char class const continue default delete do double else enum explicit
 export extern false float for friend goto if inline int long main mutable namespace new not operator or private protected
 public register restrict return short signed sizeof static struct switch template this throw true try typedef typeid
 typename union unsigned using virtual void volatile while xor
 errno linux stderr stdin stdout unix EOF NULL
"""
# Functions and headers of the C library and of the runtime core, which a network may not be named after, either.
_DECLARED = """
 abort abs accept access acos alarm asin assert atan bind brk calloc cbrt ceil checksum clock clone close complex connect
 context core cos cosh creat ctime ctype daemon dirname div dup erf erfc exit exp fabs fcntl fdim fenv float floor fma fmax
 fmin fmod fork free frexp gamma getline half hypot import index inttypes ioctl kill ldexp limits link listen locale log
 malloc math memory mmap modf mq narrow nice open pause pipe poll pool pow printf processors pthread puts qsort raise rand
 random read recv remove rename rewind rint round scanf seat select sem semaphore send shm signal sin sinh sleep socket
 sqrt stat stdarg stdint stdio stdlib string strings sync syscall system take tan tanh tgamma threads time times trunc
 truncate uname unistd unlink wait wchar when widened work worker write y0 y1 yn j0 j1 jn
"""


class Linkage(Enum):
    """What kind of library."""

    STATIC = "static"
    SHARED = "shared"


def identifier(name: str) -> str:
    """A name of C for a name of anything."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") or "tensor"
    return f"{word}_" if word in _TAKEN.split() else f"_{word}" if word[0].isdigit() else word


def network_name(plan_name: str) -> str:
    """How the library and everything in it is named."""
    word = identifier(plan_name.lower())
    taken = word in _DECLARED.split() or word.startswith("sparsec")
    return f"net{word}" if word.startswith("_") else f"net_{word}" if taken else word


def kernel_prefix(plan_name: str) -> str:
    """What symbols of the kernels of a network begin with, so that they meet those of no other network."""
    return f"{network_name(plan_name)}_entry"


def write_library(
    folder: Path, plan: Plan, objects: Sequence[bytes], target: Target, linkage: Linkage, *, weights_inside: bool
) -> list[Path]:
    """Write the files into `folder`, which is made if need be, and return them; other files in it stay.

    `objects` define the entries of the plan's kernels with its prefix. Raises `ToolchainError`, also where there is no
    compiler.
    """
    compiler, name = CCompiler.find(target), network_name(plan.name)
    folder.mkdir(parents=True, exist_ok=True)
    header, weights = folder / f"{name}.h", folder / f"{name}.weights"
    library = folder / f"lib{name}.{'a' if linkage is Linkage.STATIC else 'so'}"
    interface = header_text(plan, linkage, weights_inside=weights_inside)
    with tempfile.TemporaryDirectory() as scratch, as_file(files("sparsec.runtime")) as runtime:
        work = Path(scratch)
        (work / "weights").write_bytes(plan.weights.tobytes())
        source = source_text(plan, work / "weights", weights_inside=weights_inside)
        (work / "network.c").write_text(source, encoding="utf-8")
        # Included from here: `folder` may have headers that others are named after.
        (work / header.name).write_text(interface, encoding="utf-8")
        compiler.compile(work / "network.c", [runtime / "c", runtime / "native"], work / f"{name}.o")
        made = [work / f"{name}.o", *(work / f"{name}_kernels{number}.o" for number in range(len(objects)))]
        for path, content in zip(made[1:], objects, strict=True):
            path.write_bytes(content)
        (compiler.archive if linkage is Linkage.STATIC else compiler.link)(made, library)
    header.write_text(interface, encoding="utf-8")
    if weights_inside:
        return [library, header]
    weights.write_bytes(plan.weights.tobytes())
    return [library, header, weights]


def header_text(plan: Plan, linkage: Linkage, *, weights_inside: bool) -> str:
    """The header: types and functions whose names begin with the network's."""
    name, given = network_name(plan.name), "" if weights_inside else "const char *weights, "
    where = "" if weights_inside else f"`weights` is the path of {name}.weights, which stays mapped. "
    link = f"cc program.c -L. -l{name}" + (" -lm -pthread" if linkage is Linkage.STATIC else "")
    upper = name.upper()
    return f"""/* The neural network {_comment(plan.name)}, compiled by sparsec for {plan.target.isa}.
 *
 *     {name} *model;
 *     int status = {name}_open(&model, {"" if weights_inside else f'"{name}.weights", '}1);
 *     if (status == {upper}_OK) status = {name}_run(model, &inputs, &outputs);
 *     if (status != {upper}_OK) fprintf(stderr, "%s\\n", {name}_message(status));
 *
 * {link}
 *
 * Tensors are row-major; inputs and outputs must not overlap. float16 and bfloat16 are the bits of each number.
 */
#ifndef SPARSEC_{upper}_H
#define SPARSEC_{upper}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {name} {name};

typedef struct {name}_inputs {{
{_members(plan.inputs, "const ")}
}} {name}_inputs;

typedef struct {name}_outputs {{
{_members(plan.outputs, "")}
}} {name}_outputs;

enum {name}_status {{
    {upper}_OK,
    {upper}_NO_MEMORY,
    {upper}_OTHER_PROCESSOR, /* it lacks instructions: {" ".join(plan.target.features)} */
    {upper}_BAD_WEIGHTS,
    {upper}_FAILED_CHECK /* and above: the network cannot take a value of an input */
}};

/* Make the network ready; `threads` threads work on a run, the caller's among them. {where}*/
int {name}_open({name} **model, {given}int threads);

/* Run once; may be called from several threads, of which one at a time has the network's threads to help. */
int {name}_run({name} *model, const {name}_inputs *inputs, const {name}_outputs *outputs);

/* What a status means, in a sentence. */
const char *{name}_message(int status);

/* No run may be in flight. */
void {name}_close({name} *model);

#ifdef __cplusplus
}}
#endif

#endif
"""


def source_text(plan: Plan, weights: Path, *, weights_inside: bool) -> str:
    """The C source of the library but for the kernels; `weights` is the file that it takes in."""
    name, given = network_name(plan.name), "" if weights_inside else "const char *weights, "
    upper, size = name.upper(), plan.weights.nbytes
    kernels = {kernel: number for number, kernel in enumerate(plan.kernels)}
    declared = "\n".join(
        f"extern void kernel{number}(void *const *, int64_t, int64_t) "
        f'__asm__("{abi.entry_symbol(kernel, kernel_prefix(plan.name))}") __attribute__((visibility("hidden")));'
        for kernel, number in kernels.items()
    )
    steps, first = [], 0
    for step in plan.steps:
        entry = f"(uint64_t)(uintptr_t)kernel{kernels[step.kernel]}"
        steps.append(f"    {{{entry}, {first}, {step.extent}, {step.grain}}},")
        first += len(step.args)
    buffers = [f"    {{{_SPACES[each.space]}, {each.position}}}," for step in plan.steps for each in step.args]
    pieces = [f"    {{{each.bytes}, {int(each.half)}}}," for each in plan.pieces]
    checks = [_string(f"A check failed: {each.what} ({each.where}).") for each in plan.complaints]
    status = _NO_STATUS if plan.status is None else str(plan.status)
    inside = f"""
__asm__(".section .rodata\\n.balign 64\\nsparsec_weights:\\n.incbin \\"{weights}\\"\\n.previous");
extern const uint8_t weights_inside[] __asm__("sparsec_weights") __attribute__((visibility("hidden")));
"""
    found = "weights_inside" if weights_inside else f"map_weights(weights, {size}, 0x{zlib.crc32(plan.weights.data):x})"
    return f"""#define _GNU_SOURCE
#include "core.c"
#include "{name}.h"

#define PUBLIC __attribute__((visibility("default")))

{declared}
{inside if weights_inside else ""}
static const sparsec_step STEPS[] = {{
{_rows(steps)}
}};

static const sparsec_buffer BUFFERS[] = {{
{_rows(buffers)}
}};

static const sparsec_piece PIECES[] = {{
{_rows(pieces)}
}};

static const char *const FEATURES[] = {{{", ".join(f'"{each}"' for each in plan.target.features)}, NULL}};

static const char *const MESSAGES[] = {{
    "all is well", "There is not enough memory.", "The processor lacks instructions that the network was compiled for.",
    "The file of weights cannot be read, or belongs to another network.",
{"".join(f"    {check}," + chr(10) for check in checks)}}};

struct {name} {{
    sparsec_model *model;
    sparsec_pool *pool;
    const uint8_t *weights;
}};

PUBLIC void {name}_close({name} *model)
{{
    if (!model) return;
    if (model->pool) sparsec_pool_destroy(model->pool);
    sparsec_model_destroy(model->model);
    {"" if weights_inside else f"if (model->weights) munmap((void *)(uintptr_t)model->weights, {size});"}
    free(model);
}}

PUBLIC int {name}_open({name} **result, {given}int threads)
{{
    *result = NULL;
    if (!has_features(FEATURES)) return {upper}_OTHER_PROCESSOR;
    {name} *model = calloc(1, sizeof *model);
    if (!model) return {upper}_NO_MEMORY;
    model->weights = {found};
    if (!model->weights) {{
        {name}_close(model);
        return {upper}_BAD_WEIGHTS;
    }}
    const sparsec_program program = {{
        .steps = STEPS, .step_count = {len(steps)}, .buffers = BUFFERS, .buffer_count = {len(buffers)},
        .weights = model->weights, .arena_bytes = {plan.arena_bytes}, .status = {status},
        .pieces = PIECES, .piece_count = {len(pieces)},
    }};
    uint64_t culprit;
    model->pool = sparsec_pool_create(threads < 1 ? 1 : threads);
    if (!model->pool || sparsec_model_create(&program, &model->model, &culprit) != SPARSEC_OK) {{
        {name}_close(model);
        return {upper}_NO_MEMORY;
    }}
    *result = model;
    return {upper}_OK;
}}

PUBLIC int {name}_run({name} *model, const {name}_inputs *inputs, const {name}_outputs *outputs)
{{
    void *const given[] = {{{_pointers(plan.inputs, "inputs")}}};
    void *const wanted[] = {{{_pointers(plan.outputs, "outputs")}}};
    int64_t failed = -1;
    const int status = sparsec_model_run(model->model, model->pool, given, wanted, NULL, &failed);
    if (status == SPARSEC_FAILED_CHECK) return {upper}_FAILED_CHECK + (int)failed;
    return status == SPARSEC_OK ? {upper}_OK : {upper}_NO_MEMORY;
}}

PUBLIC const char *{name}_message(int status)
{{
    const int known = status >= 0 && (uint64_t)status < sizeof MESSAGES / sizeof MESSAGES[0];
    return known ? MESSAGES[status] : "There is no such status.";
}}
"""


def _rows(lines: Sequence[str]) -> str:
    """C has no empty arrays."""
    return "\n".join(lines) if lines else "    {0},"


def _names(specs: Sequence[TensorSpec]) -> list[str]:
    """Members of a struct, each once."""
    names: list[str] = []
    for spec in specs:
        name = stem = identifier(spec.name)
        while name in names:
            name = f"{stem}_{len(names)}"
        names.append(name)
    return names


def _members(specs: Sequence[TensorSpec], qualifier: str) -> str:
    lines = [
        f"    {qualifier}{_TYPES[spec.dtype]} *{name}; /* {spec.dtype}{list(spec.shape)} */"
        for name, spec in zip(_names(specs), specs, strict=True)
    ]
    return "\n".join(lines) or "    char unused;"


def _pointers(specs: Sequence[TensorSpec], struct: str) -> str:
    return ", ".join(f"(void *)(uintptr_t){struct}->{name}" for name in _names(specs)) or f"(void *)(uintptr_t){struct}"


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")


def _string(text: str) -> str:
    """A literal of C of the bytes of UTF-8."""
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(each) if each in plain else f"\\{each:03o}" for each in text.encode()) + '"'
