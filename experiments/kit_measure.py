#!/usr/bin/env python3
r"""Measure the networks of this folder on this machine and write results.json.

    python3 measure.py

Needs Python 3.8 or newer, onnxruntime and numpy, nothing else. It shows how far it is, may be
stopped at any time (Ctrl-C), and goes on where it was when it is started again. Other runtimes are
measured by their own command lines, whose output is searched for the time of a call:

    python3 measure.py --command 'trtexec --onnx={model} --shapes=input:{shape} --fp16' \
        --pattern 'GPU Compute Time:.*median = ([0-9.]+) ms'
    python3 measure.py --command 'benchmark_model --graph=tflite/{name}.tflite --num_threads=1' \
        --pattern 'Inference \(avg\): ([0-9.e+]+)' --unit us
"""

# This file is copied as it is to machines that have nothing else of its project.

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import platform
import random
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

MILLISECONDS = {"ms": 1.0, "us": 1e-3, "s": 1e3}
COMMAND_CLOCK = "as the command says"
BLOCK_NS, LOOK_NS = 2e5, 5e4
"""A network and the reference are timed for so long at once: disturbances come and go within
milliseconds."""
WARMUPS = 1
ROUNDS = 30
"""Of one network in one pass."""
PASSES, MOST_PASSES = 3, 12
ENOUGH = 20
"""Rounds in good moments that make a latency."""
NEAR = 1.2
"""The reference network at less than this multiple of its usual time: a good moment."""
UNDISTURBED = 0.1
"""Of the rounds in good moments; in most of the others a disturbance came in between."""


class MeasuringError(Exception):
    """What is said to the user in one line."""


def main() -> int:
    """Measure what is not measured yet; the exit code is 1 where something went wrong."""
    options = read_options()
    folder = os.path.abspath(options.folder)
    try:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        setting = read_setting(options)
        results = earlier_results(folder, manifest, setting, options.again)
        return measure_all(folder, manifest, options, results)
    except MeasuringError as trouble:
        print(f"measure.py: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; start it again to go on", file=sys.stderr)
        return 1


def read_options() -> argparse.Namespace:
    """What was typed."""
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", default=here, help="that has the manifest.json")
    parser.add_argument("--threads", type=int, default=1, help="of onnxruntime")
    parser.add_argument("--provider", default="CPUExecutionProvider", help="of onnxruntime")
    parser.add_argument(
        "--rounds", type=int, default=0, help=f"a pass [default: {ROUNDS}; 3 of a command]"
    )
    parser.add_argument(
        "--command", default="", help="{model} {name} {batch} {shape} are filled in"
    )
    parser.add_argument("--pattern", default="", help="regular expression; group 1 is the time")
    parser.add_argument("--unit", choices=sorted(MILLISECONDS), default="ms", help="of that time")
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.command else ROUNDS)
    if options.threads < 1 or options.rounds < 1:
        parser.error("--threads and --rounds must be at least 1")
    if bool(options.command) != bool(options.pattern):
        parser.error("--command and --pattern belong together")
    try:
        groups = re.compile(options.pattern).groups
    except re.error as error:
        parser.error(f"--pattern: {error}")
    if options.command and groups < 1:
        parser.error("--pattern needs a group (...) around the time")
    return options


def read_manifest(folder: str) -> dict[str, Any]:
    """The networks of this kit."""
    path = os.path.join(folder, "manifest.json")
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
        if not manifest["networks"]:
            raise MeasuringError(f"{path} names no networks")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MeasuringError(f"cannot read {path}: {error}") from None
    return dict(manifest)


def sha256_of(path: str) -> str:
    """Of a file, 64 hexadecimal digits."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise MeasuringError(f"cannot read {path}: {error.strerror}") from None


def check_files(folder: str, manifest: dict[str, Any]) -> None:
    """Every file must be the one that the kit was made with."""
    for entry in [*manifest["networks"], manifest["reference"]]:
        path = os.path.join(folder, entry["file"])
        if sha256_of(path) != entry["sha256"]:
            raise MeasuringError(f"{path} is not the file of this kit: copy it again")


def read_setting(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that the times depend on besides the network."""
    machine = {
        "processor": processor(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    if options.command:
        runtime = {"runtime": options.command, "threads": None, "clock": COMMAND_CLOCK}
        return {"machine": machine, "pattern": options.pattern, "unit": options.unit, **runtime}
    onnxruntime = needed("onnxruntime")
    known = onnxruntime.get_available_providers()
    if options.provider not in known:
        raise MeasuringError(
            f"onnxruntime has no {options.provider} here, it has: {', '.join(known)}"
        )
    return {
        "machine": machine,
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "provider": options.provider,
        "threads": options.threads,
        "clock": "thread CPU time" if uses_cpu_clock(options) else "wall time",
    }


def processor() -> str:
    """The name of the processor, as far as the system tells it."""
    for path in ("/proc/cpuinfo", "/proc/device-tree/model"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        named = re.search(r"^(?:model name|Hardware|Model)\s*:\s*(.+)$", text, re.MULTILINE)
        if named:
            return named.group(1).strip()
        if path.endswith("model"):
            return text.strip("\0 \n")
    return platform.processor() or platform.machine()


def needed(name: str) -> Any:
    """A module that must be installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MeasuringError(f"needs {name}: python3 -m pip install {name} ({error})") from None


def earlier_results(
    folder: str, manifest: dict[str, Any], setting: dict[str, Any], again: bool
) -> dict[str, Any]:
    """What an earlier start has found in the same setting; otherwise nothing yet."""
    fresh = {"format": 1, "kit": manifest, "setting": setting, "networks": {}}
    path = os.path.join(folder, "results.json")
    if again or not os.path.exists(path):
        return fresh
    try:
        with open(path, encoding="utf-8") as file:
            results = dict(json.load(file))
        same = results["kit"] == manifest and results["setting"] == setting
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MeasuringError(f"cannot read {path} ({error}): use --again") from None
    if not same:
        raise MeasuringError(f"{path} is of another kit or setting: move it away, or use --again")
    settled = sum(is_settled(results, name) for name in results["networks"])
    if settled:
        print(f"{settled} networks are measured already")
    return results


def measure_all(
    folder: str, manifest: dict[str, Any], options: argparse.Namespace, results: dict[str, Any]
) -> int:
    """Measure in passes over what is not settled yet; everything is kept as soon as it is known."""
    timer = command_timer if options.command else onnxruntime_timer
    measure = timer(folder, manifest, options)
    failed = set()
    for number in range(1 if options.command else MOST_PASSES):
        entries = [
            entry
            for entry in manifest["networks"]
            if entry["name"] not in failed and not is_settled(results, entry["name"])
        ]
        random.Random(number).shuffle(entries)  # so that a drift does not look like a size
        began = time.time()
        for index, entry in enumerate(entries):
            found = results["networks"].setdefault(entry["name"], {"sha256": entry["sha256"]})
            found.pop("error", None)
            try:
                found.setdefault("rounds_ms", []).extend(measure(entry))
                found["passes"] = found.get("passes", 0) + 1
            except MeasuringError as trouble:
                found["error"] = str(trouble)
                failed.add(entry["name"])
            results["date"] = time.strftime("%Y-%m-%d")
            conclude(results)
            write(folder, results)
            show(number, index + 1, len(entries), entry, found, began)
    print(f"{os.path.join(folder, 'results.json')} is written: take it back and import it")
    if failed:
        print(f"{len(failed)} networks could not be measured, see above", file=sys.stderr)
    return 1 if failed else 0


def is_settled(results: dict[str, Any], name: str) -> bool:
    """Whether a network was measured often enough, and in enough moments without disturbance."""
    found = results["networks"].get(name, {})
    if not found.get("passes") or results["setting"]["clock"] == COMMAND_CLOCK:
        return bool(found.get("passes"))
    usual = usual_ms(results)
    return found["passes"] >= PASSES and len(good_ms(found, usual)) >= ENOUGH


def conclude(results: dict[str, Any]) -> None:
    """The latency of every network from its rounds, now that one more is known.

    A busy machine slows every network down by another factor; so the rounds count in which the
    reference network was as fast as usual. With too few of them, the reference corrects; but not to
    less than was ever seen, because large networks leave it cold caches and a lower clock.
    """
    measured = [found for found in results["networks"].values() if found.get("rounds_ms")]
    usual = usual_ms(results)
    for found in measured:
        good = good_ms(found, usual)
        if usual == 0:  # of a command, or a GPU
            found["latency_ms"] = quantile(good, 0.25)
        elif len(good) >= ENOUGH:
            found["latency_ms"] = quantile(good, UNDISTURBED)
        else:
            ratios = [own / reference for reference, own in found["rounds_ms"]]
            fastest = min(own for _, own in found["rounds_ms"])
            found["latency_ms"] = max(fastest, usual * quantile(ratios, 0.25))


def usual_ms(results: dict[str, Any]) -> float:
    """Of the reference network: as fast as it was in the best moments of most networks."""
    known = [found["rounds_ms"] for found in results["networks"].values() if "rounds_ms" in found]
    best = [min(reference for reference, _ in rounds) for rounds in known if rounds]
    return quantile(best, 0.25) if best else 0.0


def good_ms(found: dict[str, Any], usual: float) -> list[float]:
    """The rounds in good moments."""
    return [own for reference, own in found["rounds_ms"] if reference <= NEAR * usual]


def write(folder: str, results: dict[str, Any]) -> None:
    """Write results.json in one step."""
    path = os.path.join(folder, "results.json")
    try:
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
        os.replace(path + ".part", path)
    except OSError as error:
        raise MeasuringError(f"cannot write {path}: {error.strerror}") from None


def show(
    number: int,
    done: int,
    count: int,
    entry: dict[str, Any],
    found: dict[str, Any],
    began: float,
) -> None:
    """One line about one network."""
    left = (time.time() - began) / done * (count - done)
    what = f"FAILED: {found['error']}" if "error" in found else f"{found['latency_ms']:.4g} ms"
    place = f"pass {number + 1} [{done:{len(str(count))}}/{count}]"
    print(f"{place} {entry['name']}  {what}  ({left:.0f} s left)", flush=True)


def command_timer(
    folder: str, manifest: dict[str, Any], options: argparse.Namespace
) -> Callable[[dict[str, Any]], list[tuple[float, float]]]:
    """Measures by another program, which times many calls itself."""

    def measure(entry: dict[str, Any]) -> list[tuple[float, float]]:
        shape = "x".join(str(size) for size in [manifest["batch"], *manifest["input_shape"]])
        known = {
            "model": os.path.join(folder, entry["file"]),
            "name": entry["name"],
            "batch": manifest["batch"],
            "shape": shape,
        }
        words = [fill(word, known) for word in shlex.split(options.command)]
        return [(0.0, run_command(words, options)) for _ in range(options.rounds)]

    return measure


def fill(word: str, known: dict[str, Any]) -> str:
    """A word of the command with the {names} replaced."""
    for name, value in known.items():
        word = word.replace("{" + name + "}", str(value))
    return word


def run_command(words: list[str], options: argparse.Namespace) -> float:
    """Milliseconds as the command says."""
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise MeasuringError(f"cannot run {words[0]}: {error.strerror}") from None
    found = re.findall(options.pattern, done.stdout)
    if done.returncode or not found:
        last = " ".join(done.stdout.strip().splitlines()[-1:])[:200]
        why = f"exit code {done.returncode}" if done.returncode else "no time in its output"
        raise MeasuringError(f"{words[0]}: {why}: {last}")
    value = found[-1][0] if isinstance(found[-1], tuple) else found[-1]
    try:
        return float(value) * MILLISECONDS[options.unit]
    except ValueError:
        raise MeasuringError(f"--pattern found {value!r}, which is no number") from None


def onnxruntime_timer(
    folder: str, manifest: dict[str, Any], options: argparse.Namespace
) -> Callable[[dict[str, Any]], list[tuple[float, float]]]:
    """Measures in this process, in turns with the reference network."""
    batch = manifest["batch"]
    path = os.path.join(folder, manifest["reference"]["file"])
    reference = load(path, 1, manifest["reference"]["input_shape"], options)
    now = time.thread_time_ns if uses_cpu_clock(options) else time.perf_counter_ns

    def measure(entry: dict[str, Any]) -> list[tuple[float, float]]:
        path = os.path.join(folder, entry["file"])
        call = load(path, batch, manifest["input_shape"], options)
        return in_turns(reference, call, now, options.rounds)

    return measure


def uses_cpu_clock(options: argparse.Namespace) -> bool:
    """Whether the calling thread does all the work, so that its CPU clock sees it."""
    own = options.provider == "CPUExecutionProvider" and options.threads == 1
    return own and hasattr(time, "thread_time_ns")


def load(
    path: str, batch: int, shape: list[int], options: argparse.Namespace
) -> Callable[[], object]:
    """A call of a network on random inputs."""
    onnxruntime, numpy = needed("onnxruntime"), needed("numpy")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = 4
    if options.threads == 1:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    values = numpy.random.RandomState(0).random_sample([batch, *shape]).astype(numpy.float32)
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=[options.provider])
        binding = session.io_binding()
        binding.bind_cpu_input(session.get_inputs()[0].name, values)
        binding.bind_output(session.get_outputs()[0].name)
        session.run_with_iobinding(binding)
    except Exception as error:  # those of onnxruntime have no class in common
        raise MeasuringError(" ".join(str(error).split())[:200]) from None
    return lambda: session.run_with_iobinding(binding)


def in_turns(
    reference: Callable[[], object],
    call: Callable[[], object],
    now: Callable[[], int],
    rounds: int,
) -> list[tuple[float, float]]:
    """Milliseconds a call of the reference and of the network, for each round.

    Of the reference before and after the network it is the slower one.
    """
    looks = repetitions(reference, now, LOOK_NS)
    count = repetitions(call, now, BLOCK_NS)
    before = block(reference, looks, now)
    pairs = []
    for _ in range(rounds):
        own = block(call, count, now)
        after = block(reference, looks, now)
        pairs.append((round(max(before, after) / 1e6, 6), round(own / 1e6, 6)))
        before = after
    return pairs


def repetitions(call: Callable[[], object], now: Callable[[], int], block_ns: float) -> int:
    """How many calls fill a block, by the fastest of a few."""
    fastest = min(block(call, 1, now) for _ in range(3))
    return max(1, min(10000, round(block_ns / max(fastest, 1.0))))


def block(call: Callable[[], object], count: int, now: Callable[[], int]) -> float:
    """Nanoseconds a call, after calls that are not timed."""
    for _ in range(WARMUPS):
        call()
    began = now()
    for _ in range(count):
        call()
    return max(now() - began, 1) / count


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies, with linear interpolation."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


if __name__ == "__main__":
    sys.exit(main())
