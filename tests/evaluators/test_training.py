"""Training: it learns, it clips, it repeats itself, and it leaves torch as it was found."""

import copy
import hashlib
import math
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from evaluators import tasks
from evaluators.training import (
    TrainingConfig,
    TrainingReport,
    cosine,
    pick_device,
    seeded,
    train,
)
from nas.trials import CandidateError
from tests.evaluators.packed import blobs, colours, convolutions, digits, perceptron

QUICK = TrainingConfig(epochs=2)


def fingerprint(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def with_dropout(seed: int = 0) -> nn.Module:
    module = convolutions(seed=seed)
    module.insert(7, nn.Dropout(0.2))
    return module


def print_fingerprint() -> None:
    """Run in another process by a test below."""
    module = with_dropout()
    train(module, digits(), QUICK, seed=3)
    print(fingerprint(module))


class Spy(torch.optim.SGD):
    """Watches what the optimizer is given at each step."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.norms: list[float] = []
        self.rates: list[float] = []
        SPIES.append(self)

    def step(self, closure: None = None) -> None:
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        self.norms.append(float(torch.stack([g.norm() for g in gradients]).norm()))
        self.rates.append(self.param_groups[-1]["lr"])
        super().step(closure)


SPIES: list[Spy] = []


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """These tests set global state on purpose."""
    threads, state = torch.get_num_threads(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)
    np.random.set_state(state)


@pytest.fixture
def spies(monkeypatch: pytest.MonkeyPatch) -> list[Spy]:
    SPIES.clear()
    monkeypatch.setattr(torch.optim, "SGD", Spy)
    return SPIES


def test_a_small_network_learns_the_digits_and_says_how():
    module = convolutions(width=8)
    report = train(module, digits(), TrainingConfig(epochs=6), seed=0)
    assert report.epochs == len(report.loss) == len(report.accuracy) == 6
    assert report.accuracy[-1] > 0.95
    assert report.loss[-1] < report.loss[0]
    assert (report.stopped, report.device) == (False, "cpu")
    assert report.seconds > 0


def test_the_accuracy_reported_is_that_of_the_validation_split():
    module, data = convolutions(), digits()
    report = train(module, data, QUICK, seed=0)
    with torch.no_grad():
        logits = module(torch.tensor(data.preprocessing.apply(data.validation.inputs)))
    right = (logits.argmax(1).numpy() == data.validation.labels).mean()
    assert report.accuracy[-1] == pytest.approx(right)


def test_tables_can_be_learned_too():
    report = train(perceptron(5, 3), blobs(n=300), TrainingConfig(epochs=8), seed=0)
    assert report.accuracy[-1] > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_one_others():
    modules = [with_dropout() for _ in range(3)]
    for module, seed in zip(modules, (3, 3, 4), strict=True):
        train(module, digits(), QUICK, seed)
    prints = [fingerprint(module) for module in modules]
    assert prints[0] == prints[1] != prints[2]


def test_another_process_trains_the_same_weights():
    module = with_dropout()
    train(module, digits(), QUICK, seed=3)
    code = "from tests.evaluators.test_training import print_fingerprint as p; p()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == fingerprint(module)


def test_training_leaves_global_state_as_it_was_found():
    torch.set_num_threads(2)
    torch.manual_seed(7)
    np.random.seed(7)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    with torch.no_grad():
        train(with_dropout(), digits(), TrainingConfig(epochs=1), seed=0)
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == 2
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()


def test_it_trains_on_one_thread_and_restores_the_count_when_it_fails():
    torch.set_num_threads(2)
    seen: list[int] = []

    class Counting(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            raise CandidateError("enough")

    with pytest.raises(CandidateError, match="enough"):
        train(Counting(5, 3), blobs(), QUICK, seed=0)
    assert seen == [1]
    assert torch.get_num_threads() == 2


def test_seeded_starts_from_the_seed_and_restores_what_was_there():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(5):
        one = torch.rand(3)
    with seeded(5):
        assert (torch.rand(3) == one).all()
    assert (torch.get_rng_state() == before).all()


def test_gradients_are_clipped_by_their_norm_together(spies: list[Spy]):
    data = blobs()
    train(perceptron(5, 3), data, TrainingConfig(epochs=2, gradient_clip=0.05), seed=0)
    train(perceptron(5, 3), data, TrainingConfig(epochs=2, gradient_clip=1e6), seed=0)
    clipped, free = spies
    assert max(free.norms) > 0.5
    assert clipped.norms == pytest.approx([0.05] * len(clipped.norms), rel=1e-3)


def test_small_gradients_stay_as_they_are(spies: list[Spy]):
    data = blobs()
    train(perceptron(5, 3), data, TrainingConfig(epochs=1, gradient_clip=1e5), seed=0)
    train(perceptron(5, 3), data, TrainingConfig(epochs=1, gradient_clip=1e6), seed=0)
    assert spies[0].norms == spies[1].norms


def test_the_learning_rate_rises_in_a_line_and_falls_along_a_cosine(spies: list[Spy]):
    config = TrainingConfig(epochs=4, batch_size=9, learning_rate=0.4, warmup_epochs=1)
    train(perceptron(5, 3), blobs(), config, seed=0)  # 36 examples, 4 steps an epoch
    rates = spies[0].rates
    assert len(rates) == 16
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert rates[10] == pytest.approx(0.2)  # half of the way down
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.01


def test_the_cosine():
    assert [cosine(step, 4) for step in range(4)] == pytest.approx(
        [1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]
    )
    assert [cosine(step, 4, warmup=2) for step in range(4)] == pytest.approx([0.5, 1, 1, 0.5])


def test_a_short_training_warms_up_for_half_of_it_at_most(spies: list[Spy]):
    train(
        perceptron(5, 3), blobs(), TrainingConfig(epochs=1, batch_size=9, warmup_epochs=5), seed=0
    )
    assert spies[0].rates == pytest.approx([0.1, 0.2, 0.2, 0.1])


def test_fine_tuning_has_epochs_and_a_rate_of_its_own(spies: list[Spy]):
    report = train(
        perceptron(5, 3), blobs(), TrainingConfig(), seed=0, epochs=3, learning_rate=0.01
    )
    assert report.epochs == 3
    assert max(spies[0].rates) == pytest.approx(0.01)


def test_norms_and_biases_do_not_decay(spies: list[Spy]):
    train(convolutions(), digits(), TrainingConfig(epochs=1, weight_decay=0.25), seed=0)
    decays = {p.ndim: g["weight_decay"] for g in spies[0].param_groups for p in g["params"]}
    assert decays == {4: 0.25, 2: 0.25, 1: 0.0}


def test_every_setting_of_the_recipe_matters():
    def result(**settings: object) -> str:
        module = perceptron(5, 3)
        train(module, blobs(), TrainingConfig(epochs=2, batch_size=8, **settings), seed=0)
        return fingerprint(module)

    plain = result()
    assert plain == result()
    for setting in (
        *({"momentum": 0.5}, {"nesterov": False}, {"weight_decay": 0.1}, {"gradient_clip": 0.1}),
        *({"label_smoothing": 0.0}, {"warmup_epochs": 0}, {"learning_rate": 0.1}),
    ):
        assert result(**setting) != plain, setting


def test_frozen_weights_stay():
    module = perceptron(5, 3)
    module[0].weight.requires_grad_(False)
    before = copy.deepcopy(module.state_dict())
    train(module, blobs(), QUICK, seed=0)
    assert (module[0].weight == before["0.weight"]).all()
    assert (module[2].weight != before["2.weight"]).any()


def test_the_report_hears_of_every_epoch_and_can_stop():
    heard: list[tuple[int, float, float]] = []

    def report(epoch: int, metrics: dict[str, float]) -> bool:
        heard.append((epoch, metrics["loss"], metrics["accuracy"]))
        return epoch < 2

    result = train(convolutions(), digits(), TrainingConfig(epochs=9), seed=0, report=report)
    assert (result.epochs, result.stopped) == (3, True)
    assert heard == [(i, result.loss[i], result.accuracy[i]) for i in range(3)]


def test_stopping_early_leaves_the_weights_of_the_epochs_before():
    stopped, reference = convolutions(), convolutions()
    config = TrainingConfig(epochs=6)
    train(stopped, digits(), config, seed=0, report=lambda epoch, _: epoch < 1)
    seen: list[str] = []

    def watch(epoch: int, _: object) -> bool:
        seen.append(fingerprint(reference))
        return True

    train(reference, digits(), config, seed=0, report=watch)
    assert fingerprint(stopped) == seen[1]


def test_the_module_is_left_in_evaluation_mode():
    module = convolutions()
    module.train()
    train(module, digits(), TrainingConfig(epochs=1), seed=0)
    assert not any(part.training for part in module.modules())


def test_a_loss_that_is_not_finite_is_the_candidates_fault():
    module = perceptron(5, 3)
    with torch.no_grad():
        module[0].weight[0, 0] = float("nan")
    with pytest.raises(CandidateError, match="training diverged in epoch 1: the loss is nan"):
        train(module, blobs(), QUICK, seed=0)


def test_a_loss_that_explodes_is_the_candidates_fault():
    with pytest.raises(
        CandidateError, match="training diverged in epoch 1: the loss is .*, guessing"
    ):
        train(
            perceptron(5, 3),
            blobs(n=300),
            TrainingConfig(epochs=3, learning_rate=1e4),
            seed=0,
        )


def test_a_network_of_the_wrong_shape_is_the_candidates_fault():
    with pytest.raises(CandidateError, match=r"must give \(batch, 3\), but gave \(32, 4\)"):
        train(perceptron(5, 4), blobs(), QUICK, seed=0)
    with pytest.raises(CandidateError, match="has nothing to train"):
        train(nn.Flatten(), blobs(), QUICK, seed=0)


class Viewed(nn.Module):
    """As tutorials write it; ``view`` asks for a layout that fast training does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(4 * 36, 2)
        self.seen: set[bool] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        self.seen.add(x.is_contiguous())
        return self.linear(x.view(len(x), -1))


def test_convolutions_train_channels_last_where_the_module_allows_it():
    seen: list[bool] = []
    module = convolutions()
    module[3].register_forward_hook(
        lambda *a: seen.append(a[2].is_contiguous(memory_format=torch.channels_last))
    )
    train(module, digits(), TrainingConfig(epochs=1), seed=0)
    assert all(seen)
    assert all(weight.is_contiguous() for weight in module.state_dict().values())


def test_a_module_that_needs_the_plain_layout_trains_as_well():
    module = Viewed()
    report = train(module, colours(), QUICK, seed=0)
    assert report.epochs == 2
    assert module.seen == {True, False}  # tried once, and given up


def test_a_last_batch_of_one_does_not_upset_batch_norm():
    data = blobs(n=55)  # 33 to train on: a batch of 32, and one left over
    assert len(data.train) % 32 == 1
    module = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    assert train(module, data, QUICK, seed=0).epochs == 2


def test_fewer_examples_than_a_batch():
    assert train(perceptron(5, 3), blobs(n=20), QUICK, seed=0).epochs == 2


def test_training_never_looks_at_the_test_split():
    whole = tasks.create("digits", size=8)
    modules = [convolutions(), convolutions()]
    train(modules[0], whole, QUICK, seed=0)
    train(modules[1], whole.without_test(), QUICK, seed=0)
    assert fingerprint(modules[0]) == fingerprint(modules[1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_auto_takes_the_cpu_where_there_is_no_gpu_and_cuda_says_so():
    assert pick_device("auto").type == pick_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="device is 'cuda', but torch finds no CUDA GPU here"):
        train(perceptron(5, 3), blobs(), TrainingConfig(device="cuda"), seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_trains_as_well_and_gives_the_module_back_on_the_cpu():
    before = torch.cuda.get_rng_state()
    module = with_dropout()
    report: TrainingReport = train(module, digits(), TrainingConfig(epochs=6), seed=0)
    assert report.device == "cuda"
    assert report.accuracy[-1] > 0.95
    assert next(module.parameters()).device.type == "cpu"
    assert (torch.cuda.get_rng_state() == before).all()
