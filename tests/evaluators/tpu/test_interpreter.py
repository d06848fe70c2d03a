"""Graphs in JAX beside the modules in torch."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

import search_spaces
from evaluators.tpu.export import export
from evaluators.tpu.graph import Node
from nas.choices import sample
from nas.task import Task
from nas.trials import CandidateError
from tests.evaluators.tpu.nets import SHAPE, SMALL, Function, settled

jax = pytest.importorskip("jax", reason="the extra tpu is not installed")
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_disable_most_optimizations", True)  # compiling is what takes time

from evaluators.tpu.interpreter import check_ops, dtype_of, run  # noqa: E402

pytestmark = pytest.mark.tpu
OWN = Path(__file__).parents[2] / "search_spaces" / "own_space.py"


def difference(module: nn.Module, inputs: Tensor, fold: bool = True) -> float:
    """The largest one, relative to the largest output."""
    graph, weights = export(module, inputs.shape, fold=fold)
    values = {name: value.numpy() for name, value in weights.items()}
    (name,) = graph.inputs
    (found,) = run(graph, values, {name: inputs.numpy()})
    with torch.no_grad():
        expected = module(inputs).numpy()
    assert found.shape == expected.shape
    return float(np.abs(np.asarray(found) - expected).max() / max(1e-6, np.abs(expected).max()))


FUNCTIONS: dict[str, Callable[[Tensor], Any]] = {
    "activations": lambda x: f.silu(x) + f.gelu(x) + f.elu(x) + f.hardswish(x) + f.mish(x),
    "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
    "clips": lambda x: f.relu6(x) + f.hardtanh(x, -0.5, 0.5) + x.clamp(-0.1) + f.leaky_relu(x),
    "sigmoids": lambda x: torch.sigmoid(x) * torch.tanh(x) + f.hardsigmoid(x) + f.logsigmoid(x),
    "softplus": lambda x: f.softplus(x) + f.softplus(x, 2.0, 1.0),
    "softmax": lambda x: f.softmax(x, 1) + f.log_softmax(x, -1),
    "numbers": lambda x: (2 - x) / 3 + x**2 - torch.sub(x, 1, alpha=2) + torch.add(x, x, alpha=0.5),
    "mathematics": lambda x: (x.abs() + 1).log() + x.exp().sqrt() + x.sin() * x.cos() - x.neg(),
    "reductions": lambda x: x.mean((2, 3)) + x.sum((2, 3)) + x.amax((2, 3)) + x.var((2, 3)),
    "where": lambda x: torch.where(x > 0, x, torch.full_like(x, 2.0)),
    "in_place": lambda x: f.relu_(x + 1).mul_(2).add_(x),
    "max_pool": lambda x: f.max_pool2d(x, 3, 2, 1),
    "max_pool_ceil": lambda x: f.max_pool2d(x, 3, 2, ceil_mode=True),
    "avg_pool": lambda x: f.avg_pool2d(x, 3, 2, 1),
    "avg_pool_without_borders": lambda x: f.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "avg_pool_ceil": lambda x: f.avg_pool2d(x, 3, 2, ceil_mode=True),
    "adaptive": lambda x: f.adaptive_avg_pool2d(x, 1) * f.adaptive_avg_pool2d(x, (3, 4)),
    "views": lambda x: x.flatten(1).unflatten(1, (3, 64)).transpose(1, 2).reshape(2, -1),
    "axes": lambda x: x.permute(0, 2, 3, 1).unsqueeze(1).squeeze(1).expand(2, 8, 8, 3),
    "parts": lambda x: torch.cat([*x.chunk(2, 3), x[:, :, :, 2:6:2], x.select(3, 1)[..., None]], 3),
    "splits": lambda x: torch.stack(x.split(4, 2)).sum(0) + x.split([4, 4], 2)[1],
    "pads": lambda x: f.pad(x, (1, 2, 0, 1)) + f.pad(x, (1, 2, 0, 1), value=1.0),
    "mirrors": lambda x: f.pad(x, (1, 1, 1, 1), mode="reflect"),
    "shuffles": lambda x: f.pixel_shuffle(torch.cat([x, x[:, :1]], 1), 2).roll(1, 2).flip((3,)),
    "upsampled": lambda x: f.interpolate(x, scale_factor=2, mode="nearest"),
    "constants": lambda x: x + torch.arange(8.0) + torch.ones(8) - torch.zeros(8, 1),
    "attention": lambda x: f.scaled_dot_product_attention(x, x, x, is_causal=True),
    "products": lambda x: x @ x.transpose(2, 3) + torch.einsum("bchw,bcwv->bchv", x, x),
    "converted": lambda x: x.to(torch.int64).to(torch.float32) + x.type_as(x),
}
LAYERS: dict[str, nn.Module] = {
    "conv_strided": nn.Conv2d(3, 6, 3, 2, 1, dilation=1, groups=3),
    "conv_dilated": nn.Conv2d(3, 4, 3, padding="same", dilation=2, bias=False),
    "conv_transposed": nn.ConvTranspose2d(3, 6, 3, 2, 1, output_padding=1, groups=3),
    "conv1d": nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 5, 2, 2), nn.MaxPool1d(2)),
    "norms": nn.Sequential(nn.GroupNorm(3, 3), nn.LayerNorm(8), nn.BatchNorm2d(3), nn.PReLU(3)),
    "dropped": nn.Sequential(nn.Dropout(0.5), nn.Identity(), nn.Linear(8, 4)),
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_give_what_torch_gives(name: str) -> None:
    inputs = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    assert difference(Function(FUNCTIONS[name]), inputs) < 1e-5


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("name", sorted(LAYERS))
def test_layers_give_what_torch_gives(name: str, fold: bool) -> None:
    inputs = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    assert difference(settled(LAYERS[name]), inputs, fold) < 1e-5


def test_transformer_layers_and_tokens() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True).eval()
    assert difference(layer, torch.randn(2, 5, 16)) < 1e-5


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("convnet", (1, 16, 16)),
        ("transformer", (3, 16, 16)),
        ("python", (1, 16, 16)),
        pytest.param("cell", (3, 16, 16), marks=pytest.mark.slow),
        pytest.param("mnasnet", (3, 32, 32), marks=pytest.mark.slow),
        pytest.param("mobile", (3, 32, 32), marks=pytest.mark.slow),
    ],
)
def test_members_of_every_space_give_what_torch_gives(name: str, shape: tuple[int, ...]) -> None:
    space = search_spaces.create(name, **({"file": str(OWN)} if name == "python" else {}))
    task = Task("random", "classification", shape, 10, "accuracy", "none")
    for seed in range(2):
        torch.manual_seed(seed)
        module = settled(space.build(sample(space.choices, random.Random(seed)), task))
        assert difference(module, torch.randn(2, *shape)) < 1e-5


def test_operations_without_a_mapping_are_named_in_one_line() -> None:
    strange = (Node("a", "fft_fft.default", (), {}), Node("b", "_ctc.other", (), {}))
    graph = SMALL.__class__(SMALL.inputs, SMALL.weights, (*SMALL.nodes, *strange), ("a",))
    with pytest.raises(CandidateError, match=r"^no mapping to XLA for: _ctc\.other, fft_fft\.def"):
        check_ops(graph)
    with pytest.raises(CandidateError, match="no mapping to XLA for"):
        run(graph, {}, {})


def test_bfloat16_stands_for_float32() -> None:
    values = {name: np.ones(spec.shape, "float32") for name, spec in SMALL.weights.items()}
    half = {name: jax.numpy.asarray(value, "bfloat16") for name, value in values.items()}
    (found,) = run(SMALL, half, {"x": jax.numpy.ones((2, 4), "bfloat16")}, "bfloat16")
    assert found.dtype == dtype_of("float32", "bfloat16")
    assert dtype_of("int64") == "int32"
    assert np.asarray(found, "float32").tolist() == [[5.0] * 3] * 2
    assert math.isfinite(float(found.sum()))
