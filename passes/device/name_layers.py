"""name_layers: every layer gets the name of the node that it came from, made unique.

Before:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w) ...
After:
    %y = linalg.generic {library_call = "sparsec"} ins(%x, %w) ... attrs = {layer = "fc1"}
"""

from __future__ import annotations

from torch_mlir import ir

from sparsec.passes.select_format import named_layers
from sparsec.passes.unit import Unit


def name_layers(unit: Unit) -> None:
    """Set the attribute `layer` of all layers."""
    with unit.module.context, ir.Location.unknown():
        for name, layer in named_layers(unit):
            layer.op.attributes["layer"] = ir.StringAttr.get(name)
