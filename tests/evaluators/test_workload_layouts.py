"""Layouts, channels and functions, against what ONNX Runtime executes of a packaged network."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from evaluators.packaging import Deployable, package
from evaluators.training import seeded
from evaluators.workload import BlockCaches, from_onnx, trace, traces
from tests.evaluators.packed import colours
from tests.evaluators.test_workload_lowering import _FREE, _SAME, OF_THIS_CPU
from tests.evaluators.workload_nets import Residual, blocks_of, conv, counts, head

DATA = colours()
SAME = _SAME | {
    **dict.fromkeys(("FusedConv", "convolution"), "convolution"),
    **dict.fromkeys(("MatMul", "FusedMatMul", "matmul", "linear", "Gemm", "FusedGemm"), "product"),
    **dict.fromkeys(("Sub", "add", "Add"), "add"),
    **dict.fromkeys(("Div", "mul", "Mul"), "mul"),
    **dict.fromkeys(("Concat", "concat"), "concat"),
    **dict.fromkeys(("Softmax", "softmax"), "softmax"),
    **dict.fromkeys(("LayerNormalization", "layer_norm"), "layer_norm"),
    **dict.fromkeys(("InstanceNormalization", "batch_norm"), "batch_norm"),
    **dict.fromkeys(("ReduceMean", "global_pool"), "global_pool"),
    **dict.fromkeys(("ConvTranspose", "transposed_conv"), "transposed_conv"),
    **dict.fromkeys(("Upsample", "Resize", "resize"), "resize"),
    **dict.fromkeys(("upsample_nearest2d", "upsample_bilinear2d"), "resize"),
}


class Does(nn.Module):
    """A function of its input and of its parts."""

    def __init__(self, does: Callable[..., torch.Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.does, self.parts = does, nn.ModuleList(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.does(x, *self.parts)


def layer(inputs: int = 16, outputs: int = 16, kernel: int = 3, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)


def both(width: int, other: int) -> nn.Module:
    def joined(x: torch.Tensor, one: nn.Module, two: nn.Module) -> torch.Tensor:
        return torch.cat([one(x), two(x)], 1)

    return nn.Sequential(Does(joined, layer(16, width), layer(16, other)), layer(width + other, 16))


def attention(how: str) -> nn.Module:
    def attend(x: torch.Tensor, *parts: nn.Module) -> torch.Tensor:
        q, k, v = (part(x).unflatten(2, (2, -1)).transpose(1, 2) for part in parts[:3])
        if how == "torch":
            mixed = functional.scaled_dot_product_attention(q, k, v)
        elif how == "before":
            mixed = ((q * 0.3) @ k.transpose(-2, -1)).softmax(-1) @ v
        else:
            mixed = ((q @ k.transpose(-2, -1)) / 3.0).softmax(-1) @ v
        result: torch.Tensor = parts[3](mixed.transpose(1, 2).flatten(2))
        return result

    return Does(attend, *(nn.Linear(16, 16) for _ in range(4)))


def unaligned(width: int) -> nn.Module:
    return nn.Sequential(
        layer(16, width), nn.ReLU(), layer(width, width), nn.ReLU(),
        layer(width, width, groups=width), nn.ReLU(), nn.MaxPool2d(2), layer(width, 16, 1),
    )  # fmt: skip


TOKENS = {
    "attention": attention("torch"),
    "query scaled": attention("before"),
    "scores divided": attention("after"),
    "hard swish": nn.Sequential(nn.Linear(16, 8), nn.Hardswish(), nn.Linear(8, 16)),
    "silu": nn.Sequential(nn.Linear(16, 8), nn.SiLU(), nn.Linear(8, 16)),
    "norm": nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16)),
}
IMAGES = {
    **{f"{n} channels": unaligned(n) for n in (4, 9, 12, 18, 20, 24)},
    **{
        f"residual {n}": nn.Sequential(layer(16, n), Residual(conv(n, n, act=None)), layer(n, 16))
        for n in (8, 24)
    },
    **{f"concat {a} {b}": both(a, b) for a, b in ((4, 4), (8, 8), (12, 12), (16, 16), (16, 8))},
    **{
        act.__name__: nn.Sequential(layer(), act(), layer())
        for act in (nn.ELU, nn.PReLU, nn.Softplus, nn.SELU, nn.CELU, nn.ReLU6)
    },
    "x - 1": nn.Sequential(layer(), Does(lambda x: x - 1), nn.ReLU(), layer()),
    "x + 1": nn.Sequential(layer(), Does(lambda x: x + 1), nn.ReLU(), layer()),
    "x / 2": nn.Sequential(layer(), Does(lambda x: x / 2), nn.ReLU(), layer()),
    "x * 2": nn.Sequential(layer(), Does(lambda x: x * 2), nn.ReLU(), layer()),
    "swish": nn.Sequential(layer(), Does(lambda x: x * torch.sigmoid(x)), layer()),
    "gate": nn.Sequential(Does(lambda x, a, b: a(x) * b(x), layer(), layer()), layer()),
    "mean": nn.Sequential(layer(), Does(lambda x: x.mean((2, 3), keepdim=True)), layer(16, 16, 1)),
    "pooled": nn.Sequential(layer(), nn.AdaptiveAvgPool2d(1), layer(16, 16, 1)),
    "instance norm": nn.Sequential(layer(), nn.InstanceNorm2d(16), nn.ReLU(), layer()),
    "nearest": nn.Sequential(layer(), nn.Upsample(scale_factor=2), layer()),
    "bilinear": nn.Sequential(layer(), nn.Upsample(scale_factor=2, mode="bilinear"), layer()),
    "transposed": nn.Sequential(
        layer(), nn.ConvTranspose2d(16, 16, 2, 2), nn.BatchNorm2d(16), nn.ReLU(), layer()
    ),
    "hard swish": nn.Sequential(layer(), head(16, 8), nn.Hardswish(), nn.Unflatten(1, (8, 1, 1))),
}


def of_images(body: nn.Module) -> nn.Module:
    return nn.Sequential(layer(3, 16), nn.ReLU(), body, nn.Flatten(), nn.LazyLinear(2))


def of_tokens(body: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 2, 2),
        Does(lambda x: x.flatten(2).transpose(1, 2)), nn.LayerNorm(16), body,
        Does(lambda x: x[:, 0]), nn.Linear(16, 2),
    )  # fmt: skip


def same(net: nn.Module, folder: Path) -> None:
    """The trace is the packaged file and what ONNX Runtime makes of it."""
    with seeded(0), torch.no_grad():
        net.eval()(torch.zeros(1, *DATA.task.input_shape))
        for parameter in net.parameters():
            nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.2)
    package(net, DATA, folder / "net.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(
        str(folder / "net.onnx"), options, providers=["CPUExecutionProvider"]
    )
    nodes = onnx.load(folder / "optimized.onnx").graph.node
    executed = Counter(
        "slice" if n.op_type == "Gather" else SAME.get(n.op_type, "activation")
        for n in nodes
        if n.op_type not in _FREE
    )
    deployed = Deployable(net, DATA.preprocessing)
    found: Counter[str] = Counter()
    for op, count in counts(trace(deployed, (1, *DATA.task.input_shape), OF_THIS_CPU)).items():
        found[SAME.get(op, op)] += count
    assert found == executed
    read: Counter[str] = Counter()
    for op, count in counts(from_onnx(folder / "net.onnx", OF_THIS_CPU)).items():
        read[SAME.get(op, op)] += count
    assert read == executed


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str, tmp_path: Path) -> None:
    same(of_images(IMAGES[name]), tmp_path)


@pytest.mark.parametrize("name", TOKENS)
def test_tokens(name: str, tmp_path: Path) -> None:
    same(of_tokens(TOKENS[name]), tmp_path)


@pytest.mark.parametrize("lowering", ["onnxruntime", "tflite", "xla", "dpu"])
def test_a_linear_layer_behind_a_transpose_is_one(lowering: str, tmp_path: Path) -> None:
    """Torch carries it out as a product and a sum."""
    mixed = Does(lambda x, a: functional.gelu(a(x.transpose(1, 2))), nn.Linear(16, 8))
    net = of_tokens(nn.Sequential(mixed, nn.LayerNorm(8), nn.Linear(8, 16)))
    package(net.eval(), DATA, tmp_path / "net.onnx")
    for batch in (1, 3):
        found = trace(Deployable(net, DATA.preprocessing), (batch, 3, 8, 8), lowering)
        assert found == from_onnx(tmp_path / "net.onnx", lowering, batch)


@pytest.mark.parametrize("act", [nn.GELU, nn.Hardswish, nn.ReLU])
@pytest.mark.parametrize("first", [nn.Identity(), nn.ReLU()])
def test_a_function_in_the_block_behind_its_linear_layer(
    act: type[nn.Module], first: nn.Module
) -> None:
    parts = [nn.Linear(8, 8), nn.Sequential(act(), nn.Linear(8, 8)), nn.Sequential(first, act())]
    lowerings = ("onnxruntime", "onnxruntime-int8", "xla", "eager")
    whole = traces(nn.Sequential(*parts), (1, 5, 8), lowerings)
    caches = BlockCaches(lowerings)
    for _ in range(2):
        assert caches.workloads(blocks_of(parts, (5, 8))) == whole
