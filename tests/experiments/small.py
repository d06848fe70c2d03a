"""A search small enough for tests: 8x8 digits, one epoch."""

from __future__ import annotations

from pathlib import Path

from experiments.config import ExperimentConfig, load_config

OVERRIDES = (
    "training.epochs=1",
    "training.fine_tune_epochs=1",
    "budget.trials=3",
    "tracking.enabled=false",
)


def small_config(*overrides: str) -> ExperimentConfig:
    """The shipped smoke search with less of everything."""
    return load_config("smoke", [*OVERRIDES, *overrides])


def small_yaml(folder: Path, *overrides: str) -> Path:
    """The same as a file."""
    from experiments.config import dump_yaml

    path = folder / "small.yaml"
    path.write_text(dump_yaml(small_config(*overrides)), encoding="utf-8")
    return path
