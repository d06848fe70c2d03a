"""The networks whose folding is searched: small ones of the kinds that FPGAs serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from benchmarks.fpga_designs import cnv
from evaluators.dataflow.tracing import WHOLE, Bits, circuit_of
from evaluators.dataflow.units import Circuit


@dataclass(frozen=True)
class Network:
    """A network to fold.

    Args:
        name: with its bits.
        circuit: makes it.
    """

    name: str
    circuit: Callable[[], Circuit]


class Residual(nn.Module):
    """A block beside a shortcut."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels, height, width), smaller where the block strides."""
        result: Tensor = nn.functional.relu(self.body(inputs) + self.shortcut(inputs))
        return result


def resnet8() -> nn.Module:
    """The image classifier of MLPerf Tiny: three residual blocks of 16, 32 and 64 channels."""
    layers: list[nn.Module] = [*_conv(3, 16)]
    inputs = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        body = nn.Sequential(*_conv(inputs, outputs, 3, stride), *_conv(outputs, outputs)[:2])
        shortcut = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride)
        layers.append(Residual(body, shortcut))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def mobilenet() -> nn.Module:
    """A quarter of MobileNet v1's widths, on images of 96 x 96 (MLPerf Tiny, visual wake words)."""
    layers: list[nn.Module] = [*_conv(3, 8, 3, 2)]
    inputs = 8
    widths = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2))
    for outputs, stride in (*widths, (256, 1)):
        layers += _conv(inputs, inputs, 3, stride, inputs) + _conv(inputs, outputs, 1)
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))


def keywords() -> nn.Module:
    """The perceptron for keywords of hls4ml and FINN (MLPerf Tiny)."""
    sizes = (490, 256, 256, 256)
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 12))


def signal() -> nn.Module:
    """Convolutions over a signal of two channels, as for modulations of radio."""
    layers: list[nn.Module] = []
    inputs = 2
    for outputs in (16, 32, 32, 64):
        layers += [nn.Conv1d(inputs, outputs, 9, padding=4), nn.BatchNorm1d(outputs), nn.ReLU()]
        layers.append(nn.MaxPool1d(2))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(64, 24))


def _conv(
    inputs: int, outputs: int, window: int = 3, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = window // 2
    conv = nn.Conv2d(inputs, outputs, window, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]


def _traced(make: Callable[[], nn.Module], shape: tuple[int, ...], bits: int) -> Circuit:
    return circuit_of(make(), shape, Bits({WHOLE: bits}, {WHOLE: bits}))


NETWORKS = (
    Network("cnv-w1a1", lambda: cnv((1, 1))),
    Network("cnv-w2a2", lambda: cnv((2, 2))),
    Network("resnet8-w4a4", lambda: _traced(resnet8, (3, 32, 32), 4)),
    Network("mobilenet-w4a4", lambda: _traced(mobilenet, (3, 96, 96), 4)),
    Network("mlp-w3a3", lambda: _traced(keywords, (490,), 3)),
    Network("signal-w4a4", lambda: _traced(signal, (2, 1024), 4)),
)
