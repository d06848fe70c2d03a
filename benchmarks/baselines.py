"""The networks that people would take without a search, written by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.task import Task


def lenet5(task: Task) -> nn.Module:
    """LeNet-5 (LeCun et al. 1998) as it is used today: ReLU and max pooling.

    28 x 28 images and larger; the first convolution is padded, so that 32 x 32 is not the only
    size. (batch, channels, height, width) -> (batch, outputs).
    """
    channels, height, width = task.input_shape
    features = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(features, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, task.outputs),
    )


def resnet8(task: Task) -> nn.Module:
    """ResNet-8 (He et al. 2016, section 4.2, n=1; MLPerf Tiny), with 16, 32 and 64 channels.

    (batch, channels, height, width) -> (batch, outputs).
    """
    return _resnet(task, 1)


def resnet20(task: Task) -> nn.Module:
    """ResNet-20: the same with three blocks a stage.

    (batch, channels, height, width) -> (batch, outputs).
    """
    return _resnet(task, 3)


def mobilenet_v2(task: Task) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018, table 2).

    (batch, channels, height, width) -> (batch, outputs), a 32nd of height and width at the end.
    """
    layers = [*_conv(task.input_shape[0], 32, 3, 2), nn.ReLU6()]
    width = 32
    for expansion, out_width, count, stride in _INVERTED:
        for index in range(count):
            layers.append(_Inverted(width, out_width, expansion, stride if index == 0 else 1))
            width = out_width
    layers += [*_conv(width, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(1280, task.outputs))


_INVERTED = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, width, blocks and stride of each stage of MobileNetV2."""


def _resnet(task: Task, blocks: int) -> nn.Module:
    layers: list[nn.Module] = [*_conv(task.input_shape[0], 16, 3), nn.ReLU()]
    for in_width, out_width in ((16, 16), (16, 32), (32, 64)):
        layers.append(_Residual(in_width, out_width, 1 if in_width == out_width else 2))
        layers += [_Residual(out_width, out_width, 1) for _ in range(blocks - 1)]
    head = nn.Linear(64, task.outputs)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def _conv(
    in_width: int, out_width: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = kernel // 2
    conv = nn.Conv2d(in_width, out_width, kernel, stride, padding, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return [conv, nn.BatchNorm2d(out_width)]


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is projected where the shape changes."""

    def __init__(self, in_width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(in_width, out_width, 3, stride), nn.ReLU(), *_conv(out_width, out_width, 3)
        )
        same = in_width == out_width and stride == 1
        shortcut = [] if same else _conv(in_width, out_width, 1, stride)
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, in_width, height, width) -> (batch, out_width, height / stride, ...)."""
        return torch.relu(self.body(inputs) + self.shortcut(inputs))


class _Inverted(nn.Module):
    """A wide depthwise convolution between two narrow layers, with a shortcut where it fits."""

    def __init__(self, in_width: int, out_width: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = in_width * expansion
        wide = [] if expansion == 1 else [*_conv(in_width, width, 1), nn.ReLU6()]
        depthwise = [*_conv(width, width, 3, stride, groups=width), nn.ReLU6()]
        self.body = nn.Sequential(*wide, *depthwise, *_conv(width, out_width, 1))
        self.is_residual = in_width == out_width and stride == 1

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, in_width, height, width) -> (batch, out_width, height / stride, ...)."""
        outputs: Tensor = self.body(inputs)
        return inputs + outputs if self.is_residual else outputs
