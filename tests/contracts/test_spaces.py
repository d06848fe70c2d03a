"""What every shipped space must do; a new one is tested by one line in `CASES`."""

from __future__ import annotations

import functools
import importlib
import pickle
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import search_spaces
from evaluators import runtimes, tasks
from evaluators.compression import PruneConfig, compression_choices, reshape, split
from evaluators.packaging import package
from evaluators.training import seeded
from evaluators.workload import LOWERINGS, BlockCache, traces
from nas.blocks import keep_all
from nas.choices import check_choices, count, sample, validate
from nas.task import Task
from search_spaces import Space
from tests.evaluators.packed import logits_of

CASES: dict[str, tuple[dict[str, Any], int, list[tuple[int, ...]]]] = {
    "cell": ({"cells": 2}, 15_625, [(1, 8, 8), (3, 32, 32), (3, 12, 20)]),
    "convnet": ({}, 1_000_000, [(1, 8, 8), (3, 32, 32), (3, 9, 40)]),
    "macro": ({"width": 0.25}, 6_561, [(1, 8, 8), (3, 32, 32), (3, 9, 40)]),
    "mlp": ({"layers": 3}, 584, [(1, 8, 8), (16,), (3, 9, 40)]),
    "mnasnet": ({"width": 0.25}, 1_000_000, [(1, 8, 8), (3, 32, 32), (3, 9, 100)]),
    "mobile": ({"stages": 4}, 1_000_000, [(1, 16, 16), (3, 64, 64), (3, 9, 130)]),
    "transformer": ({"depth": 4}, 1_000_000, [(1, 8, 8), (3, 32, 32), (3, 9, 50)]),
}
"""Options, the least number of genotypes, and inputs that the space takes."""

every_space = pytest.mark.parametrize("name", CASES)
of_images = pytest.mark.parametrize("name", [name for name in CASES if name != "mlp"])


def space_of(name: str) -> Space:
    return search_spaces.create(name, **CASES[name][0])


def images(*shape: int, outputs: int = 7) -> Task:
    return Task("images", "classification", shape, outputs, "accuracy", "data")


def drawn(name: str, number: int, seed: int = 0) -> Iterator[tuple[Space, Any, Task]]:
    """Random genotypes, each with an image of the list in turn."""
    space, rng, shapes = space_of(name), random.Random(seed), CASES[name][2]
    for index in range(number):
        yield space, sample(space.choices, rng), images(*shapes[index % len(shapes)])


def blocks_of(space: Space, *arguments: Any) -> Any:
    assert space.blocks is not None
    return space.blocks(*arguments)


def test_no_space_is_left_out() -> None:
    assert {*CASES, "python"} >= set(search_spaces.names())


@every_space
def test_the_size_of_the_space(name: str) -> None:
    choices = space_of(name).choices

    check_choices(choices)
    assert count(choices) >= CASES[name][1]


@every_space
def test_every_genotype_builds_for_every_image(name: str) -> None:
    for space, genotype, task in drawn(name, 12):
        validate(space.choices, genotype)
        network = space.build(genotype, task).eval()
        with torch.no_grad():
            assert network(torch.zeros(2, *task.input_shape)).shape == (2, 7)


@every_space
def test_the_blocks_in_sequence_are_the_network(name: str) -> None:
    for space, genotype, task in drawn(name, 6, seed=1):
        inputs = torch.rand(2, *task.input_shape, generator=torch.Generator().manual_seed(0))
        with seeded(1):
            network = space.build(genotype, task).eval()
        with seeded(1), torch.no_grad():
            values = inputs
            for block in blocks_of(space, genotype, task):
                assert tuple(values.shape[1:]) == block.input_shape
                values = block.build().eval()(values)
                assert tuple(values.shape[1:]) == block.output_shape
            assert torch.equal(values, network(inputs))


@every_space
def test_the_signature_says_everything_but_the_input(name: str) -> None:
    texts: dict[tuple[str, Any], str] = {}
    for space, genotype, task in drawn(name, 24, seed=2):
        for block in blocks_of(space, genotype, task):
            module = block.build()
            text = f"{module} {[tuple(weights.shape) for weights in module.parameters()]}"
            assert texts.setdefault((block.signature, block.input_shape), text) == text
    assert len(set(texts.values())) > 20


@pytest.mark.parametrize(
    ("module", "first", "other"),
    [
        ("mobile_modules", "StemSpec", "HeadSpec"),
        ("cell", "_ReductionSpec", "_StemSpec"),
        ("transformer_modules", "MLPSpec", "HeadSpec"),
    ],
)
def test_blocks_of_equal_numbers_are_told_apart(module: str, first: str, other: str) -> None:
    home = importlib.import_module(f"search_spaces.{module}")
    make = getattr(home, "as_block", None) or home._as_block
    numbers = (16, 16, 2, "relu")[: len(getattr(home, first)._fields)]

    blocks = [make(getattr(home, name)(*numbers), (16, 8, 8)) for name in (first, other)]

    assert blocks[0].signature != blocks[1].signature


@every_space
def test_what_is_screened_is_what_is_built_and_pruned(name: str) -> None:
    rng, caches = random.Random(3), {lowering: BlockCache(lowering) for lowering in LOWERINGS}
    pruned = 0
    for space, _, task in drawn(name, 6, seed=3):
        joint = compression_choices(["none", "structured"], ["none"], space.stages)
        architecture, compression = split(sample([*space.choices, *joint], rng))
        config = PruneConfig.from_genotype(compression, align=rng.choice([4, 8, 16]))
        network = reshape(space.build(architecture, task), config, task)
        whole = traces(network, (1, *task.input_shape), LOWERINGS)
        for lowering, cache in caches.items():
            blocks = blocks_of(space, architecture, task, config.keep)
            assert cache.workload(blocks) == whole[lowering], (lowering, architecture, config)
        assert whole["eager"].params == sum(weights.numel() for weights in network.parameters())
        pruned += config.method == "structured"
    assert 0 < pruned < 6


@every_space
def test_a_stage_that_is_there_loses_weights(name: str) -> None:
    space, genotype, task = next(drawn(name, 1, seed=4))
    cache = BlockCache()
    whole = cache.workload(blocks_of(space, genotype, task)).params
    there = [
        stage
        for stage, when in space.stages.items()
        if all(genotype.get(parent) in values for parent, values in when.items())
    ]
    assert there
    for stage in there:
        config = PruneConfig("structured", {stage: 0.75}, align=4)
        left = cache.workload(blocks_of(space, genotype, task, config.keep)).params
        network = reshape(space.build(genotype, task), config, task)
        assert left == sum(weights.numel() for weights in network.parameters()) < whole


@every_space
def test_screening_takes_a_millisecond_once_warm(name: str) -> None:
    cases, cache = [*drawn(name, 30, seed=5)], BlockCache()

    def seconds() -> float:
        start = time.thread_time()
        for space, genotype, task in cases:
            cache.workload(blocks_of(space, genotype, task, keep_all))
        return (time.thread_time() - start) / len(cases)

    seconds()
    assert min(seconds() for _ in range(5)) < 1e-3


@functools.cache
def digits() -> Any:
    return tasks.create("digits", size=16).without_test()


@every_space
def test_the_packaged_network_answers_as_the_module(name: str, tmp_path: Path) -> None:
    space, rng, data = space_of(name), random.Random(6), digits()
    inputs = data.validation.inputs[:5]
    for _ in range(2):
        with seeded(rng.randrange(2**32)):
            network = space.build(sample(space.choices, rng), data.task)
            _settle(network, data.preprocessing.apply(data.train.inputs[:32]))
        artifact = package(network, data, tmp_path / "net.onnx")
        with runtimes.load(artifact.path) as session:
            found = session.run(inputs)
        expected = logits_of(network, data, inputs)
        assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


def _settle(network: nn.Module, inputs: Any) -> None:
    """Let batch norms see data, so that what they fold into is not the identity."""
    with torch.no_grad():
        network.train()(torch.tensor(inputs))


@every_space
def test_weights_come_from_torchs_own_generator(name: str) -> None:
    space, genotype, task = next(drawn(name, 1, seed=7))
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first, other = (space.build(genotype, task).state_dict() for _ in range(2))
        torch.manual_seed(5)
        again = space.build(genotype, task).state_dict()

    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@every_space
def test_the_parts_of_a_network_are_the_stages_and_more(name: str) -> None:
    space, genotype, task = next(drawn(name, 1, seed=8))
    parts = [part for part, _ in space.build(genotype, task).named_children()]

    assert [part for part in parts if part in space.stages] == list(space.stages)


@of_images
def test_a_task_without_images_is_refused(name: str) -> None:
    space, genotype, _ = next(drawn(name, 1))
    table = Task("table", "classification", (13,), 3, "accuracy", "data")

    for make in (space.build, space.blocks):
        assert make is not None
        with pytest.raises(ValueError, match=rf"{name} needs images .* 'table' is \(13,\)"):
            make(genotype, table)


@every_space
def test_a_genotype_of_another_space_is_refused(name: str) -> None:
    space, genotype, task = next(drawn(name, 1))
    first = next(iter(genotype))

    with pytest.raises(ValueError, match=f"lacks '{first}'"):
        space.build({key: genotype[key] for key in genotype if key != first}, task)


@every_space
def test_the_space_travels_to_another_process(name: str) -> None:
    space = space_of(name)
    again = pickle.loads(pickle.dumps(space))

    assert again.choices == space.choices
    assert again.fingerprint == space.fingerprint


@every_space
def test_other_options_are_another_fingerprint(name: str) -> None:
    options = CASES[name][0] or {"stages": 2}

    assert search_spaces.create(name, **options).fingerprint != (
        search_spaces.create(name).fingerprint
    )
