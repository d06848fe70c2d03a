from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from evaluators import runtimes
from tests.evaluators import onnx_nets

CPU = ["onnxruntime", "openvino", "torch", "torch-compile"]
GPU = [
    *("onnxruntime-cuda", "onnxruntime-tensorrt"),
    *("torch-cuda", "torch-cuda-compile", "torch-cuda-graph"),
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(onnx_nets.linear(np.ones((3, 2), np.float32)), path)
    return path


def test_names_by_what_they_run_on() -> None:
    assert runtimes.names() == sorted([*CPU, *GPU])
    assert [runtimes.accelerator(name) for name in CPU] == ["cpu"] * len(CPU)
    assert [runtimes.accelerator(name) for name in GPU] == ["gpu"] * len(GPU)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch", "torch-compile"])
def test_versions(name: str) -> None:
    runtime, _, number = runtimes.version(name).partition(" ")
    assert runtime == name
    assert number[0].isdigit()


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_bad_threads(file: Path, threads: object) -> None:
    with pytest.raises(ValueError, match="threads must be an integer of at least 1"):
        runtimes.load(file, threads=threads)  # type: ignore[arg-type]


def test_unknown_runtime(file: Path) -> None:
    message = r"unknown runtime 'onnxrutime'; did you mean 'onnxruntime'\? \(known: onnxruntime, "
    with pytest.raises(ValueError, match=message):
        runtimes.load(file, runtime="onnxrutime")
    for refuse in (runtimes.version, runtimes.accelerator, runtimes.check):
        with pytest.raises(ValueError, match="unknown runtime"):
            refuse("tflite")


@pytest.mark.parametrize(
    ("runtime", "dtype", "message"),
    [
        ("onnxruntime", "bfloat16", "onnxruntime computes in float32, but got dtype 'bfloat16'"),
        ("openvino", "int8", "openvino computes in float32 or bfloat16 or float16, but got"),
        ("torch", "float16", "torch computes in float32 or bfloat16, but got dtype 'float16'"),
    ],
)
def test_dtypes_that_a_runtime_lacks(file: Path, runtime: str, dtype: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        runtimes.load(file, runtime, dtype=dtype)


def test_an_extra_that_is_not_installed(file: Path) -> None:
    """In a process of its own: what was imported once stays."""
    script = f"""
import sys
sys.modules["openvino"] = None
from evaluators import runtimes
for act in (lambda: runtimes.load({str(file)!r}, "openvino"), lambda: runtimes.version("openvino")):
    try:
        act()
    except ValueError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    line = "openvino is not installed: pip install 'hwnas[openvino]'"
    assert done.stdout.splitlines() == [line, line]


def test_the_seam_itself_loads_no_runtime() -> None:
    script = """
import sys
from evaluators import runtimes
runtimes.names()
print([name for name in ("torch", "openvino", "onnxruntime") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
