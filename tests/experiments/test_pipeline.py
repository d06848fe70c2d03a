import json
import os
import random
import subprocess
import sys

import pytest
import torch

import evaluators.compression as compression
from evaluators.workload import trace
from experiments.config import ConfigError, load_config
from experiments.pipeline import CandidatePipeline, Parts, Screen
from nas.choices import count, sample
from tests.experiments.small import small_config


@pytest.fixture(scope="module")
def config():
    return load_config("digits-cpu")


@pytest.fixture(scope="module")
def parts(config):
    return Parts.of(config)


@pytest.fixture(scope="module")
def pipeline(parts, tmp_path_factory):
    return CandidatePipeline(parts, tmp_path_factory.mktemp("run"), 60.0)


@pytest.fixture(scope="module")
def genotypes(parts):
    rng = random.Random(1)
    return [sample(parts.choices, rng) for _ in range(40)]


def test_compression_is_just_more_choices(parts):
    names = [choice.name for choice in parts.choices]
    assert names.index("prune.method") == len(parts.space.choices)
    assert {"quantize.scheme", "prune.method"} <= set(names)
    assert count(parts.choices) > 1_000_000


def test_variants_share_the_training_key(pipeline, genotypes):
    for genotype in genotypes:
        architecture, _ = compression.split(genotype)
        plain = pipeline.candidate({**architecture, "prune.method": "none"})
        candidate = pipeline.candidate(genotype)
        assert plain.training_key == candidate.training_key
        again = pipeline.candidate(dict(genotype))
        assert again.candidate_key == candidate.candidate_key
        assert pipeline.candidate(genotype, repeat=1).training_key != candidate.training_key


def test_keys_are_the_same_in_another_process(pipeline, genotypes):
    code = (
        "import json, sys, pathlib\n"
        "from experiments.config import load_config\n"
        "from experiments.pipeline import CandidatePipeline, Parts, Screen\n"
        "config = load_config('digits-cpu')\n"
        "pipeline = CandidatePipeline(Parts.of(config), pathlib.Path('.'), 60.0)\n"
        "print(pipeline.candidate(json.loads(sys.argv[1])).candidate_key)"
    )

    run = subprocess.run(
        [sys.executable, "-c", code, json.dumps(genotypes[0])],
        env={**os.environ, "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split()[-1] == pipeline.candidate(genotypes[0]).candidate_key


def test_the_screen_says_where_every_number_comes_from(pipeline, genotypes):
    readings = pipeline.screen(pipeline.candidate(genotypes[0]))
    assert {"macs", "params", "estimated_latency_ms.cpu"} <= set(readings)
    for device in ("gpu", "tpu", "fpga"):
        provenance = readings.provenance[f"latency_ms.{device}"]
        assert provenance.source == "modeled"
        assert provenance.low < readings[f"latency_ms.{device}"] < provenance.high
    assert readings.provenance["macs"].source == "counted"
    assert readings.provenance["estimated_latency_ms.cpu"].source == "modeled"


def test_the_fast_screen_counts_what_the_built_pruned_network_has(parts, pipeline, genotypes):
    for genotype in genotypes:
        architecture, chosen = compression.split(genotype)
        module = parts.space.build(architecture, parts.task)
        config = compression.PruneConfig.from_genotype(chosen, 8)
        if config.method == "structured":
            module = compression.reshape(module, config, parts.task)
        workload = trace(module, (1, *parts.task.input_shape))
        readings = pipeline.screen(pipeline.candidate(genotype))
        assert (readings["macs"], readings["params"]) == (workload.macs, workload.params)


def test_strategies_see_an_estimate_by_the_objectives_name(pipeline, genotypes):
    known = pipeline.known(genotypes[0])
    readings = pipeline.screen(pipeline.candidate(genotypes[0]))
    assert known["latency_ms.cpu"] == readings["estimated_latency_ms.cpu"]


def test_screening_leaves_the_global_generators_alone(parts, pipeline, genotypes):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    state = random.getstate()
    cold = Screen(parts.space, parts.task, parts.devices, 8)
    for genotype in genotypes[:5]:
        cold(pipeline.candidate(genotype))
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == state


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("objectives=[{maximize: acuracy}]", "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ("constraints=['latency_ms.npu <= 1']", "unknown device 'npu'"),
        ("devices.cpu.profile=hots-cpu", "host-cpu"),
        ("devices.gpu.method=measured", "cannot be measured here"),
        ("space.kind=convnets", "did you mean 'convnet'"),
        ("space.depht=3", "depht"),
        ("task.size=17", "17"),
        ("task.kind=digit", "did you mean 'digits'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Parts.of(small_config(override))
    assert "\n" not in str(caught.value)


def test_stages_measure_alone_on_their_device(pipeline, genotypes):
    candidate = pipeline.candidate(genotypes[0])
    needs = {stage.name: stage.job(candidate).needs for stage in pipeline.stages}
    assert needs["train"] == needs["score"] == ""
    assert needs["measure.cpu"]
    assert [stage.name for stage in pipeline.stages] == ["train", "score", "measure.cpu"]
