"""The space `mlp`: hidden layers with ReLU on whatever comes in flat."""

import pytest
import torch
from torch import nn

from nas.choices import count
from nas.task import Task
from search_spaces.mlp import MLPSpace

JETS = Task("jets", "classification", (16,), 5, "accuracy", "data")
TAGGER = {"depth": 3, "layer1.width": 64, "layer2.width": 32, "layer3.width": 32}


def linears(network: nn.Module) -> list[tuple[int, int]]:
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    return [(layer.in_features, layer.out_features) for layer in layers]


def test_the_tagger_of_jets_is_a_member():
    network = MLPSpace().build(TAGGER, JETS)

    assert linears(network) == [(16, 64), (64, 32), (32, 32), (32, 5)]
    assert network(torch.zeros(3, 16)).shape == (3, 5)


def test_each_hidden_layer_ends_in_relu_and_the_head_does_not():
    network = MLPSpace(layers=3).build(TAGGER, JETS)

    assert [type(part[0][-1]) for part in network] == [nn.ReLU, nn.ReLU, nn.ReLU, nn.Linear]
    assert [name for name, _ in network.named_children()] == ["layer1", "layer2", "layer3", "head"]


def test_images_are_flattened():
    digits = Task("digits", "classification", (1, 8, 8), 10, "accuracy", "data")
    network = MLPSpace(layers=1).build({"depth": 1, "layer1.width": 8}, digits)

    assert linears(network) == [(64, 8), (8, 10)]
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_the_size_follows_the_options():
    assert count(MLPSpace(layers=2, widths=[8, 16, 32]).choices) == 3 + 9
    assert set(MLPSpace(layers=3).stages) == {"layer1", "layer2", "layer3"}
    assert MLPSpace(widths=[8]).fingerprint != MLPSpace(widths=[16]).fingerprint


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"layers": 0}, "layers of mlp must be an integer from 1 to 8, but got 0"),
        ({"layers": True}, "layers of mlp must be an integer"),
        ({"widths": []}, "widths of mlp must be a list of integers"),
        ({"widths": 8}, "widths of mlp must be a list of integers, but got 8"),
        ({"widths": [8, 8]}, r"widths of mlp must ascend, from 1 to 4096, but got \[8, 8\]"),
        ({"widths": [0, 8]}, "widths of mlp must ascend"),
        ({"widths": [8.0]}, "widths of mlp must be a list of integers"),
    ],
)
def test_wrong_options_are_refused(options, line):
    with pytest.raises(ValueError, match=line):
        MLPSpace(**options)
