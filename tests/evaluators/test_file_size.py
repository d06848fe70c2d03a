"""The size of a file, foretold and as it is then."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

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


def foretold(workload: Any, scheme: str) -> Readings:
    return FileSize().evaluate(Candidate({"quantize.scheme": scheme}, "", "", workload=workload))


@pytest.mark.parametrize("space", ["convnet", "mlp", "cell", "macro", "mobile", "transformer"])
def test_files_are_as_large_as_foretold(space: str, tmp_path: Path):
    rng, found = random.Random(7), search_spaces.create(space)
    torch.manual_seed(0)
    for index in range(2):
        drawn = {choice.name: rng.choice(choice.options) for choice in found.choices}
        genotype = canonical(found.choices, drawn)
        module = found.build(genotype, DATA.task).eval()
        for parameter in module.parameters():  # equal numbers would be stored once
            parameter.data.add_(0.1 * torch.rand_like(parameter))
        workload = traces(module, (1, *DATA.task.input_shape), ["onnxruntime"])
        path = tmp_path / f"{index}.onnx"
        package(module, DATA, path, {"genotype": dict(genotype)})
        for scheme in ("none", "dynamic", "static"):
            file = path
            if scheme != "none":
                config = QuantizeConfig(scheme)
                file = quantize(path, config, DATA.train.inputs, tmp_path / "int8.onnx")
            readings = foretold(workload, scheme)
            bar = readings.provenance["estimated_size_kb"]
            assert bar.low <= file.stat().st_size / 1024 <= bar.high, (genotype, scheme, readings)


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
