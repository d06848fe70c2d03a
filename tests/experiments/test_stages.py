import json
import pickle
import random
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file

from evaluators.packaging import sha256_of
from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import create_run
from experiments.stages import RunFiles, Worker, read_result
from nas.choices import canonical, sample
from nas.trials import CandidateError
from tests.experiments.small import small_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = create_run(tmp_path_factory.mktemp("home"), small_config())
    RunFiles(run.path).prepare()
    return run


@pytest.fixture(scope="module")
def parts(run):
    return Parts.of(run.config)


@pytest.fixture(scope="module")
def pipeline(run, parts):
    return CandidatePipeline(parts, run.path, 60.0)


@pytest.fixture(scope="module")
def base(parts):
    return sample(parts.choices, random.Random(2))


def variant(pipeline, parts, base, **changes):
    wide = {f"prune.ratio.{stage}": 0.5 for stage in getattr(parts.space, "stages", ())}
    values = {**base, **wide, "prune.sparsity": 0.9, **changes}
    return pipeline.candidate(canonical(parts.choices, values))


def through(worker, pipeline, candidate):
    results = {}
    for stage in pipeline.stages:
        result = worker.run(stage.name, stage.key(candidate), candidate)
        candidate = replace(candidate, artifact=result.artifact or candidate.artifact)
        results[stage.name] = result
    return results


VARIANTS = {
    "plain": {"prune.method": "none", "quantize.scheme": "none"},
    "pruned": {"prune.method": "structured", "quantize.scheme": "none"},
    "static": {"prune.method": "none", "quantize.scheme": "static"},
    "both": {"prune.method": "structured", "quantize.scheme": "static"},
    "dynamic": {"prune.method": "none", "quantize.scheme": "dynamic"},
}


@pytest.fixture(scope="module")
def results(run, pipeline, parts, base):
    worker = Worker(run.path)
    return {
        name: through(worker, pipeline, variant(pipeline, parts, base, **changes))
        for name, changes in VARIANTS.items()
    }


def test_one_training_serves_all_variants(run, results):
    trained = list((run.path / "cache" / "train").glob("*.safetensors"))
    assert len(trained) == 1
    assert len(list((run.path / "cache" / "score").glob("*.json"))) == len(VARIANTS)


def test_everything_is_read_off_the_file(results):
    for found in results.values():
        readings = found["score"].readings
        assert {"accuracy", "accuracy_noise", "accuracy_impulse", "size_kb"} <= set(readings)
        assert readings.provenance["accuracy"].source == "scored"
        assert 0.0 <= readings["accuracy"] <= 1.0


@pytest.mark.parametrize("name", VARIANTS)
def test_the_file_is_stored_under_its_hash(results, name):
    artifact = results[name]["score"].artifact
    assert sha256_of(artifact.path) == artifact.sha256
    assert artifact.path.endswith(f"{artifact.sha256}.onnx")
    assert artifact.dtype == ("int8" if name in ("static", "both", "dynamic") else "float32")


@pytest.mark.parametrize("name", VARIANTS)
def test_recorded_outputs_and_accuracy_are_those_of_the_file(run, results, name):
    from experiments.wiring import build_task

    artifact, readings = results[name]["score"].artifact, results[name]["score"].readings
    session = onnxruntime.InferenceSession(artifact.path)
    validation = build_task(run.config).validation
    logits = session.run(None, {session.get_inputs()[0].name: validation.inputs})[0]
    recorded = np.load(RunFiles(run.path).outputs(artifact.sha256))["logits"]
    assert np.allclose(logits, recorded, atol=1e-4)
    assert (logits.argmax(1) == validation.labels).mean() == readings["accuracy"]


def test_pruning_leaves_fewer_operations_and_a_smaller_file(results):
    plain, pruned = (results[name]["score"].readings for name in ("plain", "pruned"))
    assert pruned["macs"] <= plain["macs"]
    assert pruned["size_kb"] <= plain["size_kb"]


def test_the_genotype_travels_in_the_file(results, pipeline, parts, base):
    model = onnx.load(results["both"]["score"].artifact.path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    genotype = variant(pipeline, parts, base, **VARIANTS["both"]).genotype
    assert json.loads(metadata["genotype"]) == genotype


def test_the_float_weights_are_kept_without_pickle(run, results, pipeline, parts, base):
    candidate = variant(pipeline, parts, base, **VARIANTS["pruned"])
    weights = load_file(RunFiles(run.path).compressed(candidate.candidate_key))
    assert weights
    with pytest.raises(pickle.UnpicklingError):
        pickle.loads(RunFiles(run.path).compressed(candidate.candidate_key).read_bytes())


def test_latency_is_measured(results):
    readings = results["plain"]["measure.cpu"].readings
    assert readings["latency_ms.cpu"] > 0
    assert readings.provenance["latency_ms.cpu"].source == "measured"


def test_a_kept_result_is_not_worked_out_again(run, pipeline, parts, base, results, monkeypatch):
    worker = Worker(run.path)
    monkeypatch.setattr(Worker, "_train", None)
    monkeypatch.setattr(Worker, "_score", None)
    again = through(worker, pipeline, variant(pipeline, parts, base, **VARIANTS["both"]))
    assert again["score"] == results["both"]["score"]
    assert again["score"].readings.provenance == results["both"]["score"].readings.provenance


def test_the_same_candidate_has_the_same_file_in_another_run(
    tmp_path, pipeline, results, parts, base
):
    run = create_run(tmp_path, small_config())
    RunFiles(run.path).prepare()
    other = CandidatePipeline(parts, run.path, 60.0)
    candidate = variant(other, parts, base, **VARIANTS["both"])
    worker = Worker(run.path)
    worker.run("train", candidate.training_key, candidate)
    found = worker.run("score", candidate.candidate_key, candidate)
    assert found.artifact.sha256 == results["both"]["score"].artifact.sha256


def test_no_scratch_files_are_left(run, results):
    names = [path.name for path in run.artifacts_dir.iterdir()]
    shas = {found["score"].artifact.sha256 for found in results.values()}
    assert sorted(names) == sorted([f"{s}.onnx" for s in shas] + [f"{s}.npz" for s in shas])


def test_a_candidate_that_cannot_be_trained_leaves_no_result(
    run, pipeline, parts, base, monkeypatch
):
    def diverge(*_, **__):
        raise CandidateError("the loss is nan")

    monkeypatch.setattr("evaluators.training.train", diverge)
    candidate = pipeline.candidate(sample(parts.choices, random.Random(11)))
    with pytest.raises(CandidateError, match="loss is nan"):
        Worker(run.path).run("train", candidate.training_key, candidate)
    assert read_result(RunFiles(run.path).result("train", candidate.training_key)) is None


BLOCKS = """
from torch import nn
from nas.blocks import Block
from nas.choices import Choice

CHOICES = [Choice("width", (8, 16))]


def parts(genotype, task):
    width = genotype["width"]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, task.outputs)]
    return nn.Conv2d(task.input_shape[0], width, 3, padding=1), nn.Sequential(*head)


def build(genotype, task):
    return nn.Sequential(*parts(genotype, task))


def blocks(genotype, task, keep=None):
    (stem, head), width = parts(genotype, task), genotype["width"]
    between = (width, *task.input_shape[1:])
    return [
        Block(f"stem {width}", task.input_shape, between, lambda: stem),
        Block(f"head {width}", between, (task.outputs,), lambda: head),
    ][: LAST]
"""


@pytest.mark.parametrize("last", [1, 2])
def test_blocks_that_are_not_those_of_the_network_are_found_out(tmp_path, last):
    file = tmp_path / "blocks_space.py"
    file.write_text(BLOCKS.replace("LAST", str(last)))
    config = small_config(
        f"space={{kind: python, file: {file}}}", "compression={prune: [none], quantize: [none]}"
    )
    run = create_run(tmp_path / "home", config)
    RunFiles(run.path).prepare()
    candidate = CandidatePipeline(Parts.of(config), run.path, 60.0).candidate(
        {"width": 8, "prune.method": "none", "quantize.scheme": "none"}
    )
    worker = Worker(run.path)
    if last == 2:
        assert worker.run("train", candidate.training_key, candidate).epochs == 1
        return
    with pytest.raises(CandidateError, match="blocks and build must describe the same network"):
        worker.run("train", candidate.training_key, candidate)
