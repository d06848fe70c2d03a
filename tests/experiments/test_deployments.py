"""Runtime and dtype as choices of a search."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hw_profiles
from evaluators import runtimes
from evaluators.devices import Device
from evaluators.scoring import predict
from experiments.config import ConfigError, ExperimentConfig
from experiments.deployments import Deployment, deployed, deployment_choices, serving
from experiments.experiment import Experiment, Result
from experiments.export import export
from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import Run
from experiments.second_look import META
from experiments.stages import RunFiles, network_key
from experiments.wiring import build_task
from nas.choices import Choice
from nas.protocols import Ask
from nas.trials import Trial
from tests.experiments.builders import CONFIG, make_run
from tests.experiments.packed_run import PLAIN, genotype_with, work_out
from tests.experiments.small import small_config
from tests.support.machine import needs_bfloat16

BOTH = "devices.cpu.runtime=[onnxruntime, openvino]"
BFLOAT16 = "devices.cpu.dtype=[float32, bfloat16]"
CPU = Device("cpu", hw_profiles.load("host-cpu"), "measured")
RUNTIME, DTYPE = "deploy.cpu.runtime", "deploy.cpu.dtype"


def chosen(*overrides: str) -> list[Choice]:
    return deployment_choices(small_config(*overrides))


def test_lists_become_choices() -> None:
    assert chosen() == []
    assert chosen("devices.cpu.runtime=[onnxruntime]") == []
    assert chosen(BOTH) == [Choice(RUNTIME, ("onnxruntime", "openvino"))]
    assert chosen("devices.cpu.runtime=openvino", BFLOAT16) == [
        Choice(DTYPE, ("float32", "bfloat16"))
    ]


def test_a_dtype_is_chosen_where_the_runtime_has_it() -> None:
    assert chosen(BOTH, BFLOAT16)[1] == Choice(
        DTYPE, ("float32", "bfloat16"), when={RUNTIME: ("openvino",)}
    )


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["devices.cpu.runtime=[onnxruntime, openvno]"], "did you mean 'openvino'"),
        (["devices.cpu.runtime=[onnxruntime, torch]"], "lists those that run the ONNX file, not"),
        ([BFLOAT16], "none of the runtimes has"),
        (
            [BOTH, "devices.cpu.dtype=[float16, bfloat16]"],
            "onnxruntime must have all of them, or float32 alone, but has none",
        ),
        ([BOTH, "devices.cpu.dtype=bfloat16"], "onnxruntime computes in float32, but got"),
        ([BOTH, "devices.cpu.profile=nvidia-a100"], "cannot be measured here"),
    ],
)
def test_what_cannot_be_chosen_is_refused_in_one_line(overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=line) as caught:
        Parts.of(small_config(*overrides))
    assert str(caught.value).startswith("devices.cpu: ")
    assert "\n" not in str(caught.value)


def test_a_runtime_that_is_not_installed_is_refused_before_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=r"^devices\.cpu: openvino is not installed: pip install"):
        Parts.of(small_config(BOTH))


def test_a_device_is_served_as_the_genotype_says() -> None:
    assert deployed(CPU, {"width": 8}) is CPU
    found = deployed(CPU, {RUNTIME: "openvino", DTYPE: "bfloat16", "deploy.gpu.dtype": "int8"})
    assert (found.runtime, found.dtype) == ("openvino", "bfloat16")


def test_the_file_is_scored_through_what_serves_it() -> None:
    genotype = {RUNTIME: "openvino", DTYPE: "bfloat16"}
    modeled = Device("tpu", hw_profiles.load("tpu-v3"), "modeled", "openvino")
    assert serving([CPU, modeled], genotype) == Deployment("openvino", "bfloat16")
    assert serving([CPU, modeled], {}) == Deployment("onnxruntime", "")
    assert serving([modeled], {}) == Deployment()


def test_it_is_scored_by_onnx_runtime_where_devices_differ_or_take_another_file() -> None:
    other = Device("b", hw_profiles.load("host-cpu"), "measured", "openvino")
    assert serving([CPU, other], {}) == Deployment()
    assert serving([other], {}) == Deployment("openvino", "")
    torch = Device("c", hw_profiles.load("host-cpu"), "measured", "torch")
    assert serving([torch], {}) == Deployment()


# -- a search --

VARIANTS: list[dict[str, str]] = [
    {RUNTIME: "onnxruntime"},
    {RUNTIME: "openvino", DTYPE: "float32"},
    {RUNTIME: "openvino", DTYPE: "bfloat16"},
]


def one_network(folder: Path) -> ExperimentConfig:
    """A search whose only choices are those of deployment and of quantization."""
    file = folder / "space.py"
    file.write_text(
        "import torch\nfrom nas.choices import Choice\n"
        "CHOICES = [Choice('width', (8,))]\n"
        "def build(genotype, task):\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(task.input_shape[0], 8, 3),\n"
        "        torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, task.outputs))\n"
    )
    return small_config(
        f"space={{kind: python, file: {file}}}",
        "compression={quantize: [none, static]}",
        "strategy={kind: random}",
        "budget={trials: 6}",
        "objectives=[{maximize: accuracy}, {minimize: latency_ms.cpu}]",
        "training.epochs=2",
        "workers=1",
        BOTH,
        BFLOAT16,
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    runtimes.version("openvino")  # without its telemetry
    folder = tmp_path_factory.mktemp("served")
    return Experiment(one_network(folder), folder / "runs").run([])


def by_variant(run: Run) -> Mapping[tuple[str, ...], Trial]:
    with run.ledger() as ledger:
        trials = ledger.trials()
    names = (RUNTIME, DTYPE, "quantize.scheme")
    return {tuple(str(t.genotype.get(n, "")) for n in names): t for t in trials}


EVERY = [
    (runtime, dtype, scheme)
    for runtime, dtype in (("onnxruntime", ""), ("openvino", "float32"), ("openvino", "bfloat16"))
    for scheme in ("none", "static")
]


def served(variant: tuple[str, ...]) -> Any:
    """A case that needs a CPU on which it can be served."""
    return pytest.param(variant, marks=[needs_bfloat16] if "bfloat16" in variant else [])


@needs_bfloat16
@pytest.mark.slow
def test_all_deployments_of_one_training_are_tried(result: Result) -> None:
    found = by_variant(result.run)
    assert set(found) == set(EVERY)
    assert {trial.status for trial in found.values()} == {"done"}
    assert len({trial.training_key for trial in found.values()}) == 1
    assert len({network_key(trial) for trial in found.values()}) == 2
    assert len([*(result.run.path / "cache" / "train").glob("*.safetensors")]) == 1
    assert len([*(result.run.path / "cache" / "float").glob("*.safetensors")]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("variant", [served(variant) for variant in EVERY])
def test_everything_is_read_off_in_what_serves_it(result: Result, variant: tuple[str, ...]) -> None:
    runtime, dtype, scheme = variant
    trial = by_variant(result.run)[variant]
    assert trial.artifact is not None
    named = ["int8"] * (scheme == "static") + [dtype] * (dtype == "bfloat16")
    for metric in ("accuracy", "accuracy_noise", "latency_ms.cpu", "wall_ms.cpu.p50"):
        origin = trial.provenance[metric]
        assert origin.runtime == runtimes.version(runtime)
        assert origin.dtype == (", ".join(named) or "float32")
    with runtimes.load(trial.artifact.path, runtime, dtype=dtype) as session:
        logits = predict(session, build_task(result.run.config).validation.inputs)
    recorded = np.load(RunFiles(result.run.path).outputs(trial.artifact.sha256))["logits"]
    np.testing.assert_array_equal(recorded, logits)


@needs_bfloat16
@pytest.mark.slow
def test_dtypes_really_differ(result: Result) -> None:
    files, found = RunFiles(result.run.path), by_variant(result.run)
    outputs = []
    for variant in EVERY[::2]:
        artifact = found[variant].artifact
        assert artifact is not None
        outputs.append(np.load(files.outputs(artifact.sha256))["logits"])
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-4)
    assert 1e-4 < float(np.abs(outputs[2] - outputs[0]).max()) < 0.5


@needs_bfloat16
@pytest.mark.slow
def test_the_file_says_what_serves_it(result: Result) -> None:
    trial = by_variant(result.run)["openvino", "bfloat16", "none"]
    assert trial.artifact is not None
    model = onnx.load(trial.artifact.path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["genotype"])[DTYPE] == "bfloat16"


@pytest.mark.slow
def test_the_front_is_measured_again_in_what_serves_it(result: Result) -> None:
    with result.run.ledger() as ledger:
        again = ledger.get_meta(META)["cpu"]
    assert again["error"] == ""
    assert set(again["trials"]) == {str(trial.number) for trial in result.front}


@pytest.mark.slow
@pytest.mark.parametrize("variant", [served(EVERY[0]), served(EVERY[4])])
def test_an_export_says_what_won_and_is_checked_in_it(
    result: Result, variant: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = by_variant(result.run)[variant]
    report = export(result.run, tmp_path / "out", pick=trial.number)
    metrics = json.loads((report.folder / "metrics.json").read_text())
    version, dtype = runtimes.version(variant[0]), variant[1] or "float32"
    assert (metrics["runtime"], metrics["dtype"]) == (version, dtype)
    card = (report.folder / "model_card.md").read_text()
    assert f"The search chose {version} in {dtype} to serve it" in card
    assert report.verification.same_machine
    (again,) = report.verification.latencies
    assert again.metric == "latency_ms.cpu"
    monkeypatch.chdir(report.folder)
    assert _run_example(card) == trial.metrics["accuracy"]


def _run_example(card: str) -> float:
    """The example of a model card, whose last line prints the accuracy."""
    match = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert match is not None
    names: dict[str, Any] = {"print": lambda value: names.update(said=float(value))}
    exec(match[1], names)
    names["examples"].close()
    return float(names["said"])


def test_deployments_belong_to_the_candidate_but_not_to_its_training() -> None:
    runtimes.version("openvino")  # without its telemetry
    parts = Parts.of(small_config(BOTH, BFLOAT16))
    pipeline = CandidatePipeline(parts, Path(), 60.0)
    assert [choice.name for choice in parts.choices[-2:]] == [RUNTIME, DTYPE]
    found = [pipeline.candidate({"width": 8, **variant}) for variant in VARIANTS]
    assert len({candidate.training_key for candidate in found}) == 1
    assert len({candidate.candidate_key for candidate in found}) == 3
    assert len({network_key(candidate) for candidate in found}) == 1
    plain = pipeline.candidate({"width": 8})
    assert network_key(plain) == plain.candidate_key


@pytest.mark.slow
def test_a_device_of_torch_is_timed_on_the_same_weights(tmp_path: Path) -> None:
    text = CONFIG.replace("method: measured", "method: measured, runtime: torch")
    run = make_run(tmp_path / "runs", text=text)
    RunFiles(run.path).prepare()
    parts = Parts.of(run.config)
    pipeline = CandidatePipeline(parts, run.path, 60.0)
    candidate = pipeline.candidate(genotype_with(parts.choices, PLAIN))
    plain = work_out(pipeline, candidate, 0)
    keys = (candidate.training_key, candidate.candidate_key)
    with run.ledger(write=True) as ledger:
        ledger.asked(Ask(0, candidate.genotype, *keys))
        ledger.done(plain, 1.0)
    assert plain.artifact is not None
    assert plain.provenance["latency_ms.cpu"].runtime == runtimes.version("torch")
    assert plain.provenance["accuracy"].runtime == runtimes.version("onnxruntime")
    folder = export(run, tmp_path / "out", pick=0).folder
    inputs = np.load(folder / "validation.npz")["inputs"]
    with runtimes.load(folder / "model.onnx", "torch") as session:
        found = session.run(inputs)
    recorded = np.load(RunFiles(run.path).outputs(plain.artifact.sha256))["logits"]
    np.testing.assert_allclose(found, recorded, atol=1e-4)
