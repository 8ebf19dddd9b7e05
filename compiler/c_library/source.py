"""The source of a library but for its kernels: the network's tables, and its functions around those of `runtime/c/network.c`."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from sparsec.artifact import Plan, Space, TensorSpec
from sparsec.c_library.names import kernel_prefix, members, network_name
from sparsec.targets import abi

_SPACES = {space: f"SPARSEC_{space.name}" for space in Space}
_NO_STATUS = "SPARSEC_NO_STATUS"


def source_text(plan: Plan, weights: Path, *, weights_inside: bool) -> str:
    """The text; `weights` is the file that it takes in, if they are to be inside."""
    inside = f"""
__asm__(".section .rodata\\n.balign 64\\nsparsec_weights:\\n.incbin \\"{weights}\\"\\n.previous");
extern const uint8_t weights_inside[] __asm__("sparsec_weights") __attribute__((visibility("hidden")));
"""
    return f"""#define _GNU_SOURCE
#include "network.c"
#include "{network_name(plan.name)}.h"

#define PUBLIC __attribute__((visibility("default")))

{inside if weights_inside else ""}
{_tables(plan, weights_inside=weights_inside)}
{_functions(plan, weights_inside=weights_inside)}"""


def _tables(plan: Plan, *, weights_inside: bool) -> str:
    """What the runtime core is told of the network."""
    kernels = {kernel: f"kernel{number}" for number, kernel in enumerate(plan.kernels)}
    declared = "\n".join(
        f"extern void {function}(void *const *, int64_t, int64_t) "
        f'__asm__("{abi.entry_symbol(kernel, kernel_prefix(plan.name))}") __attribute__((visibility("hidden")));'
        for kernel, function in kernels.items()
    )
    steps, first = [], 0
    for step in plan.steps:
        steps.append(f"(uint64_t)(uintptr_t){kernels[step.kernel]}, {first}, {step.extent}, {step.grain}")
        first += len(step.args)
    buffers = [f"{_SPACES[each.space]}, {each.position}" for step in plan.steps for each in step.args]
    pieces = [f"{each.bytes}, {int(each.half)}" for each in plan.pieces]
    checks = [_string(f"A check failed: {each.what} ({each.where}).") for each in plan.complaints]
    return f"""{declared}

{_table("sparsec_step STEPS", steps)}
{_table("sparsec_buffer BUFFERS", buffers)}
{_table("sparsec_piece PIECES", pieces)}
static const char *const FEATURES[] = {{{"".join(f'"{each}", ' for each in plan.target.features)}NULL}};

static const char *const CHECKS[] = {{{"".join(f"{each}, " for each in checks)}NULL}};

static const sparsec_program PROGRAM = {{
    .steps = STEPS, .step_count = {len(steps)}, .buffers = BUFFERS, .buffer_count = {len(buffers)},
    .weights = {"weights_inside" if weights_inside else "NULL"}, .arena_bytes = {plan.arena_bytes},
    .status = {_NO_STATUS if plan.status is None else plan.status}, .pieces = PIECES, .piece_count = {len(pieces)},
}};
"""


def _functions(plan: Plan, *, weights_inside: bool) -> str:
    """What the header declares."""
    name, given = network_name(plan.name), "" if weights_inside else "const char *weights, "
    stated = f"{plan.weights.nbytes}, 0x{zlib.crc32(plan.weights.data):x}"
    file = "NULL" if weights_inside else f"&(sparsec_weights_file){{weights, {stated}}}"
    return f"""_Static_assert((int){name.upper()}_FAILED_CHECK == (int)SPARSEC_NETWORK_FAILED_CHECK, "the header has other states");

struct {name} {{
    sparsec_network network;
}};

PUBLIC int {name}_open({name} **result, {given}int threads)
{{
    sparsec_network *network;
    const int status = sparsec_network_open(&network, PROGRAM, FEATURES, {file}, threads);
    *result = ({name} *)network;
    return status;
}}

PUBLIC int {name}_run({name} *model, const {name}_inputs *inputs, const {name}_outputs *outputs)
{{
    void *const given[] = {{{_pointers(plan.inputs, "inputs")}}};
    void *const wanted[] = {{{_pointers(plan.outputs, "outputs")}}};
    return sparsec_network_run(&model->network, given, wanted);
}}

PUBLIC const char *{name}_message(int status)
{{
    return sparsec_network_message(CHECKS, status);
}}

PUBLIC void {name}_close({name} *model)
{{
    sparsec_network_close((sparsec_network *)model);
}}
"""


def _table(what: str, rows: Iterable[str]) -> str:
    """C has no empty arrays."""
    return f"static const {what}[] = {{\n{chr(10).join(f'    {{{row}}},' for row in rows) or '    {0},'}\n}};\n"


def _pointers(specs: Sequence[TensorSpec], struct: str) -> str:
    return (
        ", ".join(f"(void *)(uintptr_t){struct}->{name}" for name in members(specs)) or f"(void *)(uintptr_t){struct}"
    )


def _string(text: str) -> str:
    """A literal of C of the bytes of UTF-8."""
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(each) if each in plain else f"\\{each:03o}" for each in text.encode()) + '"'
