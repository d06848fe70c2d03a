"""A run whose two candidates really went through training, compression, packing and scoring."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from experiments.pipeline import CandidatePipeline, Parts
from experiments.runs import Run
from experiments.stages import RunFiles
from nas.choices import Choice, sample
from nas.protocols import Ask
from nas.trials import Candidate, Readings, Trial
from tests.experiments.builders import CONFIG, make_run

PLAIN = {"prune.method": "none", "quantize.scheme": "none"}
PRUNED = {"prune.method": "structured", "quantize.scheme": "static"}


def genotype_with(
    choices: Sequence[Choice], wanted: dict[str, str]
) -> dict[str, int | float | str]:
    """The first of many random genotypes that has these values."""
    rng = random.Random(7)
    while True:
        genotype = sample(choices, rng)
        if wanted.items() <= genotype.items():
            return genotype


def work_out(pipeline: CandidatePipeline, candidate: Candidate, number: int) -> Trial:
    """All stages, one after the other, in this process."""
    readings, artifact = Readings().merged(pipeline.screen(candidate)), None
    for stage in pipeline.stages:
        result = stage.job(candidate).call()
        readings = readings.merged(result.readings)
        artifact = result.artifact or artifact
        candidate = replace(candidate, artifact=artifact)
    return Trial(
        number,
        candidate.genotype,
        candidate.training_key,
        candidate.candidate_key,
        "done",
        dict(readings),
        readings.provenance,
        artifact,
    )


def packed_run(home: Path, text: str = CONFIG) -> Run:
    """Trial 0 is plain float32, trial 1 is pruned and quantized."""
    run = make_run(home, text=text)
    RunFiles(run.path).prepare()
    parts = Parts.of(run.config)
    pipeline = CandidatePipeline(parts, run.path, 60.0)
    with run.ledger(write=True) as ledger:
        for number, wanted in enumerate((PLAIN, PRUNED)):
            candidate = pipeline.candidate(genotype_with(parts.choices, wanted))
            ledger.asked(
                Ask(number, candidate.genotype, candidate.training_key, candidate.candidate_key)
            )
            ledger.done(work_out(pipeline, candidate, number), 1.0)
    return run
