"""The C text of a library: its header, and the source of all of it but the kernels."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from sparsec.artifact import Plan, Space, TensorSpec
from sparsec.c_names import identifier, kernel_prefix, network_name
from sparsec.targets import abi

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


class Linkage(Enum):
    """What kind of library."""

    STATIC = "static"
    SHARED = "shared"


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
