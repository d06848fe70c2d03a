"""Random networks for a calibration: drawn, described, packed."""

from __future__ import annotations

import collections
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import hw_profiles
from evaluators import runtimes
from evaluators.workload import trace
from experiments.calibrating_networks import (
    LEAST,
    OUTPUTS,
    Network,
    Networks,
    Plan,
    choose_networks,
    pack,
)
from nas.task import Task
from search_spaces import create
from tests.experiments.calibrated import small_networks

SHAPE = (1, 16, 16)


def plan(**changes: object) -> Plan:
    profile = hw_profiles.load("host-cpu")
    return replace(Plan(profile, "convnet", SHAPE, 6, options={"stages": 1}), **changes)  # type: ignore[arg-type]


def test_draws_are_distinct_and_repeat_with_the_seed() -> None:
    networks = Networks()
    first = networks.draw(12, "convnet", SHAPE, seed=1)
    assert len({network.key for network in first}) == 12
    assert [n.key for n in Networks().draw(12, "convnet", SHAPE, seed=1)] == [n.key for n in first]
    other = networks.draw(12, "convnet", SHAPE, seed=2)
    assert {n.key for n in other} != {n.key for n in first}


def test_a_network_is_the_same_after_json() -> None:
    network = small_networks(1)[0]
    again = Network(**network.record())
    assert (again, again.key) == (network, network.key)
    assert replace(network, input_shape=(3, 16, 16)).key != network.key
    assert replace(network, options={"stages": 3}).key != network.key


def test_only_what_is_wanted_is_drawn() -> None:
    networks = Networks()
    found = networks.draw(
        5, "convnet", SHAPE, 0, accept=lambda network: networks.workload(network).macs < 100_000
    )
    assert all(networks.workload(network).macs < 100_000 for network in found)


def test_a_space_with_too_few_networks_says_how_many_there_are(tmp_path: Path) -> None:
    space = tmp_path / "tiny.py"
    space.write_text(
        "import torch\n"
        "from nas.choices import Choice\n"
        "CHOICES = [Choice('width', (4, 8, 16))]\n"
        "def build(genotype, task):\n"
        "    width = genotype['width']\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, width),\n"
        "                               torch.nn.Linear(width, task.outputs))\n"
    )
    networks, options = Networks(), {"file": str(space)}
    with pytest.raises(ValueError, match="only 3 networks for 1x16x16 of the 4 wanted"):
        networks.draw(4, "python", SHAPE, 0, options)
    assert len(networks.draw(9, "python", SHAPE, 0, options, least=2)) == 3


def test_an_input_that_is_not_of_the_space_is_refused() -> None:
    with pytest.raises(ValueError, match="convnet needs images"):
        Networks().draw(1, "convnet", (16,), 0)
    with pytest.raises(ValueError, match="unknown search space 'konvnet'"):
        Networks().draw(1, "konvnet", SHAPE, 0)


def test_the_workload_is_that_of_the_built_network() -> None:
    (network,) = small_networks(1)
    networks = Networks()
    task = Task("t", "classification", SHAPE, OUTPUTS, "accuracy", "none")
    built = create("convnet", **network.options).build(network.genotype, task)
    assert networks.workload(network, batch=2) == trace(built, (2, *SHAPE))
    dtypes = {kernel.dtype for kernel in networks.workload(network, dtype="int8").kernels}
    assert dtypes == {"int8"}


def test_half_of_the_networks_of_a_plan_are_random_and_none_is_there_twice() -> None:
    lowering = plan().profile.lowering
    chosen = choose_networks(Networks(lowering), plan())
    assert len({network.key for network in chosen}) == 6
    assert chosen == choose_networks(Networks(lowering), plan())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": LEAST - 1}, "networks must be at least"),
        ({"batch": 0}, "batch must be at least 1, but got 0"),
        ({"dtypes": ("int4",)}, "dtype must be one of float32, int8, but got 'int4'"),
        ({"dtypes": ()}, "dtype must name at least one"),
        ({"input_shape": (1, 0, 4)}, r"input must be sizes of at least 1, but got \(1, 0, 4\)"),
    ],
)
def test_a_plan_is_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**changes)


def test_a_packed_network_runs_and_is_the_same_each_time(tmp_path: Path) -> None:
    (network,) = small_networks(1)
    state = torch.random.get_rng_state()
    one, two = pack(network, tmp_path / "1.onnx"), pack(network, tmp_path / "2.onnx")
    assert one.sha256 == two.sha256
    assert torch.equal(state, torch.random.get_rng_state())
    with runtimes.load(one.path) as session:
        assert session.run(np.ones((3, *SHAPE), np.float32)).shape == (3, 10)


def test_int8_networks_are_quantized_as_a_trained_one_would_be(tmp_path: Path) -> None:
    (network,) = small_networks(1)
    artifact = pack(network, tmp_path / "int8.onnx", "int8")
    assert artifact.dtype == "int8"
    model = onnx.load(artifact.path)
    used = collections.Counter(name for node in model.graph.node for name in node.input)
    biases = [
        node.input[2] for node in model.graph.node if node.op_type == "Conv" and len(node.input) > 2
    ]
    # A bias that two convolutions share makes ONNX Runtime compute them in float.
    assert len(biases) > 1
    assert all(used[name] == 1 for name in biases)


def test_another_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype must be one of float32, int8, but got 'int4'"):
        pack(small_networks(1)[0], tmp_path / "a.onnx", "int4")
