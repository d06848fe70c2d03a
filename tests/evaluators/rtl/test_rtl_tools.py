"""Programs that are run, and what is said when they are not there or fail."""

import sys

import pytest

from evaluators.rtl.tools import ToolError, call, check_tools


def test_what_it_prints_comes_back(tmp_path):
    assert call([sys.executable, "-c", "import os; print(os.getcwd())"], tmp_path).strip() == str(
        tmp_path
    )


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("print('fine'); print('%Error: bad net'); exit(3)", r"\(3\): %Error: bad net$"),
        ("print('first'); print('last'); exit(1)", r"\(1\): first$"),
        ("exit(2)", r"\(2\): it said nothing$"),
    ],
)
def test_a_failure_is_one_line(code, line, tmp_path):
    with pytest.raises(ToolError, match=line):
        call([sys.executable, "-c", code], tmp_path)


def test_what_hangs_is_stopped(tmp_path):
    with pytest.raises(ToolError, match="was stopped after 0 s"):
        call([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, limit_s=0.2)


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ToolError, match=r"^verilator is not installed \(apt-get install verila"):
        check_tools()
    with pytest.raises(ToolError, match=r"^yosys is not installed \(apt-get install yosys"):
        check_tools(("yosys",))
    with pytest.raises(ToolError, match="nothing-like-it cannot be run"):
        call(["nothing-like-it"], tmp_path)
