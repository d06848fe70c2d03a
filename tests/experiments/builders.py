"""Trials and fronts made by hand, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.config import load_config
from experiments.fronts import Front
from experiments.runs import Run, create_run
from nas.objectives import Objective
from nas.protocols import Ask
from nas.trials import Artifact, Provenance, Trial

ACCURACY = Objective("accuracy", "maximize")
LATENCY = Objective("latency_ms.cpu", "minimize")
SIZE = Objective("size_kb", "minimize")
MEASURED = Provenance(
    "measured",
    device="host-cpu",
    runtime="onnxruntime 1.0",
    batch=1,
    threads=1,
    method="p25 of CPU time",
    low=0.009,
    high=0.011,
)
MODELED = Provenance("modeled", device="pynq-z2", dtype="int8", method="roofline", low=1.0, high=3)


def trial(
    number: int,
    accuracy: float | None = None,
    latency_ms: float | None = None,
    size_kb: float | None = None,
    status: str = "done",
    **extra: float,
) -> Trial:
    """A trial with up to three of the usual metrics; ``extra`` has ``__`` for the dots."""
    metrics = {"accuracy": accuracy, "latency_ms.cpu": latency_ms, "size_kb": size_kb}
    metrics.update({name.replace("__", "."): value for name, value in extra.items()})
    known = {name: value for name, value in metrics.items() if value is not None}
    sha256 = f"{number:064x}"
    return Trial(
        number=number,
        genotype={"depth": number, "quantize.scheme": "none"},
        training_key=f"t{number}",
        candidate_key=f"c{number}",
        status=status,  # type: ignore[arg-type]
        metrics=known,
        provenance={name: _provenance(name) for name in known},
        artifact=Artifact(f"artifacts/{sha256}.onnx", sha256) if status == "done" else None,
        error="" if status == "done" else "no luck",
    )


def _provenance(metric: str) -> Provenance:
    if metric == "latency_ms.cpu":
        return MEASURED
    return MODELED if metric.startswith("latency_ms.") else Provenance("scored")


def front(
    run: str,
    points: Mapping[int, tuple[float, float]],
    objectives: tuple[Objective, ...] = (ACCURACY, LATENCY),
) -> Front:
    """A front in accuracy and latency."""
    trials = tuple(trial(n, a, latency) for n, (a, latency) in points.items())
    return Front(run, objectives, None, trials)


CONFIG = """
name: tiny
task: {kind: digits, size: 8}
space: {kind: convnet}
compression: {prune: [none, structured], quantize: [none, static]}
strategy: {kind: random}
objectives: [{maximize: accuracy}, {minimize: latency_ms.cpu}]
devices:
  cpu: {profile: host-cpu, method: measured}
  fpga: {profile: pynq-z2, method: modeled}
training: {epochs: 1}
budget: {trials: 6}
tracking: {enabled: false}
"""


def make_run(home: Path, trials: Sequence[Trial] = (), text: str = CONFIG) -> Run:
    """A run whose ledger holds these trials."""
    home.mkdir(parents=True, exist_ok=True)
    path = home.parent / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    run = create_run(home, load_config(path))
    with run.ledger(write=True) as ledger:
        for each in trials:
            ledger.asked(Ask(each.number, each.genotype, each.training_key, each.candidate_key))
            ledger.done(each, 1.5 * (each.number + 1))
    run.set_state("finished")
    return run
