from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from evaluators import runtimes
from tests.evaluators import onnx_nets

WEIGHTS = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(onnx_nets.linear(WEIGHTS), path)
    return path


def test_answers_as_onnx_runtime_does_at_any_batch(tmp_path: Path) -> None:
    onnx.save(onnx_nets.chain(3), tmp_path / "chain.onnx")
    inputs = np.random.default_rng(0).random((7, 64), np.float32)
    with runtimes.load(tmp_path / "chain.onnx", "openvino") as session:
        assert (session.input_name, session.input_shape) == ("input", (64,))
        assert session.fixed_batch is None
        assert session.name.startswith("openvino 20")
        expected = runtimes.load(tmp_path / "chain.onnx").run(inputs)
        np.testing.assert_allclose(session.run(inputs), expected, rtol=1e-5)
        np.testing.assert_allclose(session.run(inputs[:1]), expected[:1], rtol=1e-5)


def test_outputs_are_copies(file: Path) -> None:
    session = runtimes.load(file, "openvino")
    first = session.run(np.ones((1, 3), np.float32))
    session.run(np.zeros((1, 3), np.float32))
    np.testing.assert_array_equal(first, [[9.0, 12.0]])


def test_bound_call_runs_the_model_on_inputs_of_its_own(file: Path) -> None:
    inputs = np.ones((4, 3), np.float32)
    call = runtimes.load(file, "openvino").bind(inputs)
    inputs[:] = 7
    result = call()
    np.testing.assert_array_equal(result[0], np.ones((4, 3), np.float32) @ WEIGHTS)  # type: ignore[index]


def test_precision_is_what_was_asked_for(tmp_path: Path) -> None:
    """Products of 1 + 2^-10 need more digits than bfloat16 has."""
    onnx.save(onnx_nets.linear(np.full((64, 2), 1 + 2**-10, np.float32)), tmp_path / "net.onnx")
    inputs = np.full((1, 64), 1 + 2**-10, np.float32)
    exact = 64 * (1 + 2**-10) ** 2
    found = {
        dtype: float(
            runtimes.load(tmp_path / "net.onnx", "openvino", dtype=dtype).run(inputs)[0, 0]
        )
        for dtype in ("", "float32")
    }
    assert found == {"": pytest.approx(exact, rel=1e-6), "float32": pytest.approx(exact, rel=1e-6)}
    if has("BF16"):
        session = runtimes.load(tmp_path / "net.onnx", "openvino", dtype="bfloat16")
        assert session.run(inputs)[0, 0] == 64.0


def has(capability: str) -> bool:
    import openvino

    known = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return capability in known


def test_a_precision_that_is_not_taken_is_an_error(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluators.runtimes import openvino_session

    monkeypatch.setitem(openvino_session._HINTS, "bfloat16", "f32")
    session = runtimes.load(file, "openvino", dtype="bfloat16")
    monkeypatch.setitem(openvino_session._HINTS, "bfloat16", "bf16")
    with pytest.raises(ValueError, match="openvino computes in f32 here, not in bfloat16"):
        session.run(np.ones((2, 3), np.float32))


def test_fixed_batch(tmp_path: Path) -> None:
    onnx.save(onnx_nets.linear(WEIGHTS, batch=2), tmp_path / "two.onnx")
    session = runtimes.load(tmp_path / "two.onnx", "openvino")
    assert session.fixed_batch == 2
    with pytest.raises(ValueError, match="takes batch 2, but got 1"):
        session.run(np.ones((1, 3), np.float32))


@pytest.mark.parametrize("use", ["run", "bind"])
def test_closed_session(file: Path, use: str) -> None:
    with runtimes.load(file, "openvino") as session:
        pass
    session.close()
    with pytest.raises(ValueError, match="closed"):
        getattr(session, use)(np.ones((1, 3), np.float32))


def one_line(error: pytest.ExceptionInfo[ValueError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "src/" not in text
    return text


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"bad\.onnx is no model that openvino can run") as error:
        runtimes.load(tmp_path / "bad.onnx", "openvino")
    one_line(error)
    with pytest.raises(ValueError, match="cannot read the model"):
        runtimes.load(tmp_path / "missing.onnx", "openvino")


def test_an_operator_that_it_lacks(tmp_path: Path) -> None:
    model = onnx_nets.linear(WEIGHTS)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ValueError, match="NoSuchOperator") as error:
        runtimes.load(tmp_path / "odd.onnx", "openvino")
    one_line(error)


def test_other_signatures() -> None:
    double = onnx_nets.linear(np.ones((3, 2)), dtype=onnx.TensorProto.DOUBLE)
    with pytest.raises(ValueError, match="must take float32.*f64"):
        runtimes.load(double.SerializeToString(), "openvino")
    with pytest.raises(ValueError, match="one input and one output, but got 2 and 1"):
        runtimes.load(onnx_nets.sum_of_two().SerializeToString(), "openvino")


def test_nothing_is_reported_over_the_network() -> None:
    script = """
import sys
from evaluators import runtimes
runtimes.version("openvino")
print("openvino_telemetry" in sys.modules, "openvino" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True"]
