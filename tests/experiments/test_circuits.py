"""A search on a device whose circuits are folded."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from experiments.config import ConfigError, ExperimentConfig
from experiments.pipeline import CandidatePipeline, Parts
from nas.choices import sample
from nas.trials import CandidateError, sure_violation
from tests.experiments.small import small_config

DEVICE = "devices={fpga: {profile: pynq-z2, method: fpga_dataflow}}"
OBJECTIVES = "objectives=[{maximize: accuracy}, {minimize: latency_ms.fpga}, {minimize: lut.fpga}]"


def config(*overrides: str, device: str = DEVICE) -> ExperimentConfig:
    return small_config(device, OBJECTIVES, "constraints=[]", *overrides)


def pipeline_of(parts: Parts, folder: Path) -> CandidatePipeline:
    return CandidatePipeline(parts, folder, 60.0)


def test_strategies_see_an_estimate_and_a_worker_folds_before_training(tmp_path: Path) -> None:
    parts = Parts.of(config())
    pipeline = pipeline_of(parts, tmp_path)
    assert [stage.name for stage in pipeline.stages] == ["screen", "train", "score"]
    assert parts.screen.is_fast
    assert not parts.screen.is_enough
    candidate = pipeline.candidate(sample(parts.choices, random.Random(1)))
    quick = pipeline.screen(candidate)
    assert "estimated_latency_ms.fpga" in quick
    assert "latency_ms.fpga" not in quick
    folded = parts.screen.thorough(candidate)
    assert {"latency_ms.fpga", "lut.fpga", "fits.fpga"} <= set(folded)
    assert folded.provenance["latency_ms.fpga"].dtype == "int8"


def test_a_constraint_on_resources_is_the_budget(tmp_path: Path) -> None:
    small = Parts.of(config("constraints=['lut.fpga <= 15000', 'dsp.fpga <= 20']"))
    free = Parts.of(config())
    genotype = next(
        each
        for each in (sample(free.choices, random.Random(seed)) for seed in range(50))
        if _fits(small, tmp_path, each)
    )
    candidate = pipeline_of(free, tmp_path).candidate(genotype)
    bounded, unbounded = small.screen.thorough(candidate), free.screen.thorough(candidate)
    assert bounded["lut.fpga"] <= 15000
    assert bounded["dsp.fpga"] <= 20
    assert bounded["latency_ms.fpga"] >= unbounded["latency_ms.fpga"]


def _fits(parts: Parts, folder: Path, genotype: dict[str, int | float | str]) -> bool:
    try:
        parts.screen.thorough(pipeline_of(parts, folder).candidate(genotype))
    except CandidateError:
        return False
    return True


def test_the_folded_latency_decides_about_a_constraint(tmp_path: Path) -> None:
    settings = config("constraints=['latency_ms.fpga <= 1e-9']")
    parts = Parts.of(settings)
    pipeline = pipeline_of(parts, tmp_path)
    candidate = pipeline.candidate(sample(parts.choices, random.Random(1)))
    readings = pipeline.screen(candidate).merged(parts.screen.thorough(candidate))
    (constraint,) = settings.constraints_parsed()
    expected = constraint.violation(readings)
    assert sure_violation(constraint, readings) == expected > 0


def test_a_device_that_does_not_stream_is_refused_with_its_place() -> None:
    wrong = config(device="devices={fpga: {profile: zcu102-dpu, method: fpga_dataflow}}")
    with pytest.raises(
        ConfigError, match="devices.fpga: the method fpga_dataflow .* lowered as dataflow"
    ):
        Parts.of(wrong)
