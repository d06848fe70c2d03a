"""Circuits that can be followed by hand."""

from typing import Any

from evaluators.dataflow.units import Circuit, Unit


def linear(inputs: int, outputs: int, source: int = -1, **changes: Any) -> Unit:
    values = {"weight_bits": 2, "in_bits": 2, "out_bits": 2, **changes}
    return Unit("linear", (source,), (inputs, 1, 1), (outputs, 1, 1), **values)


def conv(
    inputs: int, outputs: int, side: int, source: int = -1, window: int = 3, **changes: Any
) -> Unit:
    """Without padding, unless it is given."""
    stride = changes.get("stride", (1, 1))[0]
    padding = changes.get("padding", (0, 0))[0]
    made = (side + 2 * padding - window) // stride + 1
    values = {"weight_bits": 2, "in_bits": 2, "out_bits": 2, "window": (window, window), **changes}
    return Unit("conv", (source,), (inputs, side, side), (outputs, made, made), **values)


def perceptron(*sizes: int, bits: int = 2) -> Circuit:
    layers = [
        linear(m, n, at - 1, weight_bits=bits, in_bits=bits, out_bits=bits)
        for at, (m, n) in enumerate(zip(sizes, sizes[1:], strict=False))
    ]
    return Circuit(tuple(layers), (sizes[0], 1, 1), bits)


def residual(channels: int = 4, side: int = 8, window: int = 3) -> Circuit:
    """A convolution, and a block of two convolutions beside a shortcut."""
    padded = {"padding": (window // 2, window // 2), "window": window}
    units = [conv(channels, channels, side, at - 1, **padded) for at in range(3)]
    shape = units[0].out_shape
    return Circuit((*units, Unit("add", (0, 2), shape, shape)), shape)
