"""The configuration of an experiment: one YAML file, checked before anything runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator

from evaluators.compression.choices import QAT
from evaluators.training_config import TrainingConfig
from experiments.config_errors import first_problem
from experiments.config_sections import (
    BudgetConfig,
    CompressionConfig,
    Count,
    DeviceConfig,
    EarlyStoppingConfig,
    KindConfig,
    ObjectiveConfig,
    Positive,
    ProxiesConfig,
    ScreeningConfig,
    Section,
    TrackingConfig,
)
from experiments.config_source import ConfigError, KeyPath, Source, dotted, dump, read_text
from nas.objectives import Constraint, Objective
from nas.registry import unknown

__all__ = ["ConfigError", "ExperimentConfig", "dump_yaml", "load_config", "shipped_names"]

DEVICE_METRICS = (
    *("latency_ms", "wall_ms", "estimated_latency_ms", "energy_mj"),
    *("lut", "ff", "bram18", "uram", "dsp", "cycles", "fits"),
)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
Alias = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+$")]


class ExperimentConfig(Section):
    """A whole experiment; the fields are the keys of the YAML file."""

    name: Name
    task: KindConfig
    space: KindConfig
    compression: CompressionConfig = CompressionConfig()
    strategy: KindConfig = KindConfig(kind="bayesian")
    transfer: str = ""
    objectives: tuple[ObjectiveConfig, ...] = Field(min_length=1)
    constraints: tuple[str, ...] = ()
    devices: dict[Alias, DeviceConfig] = {}
    screening: ScreeningConfig = ScreeningConfig()
    proxies: ProxiesConfig = ProxiesConfig()
    training: TrainingConfig = TrainingConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    budget: BudgetConfig
    workers: Count | None = None
    trial_limit_s: Positive = 300.0
    memory_gb: Positive | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="after")
    def _can_transfer(self) -> ExperimentConfig:
        if self.transfer and self.strategy.kind != "guided":
            raise ValueError(
                "transfer needs the strategy guided, which learns from other searches, "
                f"but got {self.strategy.kind}"
            )
        return self

    @field_validator("constraints")
    @classmethod
    def _parse_all(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        for text in constraints:
            Constraint.parse(text)
        return constraints

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentConfig:
        named = {
            "objectives": [objective.metric for objective in self.objectives_parsed()],
            "constraints": [constraint.metric for constraint in self.constraints_parsed()],
        }
        if len(set(named["objectives"])) != len(named["objectives"]):
            raise ValueError(
                f"objectives must name different metrics, but got {named['objectives']}"
            )
        for key, metrics in named.items():
            for metric in metrics:
                family, _, rest = metric.partition(".")
                alias = rest.partition(".")[0]
                if family in DEVICE_METRICS and alias not in self.devices:
                    problem = unknown("device", alias, self.devices)
                    if not self.devices:
                        problem = f"unknown device {alias!r} (no devices are configured)"
                    raise ValueError(f"{key} name {metric!r}, but that is an {problem}")
        self._check_chosen()
        if self.proxies.features and self.strategy.kind != "guided":
            raise ValueError(
                f"proxies.features is for the strategy guided, but got {self.strategy.kind}"
            )
        circuits = [name for name, device in self.devices.items() if device.method == "fpga_rtl"]
        if circuits and self.compression.quantize != (QAT,):
            raise ValueError(
                f"compression.quantize must be [qat] with the method fpga_rtl ({circuits[0]}), "
                f"but got [{', '.join(self.compression.quantize)}]"
            )
        return self

    def _check_chosen(self) -> None:
        """The file that is scored is served in one way, which at most one device can choose."""
        chosen = [alias for alias, device in self.devices.items() if device.is_chosen]
        measured = [alias for alias, device in self.devices.items() if device.method == "measured"]
        if chosen and len(measured) > 1:
            raise ValueError(
                f"devices must have one measured device where its runtime or dtype is chosen "
                f"({chosen[0]}), but got {', '.join(measured)}"
            )

    def objectives_parsed(self) -> tuple[Objective, ...]:
        """The objectives as the search takes them."""
        return tuple(objective.parsed() for objective in self.objectives)

    def constraints_parsed(self) -> tuple[Constraint, ...]:
        """The constraints as the search takes them."""
        above = self.screening.reject_above
        return tuple(Constraint.parse(text, above) for text in self.constraints)

    @property
    def tracking_experiment(self) -> str:
        """The MLflow experiment that this search belongs to."""
        return self.tracking.experiment or self.name


def shipped_names() -> list[str]:
    """The experiments that come with this package."""
    folder = resources.files("experiments") / "shipped"
    return sorted(
        file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml")
    )


def _open(name: str) -> tuple[str, str, Path]:
    """The text, what messages call it, and the folder that its paths are relative to."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1 or path.is_file():
        return read_text(path), str(path), path.absolute().parent
    if name not in shipped_names():
        problem = unknown("experiment", name, shipped_names())
        raise ConfigError(f"{problem[:-1]}; or the path of a YAML file)")
    file = resources.files("experiments") / "shipped" / f"{name}.yaml"
    return file.read_text(encoding="utf-8"), f"{name}.yaml", Path.cwd()


def load_config(name_or_path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read and check an experiment.

    Args:
        name_or_path: a shipped name or the path of a YAML file.
        overrides: for example ``budget.trials=100``; values are read as YAML.

    Raises:
        ConfigError: one line with the file and line (or the override), the key, what is wrong,
            and the nearest known key.
    """
    text, called, folder = _open(str(name_or_path))
    source = Source(text, called)
    for assignment in overrides:
        source.override(assignment)
    _absolute_paths(source, folder)
    # JSON is the strict mode in which a list is a tuple and an int a float, but "40" is no int.
    try:
        text = json.dumps(source.data, default=str)
        return ExperimentConfig.model_validate_json(text, strict=True)
    except ValidationError as error:
        path, why = first_problem(error, ExperimentConfig, source.data)
        key = f"{dotted(path)}: " if path else ""
        raise ConfigError(f"{source.place(path)}: {key}{why}") from None


def locate(name_or_path: str | Path, overrides: Sequence[str], path: KeyPath) -> str:
    """Where a key of an experiment was written: ``file:line``, or the override in or above it."""
    inside = [
        text for text in overrides if text.startswith((f"{dotted(path)}.", f"{dotted(path)}="))
    ]
    if len(inside) == 1:
        return f"--set {inside[0]}"
    text, called, _ = _open(str(name_or_path))
    source = Source(text, called)
    for assignment in overrides:
        source.override(assignment)
    return source.place(path)


def _absolute_paths(source: Source, folder: Path) -> None:
    """Make the paths of user files absolute: relative to the YAML, or to where --set was typed."""
    for section in ("task", "space"):
        options = source.data.get(section)
        if isinstance(options, dict) and options.get("kind") == "python":
            _absolute(source, (section,), options, folder, ".py")
    devices = source.data.get("devices")
    for alias, device in devices.items() if isinstance(devices, dict) else ():
        if isinstance(device, dict):
            _absolute(source, ("devices", alias), device, folder, ".yaml")


def _absolute(
    source: Source, path: tuple[str, ...], options: dict[str, Any], folder: Path, suffix: str
) -> None:
    for key, value in options.items():
        if isinstance(value, str) and value.partition(":")[0].endswith(suffix):
            base = Path.cwd() if source.is_override((*path, key)) else folder
            options[key] = str((base / Path(value).expanduser()).resolve())


def dump_yaml(config: ExperimentConfig) -> str:
    """The configuration with every default written out, read back equal by `load_config`."""
    return dump(config.model_dump(mode="json"))
