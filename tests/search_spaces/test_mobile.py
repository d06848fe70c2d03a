"""The space `mobile`: inverted residuals for images of any size."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

import search_spaces
from nas.choices import canonical, count, sample
from nas.task import Task
from search_spaces.mobile import MobileSpace

SPACE = MobileSpace(stages=2)


def images(channels: int, side: int, breadth: int | None = None) -> Task:
    shape = (channels, side, breadth or side)
    return Task("images", "classification", shape, 10, "accuracy", "data")


def genotype(**changes):
    """Two stages of two blocks."""
    plain = {
        "activation": "relu",
        "stem.width": 16,
        "stem.stride": 1,
        "stage1.depth": 2,
        "stage1.width": 24,
        "stage1.expansion": 3,
        "stage1.kernel": 3,
        "stage1.stride": 2,
        "stage1.se": "no",
        "stage2.depth": 2,
        "stage2.width": 40,
        "stage2.expansion": 6,
        "stage2.kernel": 5,
        "stage2.stride": 2,
        "stage2.se": "yes",
        "head.width": 64,
    }
    changed = {**plain, **{name.replace("__", "."): value for name, value in changes.items()}}
    return canonical(SPACE.choices, changed)


def shapes(side: int, **changes) -> list[tuple[int, ...]]:
    return [b.output_shape for b in SPACE.blocks(genotype(**changes), images(1, side))]


def test_widths_and_resolutions_follow_the_genotype():
    assert shapes(16) == [(16, 16, 16), (24, 8, 8), (24, 8, 8), (40, 4, 4), (40, 4, 4), (10,)]
    assert shapes(16, stem__stride=2, stage1__stride=1)[0] == (16, 8, 8)


def test_a_stage_of_depth_0_is_left_out():
    chosen = genotype(stage2__depth=0)

    assert not any(name.startswith("stage2") for name in chosen.keys() - {"stage2.depth"})
    assert shapes(16, stage2__depth=0) == [(16, 16, 16), (24, 8, 8), (24, 8, 8), (10,)]
    network = SPACE.build(chosen, images(1, 16))
    assert len(network.get_submodule("stage2")) == 0


def test_a_large_map_is_halved_whatever_was_chosen():
    strides = {"stem__stride": 1, "stage1__stride": 1, "stage2__stride": 1}

    sides = [shape[1] for shape in shapes(224, **strides)[:-1]]
    assert sides == [112, 112, 112, 56, 56]
    assert [shape[1] for shape in shapes(32, **strides)[:-1]] == [32] * 5


@pytest.mark.parametrize("side", [16, 96, 224])
def test_maps_of_the_whole_space_are_of_a_sensible_size(side):
    space, rng = MobileSpace(stages=6), random.Random(side)
    for _ in range(60):
        drawn = sample(space.choices, rng)
        *maps, out = [block.output_shape for block in space.blocks(drawn, images(3, side))]
        assert out == (10,)
        assert all(2 <= shape[1] <= 112 for shape in maps)
        assert all(shape[0] % 8 == 0 for shape in maps)


def test_the_layers_of_a_block_with_squeeze_excitation():
    block = SPACE.build(genotype(activation="hardswish"), images(1, 16)).get_submodule("stage2")[0]
    convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d)]
    widths = [(m.in_channels, m.out_channels, m.kernel_size[0], m.groups) for m in convolutions]

    assert widths == [
        (24, 144, 1, 1),
        (144, 144, 5, 144),
        *[(144, 6, 1, 1), (6, 144, 1, 1)],
        (144, 40, 1, 1),
    ]
    assert sum(isinstance(m, nn.Hardswish) for m in block.modules()) == 2
    assert sum(isinstance(m, nn.Hardsigmoid) for m in block.modules()) == 1


def test_the_gate_scales_each_channel():
    block = SPACE.build(genotype(), images(1, 16)).get_submodule("stage2")[0].eval()
    excitation = next(m for m in block.modules() if type(m).__name__ == "SqueezeExcitation")
    with torch.no_grad():
        excitation.gate[3].weight.zero_()
        excitation.gate[3].bias.copy_(torch.linspace(-9, 9, 144))
    inputs = torch.rand(2, 144, 4, 4)

    shares = (torch.linspace(-9, 9, 144) / 6 + 0.5).clamp(0, 1).reshape(1, -1, 1, 1)
    assert torch.allclose(excitation(inputs), inputs * shares)


def test_all_blocks_of_a_stage_but_the_first_are_residual():
    stage = SPACE.build(genotype(stage1__stride=1), images(1, 16)).get_submodule("stage1").eval()
    inputs = torch.rand(1, 24, 8, 8)

    assert torch.equal(stage[1](inputs), inputs + stage[1].body(inputs))
    assert isinstance(stage[0], nn.Sequential)


def test_pruning_counts_from_unpruned_widths():
    asked = []

    def keep(stage: str, width: int) -> int:
        asked.append((stage, width))
        return width // 2

    pruned = [b.output_shape for b in SPACE.blocks(genotype(), images(1, 16), keep)]

    assert pruned == [(16, 16, 16), (12, 8, 8), (12, 8, 8), (20, 4, 4), (20, 4, 4), (10,)]
    assert set(asked) == {
        *[("stage1", 48), ("stage1", 72), ("stage1", 24)],
        *[("stage2", 144), ("stage2", 240), ("stage2", 40), ("stage2", 6), ("stage2", 10)],
        ("head", 64),
    }


def test_the_width_scales_the_options():
    narrow = search_spaces.create("mobile", width=0.25)
    options = {choice.name: choice.options for choice in narrow.choices}

    assert options["stem.width"] == (8,)
    assert options["stage5.width"] == (24, 32, 40, 48)
    assert count(narrow.choices) > 1_000_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": 7}, "stages of mobile must be an integer from 1 to 6, but got 7"),
        ({"width": float("nan")}, "width of mobile must be a number from 0.1 to 4, but got nan"),
        ({"width": True}, "width of mobile must be a number from 0.1 to 4, but got True"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        search_spaces.create("mobile", **options)
