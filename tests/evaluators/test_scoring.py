"""Accuracy, robustness and size are read off the file, and say how."""

import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import evaluators
from evaluators import tasks
from evaluators.runtimes import load, version
from evaluators.scoring import accuracy_of, batch_of, gaussian, impulse, predict
from nas.trials import Artifact, CandidateError
from tests.evaluators.onnx_nets import linear
from tests.evaluators.packed import (
    blobs,
    candidate,
    colours,
    convolutions,
    digits,
    packed,
    perceptron,
    trained,
)
from tests.support.machine import needs_bfloat16


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    data = digits()
    return packed(trained(data, epochs=6), data, tmp_path_factory.mktemp("scoring"))


def test_accuracy_is_what_plain_onnxruntime_and_numpy_find(artifact: Artifact):
    data = digits()
    readings = evaluators.create("accuracy", data=data).evaluate(candidate(artifact))
    session = onnxruntime.InferenceSession(artifact.path)
    logits = session.run(None, {"input": data.validation.inputs})[0]
    assert readings == {"accuracy": (logits.argmax(1) == data.validation.labels).mean()}
    assert readings["accuracy"] > 0.9


def test_accuracy_says_where_it_comes_from(artifact: Artifact):
    found = evaluators.create("accuracy", data=digits()).evaluate(candidate(artifact))
    assert found.provenance["accuracy"].to_json() == {
        "source": "scored",
        "device": "host",
        "runtime": version("onnxruntime"),
        "dtype": "float32",
        "batch": 360,
        "threads": 1,
        "method": "360 validation examples",
    }


@needs_bfloat16
def test_a_file_is_scored_in_what_serves_it(artifact: Artifact):
    version("openvino")  # without its telemetry
    served = {"data": digits(), "serving": lambda candidate: ("openvino", "bfloat16")}
    for name in ("accuracy", "robustness"):
        found = evaluators.create(name, **served).evaluate(candidate(artifact))
        assert {p.runtime for p in found.provenance.values()} == {version("openvino")}
        assert {p.dtype for p in found.provenance.values()} == {"bfloat16"}


def test_a_runtime_that_cannot_serve_a_file_costs_the_candidate_only(artifact: Artifact):
    accuracy = evaluators.create(
        "accuracy", data=digits(), serving=lambda candidate: ("onnxruntime", "bfloat16")
    )
    with pytest.raises(CandidateError, match="onnxruntime computes in float32, but got"):
        accuracy.evaluate(candidate(artifact))


def test_scoring_works_on_the_validation_split_alone(tmp_path: Path):
    """The test split holds the opposite labels: looking at it would show."""
    inputs = np.eye(4, 2, dtype=np.float32)[[0, 1] * 10]
    right, wrong = np.arange(20) % 2, 1 - np.arange(20) % 2
    data = tasks.classification("t", (inputs, wrong), (inputs, right), (inputs, wrong))
    path = tmp_path / "identity.onnx"
    onnx.save(linear(np.eye(2, dtype=np.float32)), path)
    scored = candidate(Artifact(str(path), "0" * 64))
    assert evaluators.create("accuracy", data=data).evaluate(scored)["accuracy"] == 1.0
    robustness = evaluators.create("robustness", data=data, noise=1e-6, impulses=1e-6)
    assert set(robustness.evaluate(scored).values()) == {1.0}


def test_predictions_come_in_the_order_of_the_inputs_whatever_the_batch(artifact: Artifact):
    inputs = digits().validation.inputs[:25]
    with load(artifact.path) as session:
        whole = predict(session, inputs)
        assert whole.shape == (25, 10)
        assert whole.dtype == np.float32
        assert predict(session, inputs, batch_size=4) == pytest.approx(whole, abs=1e-4)


def test_batches_are_large_but_fit_the_memory():
    assert batch_of((1, 16, 16)) == batch_of((5,)) == 1024
    assert batch_of((3, 224, 224)) == 27
    assert batch_of((3, 4096, 4096)) == 1


def test_accuracy_of_logits():
    logits = np.array([[0.0, 1.0], [2.0, 1.0], [0.5, 0.5]], np.float32)
    assert accuracy_of(logits, np.array([1, 0, 0])) == 1.0
    assert accuracy_of(logits, np.array([0, 0, 1])) == pytest.approx(1 / 3)
    with pytest.raises(CandidateError, match="not finite"):
        accuracy_of(np.array([[np.nan, 1.0]], np.float32), np.array([1]))


def test_noise_costs_accuracy_but_not_all_of_it(artifact: Artifact):
    data = digits()
    clean = evaluators.create("accuracy", data=data).evaluate(candidate(artifact))["accuracy"]
    readings = evaluators.create("robustness", data=data).evaluate(candidate(artifact))
    assert set(readings) == {"accuracy_noise", "accuracy_impulse"}
    for value in readings.values():
        assert 0.5 < value < clean


def test_more_noise_costs_more(artifact: Artifact):
    data = digits()

    def scored(**options: float) -> dict[str, float]:
        return evaluators.create("robustness", data=data, **options).evaluate(candidate(artifact))

    assert scored(noise=1.0)["accuracy_noise"] < scored(noise=0.3)["accuracy_noise"]
    assert scored(impulses=0.3)["accuracy_impulse"] < scored(impulses=0.03)["accuracy_impulse"]


def test_robustness_says_what_was_done(artifact: Artifact):
    evaluator = evaluators.create("robustness", data=digits(), noise=0.25, impulses=0.1, draws=2)
    found = evaluator.evaluate(candidate(artifact)).provenance
    assert found["accuracy_noise"].method == (
        "360 validation examples, Gaussian noise of 0.25 standard deviations, 2 draws"
    )
    assert found["accuracy_impulse"].method == (
        "360 validation examples, outliers in 10 % of the values, 2 draws"
    )
    assert found["accuracy_noise"].source == "scored"


def test_all_candidates_see_the_same_noise(artifact: Artifact, tmp_path: Path):
    data = digits()
    evaluator, again = (evaluators.create("robustness", data=data) for _ in range(2))
    first = evaluator.evaluate(candidate(artifact))
    evaluator.evaluate(candidate(packed(convolutions(seed=5), data, tmp_path)))
    assert evaluator.evaluate(candidate(artifact)) == first == again.evaluate(candidate(artifact))


def added_noise(seed: int) -> list[np.ndarray]:
    data = colours(seed=seed)
    _, draws = evaluators.create("robustness", data=data)._cases["accuracy_noise"]
    return [noisy - data.validation.inputs for noisy in draws]


def test_noise_differs_between_draws_and_between_data():
    one, other = added_noise(0), added_noise(1)
    assert len(one) == 3
    for noise in (*one[1:], *other):
        assert abs(np.corrcoef(one[0].ravel(), noise.ravel())[0, 1]) < 0.2


def test_noise_leaves_numpys_global_generator(artifact: Artifact):
    before = np.random.get_state()[1].copy()
    evaluators.create("robustness", data=digits()).evaluate(candidate(artifact))
    assert (np.random.get_state()[1] == before).all()


def test_gaussian_noise_has_the_strength_asked_for_by_channel():
    inputs = np.full((200, 2, 8, 8), 3.0, np.float32)
    noisy = gaussian(inputs, np.array([1.0, 0.1]), seed=1)
    assert noisy.dtype == np.float32
    assert noisy.std(axis=(0, 2, 3)) == pytest.approx([1.0, 0.1], rel=0.05)
    assert noisy.mean() == pytest.approx(3.0, abs=0.05)


def test_outliers_hit_the_share_asked_for_and_are_extremes_of_their_channel():
    inputs = np.full((200, 2, 8, 8), 3.0, np.float32)
    hit = impulse(inputs, 0.1, np.array([0.0, -5.0]), np.array([16.0, 5.0]), seed=1)
    assert hit.dtype == np.float32
    assert set(np.unique(hit[:, 0])) == {0.0, 3.0, 16.0}
    assert set(np.unique(hit[:, 1])) == {-5.0, 3.0, 5.0}
    assert (hit != 3.0).mean() == pytest.approx(0.1, abs=0.01)
    assert (hit[:, 0] == 16.0).sum() / (hit[:, 0] != 3.0).sum() == pytest.approx(0.5, abs=0.05)


def test_columns_of_a_table_get_noise_of_their_own_scale(tmp_path: Path):
    data = blobs()
    _, draws = evaluators.create("robustness", data=data)._cases["accuracy_noise"]
    added = np.concatenate([noisy - data.validation.inputs for noisy in draws])
    assert added.std(axis=0) == pytest.approx(0.5 * data.train.inputs.std(axis=0), rel=0.5)
    scored = candidate(packed(perceptron(5, 3), data, tmp_path))
    assert 0 <= evaluators.create("robustness", data=data).evaluate(scored)["accuracy_noise"] <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 0}, "noise must be above 0, but got 0"),
        ({"noise": float("nan")}, "noise must be above 0"),
        ({"impulses": 1.0}, r"impulses must be a share in \(0, 1\), but got 1.0"),
        ({"draws": 0}, "draws must be at least 1, but got 0"),
    ],
)
def test_strengths_that_cannot_be(options: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        evaluators.create("robustness", data=blobs(), **options)


def test_size_is_that_of_the_file(artifact: Artifact):
    readings = evaluators.create("size").evaluate(candidate(artifact))
    content = Path(artifact.path).read_bytes()
    assert readings == {
        "size_kb": len(content) / 1024,
        "size_kb_compressed": len(zlib.compress(content, 9)) / 1024,
    }
    assert {p.source for p in readings.provenance.values()} == {"counted"}
    assert {p.dtype for p in readings.provenance.values()} == {"float32"}


def test_zeros_show_in_the_compressed_size_only(tmp_path: Path):
    data, dense = digits(), convolutions(width=32)
    sparse = convolutions(width=32)
    with torch.no_grad():
        for layer in sparse:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                keep = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0))
                layer.weight.mul_(keep > 0.9)
    sizes = [
        evaluators.create("size").evaluate(candidate(packed(module, data, tmp_path)))
        for module in (dense, sparse)
    ]
    assert sizes[1]["size_kb"] == pytest.approx(sizes[0]["size_kb"], rel=0.01)
    assert sizes[1]["size_kb_compressed"] < 0.35 * sizes[0]["size_kb_compressed"]


@pytest.mark.parametrize("name", ["accuracy", "robustness", "size"])
def test_what_has_not_been_packed_cannot_be_scored(name: str):
    options = {} if name == "size" else {"data": blobs()}
    evaluator = evaluators.create(name, **options)
    assert (evaluator.stage, evaluator.needs) == ("score", "")
    with pytest.raises(CandidateError, match="the candidate has not been packed"):
        evaluator.evaluate(candidate(None))
