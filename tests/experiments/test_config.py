from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.training_config import TrainingConfig
from experiments.config import (
    ConfigError,
    ExperimentConfig,
    dump_yaml,
    load_config,
    shipped_names,
)
from nas.objectives import Constraint, Objective

ROOT = Path(__file__).parents[2]
DESIGN = """\
name: digits-cpu
task:        {kind: digits, size: 16}
space:       {kind: convnet}
compression: {prune: [none, structured], quantize: [none, dynamic, static]}
strategy:    {kind: bayesian, sampler: tpe}
objectives:  [{maximize: accuracy}, {minimize: latency_ms.cpu}, {minimize: size_kb}]
constraints: ["latency_ms.fpga <= 1.0"]
devices:
  cpu:  {profile: host-cpu,    method: measured, runtime: onnxruntime}
  gpu:  {profile: nvidia-a100, method: modeled}
  tpu:  {profile: tpu-v3,      method: modeled}
  fpga: {profile: pynq-z2,     method: modeled}
training:    {epochs: 12, optimizer: sgd, learning_rate: 0.05, gradient_clip: 1.0, device: auto}
budget:      {trials: 40, minutes: 5}
seed: 0
"""
SMALL = """\
name: small
task:
  kind: digits
space:
  kind: convnet
objectives:
  - maximize: accuracy
budget:
  trials: 3
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def load(path: Path, text: str, *overrides: str) -> ExperimentConfig:
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def refusal(path: Path, text: str, *overrides: str) -> str:
    """The one line, without the path of the file."""
    with pytest.raises(ConfigError) as error:
        load(path, text, *overrides)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(path), "mine.yaml")


# -- what is read --


def test_the_example_of_the_design_is_read(path: Path) -> None:
    config = load(path, DESIGN)
    assert config.name == config.tracking_experiment == "digits-cpu"
    assert (config.task.kind, config.task.options) == ("digits", {"size": 16})
    assert (config.strategy.kind, config.strategy.options) == ("bayesian", {"sampler": "tpe"})
    assert config.compression.prune == ("none", "structured")
    assert config.objectives_parsed() == (
        Objective("accuracy", "maximize"),
        Objective("latency_ms.cpu", "minimize"),
        Objective("size_kb", "minimize"),
    )
    assert config.constraints_parsed() == (Constraint("latency_ms.fpga", "<=", 1.0),)
    assert list(config.devices) == ["cpu", "gpu", "tpu", "fpga"]
    assert (config.devices["cpu"].method, config.devices["cpu"].runtime) == (
        "measured",
        "onnxruntime",
    )
    assert config.training == TrainingConfig(epochs=12, learning_rate=0.05)
    assert (config.budget.trials, config.budget.minutes) == (40, 5.0)


def test_what_is_left_out_has_its_default(path: Path) -> None:
    config = load(path, SMALL)
    assert config.training == TrainingConfig()
    assert config.compression.prune == config.compression.quantize == ("none",)
    assert config.budget.minutes is None
    assert config.budget.rejected_cap == 30
    assert config.devices == {}
    assert (config.seed, config.workers, config.memory_gb) == (0, None, None)
    assert config.tracking.enabled


def test_the_cap_on_rejected_candidates_can_be_set(path: Path) -> None:
    assert load(path, SMALL, "budget.rejected=0").budget.rejected_cap == 0


@pytest.mark.parametrize("text", [DESIGN, SMALL])
def test_it_is_written_and_read_back_equal(path: Path, text: str) -> None:
    config = load(path, text)
    written = dump_yaml(config)
    assert load(path, written) == config
    assert "nesterov: true" in written  # defaults too: a later version may have others


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
        | st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
        | st.sampled_from(["1e3", "-1.5E-3", "2026-01-02", "no", "~", "1:30", ".inf", "0x1f"])
        | st.lists(st.integers()),
    )
)  # fmt: skip
def test_options_of_implementations_come_back_as_they_were(options: dict[str, Any]) -> None:
    options.pop("kind", None)
    config = load_config("smoke")
    space = type(config.space).model_validate({"kind": "convnet", **options})
    changed = config.model_copy(update={"space": space})
    with tempfile.TemporaryDirectory() as folder:
        assert load(Path(folder) / "x.yaml", dump_yaml(changed)).space.options == options


def test_numbers_may_be_written_with_an_exponent_only(path: Path) -> None:
    assert load(path, SMALL + "training: {learning_rate: 1e-3}\n").training.learning_rate == 0.001
    assert load(path, SMALL, "training.weight_decay=5E-4").training.weight_decay == 0.0005


def test_whole_numbers_are_shares_and_times_too(path: Path) -> None:
    config = load(path, SMALL + "training: {learning_rate: 1}\n")
    assert isinstance(config.training.learning_rate, float)


def test_searches_can_share_an_mlflow_experiment(path: Path) -> None:
    config = load(path, SMALL + "tracking: {experiment: digits, enabled: false}\n")
    assert (config.tracking_experiment, config.tracking.enabled) == ("digits", False)


def test_constraints_know_when_an_estimate_rejects(path: Path) -> None:
    assert load(path, DESIGN).constraints_parsed()[0].reject_above == 0.95
    (constraint,) = load(path, DESIGN, "screening.reject_above=0.8").constraints_parsed()
    assert constraint == Constraint("latency_ms.fpga", "<=", 1.0, 0.8)


def test_runtimes_and_dtypes_may_be_lists(path: Path) -> None:
    config = load(path, DESIGN, "devices.cpu.runtime=[onnxruntime, openvino]")
    cpu = config.devices["cpu"]
    assert (cpu.runtimes, cpu.dtypes) == (("onnxruntime", "openvino"), ("",))
    assert cpu.is_chosen
    assert not config.devices["gpu"].is_chosen
    assert load(path, dump_yaml(config)) == config


# -- overrides --


@pytest.mark.parametrize(
    ("override", "of", "expected"),
    [
        ("budget.trials=100", lambda c: c.budget.trials, 100),
        ("budget.minutes=0.5", lambda c: c.budget.minutes, 0.5),
        ("budget.minutes=", lambda c: c.budget.minutes, None),
        ("strategy.kind=random", lambda c: c.strategy.kind, "random"),
        ("strategy.population=12", lambda c: c.strategy.options["population"], 12),
        ("objectives.1.minimize=macs", lambda c: c.objectives[1].minimize, "macs"),
        ("compression.prune=[none, magnitude]", lambda c: c.compression.prune[1], "magnitude"),
        ("devices.cpu2={profile: host-cpu, method: modeled}", lambda c: len(c.devices), 5),
        ("devices.cpu.threads=2", lambda c: c.devices["cpu"].threads, 2),
        ("constraints=['size_kb <= 9']", lambda c: c.constraints_parsed()[0].bound, 9.0),
        ("tracking.uri=http://host:5000?a=b", lambda c: c.tracking.uri, "http://host:5000?a=b"),
    ],
)
def test_an_override_replaces_a_value(path: Path, override: str, of: Any, expected: Any) -> None:
    assert of(load(path, DESIGN, override)) == expected


def test_the_last_override_counts(path: Path) -> None:
    assert load(path, SMALL, "seed=1", "seed=2").seed == 2


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("budget.trails=3", "--set budget.trails=3: budget.trails: unknown key; did you mean 'tri"),
        ("budget.trials=0", "--set budget.trials=0: budget.trials: must be greater than or equal"),
        ("budget.trials=many", "--set budget.trials=many: budget.trials: must be a valid integer"),
        ("budget", "--set budget: must look like budget.trials=100"),
        ("=3", "--set =3: must look like budget.trials=100"),
        ("a..b=3", "--set a..b=3: must look like budget.trials=100"),
        ("seed=[", "--set seed=[: the value is no YAML"),
        ("seed.x=3", "--set seed.x=3: seed is a value and holds no keys"),
        ("objectives.7=3", "--set objectives.7=3: objectives is a list of 3, so '7' is none of"),
        ("objectives.x=3", "--set objectives.x=3: objectives is a list of 3, so 'x' is none of"),
        (
            "task={kind: digits, kind: x}",
            "--set task={kind: digits, kind: x}: task.kind: is there t",
        ),
        ("devices={}", "mine.yaml:6: objectives: name 'latency_ms.cpu', but that is an unknown d"),
    ],
)
def test_a_wrong_override_is_named_in_one_line(path: Path, override: str, line: str) -> None:
    assert refusal(path, DESIGN, override).startswith(line)


# -- what is refused --


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("budget:", "budgte:", "8: budgte: unknown key; did you mean 'budget'?"),
        ("trials", "trails", "9: budget.trails: unknown key; did you mean 'trials'? (known: con"),
        ("trials: 3", "trials: 0", "9: budget.trials: must be greater than or equal to 1, but go"),
        ("trials: 3", "trials: '3'", "9: budget.trials: must be a valid integer, but got '3'"),
        ("trials: 3", "trials: 3.5", "9: budget.trials: must be a valid integer"),
        ("trials: 3", "trials: true", "9: budget.trials: must be a valid integer, but got True"),
        ("trials: 3", "rejected: 3", "8: budget: needs trials, minutes or epochs, but"),
        ("trials: 3", "{trials: 3, minutes: 0}", "9: budget.minutes: must be greater than 0"),
        ("name: small", "name: a/b", "1: name: must match pattern"),
        ("name: small", "name: 2026", "1: name: must be a valid string, but got 2026"),
        ("name: small\n", "", "1: name: is missing"),
        ("  kind: digits", "  size: 8", "2: task.kind: is missing"),
        ("task:\n  kind: digits", "task: digits", "2: task: must be a mapping of keys to values"),
        ("maximize: accuracy", "maximise: accuracy", "7: objectives.0.maximise: unknown key; did"),
        ("- maximize: accuracy", "- accuracy", "7: objectives.0: must be a mapping"),
        ("maximize: accuracy", "maximize: 7", "7: objectives.0.maximize: must be a valid string"),
        ("maximize: accuracy", "maximize: a b", "7: objectives.0: a metric is named like 'latenc"),
        (
            "maximize: accuracy",
            "{maximize: accuracy, minimize: macs}",
            "7: objectives.0: an objective is either {maximize: METRIC} or {minimize: METRIC}",
        ),
        ("  - maximize: accuracy", "  []", "6: objectives: must have at least 1 item, but got non"),
        (
            "  - maximize: accuracy",
            "  - minimize: macs\n  - maximize: macs",
            "6: objectives: must name different metrics, but got ['macs', 'macs']",
        ),
        (
            "  - maximize: accuracy",
            "  - minimize: accuracy",
            "7: objectives.0: 'accuracy' is something to maximize, but got 'minimize'",
        ),
        (
            "maximize: accuracy",
            "minimize: latency_ms.cpu",
            "6: objectives: name 'latency_ms.cpu', but that is an unknown device 'cpu' "
            "(no devices are configured)",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(path: Path, old: str, new: str, line: str) -> None:
    assert old in SMALL
    assert refusal(path, SMALL.replace(old, new, 1)).startswith(f"mine.yaml:{line}")


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("seed: -1", "seed: must be greater than or equal to 0, but got -1"),
        ("trial_limit_s: .inf", "trial_limit_s: must be a finite number"),
        ("memory_gb: 0", "memory_gb: must be greater than 0, but got 0"),
        ("workers: 0", "workers: must be greater than or equal to 1, but got 0"),
        ("constraints: [accuracy > 1]", "constraints: a constraint looks like 'latency_ms.cpu <= "),
        ("constraints: [accuracy >= high]", "constraints: a constraint looks like"),
        ("constraints: [latency_ms.fpga <= 1]", "constraints: name 'latency_ms.fpga', but that is"),
        ("constraints: accuracy <= 1", "constraints: must be a list in brackets, but got 'accur"),
        ("training: {epoch: 3}", "training.epoch: unknown key; did you mean 'epochs'?"),
        ("training: {epochs: 0}", "training.epochs: must be an integer of at least 1, but got 0"),
        ("training: {epochs: three}", "training.epochs: must be a valid integer, but got 'three'"),
        ("training: {optimizer: adam}", "training.optimizer: must be 'sgd', but got 'adam'"),
        ("early_stopping: {rule: median}", "early_stopping.rule: must be 'none', 'prediction' or"),
        ("early_stopping: {confidence: 95}", "early_stopping.confidence: must be less than 1, "),
        ("early_stopping: {graze: 0.1}", "early_stopping.graze: unknown key; did you mean 'grace'"),
        ("compression: {prune: [all]}", "compression.prune.0: must be 'none', 'structured', 'mag"),
        ("compression: {prune: []}", "compression.prune: lists at least one method, each once, "),
        ("compression: {quantize: [none, none]}", "compression.quantize: lists at least one"),
        ("devices: {cpu: {profile: x}}", "devices.cpu.method: is missing"),
        ("devices: {cpu: {profile: x, method: measure}}", "devices.cpu.method: unknown method 'me"),
        (
            "devices: {fpga: {profile: x, method: fpga_cpu}}",
            "devices.fpga.method: unknown method 'fpga_cpu'",
        ),
        (
            "compression: {quantize: [qat], weight_bits: [4, 9]}",
            "compression.weight_bits: must be an integer from 1 to 8, but got 9",
        ),
        (
            "compression: {weight_bits: [4]}",
            "compression.weight_bits: is of the scheme qat, but quantize does not list it",
        ),
        (
            "devices: {fpga: {profile: x, method: fpga_dataflow, dtype: int16}}",
            "devices.fpga.dtype: must be left out where the method is fpga_dataflow, whose bit-wid",
        ),
        (
            "constraints: [accuracy >= 95]",
            "constraints: 'accuracy' is a share, its bound is from 0 to 1, but got 95",
        ),
        ("constraints: [dsp.fpgi <= 9]", "constraints: name 'dsp.fpgi', but that is an unknown"),
        (
            "devices: {cpu: {profile: x, method: modeled, batch: 0}}",
            "devices.cpu.batch: must be greater than or equal to 1, but got 0",
        ),
        (
            "devices: {cpu: {profil: x, method: modeled}}",
            "devices.cpu.profil: unknown key; did you mean 'profile'?",
        ),
        ("devices: {a.b: {profile: x, method: modeled}}", "devices.a.b: must match pattern"),
        ("tracking: {url: x}", "tracking.url: unknown key; did you mean 'uri'?"),
        ("screening: {reject_above: 0}", "screening.reject_above: must be greater than 0, but go"),
        ("screening: {reject_above: 95}", "screening.reject_above: must be less than or equal to"),
        (
            "devices: {cpu: {profile: x, method: measured, runtime: []}}",
            "devices.cpu.runtime: lists at least one name, each once, but got []",
        ),
        (
            "devices: {cpu: {profile: x, method: measured, dtype: [a, a]}}",
            "devices.cpu.dtype: lists at least one name, each once, but got ['a', 'a']",
        ),
        (
            "devices: {cpu: {profile: x, method: measured, runtime: 3}}",
            "devices.cpu.runtime: must be a valid string, but got 3",
        ),
        (
            "devices: {cpu: {profile: x, method: modeled, dtype: [float32, bfloat16]}}",
            "devices.cpu.dtype: may be a list only where the method is measured, but it is modeled",
        ),
        (
            "devices: {cpu: {profile: x, method: measured, runtime: [a, b]}, "
            "b: {profile: x, method: measured}}",
            "devices: must have one measured device where its runtime or dtype is chosen (cpu), ",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_section_is_one_line(path: Path, section: str, line: str) -> None:
    assert refusal(path, f"{SMALL}{section}\n").startswith(f"mine.yaml:10: {line}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "mine.yaml: must be a mapping of keys to values"),
        ("- a\n- b\n", "mine.yaml: must be a mapping of keys to values"),
        ("name: [\n", "mine.yaml:2: "),
        ("name: x\n\tseed: 0\n", "mine.yaml:2: "),
        ("a: 1\n---\nb: 2\n", "mine.yaml:2: "),
        ("name: x\nname: y\n", "mine.yaml:2: name: is there twice"),
        ("budget: {trials: 1,\n  trials: 2}\n", "mine.yaml:2: budget.trials: is there twice"),
        ("name: &x\n  a: *x\n", "mine.yaml:2: name.a: refers to itself"),
        ("name: !!python/object:os.system {}\n", "mine.yaml:1: could not determine a constructor"),
        ("name: \x00\n", "mine.yaml: "),
    ],
)
def test_what_is_no_configuration_is_one_line(path: Path, text: str, line: str) -> None:
    assert refusal(path, text).startswith(line)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_config(tmp_path / "none.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_a_file_that_is_no_text_is_one_line(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ConfigError, match="is not a UTF-8 text"):
        load_config(path)


# -- shipped experiments --


def test_a_circuit_needs_a_network_of_few_bits(path: Path) -> None:
    line = refusal(path, f"{SMALL}devices: {{fpga: {{profile: x, method: fpga_rtl}}}}\n")

    assert line == (
        "mine.yaml:1: compression.quantize must be [qat] with the method fpga_rtl (fpga), "
        "but got [none]"
    )


def test_the_shipped_ones_are_listed_and_read() -> None:
    shipped = [
        "digits-cpu",
        "digits-cpu-genetic",
        "digits-cpu-guided",
        "digits-fpga",
        "digits-tpu",
        "smoke",
    ]
    assert shipped_names() == shipped
    assert [load_config(name).name for name in shipped_names()] == shipped_names()


@pytest.mark.parametrize("name", ["digits-cpu-genetic", "digits-cpu-guided"])
def test_the_digits_searches_differ_in_their_strategy_only(name: str) -> None:
    one, other = (load_config(each).model_dump() for each in ("digits-cpu", name))
    assert {key for key in one if one[key] != other[key]} == {"name", "strategy"}
    assert one["budget"]["trials"] == 40
    assert one["task"]["size"] == 16


@pytest.mark.parametrize("name", ["digits-cpu", "smoke"])
def test_shipped_experiments_have_a_measured_and_three_modeled_devices(name: str) -> None:
    methods = {alias: d.method for alias, d in load_config(name).devices.items()}
    assert methods == {"cpu": "measured", "gpu": "modeled", "tpu": "modeled", "fpga": "modeled"}


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        load_config("digits-cpy")
    assert str(error.value) == (
        "unknown experiment 'digits-cpy'; did you mean 'digits-cpu'? "
        "(known: digits-cpu, digits-cpu-genetic, digits-cpu-guided, digits-fpga, digits-tpu, "
        "smoke; or the path of a YAML file)"
    )


def test_a_mistake_in_an_override_of_a_shipped_one_is_placed() -> None:
    with pytest.raises(ConfigError, match=r"^smoke\.yaml:7: objectives: name 'latency_ms\.cpu'"):
        load_config("smoke", ["devices={}"])


# -- paths in it --


def test_paths_are_relative_to_the_file_and_to_where_the_override_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SMALL.replace("kind: digits", "kind: python\n  function: data/mine.py:task")
    text += "devices: {npu: {profile: boards/npu.yaml, method: modeled}}\n"
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = tmp_path / "folder" / "mine.yaml"
    config = load(path, text)
    assert config.task.options["function"] == f"{tmp_path}/folder/data/mine.py:task"
    assert config.devices["npu"].profile == f"{tmp_path}/folder/boards/npu.yaml"
    assert load_config(Path("../folder/mine.yaml")).task == config.task
    typed = load_config(path, ["task.function=other.py:task"])
    assert typed.task.options["function"] == f"{tmp_path}/elsewhere/other.py:task"


def test_modules_names_and_absolute_paths_stay_as_they_are(path: Path) -> None:
    for function in ("my.module:task", "/data/mine.py:task"):
        text = SMALL.replace("kind: digits", f"kind: python\n  function: {function}")
        assert load(path, text).task.options["function"] == function
    config = load(path, SMALL + "devices: {cpu: {profile: host-cpu, method: modeled}}\n")
    assert config.devices["cpu"].profile == "host-cpu"


def test_only_pydantic_and_yaml_are_needed() -> None:
    script = (
        "import sys\nimport experiments.config\n"
        "experiments.config.load_config('smoke')\n"
        "heavy = {'torch', 'pandas', 'mlflow', 'optuna', 'deap', 'numpy', 'scipy', 'moocore'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert output.stdout == "[]\n", output.stderr
