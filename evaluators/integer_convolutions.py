"""Convolutions on 8-bit integers on a CPU: what comes beside their products.

ONNX Runtime's `QLinearConv` gathers the windows of each pixel, multiplies, and scales the sums to
integers again. Where channels do not fill whole vectors or words, its loops are slower; how
much slower was seen with its profiler, one convolution at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from evaluators.workload import Kernel

_WORD = 4
"""8-bit integers that one instruction multiplies and sums up."""


@dataclass(frozen=True)
class IntegerConvolutions:
    """What they cost.

    Args:
        lanes: integers a vector.
        vector: what a vector of a depthwise convolution costs where not all are aligned, of what an
            aligned one costs; so are the next two.
        half: half a vector.
        single: a channel that is left.
        window_s: seconds to find a weight's place in the window of a pixel.
        output_s: seconds to scale an output.
        ragged_s: seconds more for a vector of outputs of products that are not made of whole words.
    """

    lanes: int
    vector: float
    half: float
    single: float
    window_s: float
    output_s: float
    ragged_s: float

    def depthwise_channels(self, channels: int) -> float:
        """Channels that take as long in aligned vectors as these do."""
        whole, rest = divmod(channels, self.lanes)
        if not rest:
            return channels
        half, single = divmod(rest, self.lanes // 2)
        return self.lanes * (whole * self.vector + half * self.half + single * self.single)

    def beside_s(self, kernel: Kernel, window: int) -> float:
        """Seconds beside the products.

        Args:
            kernel: a convolution, (batch, channels, *pixels).
            window: its weights a channel.
        """
        inputs, outputs = kernel.in_shape[1], kernel.out_shape[1]
        pixels = math.prod(kernel.out_shape) / outputs
        each_s = window * self.window_s + outputs * self.output_s
        whole = inputs * window % _WORD == 0 and outputs % _WORD == 0 and outputs >= self.lanes
        if kernel.op == "conv" and not whole:
            vectors = math.ceil(outputs / self.lanes) + (window > 1)
            each_s += vectors * self.ragged_s
        return pixels * each_s
