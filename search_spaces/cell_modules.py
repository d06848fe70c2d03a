"""The torch modules of `search_spaces.cell`, which execute what the published code does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

OPERATIONS = ("none", "skip", "conv1x1", "conv3x3", "avgpool3x3")
"""In the order of their digits."""
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(from, to) of each edge of a cell."""


class Zero(nn.Module):
    """The operation ``none``: as in the published code, a multiplication that is carried out."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Any shape -> zeros of that shape."""
        return inputs.mul(0.0)


class Cell(nn.Module):
    """Four nodes; each but the first is the sum of an operation on every node before it.

    Args:
        operations: one of `OPERATIONS` for each of `EDGES`.
        width: channels of every node.
    """

    def __init__(self, operations: Sequence[str], width: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(_operation(name, width) for name in operations)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        nodes = [inputs]
        for node in range(1, 4):
            edges = zip(EDGES, self.edges, strict=True)
            # The sum begins with 0 + first: an addition of its own, as it was in the measurements.
            nodes.append(cast(Tensor, sum(op(nodes[a]) for (a, b), op in edges if b == node)))
        return nodes[-1]


class Reduction(nn.Module):
    """The residual block between stages: half the resolution, another width.

    Args:
        in_width: channels that come in.
        out_width: channels that go out.
    """

    def __init__(self, in_width: int, out_width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            relu_conv(in_width, out_width, 3, stride=2), relu_conv(out_width, out_width, 3)
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(in_width, out_width, 1, bias=False)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, in_width, height, width) -> (batch, out_width, height / 2, width / 2)."""
        body = self.body(inputs)
        outputs: Tensor = self.shortcut(inputs) + body
        return outputs


def relu_conv(in_width: int, out_width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution and batch norm."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_width, out_width, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_width),
    )


def stem(in_width: int, width: int) -> nn.Sequential:
    """The first convolution."""
    return nn.Sequential(
        nn.Conv2d(in_width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
    )


def head(width: int, outputs: int) -> nn.Sequential:
    """Batch norm, ReLU, pooling and the classifier."""
    return nn.Sequential(
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, outputs),
    )


def _operation(name: str, width: int) -> nn.Module:
    if name == "none":
        return Zero()
    if name == "skip":
        return nn.Identity()
    if name == "avgpool3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return relu_conv(width, width, 1 if name == "conv1x1" else 3)
