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
    return nn.Sequential(
        *_conv(task.input_shape[0], 16, 3),
        nn.ReLU(),
        _Residual(16, 16, 1),
        _Residual(16, 32, 2),
        _Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, task.outputs),
    )


def _conv(in_width: int, out_width: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_width, out_width, kernel, stride, kernel // 2, bias=False)
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
