from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from evaluators import runtimes
from evaluators.runtimes.onnx_session import OnnxRuntimeCudaSession
from tests.evaluators import onnx_nets

WEIGHTS = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(onnx_nets.linear(WEIGHTS), path)
    return path


@pytest.mark.parametrize("batch", [1, 5])
def test_runs_any_batch(file: Path, batch: int) -> None:
    inputs = np.arange(3 * batch, dtype=np.float32).reshape(batch, 3)
    with runtimes.load(file) as session:
        outputs = session.run(inputs)
    np.testing.assert_array_equal(outputs, inputs @ WEIGHTS)


def test_says_what_it_is(file: Path) -> None:
    session = runtimes.load(str(file))
    assert session.name == f"onnxruntime {onnxruntime.__version__}"
    assert session.name == runtimes.version("onnxruntime")
    assert session.input_name == "input"
    assert session.input_shape == (3,)
    assert session.fixed_batch is None


def test_loads_bytes_as_well(file: Path) -> None:
    inputs = np.ones((2, 3), np.float32)
    session = runtimes.load(file.read_bytes())
    np.testing.assert_array_equal(session.run(inputs), inputs @ WEIGHTS)


def test_inputs_that_are_not_contiguous(file: Path) -> None:
    inputs = np.arange(6, dtype=np.float32).reshape(3, 2).T
    np.testing.assert_array_equal(runtimes.load(file).run(inputs), inputs @ WEIGHTS)


def test_bound_call_runs_the_model(file: Path) -> None:
    inputs = np.ones((4, 3), np.float32)
    call = runtimes.load(file).bind(inputs)
    call()
    call()
    binding = call.args[0]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(binding.get_outputs()[0].numpy(), inputs @ WEIGHTS)


def test_bound_inputs_outlive_the_array(file: Path) -> None:
    call = runtimes.load(file).bind(np.ones((1, 3), np.float32))
    _ = [np.full((1, 3), 7.0, np.float32) for _ in range(100)]
    call()
    outputs = call.args[0].get_outputs()[0].numpy()  # type: ignore[attr-defined]
    np.testing.assert_array_equal(outputs, WEIGHTS.sum(axis=0, keepdims=True))


def test_one_thread_makes_no_pool_and_more_threads_are_taken() -> None:
    """Checked in a process of its own, which has no other threads."""
    script = """
import os, sys
import numpy as np
from evaluators import runtimes
from evaluators.runtimes.onnx_session import OnnxRuntimeCudaSession
from tests.evaluators import onnx_nets
model = onnx_nets.linear(np.ones((3, 2), np.float32)).SerializeToString()
def threads():
    return len(os.listdir("/proc/self/task"))
first = runtimes.load(model)  # starts what the library itself needs
before = threads()
one = runtimes.load(model, threads=1)
with_one = threads()
three = runtimes.load(model, threads=3)
print(with_one - before, threads() - with_one)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["0", "2"]


def test_fixed_batch(tmp_path: Path) -> None:
    onnx.save(onnx_nets.linear(WEIGHTS, batch=2), tmp_path / "two.onnx")
    session = runtimes.load(tmp_path / "two.onnx")
    assert session.fixed_batch == 2
    assert session.run(np.ones((2, 3), np.float32)).shape == (2, 2)
    with pytest.raises(ValueError, match="takes batch 2, but got 1"):
        session.run(np.ones((1, 3), np.float32))


@pytest.mark.parametrize("use", ["run", "bind"])
@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((1, 4), np.float32), r"shape \(batch, 3\), but got \(1, 4\)"),
        (np.ones(3, np.float32), r"shape \(batch, 3\), but got \(3,\)"),
        (np.float32(1), r"shape \(batch, 3\), but got \(\)"),
        (np.ones((1, 3)), "must be float32, but got float64"),
    ],
)
def test_refuses_other_inputs(file: Path, use: str, inputs: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(runtimes.load(file), use)(inputs)


@pytest.mark.parametrize("use", ["run", "bind"])
def test_closed_session(file: Path, use: str) -> None:
    with runtimes.load(file) as session:
        pass
    session.close()
    with pytest.raises(ValueError, match="closed"):
        getattr(session, use)(np.ones((1, 3), np.float32))


def one_line(error: pytest.ExceptionInfo[ValueError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("content", [b"", b"no model", "truncated"])
def test_corrupt_file(
    tmp_path: Path, file: Path, content: bytes | str, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(file.read_bytes()[:-9] if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"bad\.onnx is no model that can be run") as error:
        runtimes.load(bad)
    one_line(error)
    assert capfd.readouterr() == ("", "")


def test_unknown_operator(tmp_path: Path) -> None:
    model = onnx_nets.linear(WEIGHTS)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ValueError, match="NoSuchOperator") as error:
        runtimes.load(tmp_path / "odd.onnx")
    one_line(error)


def test_unreadable_file(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(ValueError, match=f"cannot read the model {path}: ") as error:
            runtimes.load(path)
        one_line(error)


def test_other_signatures(tmp_path: Path) -> None:
    double = onnx_nets.linear(np.ones((3, 2)), dtype=onnx.TensorProto.DOUBLE)
    with pytest.raises(ValueError, match=r"must take float32.*tensor\(double\)"):
        runtimes.load(double.SerializeToString())
    with pytest.raises(ValueError, match="one input and one output, but got 2 and 1"):
        runtimes.load(onnx_nets.sum_of_two().SerializeToString())


@pytest.mark.parametrize("runtime", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_build_without_the_provider(file: Path, runtime: str) -> None:
    provider = {"cuda": "CUDA", "tensorrt": "Tensorrt"}[runtime.partition("-")[2]]
    with pytest.raises(ValueError, match=f"has no {provider}ExecutionProvider: pip install") as e:
        runtimes.load(file, runtime)
    one_line(e)


def test_a_provider_that_is_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of the GPU, with a provider that this build has."""
    monkeypatch.setattr(OnnxRuntimeCudaSession, "provider", "CPUExecutionProvider")
    monkeypatch.setattr(OnnxRuntimeCudaSession, "memory", "cpu")
    session = runtimes.load(file, "onnxruntime-cuda")
    assert (session.accelerator, session.one_thread) == ("gpu", "wall")
    np.testing.assert_array_equal(session.run(np.ones((1, 3), np.float32)), [[9.0, 12.0]])


def test_a_provider_that_fails_to_start(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeCudaSession, "version", classmethod(lambda cls: "onnxruntime 1"))
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: ["CPU"])
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ValueError, match="onnxruntime cannot use its CUDAExecutionProvider here"),
    ):
        runtimes.load(file, "onnxruntime-cuda")
