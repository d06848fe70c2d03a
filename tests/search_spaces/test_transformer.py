"""The space `transformer`: every combination is a network, and it learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import search_spaces
from evaluators import tasks
from evaluators.compression import PruneConfig, reshape
from evaluators.training import TrainingConfig, seeded, train
from nas.choices import canonical
from nas.task import Task
from search_spaces.transformer import TransformerSpace

SPACE = TransformerSpace(depth=2)


def images(channels: int, side: int, breadth: int | None = None) -> Task:
    shape = (channels, side, breadth or side)
    return Task("images", "classification", shape, 10, "accuracy", "data")


def genotype(**changes):
    """Two blocks of 64 dimensions."""
    plain = {"patch": 4, "dim": 64, "activation": "gelu", "pool": "mean", "depth": 2}
    plain |= {"attention1.heads": 4, "mlp1.ratio": 2, "attention2.heads": 8, "mlp2.ratio": 3}
    changed = {**plain, **{name.replace("__", "."): value for name, value in changes.items()}}
    return canonical(SPACE.choices, changed)


def tokens(task: Task, **changes) -> tuple[int, ...]:
    return SPACE.blocks(genotype(**changes), task)[0].output_shape


def test_every_dimension_goes_with_every_number_of_heads():
    options = {choice.name: choice.options for choice in SPACE.choices}

    for dim in options["dim"]:
        assert dim % 16 == 0
        assert all(dim % heads == 0 for heads in options["attention1.heads"])


def test_tokens_are_patches_and_perhaps_one_more():
    assert tokens(images(1, 16)) == (16, 64)
    assert tokens(images(1, 16), pool="token") == (17, 64)
    assert tokens(images(3, 224), patch=16, dim=192) == (196, 192)


def test_patches_adapt_to_the_image():
    assert tokens(images(1, 8), patch=16) == (4, 64)
    assert tokens(images(3, 224), patch=2) == (28 * 28, 64)
    assert tokens(images(1, 2), patch=2) == (4, 64)


@pytest.mark.parametrize(("height", "breadth", "patch"), [(9, 14, 4), (10, 13, 4), (17, 31, 8)])
def test_no_pixel_is_left_out(height, breadth, patch):
    embedding = SPACE.build(genotype(patch=patch), images(1, height, breadth)).get_submodule(
        "embedding"
    )
    inputs = torch.rand(1, 1, height, breadth, requires_grad=True)

    embedding(inputs).square().sum().backward()

    assert inputs.grad is not None
    assert (inputs.grad != 0).all()
    assert embedding(inputs).shape[1] == -(-height // patch) * -(-breadth // patch)


def test_attention_is_that_of_torch():
    attention = SPACE.build(genotype(), images(1, 16)).get_submodule("attention1")[0].body[1]
    theirs = nn.MultiheadAttention(64, 4, batch_first=True)
    layers = (attention.query, attention.key, attention.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        theirs.out_proj.load_state_dict(attention.output.state_dict())
        inputs = torch.randn(3, 16, 64)
        expected, _ = theirs(inputs, inputs, inputs)

        assert torch.allclose(attention(inputs), expected, atol=1e-5)


def test_each_half_of_a_block_is_added_to_what_comes_in():
    network = SPACE.build(genotype(), images(1, 16))
    inputs = torch.randn(2, 16, 64)
    with torch.no_grad():
        for name in ("attention1", "mlp2"):
            part = network.get_submodule(name)[0]
            assert torch.equal(part(inputs), inputs + part.body(inputs))
            assert isinstance(part.body[0], nn.LayerNorm)


def test_the_order_of_the_patches_matters():
    network = SPACE.build(genotype(), images(1, 16)).eval()
    inputs = torch.rand(1, 1, 16, 16)

    with torch.no_grad():
        assert not torch.allclose(network(inputs), network(inputs.roll(4, dims=2)), atol=1e-4)


def test_the_class_token_is_what_is_classified():
    network = SPACE.build(genotype(pool="token"), images(1, 16)).eval()
    values = torch.randn(2, 17, 64)
    head = network.get_submodule("head")
    changed = values.clone()
    changed[:, 1:] = 0

    assert torch.equal(head(values), head(changed))


def test_a_block_that_is_not_there_has_nothing_to_choose():
    chosen = genotype(depth=1)

    assert "mlp2.ratio" not in chosen
    assert SPACE.stages["mlp2"] == {"depth": (2,)}
    assert len(SPACE.blocks(chosen, images(1, 16))) == 4


def test_only_the_hidden_width_of_an_mlp_is_pruned():
    task = images(1, 16)
    config = PruneConfig("structured", {"mlp1": 0.5, "mlp2": 0.75}, align=16)

    pruned = reshape(SPACE.build(genotype(), task), config, task)

    for part, hidden in (("mlp1", 64), ("mlp2", 48)):
        _, first, _, second = pruned.get_submodule(part)[0].body
        assert (first.in_features, first.out_features) == (64, hidden)
        assert (second.in_features, second.out_features) == (hidden, 64)
    assert pruned.get_submodule("attention1")[0].body[1].query.weight.shape == (64, 64)


@pytest.mark.parametrize("pool", ["mean", "token"])
def test_it_learns_digits_by_the_recipe_of_the_project(pool):
    data = tasks.create("digits", size=16).without_test()
    with seeded(0):
        network = SPACE.build(genotype(patch=8, depth=1, pool=pool), data.task)

    report = train(network, data, TrainingConfig(epochs=6, device="cpu"), seed=0)

    assert report.accuracy[-1] > 0.9


@pytest.mark.parametrize("depth", [0, 13, "2", True])
def test_another_depth_is_refused(depth):
    with pytest.raises(ValueError, match=f"must be an integer from 1 to 12, but got {depth!r}"):
        search_spaces.create("transformer", depth=depth)
