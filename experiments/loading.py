"""The float network behind an exported file, as a torch module again; nothing is unpickled."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import search_spaces
from evaluators.compression import (
    PruneConfig,
    QuantizeConfig,
    quantized_shape,
    reshape,
    split,
)
from nas.choices import Genotype
from nas.task import Task

if TYPE_CHECKING:
    from evaluators.tasks import Preprocessing
    from experiments.config import ExperimentConfig

NETWORK, WEIGHTS = "network.json", "model.safetensors"
FORMAT = 1


def describe(
    config: ExperimentConfig, task: Task, preprocessing: Preprocessing, genotype: Genotype
) -> dict[str, Any]:
    """What `load` needs to build a network, JSON-able."""
    return {
        "format": FORMAT,
        "space": {"kind": config.space.kind, "options": config.space.options},
        "task": dataclasses.asdict(task),
        "preprocessing": dataclasses.asdict(preprocessing),
        "genotype": dict(genotype),
        "align": config.compression.align,
    }


def write(folder: Path, description: Mapping[str, Any], weights: Path) -> None:
    """Write the description and the weights, and copy the user's files that the space is made of.

    Args:
        folder: an export.
        description: of `describe`.
        weights: the safetensors file of the pruned and fine-tuned network.
    """
    space = dict(description["space"])
    space["options"] = {
        name: _carry(value, folder) if _is_file(value) else value
        for name, value in space["options"].items()
    }
    text = json.dumps({**description, "space": space}, indent=2)
    (folder / NETWORK).write_text(text + "\n", encoding="utf-8")
    shutil.copyfile(weights, folder / WEIGHTS)


def _is_file(option: object) -> bool:
    return isinstance(option, str) and option.partition(":")[0].endswith(".py")


def _carry(option: str, folder: Path) -> str:
    """Copy a user's file into the export; the option then names it relative to there."""
    path, colon, function = option.partition(":")
    shutil.copyfile(path, folder / Path(path).name)
    return f"{Path(path).name}{colon}{function}"


def load(folder: str | Path) -> Any:
    """The network behind an exported file: pruned and fine-tuned, quantized only by ``qat``.

    A space of the user's own is built by the copy of their Python file that lies in the folder,
    which is run: load only what you trust.

    Args:
        folder: written by ``nas export``.

    Returns:
        A `torch.nn.Module` in evaluation mode, raw inputs (batch, *input_shape) -> logits
        (batch, outputs). It normalizes its inputs as the exported file does; the network itself,
        for normalized inputs, is its attribute ``network``.

    Raises:
        ValueError: when the folder is no export, or one of a newer version, or its parts do not
            fit together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from evaluators.packaging import Deployable

    folder = Path(folder)
    record = _read(folder)
    try:
        module, preprocessing = _build(folder, record)
    except (KeyError, TypeError, AttributeError) as error:
        why = f"lacks {error}" if isinstance(error, KeyError) else f"cannot be used: {error}"
        raise ValueError(f"{folder / NETWORK} {why}") from error
    try:
        module.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, OSError, SafetensorError) as error:
        why = str(error).splitlines()[-1].strip()
        raise ValueError(f"{folder / WEIGHTS} does not fit {NETWORK}: {why}") from None
    return Deployable(module, preprocessing).eval()


def _build(folder: Path, record: Mapping[str, Any]) -> tuple[Any, Preprocessing]:
    """The network as it was described, its weights still random, and what comes before it."""
    from evaluators.tasks import Preprocessing
    from evaluators.training import seeded

    preprocessing = Preprocessing(**record["preprocessing"])
    task = Task(**record["task"])
    options = {
        name: str(folder.absolute() / value) if _is_file(value) else value
        for name, value in record["space"]["options"].items()
    }
    space = search_spaces.create(record["space"]["kind"], **options)
    architecture, _ = split(record["genotype"])
    with seeded(0):
        module = space.build(architecture, task)
        pruning = PruneConfig.from_genotype(record["genotype"], record["align"])
        module = reshape(module, pruning, task)
        quantizing = QuantizeConfig.from_genotype(record["genotype"])
        return quantized_shape(module, quantizing), preprocessing


def _read(folder: Path) -> dict[str, Any]:
    try:
        record: Any = json.loads((folder / NETWORK).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is no export of `nas export`: {NETWORK}: {error}") from None
    found = record.get("format") if isinstance(record, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{folder / NETWORK} has format {found!r}, but this version reads {FORMAT}"
        )
    return dict(record)
