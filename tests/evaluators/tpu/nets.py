"""Small networks and graphs for tests."""

from typing import Any

import torch
from torch import Tensor, nn

from evaluators.tpu.graph import Graph, Node, Spec

SHAPE = (2, 3, 8, 8)
SMALL = Graph(
    inputs={"x": Spec((2, 4), "float32")},
    weights={"w": Spec((3, 4), "float32"), "b": Spec((3,), "float32")},
    nodes=(
        Node("linear", "linear.default", ({"ref": "x"}, {"ref": "w"}, {"ref": "b"}), {}),
        Node("relu", "relu.default", ({"ref": "linear"},), {}),
    ),
    outputs=("relu",),
)
"""A linear layer of 4 to 3 with ReLU."""


def settled(module: nn.Module) -> nn.Module:
    """In inference mode, with statistics unlike the ones that layers start with."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                if tensor is not None:
                    tensor.data.uniform_(0.5, 1.5, generator=generator)
    return module.eval()


def convolutional() -> nn.Module:
    """Convolution, batch norm and ReLU, twice, and a classifier."""
    layers: list[nn.Module] = []
    for width in (3, 4):
        layers += [nn.Conv2d(width, 4, 3, padding=1, bias=width == 4), nn.BatchNorm2d(4), nn.ReLU()]
    return settled(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)))


class Function(nn.Module):
    """Any function of torch as a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Any:
        return self.function(inputs)
