"""The front measured once more at the end, interleaved, so that its order can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluators.devices import Device
from evaluators.measured import measure_in_turns
from experiments.deployments import deployed
from experiments.fronts import front_trials
from experiments.ledger import SqliteLedger
from experiments.runs import Run
from experiments.second_look import META
from nas.protocols import Executor, Job, StageResult
from nas.trials import Artifact, Readings, Trial

_LIMIT_S = 600.0


@dataclass(frozen=True)
class RemeasureCall:
    """Times several artifacts in turns, in the process that has the device for itself.

    Args:
        entries: artifacts, each with the device and the runtime that serve it, by the number of
            their trial.
    """

    entries: Mapping[int, tuple[Artifact, Device]]

    def __call__(self) -> StageResult:
        """The latencies in ms, by the number of the trial as text."""
        latencies = measure_in_turns([*self.entries.values()])
        pairs = zip(self.entries, latencies, strict=True)
        return StageResult(Readings({str(number): found.latency_ms for number, found in pairs}))


def remeasure_front(
    run: Run, ledger: SqliteLedger, devices: Sequence[Device], executor: Executor
) -> None:
    """Measure the front on each measured device and note it in the ledger.

    What was recorded at scoring stays as it is; the second look stands beside it. A front that
    was measured before is not measured again.
    """
    config = run.config
    front = front_trials(ledger.trials(), config.objectives_parsed(), config.constraints_parsed())
    known = ledger.get_meta(META) or {}
    for device in devices:
        if device.method != "measured" or not front:
            continue
        numbers = {str(trial.number) for trial in front}
        if set(known.get(device.alias, {}).get("trials", {})) != numbers:
            known[device.alias] = _remeasure(front, device, executor)
    ledger.set_meta(META, known)


def _remeasure(
    front: Sequence[Trial], device: Device, executor: Executor
) -> dict[str, dict[str, float] | str]:
    entries = {
        trial.number: (trial.artifact, deployed(device, trial.genotype))
        for trial in front
        if trial.artifact is not None
    }
    job_id = executor.submit(Job(RemeasureCall(entries), device.name, _LIMIT_S))
    while True:
        for done in executor.wait(1.0):
            if done.job_id == job_id:
                readings = {} if done.value is None else dict(done.value.readings)
                return {"trials": readings, "error": done.error}
