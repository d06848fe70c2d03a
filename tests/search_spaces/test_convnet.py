"""The space `convnet`: every genotype builds, and the blocks are the network."""

import pickle
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import search_spaces
from nas.choices import check_choices, count, sample
from nas.keys import digest
from nas.task import Task
from search_spaces.convnet import ConvNetSpace
from tests.support.work import calls

SPACE = ConvNetSpace()


def images(channels: int, height: int, breadth: int | None = None, outputs: int = 10) -> Task:
    shape = (channels, height, breadth or height)
    return Task("images", "classification", shape, outputs, "accuracy", "data")


def genotype(**changes):
    """A small network of one convolution in each of two stages."""
    plain = {
        "activation": "relu",
        "stem.width": 16,
        "stem.stride": 1,
        "stage1.depth": 1,
        "stage1.block": "conv",
        "stage1.width": 24,
        "stage1.kernel": 3,
        "stage1.downsample": "stride",
        "stage2.depth": 2,
        "stage2.block": "conv",
        "stage2.width": 32,
        "stage2.kernel": 3,
        "stage2.downsample": "pool",
        "stage2.residual": "yes",
        "stage3.depth": 0,
        "head": "pool",
    }
    return {**plain, **{name.replace("__", "."): value for name, value in changes.items()}}


def test_the_size_of_the_space():
    check_choices(SPACE.choices)

    assert 18 <= len(SPACE.choices) <= 25
    assert count(SPACE.choices) > 1_000_000
    assert count(ConvNetSpace(stages=2).choices) > 1_000_000


def test_all_widths_are_multiples_of_8():
    widths = [c for c in ConvNetSpace(stages=5).choices if c.name.endswith("width")]

    assert len(widths) == 6
    for choice in widths:
        assert choice.ordered
        assert all(width % 8 == 0 for width in choice.options)
        assert list(choice.options) == sorted(choice.options)


def test_a_stage_that_is_left_out_has_nothing_to_choose():
    names = genotype(stage2__depth=0).keys() - {"stage2.depth"}
    chosen = {name for name in names if name.startswith("stage2")}
    rng = random.Random(0)
    for _ in range(300):
        drawn = sample(SPACE.choices, rng)
        assert (drawn["stage2.depth"] == 0) == (not chosen & drawn.keys())
        assert ("stage2.expansion" in drawn) == (drawn.get("stage2.block") == "inverted")
        assert ("stage1.residual" in drawn) == (drawn["stage1.depth"] > 1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    stages=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    height=st.integers(8, 64),
    breadth=st.integers(8, 64),
)
def test_every_genotype_builds_for_every_image(seed, stages, channels, height, breadth):
    space, task = ConvNetSpace(stages), images(channels, height, breadth, outputs=7)
    drawn = sample(space.choices, random.Random(seed))

    network = space.build(drawn, task).eval()

    assert network(torch.zeros(2, *task.input_shape)).shape == (2, 7)


@pytest.mark.parametrize("size", [8, 16, 28, 64])
def test_the_blocks_in_sequence_are_the_network(size):
    task, rng = images(1, size), random.Random(size)
    inputs = torch.rand(2, *task.input_shape, generator=torch.Generator().manual_seed(0))
    for _ in range(15):
        drawn, values = sample(SPACE.choices, rng), inputs
        with torch.random.fork_rng():
            torch.manual_seed(1)
            network = SPACE.build(drawn, task).eval()
            torch.manual_seed(1)
            for block in SPACE.blocks(drawn, task):
                assert tuple(values.shape[1:]) == block.input_shape
                values = block.build().eval()(values)
                assert tuple(values.shape[1:]) == block.output_shape

        assert torch.equal(values, network(inputs))


def test_the_signature_says_everything_but_the_input():
    rng, task, texts = random.Random(3), images(1, 16), {}
    for _ in range(80):
        for block in SPACE.blocks(sample(SPACE.choices, rng), task):
            text = str(block.build())
            assert texts.setdefault(block.signature, text) == text
    assert len(set(texts.values())) > 50


def test_describing_the_blocks_is_little_work():
    rng, task = random.Random(4), images(1, 16)
    for _ in range(100):
        drawn = sample(SPACE.choices, rng)
        assert calls(lambda drawn=drawn: SPACE.blocks(drawn, task)) < 300


def test_the_parts_of_the_network_have_the_names_of_the_stages():
    network = SPACE.build(genotype(), images(1, 16))

    assert [name for name, _ in network.named_children()] == [
        "stem",
        "stage1",
        "stage2",
        "stage3",
        "head",
    ]
    assert len(network.get_submodule("stage2")) == 2
    assert len(network.get_submodule("stage3")) == 0


def test_resolution_and_width_follow_the_genotype():
    shapes = [block.output_shape for block in SPACE.blocks(genotype(), images(3, 16))]

    assert shapes == [(16, 16, 16), (24, 8, 8), (32, 4, 4), (32, 4, 4), (10,)]


def test_an_inverted_block_expands_its_input():
    drawn = genotype(stage1__block="inverted", stage1__expansion=4)

    widths = [
        layer.out_channels
        for layer in SPACE.build(drawn, images(1, 16)).get_submodule("stage1").modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]

    assert widths == [64, 64, 24]


@pytest.mark.parametrize("downsample", ["stride", "pool"])
def test_no_map_becomes_smaller_than_2_by_2(downsample):
    changes = {f"stage{i}__downsample": downsample for i in (1, 2)}
    blocks = SPACE.blocks(genotype(stem__stride=4, **changes), images(1, 8, 20))

    assert [block.output_shape[1:] for block in blocks[:-1]] == [(2, 5)] * 4


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (4, 5)])
def test_the_stem_skips_no_pixel(stride, kernel):
    stem = SPACE.build(genotype(stem__stride=stride), images(1, 32)).get_submodule("stem")

    assert stem[0][0].kernel_size == (kernel, kernel)
    assert stem[0][0].stride == (stride, stride)


@pytest.mark.parametrize(("size", "features"), [(8, 32 * 4), (16, 32 * 16), (64, 32 * 16)])
def test_a_flattened_map_is_at_most_4_by_4(size, features):
    network = SPACE.build(genotype(head="flatten"), images(1, size))

    assert network.get_submodule("head")[0][-1].in_features == features


def test_residual_blocks_add_their_input():
    task = images(1, 16)
    with_sum = SPACE.build(genotype(), task).get_submodule("stage2")[1].eval()
    inputs = torch.rand(1, 32, 4, 4)
    body = with_sum[0].body

    assert torch.equal(with_sum(inputs), torch.relu(inputs + body(inputs)))
    plain = SPACE.build(genotype(stage2__residual="no"), task).get_submodule("stage2")[1]
    assert isinstance(plain[0], torch.nn.Conv2d)


def test_pruned_widths_are_those_of_their_stage():
    drawn = genotype(stage1__block="inverted", stage1__expansion=2)
    asked = []

    def keep(stage: str, width: int) -> int:
        asked.append((stage, width))
        return width // 2

    shapes = [block.output_shape for block in SPACE.blocks(drawn, images(1, 16), keep)]

    assert shapes == [(16, 16, 16), (12, 8, 8), (16, 4, 4), (16, 4, 4), (10,)]
    # The hidden width follows from the unpruned input, as pruning finds it.
    assert set(asked) == {("stage1", 32), ("stage1", 24), ("stage2", 32)}


def test_weights_come_from_torchs_own_generator():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = SPACE.build(genotype(), images(1, 8)).state_dict()
        torch.manual_seed(5)
        again = SPACE.build(genotype(), images(1, 8)).state_dict()
        other = SPACE.build(genotype(), images(1, 8)).state_dict()

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.0.weight"], other["stem.0.0.weight"])


def test_a_task_without_images_is_refused():
    task = Task("table", "classification", (13,), 3, "accuracy", "data")

    with pytest.raises(ValueError, match=r"convnet needs images .* 'table' is \(13,\)"):
        SPACE.build(genotype(), task)


def test_a_genotype_of_another_space_is_refused():
    with pytest.raises(ValueError, match="lacks 'head'"):
        SPACE.build({n: v for n, v in genotype().items() if n != "head"}, images(1, 8))


def test_the_space_travels_to_another_process():
    again = pickle.loads(pickle.dumps(SPACE))

    assert again.choices == SPACE.choices
    assert again.fingerprint == SPACE.fingerprint


def test_the_fingerprint_stands_for_what_is_built():
    """Where this fails, networks of old runs would be rebuilt differently: raise the version."""
    drawn = genotype(stage1__block="separable", stage3__depth=2, stage3__block="inverted")
    drawn |= {"stage3.expansion": 4, "stage3.width": 64, "stage3.kernel": 5}
    drawn |= {"stage3.downsample": "none", "stage3.residual": "yes", "activation": "hardswish"}
    network = SPACE.build(drawn, images(1, 16))
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    layers = [type(layer).__name__ for layer in network.modules()]
    signatures = [block.signature for block in SPACE.blocks(drawn, images(1, 16))]

    assert SPACE.fingerprint == search_spaces.create("convnet", stages=3).fingerprint
    assert SPACE.fingerprint != ConvNetSpace(stages=2).fingerprint
    built = digest([shapes, layers, signatures])
    assert (SPACE.fingerprint[:8], built[:8]) == ("ce889dbe", "3734b924")
