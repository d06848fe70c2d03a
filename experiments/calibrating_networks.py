"""Random networks of a search space, to calibrate a device's latency model with."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import search_spaces
from nas.choices import Genotype, sample
from nas.keys import digest, seed_of
from nas.task import Task
from nas.trials import Artifact, CandidateError

if TYPE_CHECKING:
    from torch import nn

    from evaluators.tasks.data import TaskData
    from evaluators.workload import Workload
    from hw_profiles import HardwareProfile

DTYPES = ("float32", "int8")
LEAST = 5
"""Networks that say anything about a device."""
OUTPUTS = 10
_EXAMPLES = 16
_POOL = 10
"""Random networks for each one that is chosen of them."""
_PATIENCE = 300
"""Draws in a row that bring nothing new, after which a space counts as exhausted."""


@dataclass(frozen=True)
class Network:
    """One network, untrained: all that is needed to build it again.

    Args:
        space: that it is of, by its name.
        genotype: of the network.
        input_shape: of one example, without the batch.
        options: of the space.
    """

    space: str
    genotype: Genotype = field(hash=False)
    input_shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(self.input_shape))

    @functools.cached_property
    def key(self) -> str:
        """12 hexadecimal digits: its identity, and what its weights are drawn from."""
        return digest(self.record())[:12]

    def record(self) -> dict[str, Any]:
        """For JSON; `Network(**record)` reads it back."""
        return {**asdict(self), "input_shape": list(self.input_shape)}


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Args:
        profile: of the device, as far as it is known.
        space: that the networks are of.
        input_shape: of one example.
        networks: how many.
        dtypes: each network is measured in each.
        batch: examples a call.
        options: of the space.
        seed: of the draw.

    Raises:
        ValueError: for too few networks, no or unknown dtypes, or sizes below 1.
    """

    profile: HardwareProfile
    space: str
    input_shape: tuple[int, ...]
    networks: int
    dtypes: tuple[str, ...] = ("float32",)
    batch: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.networks < LEAST:
            raise ValueError(f"networks must be at least {LEAST}, but got {self.networks}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, but got {self.batch}")
        if not self.input_shape or min(self.input_shape) < 1:
            raise ValueError(f"input must be sizes of at least 1, but got {self.input_shape}")
        if not self.dtypes:
            raise ValueError("dtype must name at least one of " + ", ".join(DTYPES))
        for dtype in self.dtypes:
            if dtype not in DTYPES:
                raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, but got {dtype!r}")


class Networks:
    """Draws networks and says what they do on a device; blocks that are known are kept.

    Args:
        lowering: of the device, see `evaluators.workload.trace`.
    """

    def __init__(self, lowering: str = "onnxruntime") -> None:
        from evaluators.workload import QUANTIZED, BlockCaches

        self._lowering, self._quantized = lowering, QUANTIZED.get(lowering, "")
        self._caches = BlockCaches([lowering, *filter(None, [self._quantized])])

    def draw(
        self,
        count: int,
        space: str,
        input_shape: Sequence[int],
        seed: int,
        options: Mapping[str, Any] | None = None,
        accept: Callable[[Network], bool] = lambda network: True,
        least: int | None = None,
    ) -> list[Network]:
        """Distinct random networks that can be built.

        Args:
            count: how many.
            space: by its name.
            input_shape: of one example, without the batch.
            seed: of the draw.
            options: of the space.
            accept: False for a network that is not wanted.
            least: as many are enough where there are no more; by default all.

        Raises:
            ValueError: for an unknown space, an input that it has no networks for, or when it
                has too few of them.
        """
        choices = _space(space, options or {}).choices
        rng, why, missed = random.Random(seed), "", 0
        found: dict[str, Network] = {}
        while len(found) < count and missed < _PATIENCE:
            missed += 1
            network = Network(space, sample(choices, rng), tuple(input_shape), options or {})
            if network.key in found:
                continue
            try:
                self.workload(network)
            except CandidateError as error:
                why = f": {error}"
                continue
            if accept(network):
                found[network.key], missed = network, 0
        least = count if least is None else least
        if len(found) < least:
            shape = "x".join(str(size) for size in input_shape)
            raise ValueError(
                f"{space} has only {len(found)} networks for {shape} of the {least} wanted{why}"
            )
        return list(found.values())

    def workload(self, network: Network, batch: int = 1, dtype: str = "float32") -> Workload:
        """The kernels of a network on this device.

        Args:
            network: which.
            batch: examples a call.
            dtype: in which it is computed; what is not quantized in ``int8`` stays in float.

        Raises:
            ValueError: for an input that is not of the space.
            CandidateError: the network cannot be built.
        """
        from evaluators.workload import trace, with_dtype

        lowering = self._quantized if dtype == "int8" and self._quantized else self._lowering
        space, task = _space(network.space, network.options), _task(network)
        blocks = getattr(space, "blocks", None)
        if blocks is None:
            workload = trace(_built(network), (batch, *network.input_shape), lowering)
        else:
            workload = self._caches.workloads(blocks(network.genotype, task), batch)[lowering]
        return workload if lowering == self._quantized else with_dtype(workload, dtype)


def choose_networks(networks: Networks, plan: Plan) -> list[Network]:
    """The networks of a plan: the most telling ones of many random ones.

    Raises:
        ValueError: for an unknown space, or one that has too few networks for this input.
    """
    from evaluators.calibration import choose

    pool = networks.draw(
        plan.networks * _POOL,
        plan.space,
        plan.input_shape,
        plan.seed,
        plan.options,
        least=plan.networks,
    )
    workloads = [networks.workload(network, plan.batch) for network in pool]
    return [pool[index] for index in choose(workloads, plan.profile, plan.networks, plan.seed)]


def macs_of(network: Network) -> int:
    """Multiply-accumulates of one example, whatever the device: tells whether it is the same."""
    return _plain_networks().workload(network).macs


@functools.cache
def _plain_networks() -> Networks:
    return Networks()


def pack(network: Network, path: Path, dtype: str = "float32") -> Artifact:
    """Write a network as the file that a search would make of it, with random weights.

    Args:
        network: which.
        path: where to.
        dtype: ``float32``, or ``int8``: quantized statically, on random inputs.

    Raises:
        ValueError: for another dtype.
        CandidateError: the network cannot be built, exported or quantized.
    """
    from evaluators.compression import QuantizeConfig, quantize
    from evaluators.packaging import package, sha256_of

    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, but got {dtype!r}")
    data = _random_data(network)
    artifact = package(_built(network), data, path, {"genotype": dict(network.genotype)})
    if dtype == "float32":
        return artifact
    config = QuantizeConfig("static", _EXAMPLES)
    quantize(path, config, data.train.inputs, path)
    return Artifact(str(path), sha256_of(path), dtype)


def built(network: Network) -> Any:
    """The module of a network in inference mode, with random weights.

    Raises:
        CandidateError: the network cannot be built.
    """
    return _built(network)


def _space(name: str, options: Mapping[str, Any]) -> search_spaces.Space:
    return _cached_space(name, tuple(sorted(options.items())))


@functools.lru_cache(maxsize=8)
def _cached_space(name: str, options: tuple[tuple[str, Any], ...]) -> search_spaces.Space:
    return search_spaces.create(name, **dict(options))


def _task(network: Network) -> Task:
    return Task("random", "classification", network.input_shape, OUTPUTS, "accuracy", "random")


def _built(network: Network) -> Any:
    from evaluators.training import seeded

    with seeded(seed_of(network.key, "init")):
        module = _space(network.space, network.options).build(network.genotype, _task(network))
        _unlike_each_other(module)
    return module.eval()


def _unlike_each_other(module: nn.Module) -> None:
    """Draw what training would have made different in each layer: offsets, scales, statistics.

    Layers that start with equal ones share a constant in the file, and ONNX Runtime computes
    quantized convolutions that share their offsets in float.
    """
    import torch

    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.dim() == 1 and tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))


def _random_data(network: Network) -> TaskData:
    from evaluators.tasks.data import Preprocessing, Split, TaskData

    rng = np.random.default_rng(seed_of(network.key, "data"))
    inputs = rng.random((_EXAMPLES, *network.input_shape), dtype=np.float32)
    split = Split(inputs, np.arange(_EXAMPLES) % OUTPUTS)
    return TaskData(_task(network), split, split, Preprocessing.of(inputs))
