"""The header of a library: types and functions whose names begin with the network's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from sparsec.artifact import Plan, TensorSpec
from sparsec.c_library.names import members, network_name

_TYPES: Mapping[str, str] = {
    "float64": "double",
    "float32": "float",
    "float16": "uint16_t",
    "bfloat16": "uint16_t",
    "bool": "uint8_t",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}


class Linkage(Enum):
    """What kind of library."""

    STATIC = "static"
    SHARED = "shared"


def header_text(plan: Plan, linkage: Linkage, *, weights_inside: bool) -> str:
    """The header, with the network's inputs and outputs by name."""
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


def _members(specs: Sequence[TensorSpec], qualifier: str) -> str:
    lines = [
        f"    {qualifier}{_TYPES[spec.dtype]} *{name}; /* {spec.dtype}{list(spec.shape)} */"
        for name, spec in zip(members(specs), specs, strict=True)
    ]
    return "\n".join(lines) or "    char unused;"


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")
