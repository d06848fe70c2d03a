"""Training on one CPU thread or one GPU: fast for small networks, and the same every time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.tasks.data import Preprocessing, Split, TaskData
from evaluators.training_config import TrainingConfig
from nas.trials import CandidateError

__all__ = ["Report", "TrainingConfig", "TrainingReport", "cosine", "seeded", "train"]

Report = Callable[[int, Mapping[str, float]], bool]
"""``report(epoch, {"loss", "accuracy"}) -> bool``: False stops the training."""

_EXPLODED = 10.0
"""A loss so many times that of guessing is no training any more (clipping keeps it finite)."""


@dataclass(frozen=True)
class TrainingReport:
    """What happened in a training.

    Args:
        epochs: that were finished.
        loss: mean training loss of each.
        accuracy: on the validation split after each, a share.
        seconds: wall time.
        stopped: whether the report function ended it.
        device: where it ran, ``cpu`` or ``cuda``.
    """

    epochs: int
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    seconds: float
    stopped: bool
    device: str


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generators start from a seed, and are left as they were found.

    For what can only draw from them: the initial weights of a module, dropout.
    """
    # A GPU that nobody uses is not woken up for this.
    initialized = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if initialized else ()
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with (
            torch.enable_grad(),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        ):
            yield
    finally:
        torch.set_num_threads(threads)


def cosine(step: int, steps: int, warmup: int = 0) -> float:
    """The share of the learning rate at a step: up in a line, down along half a cosine.

    Args:
        step: from 0.
        steps: in all.
        warmup: steps of the way up; the last of them has the full rate.
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def pick_device(device: str) -> torch.device:
    """The torch device behind ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ValueError: for a GPU that is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but torch finds no CUDA GPU here")
    if device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.init()  # type: ignore[no-untyped-call]
    return torch.device("cuda")


class _Arrays:
    """A split as whole tensors, normalized; batches are picked by index."""

    def __init__(self, split: Split, preprocessing: Preprocessing, device: torch.device) -> None:
        self.inputs = torch.tensor(preprocessing.apply(split.inputs), device=device)
        self.labels = torch.tensor(split.labels, device=device)

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch, shuffled. What is left over for a smaller batch is left out this time."""
        count = len(self.labels)
        order = torch.randperm(count, generator=generator).to(self.labels.device)
        size = min(size, count)
        for picked in torch.split(order, size)[: count // size]:
            yield self.inputs[picked], self.labels[picked]


class _Trainer:
    """A training under way: the module, its optimizer, the batches and the learning rates."""

    def __init__(
        self,
        module: nn.Module,
        data: TaskData,
        config: TrainingConfig,
        device: torch.device,
        seed: int,
        epochs: int,
        learning_rate: float,
    ) -> None:
        self.module, self.config, self.outputs = module.to(device), config, data.task.outputs
        self.training = _Arrays(data.train, data.preprocessing, device)
        self.validation = _Arrays(data.validation, data.preprocessing, device)
        self.generator = torch.Generator().manual_seed(seed)
        if device.type == "cpu" and self.training.inputs.ndim == 4:
            _use_channels_last(module, self.training.inputs[:2])
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        if not self.parameters:
            raise CandidateError("the network has nothing to train")
        self.optimizer = _optimizer(self.parameters, config)
        steps = epochs * max(1, len(data.train) // config.batch_size)
        # A warm-up never takes more than half of a short training.
        warmup = min(round(config.warmup_epochs * steps / epochs), steps // 2)
        self.rates = (learning_rate * cosine(step, steps, warmup) for step in range(steps))

    def epoch(self) -> float:
        """One pass over the training split; returns the mean loss."""
        self.module.train()
        config, losses = self.config, []
        for inputs, labels in self.training.batches(config.batch_size, self.generator):
            rate = next(self.rates)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.zero_grad()
            logits = self.module(inputs)
            self._check(logits, len(inputs))
            loss = functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.parameters, config.gradient_clip, foreach=True)
            self.optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def accuracy(self, size: int = 256) -> float:
        """The share of the validation split that is right."""
        self.module.eval()
        inputs, labels = self.validation.inputs, self.validation.labels
        with torch.no_grad():
            chunks = zip(torch.split(inputs, size), torch.split(labels, size), strict=True)
            right = sum(int((self.module(x).argmax(1) == y).sum()) for x, y in chunks)
        return right / len(labels)

    def _check(self, logits: Tensor, batch: int) -> None:
        if tuple(logits.shape) != (batch, self.outputs):
            raise CandidateError(
                f"the network must give (batch, {self.outputs}), but gave {tuple(logits.shape)} "
                f"for a batch of {batch}"
            )


def _use_channels_last(module: nn.Module, inputs: Tensor) -> None:
    """Lay out weights so that a CPU convolves in half the time.

    A module that uses ``view`` may fail with that; it trains as it is, and as slowly.
    """
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        with torch.no_grad():
            module.eval()(inputs)
    except RuntimeError:
        module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _optimizer(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.SGD:
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        fused=True,
    )


def _check_loss(loss: float, epoch: int, outputs: int) -> None:
    if not math.isfinite(loss):
        raise CandidateError(f"training diverged in epoch {epoch + 1}: the loss is {loss}")
    if loss > _EXPLODED * math.log(outputs):
        raise CandidateError(
            f"training diverged in epoch {epoch + 1}: the loss is {loss:.3g}, "
            f"guessing has {math.log(outputs):.3g}"
        )


def train(
    module: nn.Module,
    data: TaskData,
    config: TrainingConfig,
    seed: int,
    report: Report | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
) -> TrainingReport:
    """Train a module in place: SGD with momentum, cosine schedule, clipped gradients.

    The same module, data, config and seed give the same weights, in another process too. The
    module is left on the CPU and in evaluation mode; torch's global generators, thread count and
    settings are left as they were found.

    Args:
        module: (batch, *input_shape), normalized, -> logits (batch, outputs).
        data: its test split is not touched.
        config: the recipe.
        seed: of the batches and of dropout; see `nas.keys.seed_of`.
        report: called after each epoch; False stops.
        epochs: instead of the config's, for fine-tuning.
        learning_rate: likewise.

    Raises:
        CandidateError: when training diverges, or the module cannot be trained on this task.
        ValueError: for a GPU that is not there.
    """
    start = time.perf_counter()
    device = pick_device(config.device)
    epochs = config.epochs if epochs is None else epochs
    rate = config.learning_rate if learning_rate is None else learning_rate
    losses: list[float] = []
    accuracies: list[float] = []
    stopped = False
    with _settings(), seeded(seed):
        trainer = _Trainer(module, data, config, device, seed, epochs, rate)
        for epoch in range(epochs):
            losses.append(trainer.epoch())
            try:
                _check_loss(losses[-1], epoch, data.task.outputs)
            except CandidateError as error:
                error.epochs = len(losses)
                raise
            accuracies.append(trainer.accuracy())
            metrics = {"loss": losses[-1], "accuracy": accuracies[-1]}
            if report is not None and not report(epoch, metrics):
                stopped = True
                break
    module.cpu().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    seconds = time.perf_counter() - start
    return TrainingReport(
        len(losses), tuple(losses), tuple(accuracies), seconds, stopped, device.type
    )
