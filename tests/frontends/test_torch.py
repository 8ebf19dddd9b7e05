"""torch import: names, lifted weights, sparse parameters, and what stays as it was."""

import numpy as np
import pytest
import torch
from torch import nn
from torch_mlir import ir

from sparsec.errors import ModelError, UnsupportedOpError, UsageError
from sparsec.formats.coo import Coo
from sparsec.frontends.contract import main_function
from sparsec.frontends.imported import TensorSpec
from sparsec.frontends.torch import import_torch
from sparsec.frontends.torch_decompose import fold_constants
from sparsec.frontends.torch_weights import coo_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def op_names(imported):
    names = []

    def visit(op):
        names.append(op.name)
        return ir.WalkResult.ADVANCE

    main_function(imported.module).walk(visit)
    return names


class Block(nn.Module):
    """Attention, normalisation and GELU, with a buffer that is not saved and a weight used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(32)
        self.qkv = nn.Linear(32, 96)
        self.tied = self.qkv.weight
        self.register_buffer("position", torch.randn(1, 10, 32), persistent=False)

    def forward(self, x: torch.Tensor) -> dict[str, object]:
        x = x + self.position
        q, k, v = self.qkv(self.norm(x)).view(1, 10, 3, 4, 8).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, 10, 32)
        return {"y": nn.functional.linear(nn.functional.gelu(y), self.tied), "rest": (x, None)}


def test_attention_ends_in_plain_operators(context):
    imported = import_torch(Block(), (torch.randn(1, 10, 32),), context=context)
    names = op_names(imported)
    assert names.count("torch.aten.bmm") == 2
    assert not [name for name in names if "attention" in name or "layer_norm" in name]
    assert "f64" not in str(imported.module)
    assert imported.module.operation.verify()


def test_names_come_from_the_signature(context):
    imported = import_torch(Block(), {"x": torch.randn(1, 10, 32)}, context=context)
    assert imported.inputs == (TensorSpec("x", "float32", (1, 10, 32)),)
    assert [spec.name for spec in imported.outputs] == ["y", "rest.0"]
    assert imported.name == "Block"


def test_weights_are_lifted_by_name_once_each(context):
    module = Block()
    weights = import_torch(module, (torch.randn(1, 10, 32),), context=context).weights
    assert {"qkv.weight", "position"} <= set(weights)
    assert "tied" not in weights
    assert np.array_equal(weights.dense("qkv.weight"), module.qkv.weight.detach().numpy())


@pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr", "bsc"])
def test_sparse_parameters_stay_sparse(context, layout):
    dense = torch.randn(32, 16) * (torch.rand(32, 16) < 0.2)
    tensor = getattr(dense, f"to_sparse_{layout}")(*[(4, 2)] * (layout in ("bsr", "bsc")))
    module = nn.Linear(16, 32, bias=False)
    module.weight = nn.Parameter(tensor, requires_grad=False)
    weights = import_torch(module, (torch.randn(3, 16),), context=context).weights
    assert list(weights) == ["weight"]
    assert isinstance(weights["weight"], Coo)
    assert np.array_equal(weights.dense("weight"), dense.numpy())
    assert module.weight.layout == tensor.layout


def test_hybrid_sparse_tensors_are_refused():
    with pytest.raises(UnsupportedOpError, match="hybrid"):
        coo_of(torch.randn(3, 4).to_sparse(1))


def test_batch_norm_becomes_one_product_and_one_sum(context):
    module = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8))
    module.train()
    names = op_names(import_torch(module, (torch.randn(1, 3, 8, 8),), context=context))
    assert names.count("torch.aten.mul.Tensor") == 1
    assert names.count("torch.aten.add.Tensor") == 1
    assert module.training
    assert module[1].training


def test_a_reciprocal_asserts_nothing(context):
    class Inverse(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 1 / x

    names = op_names(import_torch(Inverse(), (torch.randn(3),), context=context))
    assert "torch.aten.reciprocal" not in names
    assert "torch.aten.div.Tensor" in names


def test_an_exported_program_is_left_as_it_was(context):
    program = torch.export.export(nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8)).eval(), (torch.randn(2, 16),))
    constants, inputs = dict(program.constants), list(program.graph_signature.input_specs)
    assert import_torch(program, context=context).outputs[0].shape == (2, 8)
    assert dict(program.constants) == constants
    assert list(program.graph_signature.input_specs) == inputs


def test_folding_computes_what_depends_on_weights_only():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.weight * 2 + 1)

    module = Scaled()
    program = torch.export.export(module, (torch.randn(2, 4),)).run_decompositions()
    fold_constants(program)
    (folded,) = program.constants.values()
    assert torch.equal(folded, module.weight.detach() * 2 + 1)


def test_a_module_without_inputs_is_a_usage_error(context):
    with pytest.raises(UsageError, match="example inputs"):
        import_torch(nn.Linear(2, 2), context=context)


def test_code_that_cannot_be_exported_is_a_model_error(context):
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelError, match=r"torch\.export"):
        import_torch(Branches(), (torch.randn(3),), context=context)


def test_an_operator_without_lowering_is_refused(context):
    class Inverse(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvalsh(x)

    with pytest.raises(UnsupportedOpError):
        import_torch(Inverse(), (torch.eye(3),), context=context)
