"""Small networks whose kernels can be counted by hand."""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import nn

from evaluators.workload import Workload
from nas.blocks import Block


class Residual(nn.Module):
    def __init__(self, body: nn.Module, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.behind = body, behind or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.behind(x + self.body(x))
        return result


class SqueezeExcite(nn.Module):
    """Of 16 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.squeeze(x))


def conv(
    inputs: int,
    outputs: int,
    kernel: int = 3,
    stride: int = 1,
    groups: int = 1,
    act: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch norm and activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


def head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs))


def lenet() -> nn.Sequential:
    """LeNet-5 on 32x32 (LeCun et al., 1998), with full connections between its feature maps."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def mobile(width: int = 16, depth: int = 2, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """Inverted residual blocks between a stem and a head."""
    blocks = [
        Residual(
            nn.Sequential(
                conv(width, 4 * width, 1, act=act),
                conv(4 * width, 4 * width, 3, groups=4 * width, act=act),
                conv(4 * width, width, 1, act=None),
            )
        )
        for _ in range(depth)
    ]
    return nn.Sequential(conv(3, width, stride=2, act=act), *blocks, head(width, 10))


def cnv() -> nn.Sequential:
    """FINN's CNV on CIFAR-10: six convolutions without padding, three layers behind them."""
    widths = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        if index in (1, 3):
            layers.append(nn.MaxPool2d(2))
    dense = [nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
    return nn.Sequential(*layers, nn.Flatten(), *dense)


def counts(workload: Workload) -> Counter[str]:
    """How many kernels of each op run."""
    found: Counter[str] = Counter()
    for kernel in workload.kernels:
        found[kernel.op] += kernel.count
    return found


def blocks_of(parts: Sequence[nn.Module], input_shape: tuple[int, ...]) -> list[Block]:
    """The parts of a network as blocks, with what each puts out."""
    blocks = []
    shape = input_shape
    for number, part in enumerate(parts):
        with torch.no_grad():
            result = tuple(part.eval()(torch.zeros(1, *shape)).shape[1:])
        blocks.append(Block(f"part {number}", shape, result, lambda part=part: part))
        shape = result
    return blocks
