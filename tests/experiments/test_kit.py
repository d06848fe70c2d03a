"""A kit: written, measured by its own script without anything of ours, and read again."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hw_profiles
from experiments import kit_measure
from experiments.calibrating_networks import Plan
from experiments.kit import write_kit
from experiments.kit_results import read_results
from tests.experiments.calibrated import SHAPE

PLAN = Plan(
    hw_profiles.load("host-cpu"), "convnet", SHAPE, 6, ("float32", "int8"), options={"stages": 1}
)
ALONE = """
import runpy, sys
sys.path[:] = [path for path in sys.path if {root!r} not in (path, path.rstrip("/"))]
sys.argv = ["measure.py", *{arguments!r}]
try:
    runpy.run_path({script!r}, run_name="__main__")
finally:
    loaded = {{name.partition(".")[0] for name in sys.modules}}
    print("found:", sorted(loaded & {strange!r}))
"""
STRANGE = {
    *("nas", "evaluators", "experiments", "hw_profiles", "search_spaces", "strategies"),
    *("torch", "onnx", "scipy", "yaml", "pandas"),
}
"""What a kit must not need."""


def measure(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a kit in a Python without our folder, the user's packages or settings."""
    root = str(Path(kit_measure.__file__).parents[1])
    script = str(folder / "measure.py")
    code = ALONE.format(root=root, arguments=list(arguments), script=script, strange=STRANGE)
    return subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kits") / "kit"
    write_kit(folder, PLAN)
    return folder


@pytest.fixture(scope="session")
def measured(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "kit"
    shutil.copytree(kit, folder)
    done = measure(folder, "--rounds", "3")
    assert done.returncode == 0, done.stderr
    assert "found: []" in done.stdout, "measure.py imports what is ours"
    return folder


@pytest.fixture
def copy(measured: Path, tmp_path: Path) -> Path:
    """A kit that was measured, to spoil."""
    return Path(shutil.copytree(measured, tmp_path / "kit"))


def changed(folder: Path, change: Callable[[Any], object], name: str = "results.json") -> Path:
    path = folder / name
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return folder


def test_a_kit_holds_what_its_manifest_says(kit: Path) -> None:
    manifest = json.loads((kit / "manifest.json").read_text())
    assert len(manifest["networks"]) == 12
    assert {entry["dtype"] for entry in manifest["networks"]} == {"float32", "int8"}
    files = {entry["file"] for entry in manifest["networks"]}
    rest = {"manifest.json", "measure.py", "README.txt", "reference.onnx"}
    assert {path.name for path in kit.iterdir()} == files | rest
    assert manifest["input_shape"] == [1, 16, 16]
    assert all(entry["macs"] > 0 for entry in manifest["networks"])
    readme = (kit / "README.txt").read_text()
    assert "nas calibrate --import results.json --profile host-cpu" in readme
    assert "{" not in readme


def test_a_kit_does_not_overwrite_anything(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(ValueError, match="the folder of a kit must be new or empty"):
        write_kit(tmp_path, PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_script_is_old_enough_for_python_3_8() -> None:
    source = Path(kit_measure.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= set(sys.stdlib_module_names)
    newer = {"removeprefix", "removesuffix", "file_digest", "pairwise", "batched", "zip"}
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not newer & used


def test_rounds_in_which_the_machine_was_disturbed_do_not_count() -> None:
    quiet, busy = [(0.006, 1.0)] * kit_measure.ENOUGH, [(0.009, 1.7)] * 20
    results: dict[str, Any] = {
        "setting": {"clock": "thread CPU time"},
        "networks": {
            "a": {"rounds_ms": [*quiet, *busy], "passes": 3},
            "never quiet": {"rounds_ms": [(0.012, 0.3), (0.011, 0.33)] * 20, "passes": 9},
            "cold": {"rounds_ms": [(0.012, 3.0)] * 20, "passes": 9},
            "failed": {"error": "why"},
        },
    }
    kit_measure.conclude(results)
    found = results["networks"]
    assert found["a"]["latency_ms"] == pytest.approx(1.0)
    # Corrected by the reference, but not to less than was ever seen: it may be slow for its caches.
    assert 0.006 < kit_measure.usual_ms(results) < 0.012
    assert found["never quiet"]["latency_ms"] == 0.3
    assert found["cold"]["latency_ms"] == 3.0
    assert kit_measure.is_settled(results, "a")
    assert not kit_measure.is_settled(results, "never quiet")
    assert not kit_measure.is_settled(results, "failed")


def test_without_good_moments_the_reference_corrects() -> None:
    """The network was seen at its best only once, in a moment that was slow for the reference."""
    rounds = [(0.009, 1.0), *[(0.008, 2.0)] * 30]
    results: dict[str, Any] = {
        "setting": {"clock": "thread CPU time"},
        "networks": {
            "a": {"rounds_ms": [(0.006, 1.0)] * 20, "passes": 3},
            "b": {"rounds_ms": rounds, "passes": 9},
        },
    }
    kit_measure.conclude(results)
    usual = kit_measure.usual_ms(results)
    assert 1.0 < results["networks"]["b"]["latency_ms"] == pytest.approx(2.0 * usual / 0.008)


def test_disturbances_between_two_looks_do_no_harm() -> None:
    """The reference was fast before and after, but half of the time the network was not."""
    rounds = [(0.006, 1.0), (0.006, 1.4)] * kit_measure.ENOUGH
    results: dict[str, Any] = {
        "setting": {"clock": "thread CPU time"},
        "networks": {"a": {"rounds_ms": rounds, "passes": 3}},
    }
    kit_measure.conclude(results)
    assert results["networks"]["a"]["latency_ms"] == pytest.approx(1.0)


def test_the_reference_is_looked_at_before_and_after() -> None:
    now_ns, costs = [0], iter([])

    def reference() -> None:
        now_ns[0] += next(costs)

    def network() -> None:
        now_ns[0] += 10**6

    slow = 10**6 * 2
    # Finding out, with a warm-up each; then a warm-up and a look before and after each block.
    costs = iter([10**6] * 6 + [10**6] * 2 + [10**6, slow] + [10**6] * 4)
    pairs = kit_measure.in_turns(reference, network, lambda: now_ns[0], 3)
    assert pairs == [(2.0, 1.0), (2.0, 1.0), (1.0, 1.0)]


def test_every_network_is_measured_with_the_setting(measured: Path) -> None:
    results = json.loads((measured / "results.json").read_text())
    assert len(results["networks"]) == 12
    assert all(0 < each["latency_ms"] < 50 for each in results["networks"].values())
    assert results["setting"]["runtime"].startswith("onnxruntime 1.")
    assert results["setting"]["clock"] == "thread CPU time"
    assert results["setting"]["machine"]["processor"]
    found = read_results(measured)
    assert len(found.samples) == 12
    assert found.missing == ()
    assert (found.setting.batch, found.setting.threads, found.profile) == (1, 1, "host-cpu")


def test_results_come_back_without_the_rest_of_the_kit(measured: Path, tmp_path: Path) -> None:
    shutil.copy(measured / "results.json", tmp_path / "phone.json")
    assert read_results(tmp_path / "phone.json").samples == read_results(measured).samples


def test_a_second_start_measures_only_what_is_missing(copy: Path) -> None:
    def settle(record: Any) -> None:
        for found in record["networks"].values():  # as on a machine that nothing disturbed
            found.update(rounds_ms=[[1.0, 2.0]] * 30, passes=3)

    def lose_two(record: Any) -> None:
        for name in gone:
            del record["networks"][name]

    changed(copy, settle)
    before = json.loads((copy / "results.json").read_text())["networks"]
    gone = sorted(before)[:2]
    changed(copy, lose_two)
    done = measure(copy, "--rounds", "3")
    assert done.returncode == 0, done.stderr
    assert f"{len(before) - 2} networks are measured already" in done.stdout
    after = json.loads((copy / "results.json").read_text())["networks"]
    assert sorted(after) == sorted(before)
    for name in sorted(set(before) - set(gone)):
        assert after[name]["rounds_ms"] == before[name]["rounds_ms"]
    assert all(after[name]["passes"] >= 3 for name in gone)


def test_results_of_another_setting_are_not_mixed(copy: Path) -> None:
    done = measure(copy, "--rounds", "3", "--threads", "2")
    assert done.returncode == 1
    assert "is of another kit or setting: move it away, or use --again" in done.stderr


def test_a_file_that_was_damaged_on_the_way_is_named(copy: Path) -> None:
    (copy / "convnet-3-int8.onnx").write_bytes(b"half of it")
    done = measure(copy, "--again")
    assert done.returncode == 1
    assert "convnet-3-int8.onnx is not the file of this kit: copy it again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_network_that_does_not_run_is_named_and_the_rest_measured(copy: Path) -> None:
    (copy / "convnet-3-int8.onnx").write_bytes(b"nothing that runs")
    wrong = kit_measure.sha256_of(str(copy / "convnet-3-int8.onnx"))

    def own(record: Any) -> None:
        for entry in record["networks"]:
            if entry["file"] == "convnet-3-int8.onnx":
                entry["sha256"] = wrong

    changed(copy, own, "manifest.json")
    done = measure(copy, "--again", "--rounds", "2")
    assert done.returncode == 1
    assert "convnet-3-int8  FAILED:" in done.stdout
    with pytest.raises(
        ValueError, match="1 of 12 networks have no latency, the first is convnet-3-int8"
    ):
        read_results(copy)
    found = read_results(copy, allow_missing=True)
    assert found.missing == ("convnet-3-int8",)
    assert len(found.samples) == 11


def test_another_program_can_do_the_measuring(copy: Path) -> None:
    program = copy / "tool.py"
    program.write_text(
        "import sys\n"
        "name, shape = sys.argv[1:]\n"
        "print('warm: 9 us')\n"
        "print('mean:', 1500 + len(name), 'us', shape)\n"
    )
    command = f"{sys.executable} {program} {{name}} {{shape}}"
    done = measure(copy, "--again", "--command", command, "--pattern", r"mean: (\d+) us 1x1x16x16",
                   "--unit", "us")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_results(copy)
    assert found.samples[1].latency_ms == pytest.approx(1.514)
    assert found.setting.runtime == command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--command", "false", "--pattern", "(x)"), "exit code 1"),
        (("--command", "echo 3", "--pattern", "(x)"), "no time in its output: 3"),
        (("--command", "echo x", "--pattern", "(x)"), "found 'x', which is no number"),
        (("--command", "no-such-program", "--pattern", "(x)"), "cannot run no-such-program"),
    ],
)
def test_a_program_that_does_not_work_is_quoted(
    copy: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = measure(copy, "--again", "--rounds", "1", *arguments)
    assert done.returncode == 1
    assert message in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--command", "echo"), "--command and --pattern belong together"),
        (("--command", "echo", "--pattern", "x"), "--pattern needs a group"),
        (("--command", "echo", "--pattern", "("), "--pattern:"),
        (("--rounds", "-1"), "must be at least 1"),
        (("--provider", "NoProvider"), "onnxruntime has no NoProvider here, it has: "),
    ],
)
def test_wrong_options_of_the_script_are_refused(
    kit: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = measure(kit, *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (kit / "results.json").exists()


def spoiled(what: str) -> Callable[[Any], object]:
    def change(record: Any) -> None:
        one = record["networks"]["convnet-2-float32"]
        if what == "hash":
            one["sha256"] = "0" * 64
        elif what == "gone":
            del record["networks"]["convnet-2-float32"], record["networks"]["convnet-5-int8"]
        elif what == "format":
            record["kit"]["format"] = 7
        elif what == "space":
            record["kit"]["networks"][0]["macs"] += 1
        elif what == "kit":
            del record["kit"]
        else:
            one["latency_ms"] = {"nan": float("nan"), "zero": 0, "minus": -1.5, "text": "1"}[what]

    return change


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("hash", r"convnet-2-float32 has another hash than in the kit \(1 network in all\)"),
        ("gone", r"2 of 12 networks have no latency, the first is convnet-2-float32 \(it was not"),
        ("nan", "latency of convnet-2-float32 must be a positive number of milliseconds.* nan"),
        ("zero", "latency of convnet-2-float32 must be a positive number of milliseconds.* 0 "),
        ("minus", "latency of convnet-2-float32 must be a positive number of mill.* -1.5"),
        ("text", "latency of convnet-2-float32 must be a positive number of milliseconds"),
        ("format", "has format 7, but this reads 1"),
        ("space", r"convnet-1-float32 is another network in the space as it is now \(1 network"),
        ("kit", "is no result of a kit: KeyError"),
    ],
)
def test_spoiled_results_are_refused_in_one_line(copy: Path, what: str, message: str) -> None:
    changed(copy, spoiled(what))
    with pytest.raises(ValueError, match=message) as caught:
        read_results(copy)
    assert "\n" not in str(caught.value)


def test_results_of_another_kit_are_refused(copy: Path) -> None:
    changed(copy, lambda record: record["networks"].pop(), "manifest.json")
    with pytest.raises(ValueError, match=r"results.json is of another kit than .*manifest.json"):
        read_results(copy)


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*results.json: No such file"):
        read_results(tmp_path)
    path = tmp_path / "results.json"
    for text, message in (("{", "is no JSON"), ("[]", "no result"), ("{}", "no result of a kit")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_results(path)


def test_a_kit_for_a_space_that_is_too_small_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="convnet needs images"):
        write_kit(tmp_path / "kit", replace(PLAN, input_shape=(16,)))
    assert not (tmp_path / "kit").exists()
