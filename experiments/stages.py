"""The stages of a candidate as they run in a worker process: screen, train, score, measure.

Each result is kept in the run's folder under the key of its stage, so that compressed variants
share a training, and a search that was killed does nothing twice.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from evaluators.compression.choices import DEPLOY
from evaluators.devices import Device
from experiments.config import ExperimentConfig, load_config
from experiments.deployments import serving
from experiments.ledger import SqliteLedger
from experiments.runs import Run
from experiments.screening import Screen
from experiments.stopping import Watch, watch
from experiments.wiring import (
    build_devices,
    build_space,
    build_task,
    measure_evaluators,
    proxy_evaluators,
    score_evaluators,
)
from nas.keys import candidate_key, seed_of
from nas.protocols import SearchSpace, StageResult
from nas.task import Task
from nas.trials import Artifact, Candidate, CandidateError, Provenance, Readings, Trial

_DTYPES = {"none": "float32", "qat": "fixed"}
"""Of the artifact, by the scheme; int8 for the others."""


@dataclass(frozen=True)
class RunFiles:
    """Where a run keeps what its stages make.

    Args:
        folder: of the run.
    """

    folder: Path

    def result(self, stage: str, key: str) -> Path:
        """The kept result of a stage."""
        return self.folder / "cache" / stage / f"{key}.json"

    def trained(self, training_key: str) -> Path:
        """The weights after training."""
        return self.folder / "cache" / "train" / f"{training_key}.safetensors"

    def compressed(self, network_key: str) -> Path:
        """The float weights after pruning and fine-tuning, from which the artifact was made."""
        return self.folder / "cache" / "float" / f"{network_key}.safetensors"

    def artifact(self, sha256: str) -> Path:
        """The packed file."""
        return self.folder / "artifacts" / f"{sha256}.onnx"

    def twin(self, sha256: str) -> Path:
        """The same weights for the runtimes of torch, where a device has one."""
        return self.artifact(sha256).with_suffix(".pt2")

    def outputs(self, sha256: str) -> Path:
        """The outputs of the packed file on the validation split: ``logits``."""
        return self.folder / "artifacts" / f"{sha256}.npz"

    @property
    def scratch(self) -> Path:
        """Where files are made before they are put in place; what a kill leaves there is waste."""
        return self.folder / "scratch"

    def prepare(self) -> None:
        """Make the folders, and clear what a killed search may have left."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        for name in ("artifacts", "cache", "scratch"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def write(self, path: Path, write: Callable[[Path], object]) -> None:
        """Let ``write`` make a file, then put it at ``path`` in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            made = Path(folder) / path.name
            write(made)
            os.replace(made, path)


def network_key(candidate: Candidate | Trial) -> str:
    """The identity of the compressed network, which is the same whatever serves it."""
    genotype = {n: v for n, v in candidate.genotype.items() if not n.startswith(DEPLOY)}
    return candidate_key(genotype, candidate.training_key)


def read_result(path: Path) -> StageResult | None:
    """The kept result of a stage, None where there is none."""
    try:
        record: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    provenance = {name: Provenance(**p) for name, p in record["provenance"].items()}
    artifact, epochs = record["artifact"], record.get("epochs", 0)
    curve = {name: tuple(values) for name, values in record.get("curve", {}).items()}
    readings = Readings(record["metrics"], provenance)
    return StageResult(readings, artifact and Artifact(**artifact), curve, epochs=epochs)


def keep_result(files: RunFiles, path: Path, result: StageResult) -> None:
    """Keep the result of a stage for later."""
    readings = result.readings
    record = {
        "metrics": dict(readings),
        "provenance": {name: p.to_json() for name, p in readings.provenance.items()},
        "artifact": result.artifact and asdict(result.artifact),
        "curve": dict(result.curve),
        "epochs": result.epochs,
    }
    files.write(path, lambda file: file.write_text(json.dumps(record), encoding="utf-8"))


def untrained(space: SearchSpace, candidate: Candidate, task: Task) -> Any:
    """The module of a candidate as its training begins, not compressed.

    Raises:
        CandidateError: when it cannot be built.
    """
    from evaluators.compression import split
    from evaluators.training import seeded

    architecture, _ = split(candidate.genotype)
    with seeded(seed_of(candidate.training_key, "init")):
        return space.build(architecture, task)


class Worker:
    """Runs the stages of one search in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._files, self._ledger = RunFiles(folder), Run(folder).ledger_path
        self._config: ExperimentConfig = load_config(folder / "config.yaml")
        self._training = self._config.training
        self._tuned = 0

    @functools.cached_property
    def _data(self) -> Any:
        data = build_task(self._config).without_test()
        with contextlib.closing(SqliteLedger(self._ledger, read_only=True)) as ledger:
            known = ledger.get_meta("identity") or {}
        if known.get("data", data.task.data_hash) != data.task.data_hash:
            raise CandidateError(
                "the task gives other data than when the search began; it must give the same "
                "each time (is something random in it, or was a file changed?)"
            )
        return data

    @functools.cached_property
    def _screen(self) -> Screen:
        align = self._config.compression.align
        constraints = self._config.constraints_parsed()
        return Screen(self._space, self._data.task, self._devices, align, constraints)

    @functools.cached_property
    def _space(self) -> Any:
        return build_space(self._config)

    @functools.cached_property
    def _scorers(self) -> list[Any]:
        return score_evaluators(self._data, self._devices)

    @functools.cached_property
    def _devices(self) -> Sequence[Device]:
        return build_devices(self._config)

    def run(self, stage: str, key: str, candidate: Candidate) -> StageResult:
        """Run a stage, or answer with its kept result.

        Raises:
            CandidateError: the candidate's fault.
        """
        path = self._files.result(stage, key)
        kept = read_result(path)
        if kept is not None:
            return kept
        name, _, device = stage.partition(".")
        if name == "screen":
            result = StageResult(self._screen.thorough(candidate))
        elif name == "proxies":
            result = self._look(candidate)
        elif name == "train":
            result = self._train(candidate)
        elif name == "score":
            result = self._score(candidate)
        else:
            meter = measure_evaluators(self._devices, candidate.genotype)[device]
            result = StageResult(Readings().merged(meter.evaluate(candidate)))
        if not result.stopped:
            keep_result(self._files, path, result)
        return result

    def _build(self, candidate: Candidate) -> Any:
        return untrained(self._space, candidate, self._data.task)

    def _look(self, candidate: Candidate) -> StageResult:
        candidate, readings = replace(candidate, module=self._build(candidate)), Readings()
        for evaluator in proxy_evaluators(self._config, self._data):
            readings = readings.merged(evaluator.evaluate(candidate))
        return StageResult(readings)

    def _train(self, candidate: Candidate) -> StageResult:
        from safetensors.torch import save_file

        from evaluators.training import train

        watching = self._watch(candidate)
        if watching.stopped:
            return self._stopped(candidate, watching)
        module = self._build(candidate)
        if self._config.space.kind == "python":
            self._screen.check(candidate)
        seed = seed_of(candidate.training_key, "training")
        report = train(module, self._data, self._training, seed, watching.report)
        if report.stopped:
            return self._stopped(candidate, watching, report.epochs)
        weights = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        path = self._files.trained(candidate.training_key)
        self._files.write(path, lambda file: save_file(weights, file))
        method = f"validation split, {report.epochs} epochs, before compression"
        scored = Provenance("scored", device=report.device, runtime="torch", method=method)
        curve = {"loss": report.loss, "accuracy": report.accuracy}
        readings = Readings({"float_accuracy": report.accuracy[-1]}, scored)
        return StageResult(readings, curve=curve, epochs=report.epochs)

    def _watch(self, candidate: Candidate) -> Watch:
        """Who decides whether to go on; it sees at once what an earlier training has shown."""
        kept = read_result(self._files.result("curve", candidate.training_key))
        known = self._known(candidate) if self._config.early_stopping.rule != "none" else {}
        return watch(self._config, self._ledger, candidate, known, kept.curve if kept else {})

    def _known(self, candidate: Candidate) -> Readings:
        """What is known before training."""
        thorough = read_result(self._files.result("screen", candidate.candidate_key))
        fast = self._screen(candidate) if self._screen.is_fast else Readings()
        return fast.merged(thorough.readings) if thorough else fast

    def _stopped(self, candidate: Candidate, watching: Watch, epochs: int = 0) -> StageResult:
        """A training that was stopped: its curve is kept for whoever needs this network too."""
        curve, path = watching.curve, self._files.result("curve", candidate.training_key)
        keep_result(self._files, path, StageResult(Readings(), curve=curve))
        return StageResult(watching.estimates, curve=curve, epochs=epochs, stopped=watching.stopped)

    def _score(self, candidate: Candidate) -> StageResult:
        self._tuned = 0
        artifact, readings = self._pack(candidate)
        scored = Candidate(
            candidate.genotype,
            candidate.training_key,
            candidate.candidate_key,
            candidate.repeat,
            artifact=artifact,
        )
        for scorer in self._scorers:
            readings = readings.merged(scorer.evaluate(scored))
        self._keep_outputs(scored, artifact)
        return StageResult(readings, artifact, epochs=self._tuned)

    def _compress(self, candidate: Candidate) -> Any:
        from safetensors.torch import load_file, save_file

        from evaluators.compression import prune, quantize_in_training, quantized_shape
        from evaluators.training import train

        key = network_key(candidate)
        path, quantizing = self._files.compressed(key), self._quantizing(candidate)
        if path.is_file():
            module = quantized_shape(self._reshaped(candidate), quantizing)
            module.load_state_dict(load_file(path))
            return module
        module = self._build(candidate)
        module.load_state_dict(load_file(self._files.trained(candidate.training_key)))

        def fine_tune(compressed: Any, purpose: str = "fine-tuning") -> None:
            report = train(
                compressed,
                self._data,
                self._training,
                seed_of(key, purpose),
                epochs=self._training.fine_tune_epochs,
                learning_rate=self._training.fine_tune_learning_rate,
            )
            self._tuned += report.epochs

        module = prune(module, self._pruning(candidate), self._data.task, fine_tune)
        retrain = functools.partial(fine_tune, purpose="quantization")
        module = quantize_in_training(module, quantizing, self._examples(quantizing), retrain)
        weights = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
        self._files.write(path, lambda file: save_file(weights, file))
        return module

    def _pruning(self, candidate: Candidate) -> Any:
        from evaluators.compression import PruneConfig

        return PruneConfig.from_genotype(candidate.genotype, self._config.compression.align)

    def _quantizing(self, candidate: Candidate) -> Any:
        from evaluators.compression import QuantizeConfig

        samples = self._config.compression.calibration_samples
        return QuantizeConfig.from_genotype(candidate.genotype, samples)

    def _reshaped(self, candidate: Candidate) -> Any:
        """The pruned network, untrained and not quantized."""
        from evaluators.compression import reshape

        return reshape(self._build(candidate), self._pruning(candidate), self._data.task)

    def _examples(self, quantizing: Any) -> Any:
        """Normalized training inputs to calibrate on."""
        import torch

        from evaluators.compression.quantization import calibration_examples

        picked = calibration_examples(self._data.train.inputs, quantizing.calibration_samples)
        return torch.from_numpy(self._data.preprocessing.apply(picked))

    def _pack(self, candidate: Candidate) -> tuple[Artifact, Readings]:
        """Compress and pack; the readings are the operations and parameters that are left."""
        from evaluators.compression import quantize
        from evaluators.packaging import package, sha256_of
        from evaluators.workload import trace

        module = self._compress(candidate)
        workload = trace(self._reshaped(candidate), (1, *self._data.task.input_shape))
        left = Readings(
            {"macs": workload.macs, "params": workload.params},
            Provenance("counted", batch=1, method="trace of the pruned network"),
        )
        config = self._quantizing(candidate)
        with tempfile.TemporaryDirectory(dir=self._files.scratch) as scratch:
            packed = Path(scratch) / "float.onnx"
            package(module, self._data, packed, {"genotype": dict(candidate.genotype)})
            final = Path(
                quantize(packed, config, self._data.train.inputs, Path(scratch) / "packed.onnx")
            )
            sha256 = sha256_of(final)
            os.replace(final, self._files.artifact(sha256))
        dtype = _DTYPES.get(config.scheme, "int8")
        if dtype == "float32":
            self._pack_torch(module, sha256)
        self._pack_graphs(module, sha256)
        return Artifact(str(self._files.artifact(sha256)), sha256, dtype), left

    def _pack_torch(self, module: Any, sha256: str) -> None:
        """Pack the same weights for the runtimes of torch, where a device has one."""
        if any(d.method == "measured" and d.runtime.startswith("torch") for d in self._devices):
            from evaluators.packaging_torch import package_torch

            onnx, twin = self._files.artifact(sha256), self._files.twin(sha256)
            package_torch(module, self._data, twin, onnx)

    def _pack_graphs(self, module: Any, sha256: str) -> None:
        """Keep the graph for the compiler, where a device needs one."""
        batches = {device.batch for device in self._devices if device.method == "tpu_xla"}
        if batches:
            from evaluators.tpu.twins import write_twin

            for batch in batches:
                write_twin(module, self._data, self._files.artifact(sha256), batch)

    def _keep_outputs(self, candidate: Candidate, artifact: Artifact) -> None:
        import numpy as np

        from evaluators.runtimes import load
        from evaluators.scoring import predict

        runtime, dtype = serving(self._devices, candidate.genotype)
        with load(artifact.path, runtime, dtype=dtype) as session:
            logits = predict(session, self._data.validation.inputs)
        path = self._files.outputs(artifact.sha256)
        self._files.write(path, lambda file: np.savez_compressed(file, logits=logits))


@functools.lru_cache(maxsize=4)
def worker(folder: str) -> Worker:
    """The worker of a run, made once in a process."""
    return Worker(Path(folder))


@dataclass(frozen=True)
class StageCall:
    """A stage of a candidate as a job for another process.

    Args:
        folder: of the run.
        stage: ``screen``, ``proxies``, ``train``, ``score`` or ``measure.<alias>``.
        key: under which the result is kept.
        candidate: with its artifact, once there is one.
    """

    folder: str
    stage: str
    key: str
    candidate: Candidate

    def __call__(self) -> StageResult:
        """Run it here and now."""
        return worker(self.folder).run(self.stage, self.key, self.candidate)
