"""Compression as choices that are joined to those of the space, and what they mean."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from evaluators.compression.methods import PRUNERS, QUANTIZERS
from nas.choices import Choice, Genotype, Value
from nas.registry import Registry, unknown

WHOLE = "all"
"""The one stage of a network whose space names no stages."""

QAT = "qat"
"""The scheme of low bit-widths, by quantization-aware training."""

_ALIASES = {"unstructured": "magnitude"}
_RATIOS = (0.25, 0.5, 0.75)
_SPARSITIES = (0.5, 0.75, 0.9)
DEPLOY = "deploy."
"""Before the name of a choice of what serves the file, made by others."""
_PREFIXES = ("prune.", "quantize.", DEPLOY)
_RATIO = "prune.ratio."
_WEIGHT_BITS, _ACTIVATION_BITS = "quantize.weight_bits", "quantize.activation_bits"
_INPUT_BITS = "quantize.input_bits"
MOST_BITS = 8

When = Mapping[str, Collection[Value]]


def kept_width(width: int, ratio: float, align: int = 8) -> int:
    """The channels that structured pruning leaves.

    At most the share ``1 - ratio`` of them, rounded down to a multiple of ``align`` (what is not
    aligned costs the time of what is), but never fewer than ``align``: a layer that is no wider
    than that stays as it is, and so does every layer for a ratio of 0.
    """
    if ratio == 0:
        return width
    wanted = math.floor(width * (1 - ratio) + 1e-9)
    return min(width, max(align, wanted - wanted % align))


def _check_share(what: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{what} must be at least 0 and less than 1, but got {value!r}")


@dataclass(frozen=True)
class PruneConfig:
    """What to prune.

    Args:
        method: ``none``, ``structured``, ``magnitude``, or the name of another registered method.
        ratios: the share of channels to remove by stage, in [0, 1), ``all`` for the whole
            network; of ``structured``.
        sparsity: the share of weights to set to zero, in [0, 1); of ``magnitude``.
        align: channels left are a multiple of it; of ``structured``.

    Raises:
        ValueError: for a share outside [0, 1), or an alignment below 1.
    """

    method: str = "none"
    ratios: Mapping[str, float] = field(default_factory=dict, hash=False)
    sparsity: float = 0.0
    align: int = 8

    def __post_init__(self) -> None:
        for stage, ratio in self.ratios.items():
            _check_share(f"the pruning ratio of {stage!r}", ratio)
        _check_share("sparsity", self.sparsity)
        if self.align < 1:
            raise ValueError(f"align must be at least 1, but got {self.align}")
        object.__setattr__(self, "ratios", dict(self.ratios))

    def keep(self, stage: str, width: int) -> int:
        """The channels that this configuration leaves of a layer; see `nas.blocks.Keep`."""
        if self.method != "structured":
            return width
        ratio = self.ratios.get(stage, self.ratios.get(WHOLE, 0.0))
        return kept_width(width, ratio, self.align)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record, read back by `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> PruneConfig:
        """The configuration behind a record of `to_json`."""
        return cls(**record)

    @classmethod
    def from_genotype(cls, genotype: Genotype, align: int = 8) -> PruneConfig:
        """The configuration that a genotype chooses; choices that it does not make mean none."""
        ratios = {
            name.removeprefix(_RATIO): float(value)
            for name, value in genotype.items()
            if name.startswith(_RATIO)
        }
        sparsity = float(genotype.get("prune.sparsity", 0.0))
        return cls(str(genotype.get("prune.method", "none")), ratios, sparsity, align)


def checked_bits(what: str, bits: object) -> int:
    """A bit-width of ``qat``.

    Raises:
        ValueError: for anything but an integer from 1 to 8.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= MOST_BITS:
        raise ValueError(f"{what} must be an integer from 1 to {MOST_BITS}, but got {bits!r}")
    return bits


@dataclass(frozen=True)
class QuantizeConfig:
    """What to quantize.

    Args:
        scheme: ``none``, ``dynamic``, ``static``, ``qat``, or the name of another registered
            scheme.
        calibration_samples: examples of the training data to calibrate on; of ``static``, and of
            the scales of ``qat``.
        weight_bits: of the weights, 1 to 8 by stage, ``all`` where no other stage holds a layer;
            of ``qat``.
        activation_bits: of what the layers of a stage read, likewise.
        input_bits: of the network's own input, likewise.

    Raises:
        ValueError: when there is nothing to calibrate on, or for bits that are not from 1 to 8.
    """

    scheme: str = "none"
    calibration_samples: int = 64
    weight_bits: Mapping[str, int] = field(default_factory=dict, hash=False)
    activation_bits: Mapping[str, int] = field(default_factory=dict, hash=False)
    input_bits: int = MOST_BITS

    def __post_init__(self) -> None:
        if self.calibration_samples < 1:
            raise ValueError(
                f"calibration_samples must be at least 1, but got {self.calibration_samples}"
            )
        checked_bits("input_bits", self.input_bits)
        for name in ("weight_bits", "activation_bits"):
            bits = dict(getattr(self, name))
            for stage, value in bits.items():
                checked_bits(f"{name} of {stage!r}", value)
            object.__setattr__(self, name, bits)

    def bits_of(self, layer: str) -> tuple[int, int]:
        """The bits of a layer's weights and of what it reads; 8 where nothing is said.

        Args:
            layer: the name of the submodule, for example ``stage1.0.2``.
        """
        return _of_layer(self.weight_bits, layer), _of_layer(self.activation_bits, layer)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able record, read back by `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> QuantizeConfig:
        """The configuration behind a record of `to_json`."""
        return cls(**record)

    @classmethod
    def from_genotype(cls, genotype: Genotype, calibration_samples: int = 64) -> QuantizeConfig:
        """The configuration that a genotype chooses; no choice means none."""
        return cls(
            str(genotype.get("quantize.scheme", "none")),
            calibration_samples,
            _by_stage(genotype, _WEIGHT_BITS),
            _by_stage(genotype, _ACTIVATION_BITS),
            int(genotype.get(_INPUT_BITS, MOST_BITS)),
        )


def _of_layer(bits: Mapping[str, int], layer: str) -> int:
    held = (stage for stage in bits if f"{layer}.".startswith(f"{stage}."))
    return bits.get(next(held, WHOLE), MOST_BITS)


def _by_stage(genotype: Genotype, name: str) -> dict[str, int]:
    found = {WHOLE: int(genotype[name])} if name in genotype else {}
    for key, value in genotype.items():
        if key.startswith(f"{name}."):
            found[key.removeprefix(f"{name}.")] = int(value)
    return found


def _method_choice(name: str, methods: Sequence[str], registry: Registry) -> list[Choice]:
    known = registry.names()
    for method in methods:
        if method not in known:
            raise ValueError(unknown(f"option of {name}", method, known))
    # Nothing to choose from, and nothing to do: no choice.
    return [Choice(name, tuple(methods))] if set(methods) - {"none"} else []


@dataclass(frozen=True)
class Bits:
    """The bit-widths that ``qat`` may choose from.

    Args:
        weight: of the weights.
        activation: of what layers read.
        input: of the network's own input.

    Raises:
        ValueError: for an empty list, a width given twice, or one that is not from 1 to 8.
    """

    weight: tuple[int, ...] = (2, 4, 8)
    activation: tuple[int, ...] = (2, 4, 8)
    input: tuple[int, ...] = (MOST_BITS,)

    def __post_init__(self) -> None:
        for name in ("weight", "activation", "input"):
            widths = tuple(checked_bits(f"{name}_bits", bits) for bits in getattr(self, name))
            if not widths or len(set(widths)) != len(widths):
                raise ValueError(
                    f"{name}_bits must list at least one width, each once, but got {list(widths)}"
                )
            object.__setattr__(self, name, tuple(sorted(widths)))

    def choices(self, stages: Mapping[str, When]) -> Iterator[Choice]:
        """The choices of bits: of the input, of all layers that no stage holds, and by stage."""
        always: When = {"quantize.scheme": (QAT,)}
        yield Choice(_INPUT_BITS, self.input, ordered=True, when=always)
        for name, widths in ((_WEIGHT_BITS, self.weight), (_ACTIVATION_BITS, self.activation)):
            yield Choice(name, widths, ordered=True, when=always)
            for stage, when in stages.items():
                yield Choice(f"{name}.{stage}", widths, ordered=True, when={**when, **always})


def compression_choices(
    prune: Sequence[str],
    quantize: Sequence[str],
    stages: Sequence[str] | Mapping[str, When] = (),
    bits: Bits | None = None,
) -> list[Choice]:
    """The choices of compression, to be appended to those of the space.

    Args:
        prune: methods to choose from, for example ``["none", "structured"]``; ``unstructured`` is
            another name of ``magnitude``.
        quantize: schemes to choose from, for example ``["none", "dynamic", "static"]``.
        stages: the prunable stages of the space, each with the conditions under which it is
            there, where it gives them. Without any, one ratio holds for the whole network.
        bits: what ``qat`` may choose from; None: the default ones.

    Returns:
        ``prune.method``, ``prune.ratio.<stage>``, ``prune.sparsity``, ``quantize.scheme``,
        ``quantize.input_bits``, ``quantize.weight_bits[.<stage>]`` and
        ``quantize.activation_bits[.<stage>]``, as far as the methods need them; none at all for
        ``["none"]`` twice.

    Raises:
        ValueError: when a method is not known or given twice.
    """
    choices = _method_choice("prune.method", [_ALIASES.get(m, m) for m in prune], PRUNERS)
    methods = choices[0].options if choices else ()
    conditions: Mapping[str, When] = (
        stages if isinstance(stages, Mapping) else dict.fromkeys(stages, {})
    )
    if "structured" in methods:
        for stage, when in (conditions or {WHOLE: {}}).items():
            when = {**when, "prune.method": ("structured",)}
            choices.append(Choice(f"{_RATIO}{stage}", _RATIOS, ordered=True, when=when))
    if "magnitude" in methods:
        when = {"prune.method": ("magnitude",)}
        choices.append(Choice("prune.sparsity", _SPARSITIES, ordered=True, when=when))
    choices += _method_choice("quantize.scheme", quantize, QUANTIZERS)
    if QAT in quantize:
        choices += (bits or Bits()).choices(conditions)
    return choices


def split(genotype: Genotype) -> tuple[dict[str, Value], dict[str, Value]]:
    """Separate the choices of the architecture from those of compression and deployment."""
    compression = {n: v for n, v in genotype.items() if n.startswith(_PREFIXES)}
    return {n: v for n, v in genotype.items() if n not in compression}, compression
