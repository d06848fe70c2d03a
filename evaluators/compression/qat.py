"""Quantization-aware training to 1 to 8 bits, with scales that are powers of two.

Every convolution and linear layer reads fixed-point numbers and has fixed-point weights, so that
its sums are integers times a power of two: exact in float32, and what a circuit of adders computes.

- What a layer reads: ``floor(x / scale)``, clipped to the unsigned range where nothing negative
  was seen, else to the signed one. Floor, since a circuit gets it by dropping bits; the half step
  that it takes away is learned by the biases.
- Weights: ``round(w / scale)``, clipped to the symmetric range, one scale a layer (Jain et al.
  2019, https://arxiv.org/abs/1903.08066: powers of two, a scale a tensor). 1 bit is bipolar
  (Courbariaux et al. 2016, https://arxiv.org/abs/1602.02830), but a pruned weight stays zero: in a
  circuit it is a wire that is not there, and needs no bit.
- Gradients pass the rounding as if it were not there (Bengio et al. 2013,
  https://arxiv.org/abs/1308.3432), and end where values are clipped.

Scales are those of the least squared error on weights and on calibration examples, one layer after
the other on what the quantized layers before it give; they stay as they are while training.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from evaluators.compression.choices import QuantizeConfig
from evaluators.compression.methods import Train
from nas.trials import CandidateError

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
_OTHERS = (nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase, nn.Bilinear, nn.Embedding)
"""Layers that would keep float weights in a file that says it is fixed-point."""
_SCALES_TRIED = 6
"""Powers of two, from the one that clips nothing downwards."""


def _exponents(largest: float, levels: int) -> range:
    """Exponents of the scales to try for values of up to a magnitude and so many positive levels.

    Values that are all zero get a scale of 1.
    """
    top = math.ceil(math.log2(largest / max(1, levels))) if largest > 0 else 0
    return range(top, top - _SCALES_TRIED, -1)


def _best_scale(values: Tensor, levels: int, apply: Callable[[float], Tensor]) -> float:
    """The power of two with the least squared error between values and what ``apply`` gives."""
    exponents = _exponents(float(values.abs().max()), levels)
    errors = [float((apply(2.0**e) - values).square().mean()) for e in exponents]
    return float(2.0 ** exponents[errors.index(min(errors))])


class Quantizer(nn.Module):
    """Activations in fixed point: ``clip(floor(x / scale), low, high) * scale``.

    Its scale and range are buffers, so that they are kept with the weights.

    Args:
        bits: of the integers.
    """

    inverse: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits, self.fits = bits, False
        for name, value in (("inverse", 1.0), ("scale", 1.0), ("low", 0.0), ("high", 1.0)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, values: Tensor) -> Tensor:
        """The quantized values, of the same shape."""
        if self.fits:
            self._fit(values)
        integers = torch.clamp(torch.floor(values * self.inverse), self.low, self.high)
        quantized: Tensor = integers * self.scale
        if not self.training:
            return quantized
        # The gradient is that of the clipped values: those that floor takes to low or high count.
        passed = torch.clamp(values, self.low * self.scale, (self.high + 1) * self.scale)
        return passed + (quantized - passed).detach()

    def _fit(self, values: Tensor) -> None:
        """Take the range and the scale that fit these values best."""
        signed = bool((values < 0).any())
        low, high = (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if signed else (0, 0)
        high = high if signed else 2**self.bits - 1

        def apply(scale: float) -> Tensor:
            # Biases make up for the half step that floor takes away; zero stays what it is.
            integers = torch.clamp(torch.floor(values / scale), low, high)
            return (integers + 0.5 * (values != 0)) * scale

        scale = _best_scale(values, high, apply)
        for name, value in (("inverse", 1 / scale), ("scale", scale), ("low", low), ("high", high)):
            getattr(self, name).fill_(value)


class QuantizedLayer(nn.Module):
    """A convolution or linear layer that reads fixed-point numbers.

    Args:
        layer: its weights become fixed-point ones too, while training by `_Rounded`.
        weight_bits: of the weights.
        input_bits: of what it reads.
    """

    def __init__(self, layer: nn.Module, weight_bits: int, input_bits: int) -> None:
        super().__init__()
        self.weight_bits = weight_bits
        self.inputs = Quantizer(input_bits)
        self.layer = layer

    @property
    def weight(self) -> Tensor:
        """Of the layer."""
        return cast(Tensor, self.layer.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """As the layer."""
        outputs: Tensor = self.layer(self.inputs(inputs))
        return outputs


class _Rounded(nn.Module):
    """A parameter as it will be: integers times a scale; what is exactly zero stays zero.

    Args:
        values: of the parameter.
        bits: of the integers.
    """

    mask: Tensor

    def __init__(self, values: Tensor, bits: int) -> None:
        super().__init__()
        self._bits, self._levels = bits, 2 ** (bits - 1) - 1
        self.register_buffer("mask", (values != 0).to(values))
        kept = values[values != 0]
        if bits == 1:
            mean = float(kept.abs().mean()) if len(kept) else 1.0
            self._scale = 2.0 ** round(math.log2(mean))
        else:
            levels = self._levels
            self._scale = _best_scale(values, levels, lambda s: _symmetric(values, s, levels))

    @property
    def scale(self) -> float:
        """What the integers are multiplied by."""
        return self._scale

    def forward(self, values: Tensor) -> Tensor:
        """The rounded values, of the same shape."""
        values = values * self.mask
        if self._bits == 1:
            rounded = torch.where(values < 0, -self._scale, self._scale) * self.mask
        else:
            rounded = _symmetric(values, self._scale, self._levels)
        return values + (rounded - values).detach() if self.training else rounded


class _InSteps(nn.Module):
    """A bias as it will be: a multiple of the step of the sums that it is added to."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self._step = step

    def forward(self, values: Tensor) -> Tensor:
        """The rounded values, of the same shape."""
        rounded = torch.round(values / self._step) * self._step
        return values + (rounded - values).detach() if self.training else rounded


def _symmetric(values: Tensor, scale: float, levels: int) -> Tensor:
    return torch.clamp(torch.round(values / scale), -levels, levels) * scale


def quantize(module: nn.Module, config: QuantizeConfig, inputs: Tensor, train: Train) -> nn.Module:
    """Quantize a trained module and train it on.

    Batch norms are folded first. Accumulators, additions and pools stay as wide as they come out.

    Args:
        module: trained; it stays as it is.
        config: the bits by stage.
        inputs: normalized, (n, *input_shape), ``calibration_samples`` of them are taken.
        train: trains a module in place.

    Returns:
        A new module in evaluation mode. Its layers are `QuantizedLayer`, with weights that are
        integers times a power of two.

    Raises:
        CandidateError: when the module has no layer to quantize, or one that cannot be.
    """
    quantized = shaped(module, config).eval()
    layers = list(_layers(quantized))
    rounded = [_Rounded(layer.weight.detach(), layer.weight_bits) for layer in layers]
    for layer, weights in zip(layers, rounded, strict=True):
        parametrize.register_parametrization(layer.layer, "weight", weights.eval())
    _calibrate(quantized, layers, inputs[: config.calibration_samples])
    for layer, weights in zip(layers, rounded, strict=True):
        step = weights.scale * float(layer.inputs.scale)
        parametrize.register_parametrization(layer.layer, "bias", _InSteps(step).eval())
    train(quantized)
    quantized.eval()
    for layer in layers:
        for name in ("weight", "bias"):
            parametrize.remove_parametrizations(layer.layer, name, leave_parametrized=True)
    return quantized


def _calibrate(module: nn.Module, layers: list[QuantizedLayer], inputs: Tensor) -> None:
    for layer in layers:
        layer.inputs.fits = True
    with torch.no_grad():
        module(inputs)
    for layer in layers:
        layer.inputs.fits = False


def shaped(module: nn.Module, config: QuantizeConfig) -> nn.Module:
    """A new module with the layers that `quantize` leaves; scales are 1.

    Raises:
        CandidateError: when the module has no layer to quantize, or one that cannot be.
    """
    quantized = copy.deepcopy(module)
    if isinstance(quantized, _LAYERS):
        quantized = nn.Sequential(quantized)
    for part in list(quantized.modules()):
        if isinstance(part, nn.Sequential):
            _fold_norms(part)
    names = [name for name, part in quantized.named_modules() if _is_layer(part, name)]
    if not names:
        raise CandidateError("nothing to quantize (qat): no convolution and no linear layer")
    for name in names:
        parent, _, own = name.rpartition(".")
        holder, layer = quantized.get_submodule(parent), quantized.get_submodule(name)
        weight_bits, activation_bits = config.bits_of(name)
        bits = config.input_bits if name == names[0] else activation_bits
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros(layer.weight.shape[0]))
        setattr(holder, own, QuantizedLayer(layer, weight_bits, bits))
    return quantized


def _layers(module: nn.Module) -> Iterator[QuantizedLayer]:
    return (part for part in module.modules() if isinstance(part, QuantizedLayer))


def _is_layer(part: nn.Module, name: str) -> bool:
    if isinstance(part, _LAYERS):
        return True
    if isinstance(part, (*_NORMS, *_OTHERS, nn.LayerNorm, nn.MultiheadAttention)):
        raise CandidateError(f"cannot be quantized (qat): {name} is a {type(part).__name__}")
    return False


def _fold_norms(chain: nn.Sequential) -> None:
    """Put each batch norm into the layer right before it, and leave nothing in its place."""
    names = [name for name, _ in chain.named_children()]
    for before, name in zip(names, names[1:], strict=False):
        layer, norm = chain.get_submodule(before), chain.get_submodule(name)
        if not isinstance(norm, _NORMS) or not isinstance(layer, _LAYERS):
            continue
        is_linear = isinstance(layer, nn.Linear)
        fuse: Any = fuse_linear_bn_weights if is_linear else fuse_conv_bn_weights
        layer.weight, layer.bias = fuse(
            layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps,
            norm.weight, norm.bias,
        )  # fmt: skip
        setattr(chain, name, nn.Identity())
