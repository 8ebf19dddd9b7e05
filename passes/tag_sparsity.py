"""tag_sparsity: every weight of a layer learns how sparse it is and in which pattern.

Before:
    %w = "sparsec.weight"() {sym_name = "conv1.weight"} : () -> tensor<64x64x1x1xf32>
After:
    %w = "sparsec.weight"() {density = 9.1e-02 : f64, facts = "90.9 % zeros, 4x1 blocks, 12 of 64 rows empty", ...}

Runs after folding, so transposes and reshapes are already done and rows are outputs.
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.ir.dialect import LAYERS
from sparsec.ir.module import find
from sparsec.ir.weights import WEIGHT_OP, weight_name
from sparsec.passes.unit import Unit


def tag_sparsity(unit: Unit) -> None:
    """Set `density` and `facts` on each weight that is the second operand of a layer."""
    with unit.module.context:
        for layer in find(unit.module, lambda op: op.name in LAYERS):
            owner = layer.operands[1].owner
            op = owner.operation if isinstance(owner, (ir.Operation, ir.OpView)) else None
            if op is None or op.name != WEIGHT_OP or weight_name(op) not in unit.weights:
                continue
            facts = unit.facts(weight_name(op))
            op.attributes["density"] = ir.FloatAttr.get_f64(facts.density)
            op.attributes["facts"] = ir.StringAttr.get(facts.pattern)
