"""All passes, in the order in which they run. To add one: write its file, add its row."""

from __future__ import annotations

from sparsec.kernels.attention_dense import AttentionDense
from sparsec.passes.bufferize import bufferize
from sparsec.passes.collapse_loops import collapse_loops
from sparsec.passes.dequantize_weights import dequantize_weights
from sparsec.passes.expand_math import expand_math
from sparsec.passes.fold_batch_norm import fold_batch_norm
from sparsec.passes.fold_constants import fold_constants
from sparsec.passes.fold_padding import fold_padding
from sparsec.passes.form_attention import form_attention
from sparsec.passes.form_layers import form_layers
from sparsec.passes.form_quantized import form_quantized
from sparsec.passes.fuse_epilogue import fuse_epilogue
from sparsec.passes.fuse_prologue import fuse_prologue
from sparsec.passes.fuse_rows import fuse_rows
from sparsec.passes.hold_tails import hold_tails, release_tails
from sparsec.passes.join_codes import join_codes
from sparsec.passes.join_reductions import join_reductions
from sparsec.passes.keep_checks import keep_checks
from sparsec.passes.keep_codes import keep_codes
from sparsec.passes.lift_weights import lift_weights
from sparsec.passes.lower_calls import lower_calls
from sparsec.passes.lower_layers import lower_layers
from sparsec.passes.lower_torch import lower_torch
from sparsec.passes.narrow_precision import narrow_precision
from sparsec.passes.order_loops import order_loops
from sparsec.passes.outline import outline
from sparsec.passes.pack_codes import pack_codes
from sparsec.passes.plan_memory import plan_memory
from sparsec.passes.prune_channels import prune_channels
from sparsec.passes.read_in_place import read_in_place
from sparsec.passes.relax_math import relax_math
from sparsec.passes.repeat_samples import repeat_samples
from sparsec.passes.round_codes import round_codes
from sparsec.passes.round_to_integers import round_to_integers
from sparsec.passes.select_format import select_format
from sparsec.passes.separate_results import separate_results
from sparsec.passes.shorten_round_trips import shorten_round_trips
from sparsec.passes.split_batch import split_batch
from sparsec.passes.split_pools import split_pools
from sparsec.passes.split_stacked import split_stacked
from sparsec.passes.split_transposed import split_transposed
from sparsec.passes.tabulate_codes import tabulate_codes
from sparsec.passes.tag_sparsity import tag_sparsity
from sparsec.passes.unit import Pass, Unit
from sparsec.passes.widen_sums import widen_sums


def _form_attention(unit: Unit) -> None:
    kernel = AttentionDense()
    form_attention(unit, lambda problem: kernel.refuses(problem, unit.isa) is None)


def _expand_math(unit: Unit) -> None:
    expand_math(unit.module, looks_up=unit.isa.masks)


PASSES: tuple[tuple[str, Pass, str], ...] = (
    # torch dialect
    ("lift_weights", lift_weights, "first: whatever contractions read is data, not text"),
    ("keep_codes", keep_codes, "so that layers find the bytes behind what only moved them"),
    ("split_pools", split_pools, "once it is known of which type their elements are"),
    ("form_quantized", form_quantized, "before weights lose their bytes; what it leaves is float32"),
    ("dequantize_weights", dequantize_weights, "the weights of layers that stay in float32"),
    ("fold_constants", fold_constants, "weights take their final shape, so that layers find them"),
    ("fold_batch_norm", fold_batch_norm, "while the convolution and its normalisation are neighbours"),
    ("split_transposed", split_transposed, "so that transposed convolutions are layers too"),
    ("split_stacked", split_stacked, "so that each of several weights in one array is a layer"),
    ("form_layers", form_layers, "while contractions are still single ops"),
    ("form_attention", _form_attention, "once its products are layers, while softmax can be told"),
    ("fold_padding", fold_padding, "once convolutions carry their padding"),
    ("tag_sparsity", tag_sparsity, "once weights are operands of layers, rows being outputs"),
    ("hold_tails", hold_tails, "layers are formed, and upstream has not fused anything yet"),
    ("lower_torch", lower_torch, "everything else leaves the torch dialect"),
    # linalg on tensors
    ("keep_checks", keep_checks, "upstream has left behind whatever it fused a copy of"),
    ("release_tails", release_tails, "upstream has fused what it would"),
    ("widen_sums", widen_sums, "sums are generics of one shape now, and not yet split from their element-wise tails"),
    ("join_codes", join_codes, "while quotients are quotients, and what follows a layer is one body"),
    ("relax_math", relax_math, "while it can be seen what a divisor is"),
    ("tabulate_codes", tabulate_codes, "while what follows a layer is one body; the table stays out of its epilogue"),
    ("shorten_round_trips", shorten_round_trips, "in what the tables left"),
    ("round_codes", round_codes, "no pass after this one needs to recognise codes"),
    ("fuse_epilogue", fuse_epilogue, "once every element-wise op is a body of arith and math"),
    ("prune_channels", prune_channels, "activations are in the layers, so constants pass through them"),
    ("read_in_place", read_in_place, "products have their tails, and costs count what they read"),
    ("narrow_precision", narrow_precision, "shapes and epilogues are final, and kernels not yet chosen"),
    ("split_batch", split_batch, "shapes are final, and kernels not yet chosen: these are for so many samples"),
    ("select_format", select_format, "once it is known what is fused"),
    ("lower_layers", lower_layers, "kernels before buffers: they say what scratch they need"),
    ("fuse_prologue", fuse_prologue, "what copies codes is a function now, and what makes them not yet a loop"),
    ("repeat_samples", repeat_samples, "kernels and weights are there, buffers not yet"),
    ("separate_results", separate_results, "bufferisation gives each result a buffer of its own"),
    # buffers
    ("bufferize", bufferize, "everything is destination-passing now"),
    ("lower_calls", lower_calls, "so that the rest of linalg is only what loops will do"),
    ("order_loops", order_loops, "loop order is easiest to change before loops exist"),
    (
        "join_reductions",
        join_reductions,
        "nests that read the same have the same order now; one is fused more simply than two",
    ),
    ("fuse_rows", fuse_rows, "nests are in order, and not yet apart in functions"),
    ("collapse_loops", collapse_loops, "once it is known which loops are of rows"),
    ("outline", outline, "one function per loop nest: the unit of threads and of timing"),
    ("expand_math", _expand_math, "after outlining, so that equal functions were found on short text"),
    ("round_to_integers", round_to_integers, "after whatever takes ops apart; what it writes only LLVM knows"),
    ("pack_codes", pack_codes, "conversions are known instructions; bounds are still ops"),
    ("plan_memory", plan_memory, "last: calls are final, lifetimes are known"),
)
