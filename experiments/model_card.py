"""The model card of an exported network: what it is, what it does, how it was checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.confirming import statement
from experiments.fronts import LATENCY
from nas.trials import Provenance, Trial

if TYPE_CHECKING:
    from evaluators.tasks import TaskData
    from experiments.runs import Run
    from experiments.verification import Verification
    from nas.repeats import Confirmed

_HINTS = {"bfloat16": "bf16", "float16": "f16"}
UNITS = {
    "latency_ms": "ms",
    "wall_ms": "ms",
    "estimated_latency_ms": "ms",
    "size_kb": "kB",
    "size_kb_compressed": "kB",
    "memory_kb": "kB",
    "energy_mj": "mJ",
}


def model_card(
    run: Run,
    trial: Trial,
    data: TaskData,
    verification: Verification,
    together: Confirmed | None = None,
) -> str:
    """The card as Markdown.

    Args:
        run: that found it.
        trial: the training that is exported.
        data: of the task.
        verification: of the exported files.
        together: all trainings of its genotype, where there are several.
    """
    parts = (
        _head(run, trial, data, verification, together),
        _use(trial, data),
        _metrics(trial),
        _checks(verification),
        _data(data),
        _making(run, trial),
        _limits(run, trial, verification),
    )
    return "\n".join(line for part in parts for line in part)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""


def _head(
    run: Run, trial: Trial, data: TaskData, verification: Verification, together: Confirmed | None
) -> Iterator[str]:
    artifact = trial.artifact
    yield f"# {data.task.name}: trial {trial.number} of {run.id}"
    yield ""
    test = verification.test_accuracy
    if test is not None:
        yield (
            f"Accuracy {test:.4f} on the test split, which no choice was made by; "
            f"{trial.metrics['accuracy']:.4f} on the validation split."
        )
    if together is not None:
        yield statement(together)
    if artifact is not None:
        yield f"`model.onnx` ({artifact.dtype}) has SHA-256 `{artifact.sha256}`."
    scored = trial.provenance.get("accuracy")
    if scored is not None and any(name.startswith("deploy.") for name in trial.genotype):
        yield f"The search chose {scored.runtime} in {scored.dtype} to serve it; accuracy and"
        yield "latency are those of the file served like that."
    elif scored is not None and scored.runtime:
        yield f"Scored through {scored.runtime} in {scored.dtype}."
    yield ""


def _use(trial: Trial, data: TaskData) -> Iterator[str]:
    shape = ", ".join(str(size) for size in data.task.input_shape)
    yield "## Use"
    yield ""
    yield f"Raw inputs (batch, {shape}), float32; the normalization is inside. Outputs: logits"
    yield f"(batch, {data.task.outputs})."
    yield ""
    yield "```python"
    yield from _calls(trial.provenance.get("accuracy"))
    yield 'print((logits.argmax(axis=1) == examples["labels"]).mean())'
    yield "```"
    yield ""
    yield "`experiments.load(FOLDER)` gives the float network as a torch module, from"
    yield "`model.safetensors` and `network.json`."
    yield ""


def _calls(scored: Provenance | None) -> Iterator[str]:
    """How the validation split is put through the file."""
    if scored is not None and scored.runtime.startswith("openvino"):
        # Left alone, it may take bfloat16 where the file says float32.
        hint = next((h for d, h in _HINTS.items() if scored.dtype.endswith(d)), "f32")
        yield "import numpy, openvino"
        yield ""
        yield 'examples = numpy.load("validation.npz")'
        yield f'precision = {{"INFERENCE_PRECISION_HINT": "{hint}"}}'
        yield 'model = openvino.Core().compile_model("model.onnx", "CPU", precision)'
        yield 'logits = model(examples["inputs"])[0]'
        return
    yield "import numpy, onnxruntime"
    yield ""
    yield 'examples = numpy.load("validation.npz")'
    yield 'session = onnxruntime.InferenceSession("model.onnx")'
    yield 'logits = session.run(None, {"input": examples["inputs"]})[0]'


def _metrics(trial: Trial) -> Iterator[str]:
    yield "## Numbers"
    yield ""
    rows = [
        _metric_row(name, value, trial.provenance.get(name))
        for name, value in sorted(trial.metrics.items())
    ]
    yield from _table(("metric", "value", "from", "to", "source", "how"), rows)
    yield "`measured`: timed on the device. `modeled`: computed from its data sheet, never run"
    yield "there; from and to are an error bar. `scored`: by running this file on the validation"
    yield "split. `counted`: exact."
    yield ""


def _metric_row(name: str, value: float, origin: Provenance | None) -> tuple[str, ...]:
    unit = UNITS.get(name.partition(".")[0], "share" if "accuracy" in name else "")
    if origin is None:
        return name, f"{value:.6g} {unit}".strip(), "", "", "", ""
    ends = ("" if end is None else f"{end:.4g}" for end in (origin.low, origin.high))
    how = (
        *(origin.device, origin.runtime, origin.dtype),
        f"batch {origin.batch}" if origin.batch else "",
        f"threads {origin.threads}" if origin.threads else "",
        origin.method,
    )
    text = ", ".join(part for part in how if part)
    return name, f"{value:.6g} {unit}".strip(), *ends, origin.source, text


def _checks(verification: Verification) -> Iterator[str]:
    yield "## Checked on export"
    yield ""
    where = "the CPU model and runtime" if verification.same_machine else "another CPU or runtime"
    yield f"On {where} of the scoring."
    yield ""
    rows = [(c.name, str(c.recorded), str(c.found), c.rule) for c in verification.checks]
    yield from _table(("what", "recorded", "found", "rule"), rows)
    if verification.latencies:
        again = [
            (e.metric, f"{e.recorded_ms:.4g}", f"{e.found_ms:.4g}", f"{e.difference:+.1%}")
            for e in verification.latencies
        ]
        yield from _table(("latency", "recorded [ms]", "now [ms]", "difference"), again)
    yield from (f"- Warning: {warning}" for warning in verification.warnings)
    if verification.warnings:
        yield ""


def _data(data: TaskData) -> Iterator[str]:
    sizes = [f"{len(data.train)} training", f"{len(data.validation)} validation"]
    if data.held_out is not None:
        sizes.append(f"{len(data.held_out)} test")
    yield "## Data"
    yield ""
    yield f"{data.task.name}, {data.task.outputs} classes; {', '.join(sizes)} examples."
    yield f"Content hash `{data.task.data_hash}`."
    yield "`validation.npz` holds the validation split as it was scored."
    yield ""


def _making(run: Run, trial: Trial) -> Iterator[str]:
    config = run.config
    training: Mapping[str, object] = config.training.to_json()
    yield "## Making"
    yield ""
    yield f"Found by `{config.strategy.kind}` search in the space `{config.space.kind}`. Training:"
    yield f"{', '.join(f'{name} {value}' for name, value in training.items())}."
    yield ""
    yield from _table(("choice", "value"), [(n, str(v)) for n, v in trial.genotype.items()])


def _limits(run: Run, trial: Trial, verification: Verification) -> Iterator[str]:
    yield "## Limits"
    yield ""
    yield "- It was chosen by its validation accuracy, which is therefore a little too good; go by"
    yield "  the test accuracy."
    cpu = run.environment.get("cpu", "one machine")
    if any(p.source == "measured" for p in trial.provenance.values()):
        yield f"- Measured latencies are of {cpu}; they do not carry over to another machine."
    modeled = sorted(
        name
        for name, origin in trial.provenance.items()
        if origin.source == "modeled" and name.startswith(LATENCY)
    )
    if modeled:
        yield f"- Never run on the device: {', '.join(modeled)}."
    noisy = [f"{e.metric}" for e in verification.latencies if e.noisy]
    if noisy:
        yield f"- The machine was busy while measuring {', '.join(noisy)} again."
    yield "- Robustness was looked at under Gaussian noise and impulses only."
    yield ""
