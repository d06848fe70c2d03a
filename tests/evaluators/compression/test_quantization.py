"""Quantization to int8: the right kind, calibrated on training data, as good as before."""

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from torch import nn

from evaluators.compression import QuantizeConfig, quantize
from evaluators.compression.quantization import calibration_examples
from evaluators.packaging import read_metadata, sha256_of
from evaluators.runtimes import load
from evaluators.scoring import accuracy_of, predict
from evaluators.tasks import TaskData
from nas.trials import Artifact, CandidateError
from tests.evaluators.packed import (
    blobs,
    colours,
    convolutions,
    digits,
    packed,
    perceptron,
    trained,
)

STATIC, DYNAMIC = QuantizeConfig("static"), QuantizeConfig("dynamic")


def quantized(
    artifact: Artifact, data: TaskData, config: QuantizeConfig = STATIC, name: str = "int8.onnx"
) -> Path:
    path = Path(artifact.path)
    return quantize(path, config, data.train.inputs, path.with_name(name))


def accuracy(path: str | Path, data: TaskData) -> float:
    with load(path) as session:
        return accuracy_of(predict(session, data.validation.inputs), data.validation.labels)


def tensors(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def kinds(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def print_sha256(folder: str) -> None:
    """Run in another process by a test below."""
    data = digits()
    artifact = packed(convolutions(), data, Path(folder))
    print(*(sha256_of(quantized(artifact, data, config)) for config in (STATIC, DYNAMIC)))


@pytest.mark.parametrize("config", [STATIC, DYNAMIC])
def test_the_network_answers_nearly_as_before(tmp_path: Path, config: QuantizeConfig):
    data = digits()
    artifact = packed(trained(data, epochs=4), data, tmp_path)
    before, after = accuracy(artifact.path, data), accuracy(quantized(artifact, data, config), data)
    assert before > 0.9
    assert after == pytest.approx(before, abs=0.02)


def test_a_network_of_some_size_becomes_four_times_smaller(tmp_path: Path):
    data = digits()
    artifact = packed(convolutions(width=64), data, tmp_path)
    ratio = Path(artifact.path).stat().st_size / quantized(artifact, data).stat().st_size
    assert 3.7 < ratio < 4.0


def test_dynamic_makes_the_linear_layers_small_and_leaves_the_others(tmp_path: Path):
    data = digits()
    path = quantized(packed(convolutions(), data, tmp_path), data, DYNAMIC)
    assert kinds(path).count("Conv") == 2
    assert "MatMulInteger" in kinds(path)
    assert "Gemm" not in kinds(path)
    assert "ConvInteger" not in kinds(path)
    weights = {tuple(t.shape): t.dtype for t in tensors(path).values() if t.ndim > 1}
    assert weights == {
        (8, 1, 3, 3): np.float32,
        (16, 8, 3, 3): np.float32,
        (64, 10): np.int8,
    }


def test_static_has_signed_weights_by_channel_and_unsigned_activations(tmp_path: Path):
    data = digits()
    path = quantized(packed(trained(data), data, tmp_path), data)
    values = tensors(path)
    nodes = onnx.load(path).graph.node
    made = {output: node for node in nodes for output in node.output}
    convolution = [node for node in nodes if node.op_type == "Conv"][1]
    weight = made[convolution.input[1]]
    assert weight.op_type == "DequantizeLinear"
    assert values[weight.input[0]].dtype == np.int8
    assert values[weight.input[1]].shape == (16,)
    assert len(set(values[weight.input[1]])) > 1
    for node in nodes:
        if node.op_type == "QuantizeLinear":
            assert values[node.input[2]].dtype == np.uint8
    assert not [name for name in kinds(path) if name == "Relu"]  # unsigned: it is in the range


def test_normalization_stays_in_float(tmp_path: Path):
    data = digits()
    chain = [k for k in kinds(quantized(packed(convolutions(), data, tmp_path), data))]
    compute = [kind for kind in chain if kind not in ("Constant", "DequantizeLinear")]
    assert compute[:4] == ["Sub", "Mul", "QuantizeLinear", "Conv"]


def test_a_multiplication_within_the_network_is_no_normalization(tmp_path: Path):
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.linear = nn.Linear(144, 2)

        def forward(self, x):
            x = self.conv(x)
            return self.linear((x * x.sigmoid()).flatten(1))

    data = colours()
    path = quantized(packed(Gated(), data, tmp_path), data)
    graph = onnx.load(path).graph
    made = {output: node.op_type for node in graph.node for output in node.output}
    products = [node for node in graph.node if node.op_type == "Mul"]
    assert [made[product.input[0]] for product in products] == ["Sub", "DequantizeLinear"]


def test_perceptrons_can_be_quantized_too(tmp_path: Path):
    data = blobs()
    artifact = packed(perceptron(5, 3), data, tmp_path)
    for config in (STATIC, DYNAMIC):
        assert TensorProto.INT8 in {
            tensor.data_type
            for tensor in onnx.load(quantized(artifact, data, config)).graph.initializer
        }


def test_in_a_transformer_only_products_become_integers(tmp_path: Path):
    data = digits()  # eight rows of eight pixels are the tokens
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Flatten(1, 2), layer, nn.Flatten(), nn.Linear(64, 10))
    path = quantized(packed(model.eval(), data, tmp_path), data)
    nodes = onnx.load(path).graph.node
    made = {name: node.op_type for node in nodes for name in node.output}
    read = {name: {node.op_type for node in nodes if name in node.input} for name in made}
    restored = {n.input[0]: n.output[0] for n in nodes if n.op_type == "DequantizeLinear"}
    products = {"MatMul", "Gemm"}
    quantized_nodes = [node for node in nodes if node.op_type == "QuantizeLinear"]
    assert len(quantized_nodes) >= 8
    for node in quantized_nodes:  # what a product reads or writes, and nothing else
        assert made.get(node.input[0]) in products or products & read[restored[node.output[0]]]


@pytest.mark.parametrize("config", [STATIC, DYNAMIC])
def test_the_file_says_what_was_done_to_it(tmp_path: Path, config: QuantizeConfig):
    data = digits()
    artifact = packed(convolutions(), data, tmp_path)
    before = read_metadata(onnx.load(artifact.path))
    model = onnx.load(quantized(artifact, data, config))
    found = read_metadata(model)
    assert found["dtype"] == "int8"
    assert json.loads(found["quantization"]) == config.to_json()
    assert {n: v for n, v in found.items() if n not in ("dtype", "quantization")} == {
        n: v for n, v in before.items() if n != "dtype"
    }
    assert model.producer_name == "hwnas"
    onnx.checker.check_model(model, full_check=True)


def test_any_batch_will_do(tmp_path: Path):
    data = digits()
    artifact = packed(trained(data), data, tmp_path)
    with load(quantized(artifact, data)) as session:
        whole = session.run(data.validation.inputs)
        assert session.run(data.validation.inputs[:1]) == pytest.approx(whole[:1], abs=1e-5)


def test_it_is_calibrated_on_what_it_is_given_and_nothing_else(tmp_path: Path):
    data = digits()
    artifact = packed(trained(data), data, tmp_path)
    path = Path(artifact.path)
    dimmed = quantize(path, STATIC, data.train.inputs * 0.5, tmp_path / "dimmed.onnx")
    plain = quantize(path, STATIC, data.train.inputs, tmp_path / "plain.onnx")

    def highest(model: Path) -> float:
        """The end of the range of the first quantized activation."""
        nodes, values = onnx.load(model).graph.node, tensors(model)
        first = next(node for node in nodes if node.op_type == "QuantizeLinear")
        scale, zero = (values[name] for name in first.input[1:])
        return float(scale * (255.0 - zero.astype(float)))

    normalized = data.preprocessing.apply(data.train.inputs)
    assert highest(plain) == pytest.approx(normalized.max(), rel=0.05)
    assert highest(dimmed) < 0.6 * highest(plain)


def test_calibration_takes_so_many_examples_spread_over_the_training_split():
    inputs = np.arange(1000, dtype=np.float32).reshape(500, 2)
    picked = calibration_examples(inputs, 64)
    assert picked.shape == (64, 2)
    assert len(np.unique(picked[:, 0])) == 64
    assert picked[0, 0] == 0
    assert picked[-1, 0] == 998
    assert calibration_examples(inputs[:7], 64).shape == (7, 2)


def test_the_number_of_examples_matters(tmp_path: Path):
    data = digits()
    artifact = packed(trained(data), data, tmp_path)
    made = {
        count: sha256_of(quantized(artifact, data, QuantizeConfig("static", count)))
        for count in (1, 64)
    }
    assert made[1] != made[64]


def test_the_same_file_gives_the_same_bytes_in_another_process_too(tmp_path: Path):
    data = digits()
    artifact = packed(convolutions(), data, tmp_path)
    here = [sha256_of(quantized(artifact, data, config)) for config in (STATIC, DYNAMIC)]
    code = (
        "from tests.evaluators.compression.test_quantization import print_sha256 as p;"
        f"p({str(tmp_path)!r})"
    )
    command = [sys.executable, "-c", code]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert here == there


def test_it_is_silent_and_leaves_no_files(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
    monkeypatch: pytest.MonkeyPatch,
):
    data, scratch = digits(), tmp_path / "scratch"
    scratch.mkdir()
    artifact = packed(convolutions(), data, tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    level = logging.getLogger().level
    for config in (STATIC, DYNAMIC):
        quantized(artifact, data, config)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["int8.onnx", "net.onnx", "scratch"]
    assert not list(scratch.iterdir())
    assert logging.getLogger().level == level
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_nothing_to_quantize_is_the_candidates_fault(tmp_path: Path):
    data = colours()
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    artifact = packed(module, data, tmp_path)
    with pytest.raises(CandidateError, match=r"nothing to quantize \(dynamic\)"):
        quantized(artifact, data, DYNAMIC)
    assert not (tmp_path / "int8.onnx").exists()
    assert quantized(artifact, data, STATIC).exists()


def test_an_error_of_the_runtime_is_the_candidates_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise ValueError("first line\nsecond line")

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", fail)
    data = digits()
    artifact = packed(convolutions(), data, tmp_path)
    with pytest.raises(CandidateError, match=r"cannot be quantized \(static\): first line second"):
        quantized(artifact, data)


def test_quantizing_is_quick(tmp_path: Path):
    import time

    data = digits()
    artifact = packed(convolutions(), data, tmp_path)
    seconds = []
    for _ in range(4):
        start = time.thread_time()
        quantized(artifact, data)
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.4
