"""Structured pruning: the widths that are left are the arithmetic, in every network."""

import random
import warnings
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

import search_spaces
from evaluators.compression import PruneConfig, compression_choices, split
from evaluators.compression.structured import prune, reshape
from evaluators.workload import BlockCache, trace
from nas.choices import sample
from nas.task import Task
from nas.trials import CandidateError

TASK = Task("images", "classification", (3, 16, 16), 10, "accuracy", "data")
HALF = PruneConfig("structured", {"all": 0.5})


def nothing(module: nn.Module) -> None:
    """Trains nothing."""


def macs_by_hooks(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates, counted without any code of the project."""
    macs = []

    def count(layer, inputs, output):
        macs.append(layer.weight[0].numel() * output[0].numel())

    hooks = [
        layer.register_forward_hook(count)
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        module.eval()(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return sum(macs)


def joint(space, rng):
    """A random genotype of the space, and a random structured pruning of it."""
    choices = [*space.choices, *compression_choices(["structured"], ["none"], space.stages)]
    return split(sample(choices, rng))


@pytest.mark.parametrize("seed", range(6))
def test_pruned_widths_are_arithmetic_for_the_convnet(seed):
    rng, cache = random.Random(seed), BlockCache()
    space = search_spaces.create("convnet", stages=rng.choice([2, 3, 4]))
    for _ in range(20):
        size, channels = rng.choice([8, 16, 28, 32]), rng.choice([1, 3])
        task = Task("images", "classification", (channels, size, size), 10, "accuracy", "data")
        architecture, compression = joint(space, rng)
        config = PruneConfig.from_genotype(compression, align=rng.choice([4, 8, 16]))

        pruned = prune(space.build(architecture, task), config, task, nothing)

        shape = (1, *task.input_shape)
        screened = cache.workload(space.blocks(architecture, task, config.keep))
        assert screened == trace(pruned, shape)
        assert screened.macs == macs_by_hooks(pruned, task.input_shape)
        assert screened.params == sum(p.numel() for p in pruned.parameters())


def test_the_reshaped_network_takes_the_weights_of_the_pruned_one():
    space, rng = search_spaces.create("convnet"), random.Random(7)
    inputs = torch.rand(4, *TASK.input_shape, generator=torch.Generator().manual_seed(0))
    for _ in range(10):
        architecture, compression = joint(space, rng)
        config = PruneConfig.from_genotype(compression)
        pruned = prune(space.build(architecture, TASK), config, TASK, nothing).eval()

        loaded = reshape(space.build(architecture, TASK), config, TASK).eval()
        loaded.load_state_dict(pruned.state_dict())

        assert torch.equal(loaded(inputs), pruned(inputs))


class Shortcuts(nn.Module):
    """What users build: sums, groups, concatenation, a norm in groups, a dropout."""

    def __init__(self, side: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.GroupNorm(2, 16))
        self.side = nn.Conv2d(16, 24, 1)
        self.drop = nn.Dropout(0.5)
        self.pool = nn.AdaptiveAvgPool2d(side)
        self.head = nn.Linear(40 * side**2, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        values = self.stem(inputs)
        values = values + self.body(values).relu()
        values = torch.cat([values, self.side(values)], dim=1)
        return self.head(self.drop(self.pool(values).flatten(1)))


def mlp() -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(768, 64), nn.BatchNorm1d(64), nn.ReLU()),
        *(nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10)),
    )


def test_networks_of_users_are_pruned_as_a_whole():
    pruned = prune(Shortcuts(), HALF, TASK, nothing)

    assert pruned(torch.rand(2, 3, 16, 16)).shape == (2, 10)
    # Sums and groups hold 16 channels together; 8 of 24 are left of the others, 12 rounded down.
    assert (pruned.stem.out_channels, pruned.side.out_channels) == (8, 8)
    assert pruned.body[0].weight.shape == (8, 2, 3, 3)
    assert pruned.head.in_features == 16


def test_layers_of_a_perceptron():
    pruned = prune(mlp(), HALF, TASK, nothing)

    assert [pruned[i].out_features for i in (1, 4, 6)] == [32, 8, 10]


def test_attention_heads_stay_of_equal_size():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 32, 4, stride=4)
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
            self.norm = nn.LayerNorm(32)
            self.head = nn.Linear(32, 10)

        def forward(self, inputs: Tensor) -> Tensor:
            tokens = self.embed(inputs).flatten(2).transpose(1, 2)
            values, _ = self.attention(tokens, tokens, tokens, need_weights=False)
            return self.head(self.norm(tokens + values).mean(1))

    pruned = prune(Tokens(), HALF, TASK, nothing)

    assert pruned.attention.embed_dim == pruned.embed.out_channels == 16
    assert pruned(torch.rand(2, 3, 16, 16)).shape == (2, 10)


def test_ratios_hold_for_their_stages_only():
    module = mlp()
    pruned = prune(module, PruneConfig("structured", {"1": 0.75}, align=4), TASK, nothing)

    assert [pruned[i].out_features for i in (1, 4, 6)] == [16, 12, 10]


def test_a_stage_is_not_what_merely_begins_with_its_name():
    module = nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.Linear(16, 10))
    module = nn.Sequential(OrderedDict(stage1=nn.Identity(), stage10=module))

    pruned = prune(module, PruneConfig("structured", {"stage1": 0.5}), TASK, nothing)

    assert pruned.stage10[1].out_features == 16


def test_the_channels_of_the_smallest_weights_go():
    module = nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.ReLU(), nn.Linear(16, 10))
    strong = [1, 2, 3, 6, 8, 11, 14, 15]
    with torch.no_grad():
        module[1].weight[strong] += 3.0

    pruned = prune(module, HALF, TASK, nothing)

    assert torch.equal(pruned[1].weight, module[1].weight[strong])
    assert torch.equal(pruned[1].bias, module[1].bias[strong])
    assert torch.equal(pruned[3].weight, module[3].weight[:, strong])


def test_the_result_is_trained_and_the_old_module_left_alone():
    module, trained = mlp(), []
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    pruned = prune(module, HALF, TASK, trained.append)

    assert trained == [pruned]
    assert pruned.training
    assert module.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert not prune(module.eval(), HALF, TASK, nothing).training


def test_the_outputs_stay_whichever_layer_gives_them():
    class Convolutional(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs).mean((2, 3)).log_softmax(1)

    task = Task("images", "classification", (3, 16, 16), 32, "accuracy", "data")
    module = Convolutional(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3))

    pruned = prune(module, HALF, task, nothing)

    assert (pruned[0].out_channels, pruned[2].out_channels) == (8, 32)


def test_the_same_weights_are_pruned_alike():
    module = Shortcuts()

    first, again = (prune(module, HALF, TASK, nothing).state_dict() for _ in range(2))

    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_random_state_is_left_as_found():
    module, python, state = Shortcuts(), random.getstate(), torch.random.get_rng_state()

    prune(module, HALF, TASK, nothing)

    assert random.getstate() == python
    assert torch.equal(torch.random.get_rng_state(), state)


def test_parameters_that_no_layer_holds_are_no_warning():
    class Scaled(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Flatten(), nn.Linear(768, 16), nn.Linear(16, 10))
            self.scale = nn.Parameter(torch.ones(1, 1))

        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) * self.scale

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert prune(Scaled(), HALF, TASK, nothing)[1].out_features == 8


def test_a_stage_that_is_not_there_is_the_candidates_fault():
    with pytest.raises(CandidateError, match="no submodule 'stage9' to prune"):
        prune(mlp(), PruneConfig("structured", {"stage9": 0.5}), TASK, nothing)


def test_a_network_that_cannot_be_pruned_is_the_candidates_fault():
    # Torch-Pruning 1.6.1 loses the channels of a concatenation that is flattened.
    with pytest.raises(CandidateError, match="structured pruning failed: IndexError") as caught:
        prune(Shortcuts(side=2), HALF, TASK, nothing)

    assert "\n" not in str(caught.value)


def test_errors_of_the_training_are_not_those_of_pruning():
    def diverge(module: nn.Module) -> None:
        raise FloatingPointError("NaN")

    with pytest.raises(FloatingPointError):
        prune(mlp(), HALF, TASK, diverge)
