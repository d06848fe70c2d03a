"""Unstructured pruning: exactly so many zeros, and they stay."""

import pytest
import torch
from torch import nn

from evaluators.compression import PruneConfig
from evaluators.compression.magnitude import prune
from nas.task import Task

TASK = Task("images", "classification", (1, 8, 8), 4, "accuracy", "data")


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
            nn.Flatten(),
            nn.Linear(512, 4),
        )


def weights(module: nn.Module) -> list[torch.Tensor]:
    return [module[i].weight.detach() for i in (0, 3, 5)]


def zeros(module: nn.Module) -> int:
    return sum(int((weight == 0).sum()) for weight in weights(module))


def sgd(optimizer_of=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)):
    """A training that looks at the zeros after every step."""
    seen: list[int] = []

    def train(module: nn.Module) -> None:
        optimizer = optimizer_of(module.parameters())
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            inputs = torch.rand(16, 1, 8, 8, generator=generator)
            labels = torch.randint(4, (16,), generator=generator)
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs), labels).backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            seen.append(zeros(module))

    return train, seen


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.75, 0.9])
def test_exactly_the_share_of_weights_is_zero_throughout(sparsity):
    train, seen = sgd()
    total = sum(weight.numel() for weight in weights(network()))

    pruned = prune(network(), PruneConfig("magnitude", sparsity=sparsity), TASK, train)

    assert seen == [round(sparsity * total)] * 5
    assert zeros(pruned) == round(sparsity * total)
    assert not torch.equal(pruned[5].bias, network()[5].bias)


def test_the_old_module_stays_as_it_is():
    module = network()
    train, _ = sgd()

    prune(module, PruneConfig("magnitude", sparsity=0.5), TASK, train)

    for old, fresh in zip(module.parameters(), network().parameters(), strict=True):
        assert torch.equal(old, fresh)


def test_the_smallest_weights_of_a_layer_go():
    module = network()

    pruned = prune(module, PruneConfig("magnitude", sparsity=0.6), TASK, lambda _: None)

    for before, after in zip(weights(module), weights(pruned), strict=True):
        live = after != 0
        assert before[~live].abs().max() < before[live].abs().min()
        assert torch.equal(before[live], after[live])


def test_no_layer_vanishes_because_its_weights_are_small():
    module = network()
    with torch.no_grad():
        module[3].weight.mul_(1e-6)

    pruned = prune(module, PruneConfig("magnitude", sparsity=0.9), TASK, lambda _: None)

    assert (pruned[3].weight != 0).any()


def test_another_optimizer_and_a_training_that_forgets_the_zeros():
    train, seen = sgd(lambda parameters: torch.optim.Adam(parameters, lr=0.01))
    config = PruneConfig("magnitude", sparsity=0.5)
    total = sum(weight.numel() for weight in weights(network()))

    def careless(module: nn.Module) -> None:
        train(module)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(1.0)

    assert zeros(prune(network(), config, TASK, careless)) == round(0.5 * total)
    assert seen == [round(0.5 * total)] * 5


def test_the_weights_are_free_again_afterwards():
    pruned = prune(network(), PruneConfig("magnitude", sparsity=0.9), TASK, lambda _: None)
    before = zeros(pruned)
    train, _ = sgd()

    train(pruned)

    assert zeros(pruned) < before


def test_layers_of_zeros_do_not_disturb():
    module = network()
    with torch.no_grad():
        module[3].weight.zero_()
    total = sum(weight.numel() for weight in weights(module))

    pruned = prune(module, PruneConfig("magnitude", sparsity=0.5), TASK, lambda _: None)

    assert zeros(pruned) == round(0.5 * total)
