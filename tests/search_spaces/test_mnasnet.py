"""The space `mnasnet`: the networks of Accel-NASBench."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import search_spaces
from evaluators.workload import BlockCache, trace
from nas.choices import count
from nas.task import Task
from search_spaces.mnasnet import MnasNetSpace, genotype_of

IMAGENET = Task("images", "classification", (3, 224, 224), 1000, "accuracy", "data")
DIGITS = Task("digits", "classification", (1, 16, 16), 10, "accuracy", "data")


@pytest.mark.parametrize(
    ("strings", "params", "macs"),
    [  # afzalxo/Accel-NASBench @4260357, the first rows of its measured networks
        (("6466611", "3535533", "1233222", "0000000"), 2_501_160, 415_361_072),
        (("4411644", "5335353", "3112132", "0000000"), 3_853_400, 426_060_320),
        (("1611141", "5355355", "2213233", "0000000"), 2_833_144, 199_703_840),
    ],
)
def test_parameters_and_operations_are_the_published_ones(strings, params, macs):
    blocks = MnasNetSpace().blocks(genotype_of(*strings), IMAGENET)

    workload = BlockCache("eager").workload(blocks)

    assert workload.params == params
    # That file counts 4 operations an element of a batch norm, and what a pool reads and writes.
    norms = sum(k.count * k.output_bytes for k in workload.kernels if k.op == "batch_norm")
    pools = [k for k in workload.kernels if k.op == "global_pool"]
    pooled = sum(k.count * (k.input_bytes + k.output_bytes) // 4 for k in pools)
    assert workload.macs + norms + pooled == macs


def test_the_kernels_of_a_block_with_everything():
    genotype = genotype_of("1411111", "3533333", "1211111", "0100000")
    second = MnasNetSpace().blocks(genotype, IMAGENET)[3]
    workload = trace(second.build(), (1, *second.input_shape), "eager")
    found = [(k.op, k.in_shape[1], k.out_shape[1], k.count) for k in workload.kernels]

    assert sorted(found) == sorted(
        [
            *[("conv", 24, 96, 1), ("batch_norm", 96, 96, 2), ("activation", 96, 96, 2)],
            ("depthwise", 96, 96, 1),
            # The squeeze is a quarter of what comes into the block.
            *[("global_pool", 96, 96, 1), ("conv", 96, 6, 1), ("activation", 6, 6, 1)],
            *[("conv", 6, 96, 1), ("activation", 96, 96, 1), ("mul", 96, 96, 1)],
            *[("conv", 96, 24, 1), ("batch_norm", 24, 24, 1), ("add", 24, 24, 1)],
        ]
    )


def test_an_expansion_of_1_has_no_convolution_of_its_own():
    network = MnasNetSpace().build(genotype_of("1" * 7, "3" * 7, "1" * 7, "0" * 7), DIGITS)
    layers = [m for m in network.get_submodule("stage1").modules() if isinstance(m, nn.Conv2d)]

    assert [(layer.groups, layer.out_channels) for layer in layers] == [(32, 32), (1, 16)]


def test_resolutions_and_widths_are_the_published_ones():
    blocks = MnasNetSpace().blocks(genotype_of("4" * 7, "3" * 7, "1" * 7, "1" * 7), IMAGENET)

    widths, sides = zip(*[block.output_shape[:2] for block in blocks[:-1]], strict=True)
    assert widths == (32, 16, 24, 40, 80, 112, 192, 320)
    assert sides == (112, 112, 56, 28, 14, 14, 7, 7)


def test_strides_end_where_the_map_is_2_by_2():
    blocks = MnasNetSpace().blocks(genotype_of("4" * 7, "5" * 7, "2" * 7, "1" * 7), DIGITS)

    assert [block.output_shape[1] for block in blocks[:-1]][::2] == [8, 8, 4, 2, 2, 2, 2, 2]


def test_the_options_scale_the_network():
    space = search_spaces.create("mnasnet", width=0.25, strides=[1, 1, 2, 1, 2, 1, 1, 1])
    blocks = space.blocks(genotype_of("4" * 7, "3" * 7, "1" * 7, "0" * 7), DIGITS)

    widths = [8, 8, 8, 8, 24, 32, 48, 80]
    sides = [16, 16, 8, 8, 4, 4, 4, 4]
    shapes = [(width, side, side) for width, side in zip(widths, sides, strict=True)]
    assert [block.output_shape for block in blocks] == [*shapes, (10,)]
    assert space.build(genotype_of("4" * 7, "3" * 7, "1" * 7, "0" * 7), DIGITS)(
        torch.zeros(2, 1, 16, 16)
    ).shape == (2, 10)


def test_the_size_is_the_published_one():
    # Three expansions, two kernels, with or without SE, three depths; four in the sixth stage.
    assert count(MnasNetSpace().choices) == 36**6 * 48


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        (("2" + "1" * 6, "3" * 7, "1" * 7, "0" * 7), r"stage1.expansion .* \(1, 4, 6\).*'2'"),
        (("1" * 7, "3" * 6, "1" * 7, "0" * 7), "kernel must be 7 digits, but got '333333'"),
        (("1" * 7, "3" * 7, "4" * 7, "0" * 7), r"stage1.layers .* \(1, 2, 3\), but got '4'"),
    ],
)
def test_strings_of_another_space_are_refused(strings, message):
    with pytest.raises(ValueError, match=message):
        genotype_of(*strings)


def test_the_sixth_stage_may_have_four_layers():
    assert genotype_of("1" * 7, "3" * 7, "1111141", "0" * 7)["stage6.layers"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width of mnasnet must be a number from 0.1 to 4, but got 0"),
        ({"width": "1"}, "width of mnasnet must be a number from 0.1 to 4, but got '1'"),
        ({"strides": [2, 1]}, r"must be 8 of 1 and 2, but got \[2, 1\]"),
        ({"strides": [3] * 8}, r"must be 8 of 1 and 2, but got \[3, 3"),
        ({"strides": [True] * 8}, r"must be 8 of 1 and 2, but got \[True"),
        ({"strides": 2}, "must be 8 of 1 and 2, but got 2"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        search_spaces.create("mnasnet", **options)
