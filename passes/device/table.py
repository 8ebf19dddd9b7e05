"""All passes for GPUs, in the order in which they run. To add one: write its file, add its row."""

from __future__ import annotations

from sparsec.ir.dialect import POOL
from sparsec.passes.bufferize import bufferize
from sparsec.passes.dequantize_weights import dequantize_weights
from sparsec.passes.device.block_pixels import block_pixels
from sparsec.passes.device.channels_last import channels_last
from sparsec.passes.device.fill_channels import fill_channels
from sparsec.passes.device.fit_operands import fit_operands
from sparsec.passes.device.form_pools import form_pools
from sparsec.passes.device.group_rows import group_rows
from sparsec.passes.device.join_products import join_products
from sparsec.passes.device.keep_rank import keep_rank
from sparsec.passes.device.lower_products import lower_products
from sparsec.passes.device.lower_rows import lower_rows
from sparsec.passes.device.map_threads import map_threads
from sparsec.passes.device.name_layers import name_layers
from sparsec.passes.device.narrow_buffers import narrow_buffers
from sparsec.passes.device.own_destinations import own_destinations
from sparsec.passes.device.parallel_first import parallel_first
from sparsec.passes.device.point_products import point_products
from sparsec.passes.device.row_products import row_products
from sparsec.passes.device.scale_filters import scale_filters
from sparsec.passes.device.share_weights import share_weights
from sparsec.passes.device.split_rounding import split_rounding
from sparsec.passes.device.split_tails import split_tails
from sparsec.passes.device.view_transposes import view_transposes
from sparsec.passes.device.widen_halves import widen_halves
from sparsec.passes.expand_math import expand_math
from sparsec.passes.fold_batch_norm import fold_batch_norm
from sparsec.passes.fold_constants import fold_constants
from sparsec.passes.fold_padding import fold_padding
from sparsec.passes.form_attention import form_attention
from sparsec.passes.form_layers import form_layers
from sparsec.passes.fuse_epilogue import fuse_epilogue
from sparsec.passes.hold_tails import TURNS, hold_tails, release_tails
from sparsec.passes.keep_codes import keep_codes
from sparsec.passes.lift_weights import lift_weights
from sparsec.passes.lower_torch import lower_torch
from sparsec.passes.outline import outline
from sparsec.passes.plan_memory import plan_memory
from sparsec.passes.prune_channels import prune_channels
from sparsec.passes.relax_math import relax_math
from sparsec.passes.separate_results import separate_results
from sparsec.passes.split_transposed import split_transposed
from sparsec.passes.tag_sparsity import tag_sparsity
from sparsec.passes.unit import Pass, Unit

# What upstream would compute a tail again for, for each window that an element is in.
_POOLS = ("max_pool1d", "avg_pool1d", "avg_pool2d", "sum.dim_IntList", "mean.dim", "amax")
_LARGEST, _MULTIPLE = 128, 8  # of the sizes of heads that there are kernels for


def _form_attention(unit: Unit) -> None:
    form_attention(unit, lambda problem: problem.size <= _LARGEST and problem.size % _MULTIPLE == 0)


def _hold_tails(unit: Unit) -> None:
    hold_tails(unit, (*TURNS, *(f"torch.aten.{name}" for name in _POOLS)))


def _fuse_epilogue(unit: Unit) -> None:
    fuse_epilogue(unit, bare=("sparsec.attention", POOL))


def _expand_math(unit: Unit) -> None:
    expand_math(unit.module)


DEVICE_PASSES: tuple[tuple[str, Pass, str], ...] = (
    # torch dialect, as for CPUs
    ("widen_halves", widen_halves, "first: passes look for float32"),
    ("lift_weights", lift_weights, "early: whatever contractions read is data, not text"),
    ("keep_codes", keep_codes, "so that layers find the bytes behind what only moved them"),
    ("dequantize_weights", dequantize_weights, "products of 16 bits want numbers"),
    ("fold_constants", fold_constants, "weights take their final shape, so that layers find them"),
    ("fold_batch_norm", fold_batch_norm, "while the convolution and its normalisation are neighbours"),
    ("scale_filters", scale_filters, "likewise, where it came in parts"),
    ("split_transposed", split_transposed, "so that transposed convolutions are layers too"),
    ("share_weights", share_weights, "weights have their final shape, and products are not yet layers"),
    ("form_layers", form_layers, "while contractions are still single ops"),
    ("form_pools", form_pools, "likewise"),
    ("form_attention", _form_attention, "once its products are layers, while softmax can be told"),
    ("fold_padding", fold_padding, "once convolutions carry their padding"),
    ("tag_sparsity", tag_sparsity, "once weights are operands of layers, rows being outputs"),
    ("hold_tails", _hold_tails, "layers are formed, and upstream has not fused anything yet"),
    ("lower_torch", lower_torch, "everything else leaves the torch dialect"),
    # linalg on tensors
    ("release_tails", release_tails, "upstream has fused what it would"),
    ("relax_math", relax_math, "while it can be seen what a divisor is"),
    ("keep_rank", keep_rank, "so that no reshape stands between a layer and its tail"),
    ("split_rounding", split_rounding, "layers take in float32 only"),
    ("fuse_epilogue", _fuse_epilogue, "once every element-wise op is a body of arith and math"),
    ("prune_channels", prune_channels, "activations are in the layers, so constants pass through them"),
    ("split_tails", split_tails, "tails are final; what products cannot do becomes loops"),
    ("join_products", join_products, "it is known which layers add a bias only"),
    ("name_layers", name_layers, "no pass after this one makes layers"),
    ("own_destinations", own_destinations, "what shares memory is decided when all lifetimes are known"),
    ("separate_results", separate_results, "bufferisation gives each result a buffer of its own"),
    # buffers
    ("bufferize", bufferize, "everything is destination-passing now"),
    ("parallel_first", parallel_first, "loop order is easiest to change before loops exist"),
    ("channels_last", channels_last, "once loops can be told apart, and before it is decided what is copied"),
    ("block_pixels", block_pixels, "once channels lie together"),
    ("fill_channels", fill_channels, "for what is in no blocks"),
    ("point_products", point_products, "likewise, and as filters have their final shape"),
    ("view_transposes", view_transposes, "once buffers are there to be looked at, and while copies are nests"),
    ("row_products", row_products, "once it is known how matrices lie, and before copies are made for layers"),
    ("fit_operands", fit_operands, "the copies that it makes are loops like others"),
    ("group_rows", group_rows, "once all loops are there, and while they are generics"),
    ("narrow_buffers", narrow_buffers, "once it is known what stays in registers"),
    ("lower_rows", lower_rows, "types are final"),
    ("lower_products", lower_products, "before outlining takes them for loops"),
    ("outline", outline, "what is not rows and columns: one function per loop nest"),
    ("map_threads", map_threads, "of functions with bounds, to functions of threads"),
    ("expand_math", _expand_math, "after outlining, so that equal functions were found on short text"),
    ("plan_memory", plan_memory, "last: calls are final, lifetimes are known"),
)
