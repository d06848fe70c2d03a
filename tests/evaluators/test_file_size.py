"""The size of a file, foretold and as it is then."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import search_spaces
from evaluators.compression import QuantizeConfig, quantize
from evaluators.file_size import FileSize
from evaluators.packaging import package
from evaluators.workload import trace, traces
from nas.choices import canonical
from nas.trials import Candidate, CandidateError, Readings
from tests.evaluators.packed import digits
from tests.evaluators.workload_nets import lenet

DATA = digits()


def foretold(workload: Any, scheme: str, genotype: Mapping[str, Any] | None = None) -> Readings:
    chosen = {**(genotype or {}), "quantize.scheme": scheme}
    return FileSize(DATA.task.input_shape).evaluate(Candidate(chosen, "", "", workload=workload))


def packed_sizes(
    module: nn.Module, folder: Path, genotype: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """By scheme, in kB; with random weights, since equal numbers are stored once."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.rand_like(parameter))
    file = folder / "float.onnx"
    package(module.eval(), DATA, file, {"genotype": dict(genotype or {})})
    sizes = {"none": file.stat().st_size / 1024}
    for scheme in ("dynamic", "static"):
        target = folder / f"{scheme}.onnx"
        quantize(file, QuantizeConfig(scheme), DATA.train.inputs, target)
        sizes[scheme] = target.stat().st_size / 1024
    return sizes


def check(module: nn.Module, folder: Path, genotype: Mapping[str, Any] | None = None) -> None:
    workload = traces(module, (1, *DATA.task.input_shape), ["onnxruntime"])
    for scheme, size in packed_sizes(module, folder, genotype).items():
        readings = foretold(workload, scheme, genotype)
        bar = readings.provenance["estimated_size_kb"]
        assert bar.low <= size <= bar.high, (scheme, size, readings["estimated_size_kb"], bar)


@pytest.mark.parametrize("space", ["convnet", "mlp", "cell", "macro", "mobile", "transformer"])
def test_files_are_as_large_as_foretold(space: str, tmp_path: Path):
    rng, found = random.Random(7), search_spaces.create(space)
    for _ in range(2):
        drawn = {choice.name: rng.choice(choice.options) for choice in found.choices}
        genotype = canonical(found.choices, drawn)
        check(found.build(genotype, DATA.task), tmp_path, genotype)


def test_narrow_and_deep_networks_are_mostly_nodes(tmp_path: Path):
    layers = list[nn.Module]()
    for _ in range(24):
        layers += [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()]
    channels = DATA.task.input_shape[0]
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, DATA.task.outputs))
    check(nn.Sequential(nn.Conv2d(channels, 4, 3), *layers, head), tmp_path)


class Positions(nn.Module):
    """Adds a learned map to the image."""

    def __init__(self) -> None:
        super().__init__()
        shape = DATA.task.input_shape
        self.map = nn.Parameter(torch.zeros(1, 32, *shape[1:]))
        self.stem, self.head = nn.Conv2d(shape[0], 32, 3, padding=1), nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.stem(x) + self.map).relu().mean((2, 3)))


def test_other_weights_are_quantized_too(tmp_path: Path):
    check(Positions(), tmp_path)


class Shared(nn.Module):
    """One convolution, six times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(DATA.task.input_shape[0], 32, 3, padding=1)
        self.body, self.head = nn.Conv2d(32, 32, 3, padding=1), nn.Linear(32, DATA.task.outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        for _ in range(6):
            x = x + self.body(x).relu()
        return self.head(x.mean((2, 3)))


def test_shared_weights_may_be_stored_once(tmp_path: Path):
    check(Shared(), tmp_path)


def test_quantization_makes_files_smaller():
    workload = {"onnxruntime": trace(lenet(), (1, 1, 32, 32))}
    sizes = [foretold(workload, s)["estimated_size_kb"] for s in ("none", "dynamic", "static")]
    assert sizes == sorted(sizes, reverse=True)
    assert 61706 * 4 / 1024 < sizes[0] < 1.02 * 61706 * 4 / 1024


def test_nothing_is_said_of_quantization_during_training():
    assert not foretold({"onnxruntime": trace(lenet(), (1, 1, 32, 32))}, "qat")


def test_a_candidate_without_a_workload_is_refused():
    with pytest.raises(CandidateError, match="carries no workload"):
        foretold(None, "none")
