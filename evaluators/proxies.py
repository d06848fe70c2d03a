"""Zero-cost proxies: what an untrained network says of itself on a batch or two of the task.

Each is one number, the larger the better; how well it ranks the networks of a task has to be seen
on that task (`experiments.proxy_report`). Weights are those that training begins with, and batches
are the same for all networks of a task, so a value follows from the candidate's key alone.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from evaluators.proxy_names import PREFIX, PROXIES, check_proxies
from evaluators.tasks.data import TaskData
from evaluators.training import seeded
from nas.keys import seed_of
from nas.trials import Candidate, CandidateError, Provenance, Readings

BATCHES, BATCH_SIZE = 2, 32
"""Of training examples that gradients are taken of; the fewest that ZiCo is defined for."""

_ACTIVATIONS = frozenset(
    {
        *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu),
        *(functional.gelu, functional.silu, functional.hardswish, functional.mish),
        *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_),
    }
)


def synflow(module: nn.Module, shape: Sequence[int]) -> float:
    """Synaptic flow: the logarithm of the sum of ``|weight * d(sum of outputs) / d weight|``.

    All parameters are replaced by their absolute values and the input is all ones, so it looks
    at no data; batch norms do nothing, as they are before training. Tanaka, Kunin, Yamins and
    Ganguli 2020, https://arxiv.org/abs/2006.05467; as a proxy Abdelfattah, Mehrotra, Dudziak and
    Lane 2021, https://arxiv.org/abs/2101.08134.

    Args:
        module: (batch, *shape) -> (batch, outputs); it is left as it was.
        shape: of one input.
    """
    positive = copy.deepcopy(module).double().eval()
    with torch.no_grad():
        for parameter in positive.parameters():
            parameter.abs_()
    weights = _weights(positive)
    flow: Tensor = positive(torch.ones((1, *shape), dtype=torch.float64)).sum()
    slopes = _slopes(flow, weights)
    pairs = zip(weights, slopes, strict=True)
    score = math.fsum(float((w.detach() * slope).abs().sum()) for w, slope in pairs)
    return math.log(score) if score > 0 else -math.inf


def naswot(module: nn.Module, inputs: Tensor) -> float:
    """Neural architecture search without training: how unlike the activations of inputs are.

    Each input has a code: which of all activation functions get a positive number. The kernel
    holds for each pair of inputs in how many places their codes agree; the score is the logarithm
    of its determinant, minus infinity where two inputs cannot be told apart. Mellor, Turner,
    Storkey and Crowley 2021, https://arxiv.org/abs/2006.04647.

    Args:
        module: with at least one known activation function, else the score is not a number.
        inputs: (batch, *shape), normalized.
    """
    codes = _Codes(len(inputs))
    with torch.no_grad(), codes:
        copy.deepcopy(module).train()(inputs)
    return codes.score()


def gradient_norm(gradients: Sequence[Tensor]) -> float:
    """The logarithm of the sum of the Euclidean norms of the layers' gradients.

    Abdelfattah, Mehrotra, Dudziak and Lane 2021, https://arxiv.org/abs/2101.08134.

    Args:
        gradients: of the loss of one batch, one a layer's weights.
    """
    norm = math.fsum(float(gradient.norm()) for gradient in gradients)
    return math.log(norm) if norm > 0 else -math.inf


def zico(gradients: Sequence[Sequence[Tensor]]) -> float:
    """Inverse coefficient of variation of the gradients: large and the same on each batch is good.

    The sum over layers of ``log(sum over weights of mean(|gradient|) / deviation(|gradient|))``,
    mean and deviation over the batches; weights whose gradient does not vary are left out, and
    layers of such weights only; not a number where nothing is left. Li, Yang, Bhardwaj and
    Marculescu 2023, https://arxiv.org/abs/2301.11300.

    Args:
        gradients: of at least two batches, one a layer's weights each.
    """
    logs = []
    for layer in zip(*gradients, strict=True):
        sizes = torch.stack(layer).abs().double()
        if not bool(sizes.isfinite().all()):
            return math.nan
        mean, deviation = sizes.mean(0), sizes.std(0, correction=0)
        ratios = (mean / deviation)[deviation > 0]
        if len(ratios):
            logs.append(math.log(float(ratios.sum())))
    return math.fsum(logs) if logs else math.nan


class ZeroCostProxies:
    """The evaluator ``proxies``: the metric ``proxy_<name>`` of each.

    Args:
        data: of the task; batches are from its training split.
        names: some of `PROXIES`.

    Raises:
        ValueError: for an unknown proxy.
    """

    stage = "screen"
    needs = ""

    def __init__(self, data: TaskData, names: Sequence[str] = PROXIES) -> None:
        self._names = check_proxies(names)
        self.provides = tuple(f"{PREFIX}{name}" for name in self._names)
        generator = torch.Generator().manual_seed(seed_of(data.task.data_hash, "proxies"))
        size = max(1, min(BATCH_SIZE, len(data.train) // BATCHES))
        order = torch.randperm(len(data.train), generator=generator)[: BATCHES * size].numpy()
        inputs = torch.from_numpy(data.preprocessing.apply(data.train.inputs[order]))
        labels = torch.from_numpy(data.train.labels[order].copy())
        self._batches = list(zip(torch.split(inputs, size), torch.split(labels, size), strict=True))
        self._shape = data.task.input_shape

    def evaluate(self, candidate: Candidate) -> Readings:
        """The proxies of the candidate's module, which is left as it was.

        A candidate goes without those that cannot be computed or are not finite.

        Raises:
            CandidateError: the candidate carries no module, or gradients of its loss cannot be
                had, so that it cannot be trained either.
        """
        if candidate.module is None:
            raise CandidateError("proxies need the network itself, but there is none")
        with _one_thread(), seeded(seed_of(candidate.training_key, "proxies")):
            found = dict(self._values(candidate.module))
        values = {f"{PREFIX}{n}": found[n] for n in self._names if math.isfinite(found[n])}
        about = Provenance("scored", runtime="torch", method="zero-cost proxy, before training")
        return Readings(values, about)

    def _values(self, module: nn.Module) -> Iterator[tuple[str, float]]:
        if "naswot" in self._names:
            yield "naswot", _or_nan(lambda: naswot(module, self._batches[0][0]))
        if "synflow" in self._names:
            yield "synflow", _or_nan(lambda: synflow(module, self._shape))
        if {"gradnorm", "zico"} & set(self._names):
            gradients = loss_gradients(module, self._batches)
            yield "gradnorm", gradient_norm(gradients[0])
            yield "zico", zico(gradients)


def loss_gradients(
    module: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]
) -> list[list[Tensor]]:
    """The gradients of the cross-entropy of each batch, one for the weights of each layer.

    Args:
        module: it is left as it was.
        batches: normalized inputs (batch, *shape) and labels (batch,).

    Raises:
        CandidateError: when there are none.
    """
    module = copy.deepcopy(module).train()
    weights = _weights(module)
    if not weights:
        raise CandidateError("the network has no weights to take gradients of")
    try:
        return [
            [g.detach() for g in _slopes(functional.cross_entropy(module(x), y), weights)]
            for x, y in batches
        ]
    except RuntimeError as error:
        why = str(error).partition("\n")[0]
        raise CandidateError(f"the network cannot be back-propagated: {why}") from None


def _weights(module: nn.Module) -> list[nn.Parameter]:
    """Of convolutions, linear layers and the like; biases and the scales of norms are left out."""
    return [p for p in module.parameters() if p.requires_grad and p.ndim > 1]


def _slopes(value: Tensor, weights: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradient of each, 0 where the value does not depend on it."""
    found = torch.autograd.grad(value, list(weights), allow_unused=True)
    pairs = zip(found, weights, strict=True)
    return [torch.zeros_like(w) if slope is None else slope for slope, w in pairs]


def _or_nan(compute: Callable[[], float]) -> float:
    """For what some networks do not stand: doubled weights, inputs of ones."""
    try:
        return compute()
    except RuntimeError:
        return math.nan


class _Codes(TorchFunctionMode):
    """Sees what goes into activation functions while a network runs.

    Args:
        batch: inputs.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._kernel, self._places = torch.zeros(batch, batch, dtype=torch.float64), 0

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Called instead of each function of torch."""
        if function in _ACTIVATIONS:
            inputs = args[0] if args else kwargs["input"]
            if len(inputs) == len(self._kernel):
                self._see(inputs)
        return function(*args, **(kwargs or {}))

    def _see(self, inputs: Tensor) -> None:
        code = (inputs > 0).flatten(1).float()
        self._kernel += (code @ code.T + (1 - code) @ (1 - code).T).double()
        self._places += code.shape[1]

    def score(self) -> float:
        """The logarithm of the determinant of the kernel; not a number where there is none."""
        if not self._places:
            return math.nan
        return float(torch.linalg.slogdet(self._kernel).logabsdet)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """So that sums are added up in the same order on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
