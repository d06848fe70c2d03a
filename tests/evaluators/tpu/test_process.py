"""The compiler's process, with stand-ins for what runs in it."""

import time
from pathlib import Path

import pytest

from evaluators.tpu import process
from evaluators.tpu.process import CompilerProcess, check_installed
from nas.trials import CandidateError

_ECHO = """
import json, os, sys
for line in sys.stdin:
    print(json.dumps({**json.loads(line), "pid": os.getpid()}), flush=True)
"""
_ENVIRONMENT = """
import json, os, sys
sys.stdin.readline()
print(json.dumps(dict(os.environ)), flush=True)
"""


@pytest.fixture(name="runs")
def _runs(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def stand_in(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(process, "_BOOT", code)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_one_process_answers_again_and_again(runs: pytest.MonkeyPatch) -> None:
    stand_in(runs, _ECHO)
    compiler = CompilerProcess(20)
    first, second = compiler.compile({"n": 1}), compiler.compile({"n": 2})
    compiler.close()
    assert (first["n"], second["n"]) == (1, 2)
    assert first["pid"] == second["pid"]
    assert not is_alive(first["pid"])


def test_one_that_hangs_is_ended_and_the_next_one_works(runs: pytest.MonkeyPatch) -> None:
    stand_in(runs, "import time; time.sleep(60)")
    compiler = CompilerProcess(0.3)
    start = time.monotonic()
    with pytest.raises(CandidateError, match=r"exceeded its limit of 0\.3 s"):
        compiler.compile({})
    assert time.monotonic() - start < 10
    stand_in(runs, _ECHO)
    compiler = CompilerProcess(20)
    assert compiler.compile({"n": 3})["n"] == 3
    compiler.close()


def test_one_that_dies_costs_one_candidate(runs: pytest.MonkeyPatch) -> None:
    stand_in(runs, "import sys; sys.stdin.readline(); sys.exit(3)")
    compiler = CompilerProcess(20)
    with pytest.raises(CandidateError, match=r"the XLA:TPU compiler died \(exit status"):
        compiler.compile({})
    stand_in(runs, _ECHO)
    assert compiler.compile({"n": 4})["n"] == 4
    compiler.close()


def test_it_does_not_see_a_tpu_or_the_network(runs: pytest.MonkeyPatch) -> None:
    stand_in(runs, _ENVIRONMENT)
    compiler = CompilerProcess(20)
    seen = compiler.compile({})
    compiler.close()
    assert seen["JAX_PLATFORMS"] == "cpu"
    assert seen["TPU_SKIP_MDS_QUERY"] == "1"


@pytest.mark.parametrize("libtpu", ["", "0.0.41"])
def test_an_absent_or_another_compiler_is_one_line(
    monkeypatch: pytest.MonkeyPatch, libtpu: str
) -> None:
    here = {"jax": "0.10.2", "libtpu": libtpu}
    monkeypatch.setattr(process, "installed", here.__getitem__)
    found = libtpu or "absent"
    with pytest.raises(
        ValueError, match=rf"libtpu 0\.0\.42 \(pip .*jax 0\.10\.2 and libtpu {found};"
    ):
        check_installed()


def test_distributions_that_are_absent_have_no_version() -> None:
    assert process.installed("no-such-distribution-at-all") == ""
    assert process.installed("torch")
