"""The file that would ship answers as the module does, and says what it is."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from evaluators import tasks
from evaluators.packaging import (
    Deployable,
    package,
    read_metadata,
    save,
    sha256_of,
    tidy,
    write_metadata,
)
from evaluators.runtimes import load
from nas.trials import Artifact, CandidateError
from tests.evaluators.packed import (
    blobs,
    colours,
    convolutions,
    digits,
    logits_of,
    packed,
    perceptron,
    trained,
)
from tests.support.work import calls


def ran(artifact: Artifact, inputs: np.ndarray) -> np.ndarray:
    with load(artifact.path) as session:
        return session.run(inputs)


def print_sha256(folder: str) -> None:
    """Run in another process by a test below."""
    print(packed(convolutions(), digits(), Path(folder)).sha256)


def test_raw_inputs_give_what_the_module_answers_to_normalized_ones(tmp_path: Path):
    data = digits()
    module = trained(data)
    found = ran(packed(module, data, tmp_path), data.validation.inputs)
    expected = logits_of(module, data, data.validation.inputs)
    assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())


def test_every_channel_and_every_column_has_its_own_normalization(tmp_path: Path):
    three = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    for data, module in ((colours(), three), (blobs(), perceptron(5, 3))):
        found = ran(packed(module, data, tmp_path), data.validation.inputs)
        expected = logits_of(module, data, data.validation.inputs)
        assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_any_batch_will_do(tmp_path: Path, batch: int):
    data = digits()
    artifact = packed(convolutions(), data, tmp_path)
    whole = ran(artifact, data.train.inputs[:64])
    assert ran(artifact, data.train.inputs[:batch]) == pytest.approx(whole[:batch], abs=1e-5)


def test_input_and_output_have_their_names_and_a_free_batch(tmp_path: Path):
    graph = onnx.load(packed(convolutions(), digits(), tmp_path).path).graph
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"input": ["batch", 1, 8, 8], "logits": ["batch", 10]}


def test_batch_norm_is_folded_and_normalization_comes_first(tmp_path: Path):
    graph = onnx.load(packed(convolutions(), digits(), tmp_path).path).graph
    kinds = [node.op_type for node in graph.node if node.op_type != "Constant"]
    assert kinds == ["Sub", "Mul", "Conv", "Relu", "Conv", "Relu", "Flatten", "Gemm"]


def test_the_file_says_what_it_is(tmp_path: Path):
    data = digits()
    model = onnx.load(packed(convolutions(), data, tmp_path).path)
    found = read_metadata(model)
    assert json.loads(found["genotype"]) == {"width": 8}
    assert json.loads(found["task"]) == {
        "name": "digits-8",
        "input_shape": [1, 8, 8],
        "outputs": 10,
        "data_hash": data.task.data_hash,
    }
    assert found["dtype"] == "float32"
    assert model.producer_name == "hwnas"
    assert model.opset_import[0].version == 17
    onnx.checker.check_model(model, full_check=True)


def test_the_artifact_names_its_file_by_its_bytes(tmp_path: Path):
    artifact = packed(convolutions(), digits(), tmp_path)
    assert artifact.dtype == "float32"
    assert artifact.path == str(tmp_path / "net.onnx")
    assert re.fullmatch("[0-9a-f]{64}", artifact.sha256)
    assert sha256_of(artifact.path) == artifact.sha256
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_the_same_weights_give_the_same_bytes_in_another_process_too(tmp_path: Path):
    here = packed(convolutions(), digits(), tmp_path).sha256
    code = f"from tests.evaluators.test_packaging import print_sha256 as p; p({str(tmp_path)!r})"
    command = [sys.executable, "-c", code]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert here == there
    assert packed(convolutions(seed=1), digits(), tmp_path).sha256 != here


def test_the_module_stays_as_it_is(tmp_path: Path):
    module = convolutions()
    module.train()
    module[4].eval()
    before = copy.deepcopy(module.state_dict())
    packed(module, digits(), tmp_path)
    assert module[0].training
    assert not module[4].training
    assert all((before[name] == value).all() for name, value in module.state_dict().items())


def test_packing_leaves_global_state_and_stays_silent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    packed(convolutions(), digits(), tmp_path)
    assert (torch.get_rng_state() == before[0]).all()
    assert (np.random.get_state()[1] == before[1]).all()
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


class FrozenBatch(nn.Module):
    """Looks at its batch in Python, which tracing makes a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.reshape(int(x.shape[0]), 5))


class Branching(nn.Module):
    """Decides by the values of its input, which tracing makes a constant too."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) if float(x.sum()) == 0 or len(x) == 2 else self.linear(-x)


class Unknown(nn.Module):
    """Uses an operation that ONNX has no counterpart for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.matrix_exp(x @ x.T)[:, :3]


class Centred(nn.Module):
    """What it answers to an example depends on the others."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.linear(x)
        return y - y.mean(0)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Centred(), "the outputs depend on the other examples of the batch"),
        (FrozenBatch(), "the exported network does not run: "),
        (Branching(), "the exported network does not answer as the module does"),
        (Unknown(), "cannot be exported to ONNX: "),
    ],
)
def test_what_cannot_be_packed_is_the_candidates_fault(
    tmp_path: Path, module: nn.Module, message: str
):
    with pytest.raises(CandidateError, match=message) as caught:
        packed(module, blobs(), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_transformer_can_be_packed_and_the_fast_path_is_left_as_found(tmp_path: Path):
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(x.squeeze(1)).flatten(1))

    module, data = Attending(), digits()
    for enabled in (True, False):
        torch.backends.mha.set_fastpath_enabled(enabled)
        try:
            found = ran(packed(module, data, tmp_path), data.validation.inputs)
            assert torch.backends.mha.get_fastpath_enabled() is enabled
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        expected = logits_of(module, data, data.validation.inputs)
        assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


def test_weights_that_are_not_finite_do_not_pass(tmp_path: Path):
    module = perceptron(5, 3)
    with torch.no_grad():
        module[0].weight.fill_(float("nan"))
    with pytest.raises(CandidateError, match="does not answer as the module does"):
        packed(module, blobs(), tmp_path)


def test_an_illegal_model_is_not_written(tmp_path: Path):
    model = onnx.load(packed(convolutions(), digits(), tmp_path).path)
    model.graph.node[-1].input[0] = "nowhere"
    with pytest.raises(CandidateError, match="no legal ONNX model"):
        save(model, tmp_path / "bad.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_a_file_that_is_there_is_replaced_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = onnx.load(packed(convolutions(), digits(), tmp_path).path)
    before = sha256_of(tmp_path / "net.onnx")

    def full(path: Path, content: bytes) -> int:
        with open(path, "wb") as file:
            file.write(content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save(model, tmp_path / "net.onnx")
    assert sha256_of(tmp_path / "net.onnx") == before
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_short_names_change_the_size_and_nothing_else(tmp_path: Path):
    data = blobs()
    model = onnx.load(packed(perceptron(5, 3), data, tmp_path).path)
    long, inputs = copy.deepcopy(model), data.train.inputs
    names = {name for node in long.graph.node for name in (*node.input, *node.output)}
    spelled_out = {name: f"a/very/long/{name}/indeed" for name in names - {"input", "logits"}}
    for node in long.graph.node:
        node.input[:] = [spelled_out.get(name, name) for name in node.input]
        node.output[:] = [spelled_out.get(name, name) for name in node.output]
    for tensor in long.graph.initializer:
        tensor.name = spelled_out[tensor.name]
    with load(long.SerializeToString()) as session:
        expected = session.run(inputs)
    before = long.ByteSize()
    tidy(long)
    assert long.ByteSize() < before
    with load(long.SerializeToString()) as session:
        assert (session.run(inputs) == expected).all()


def test_names_stay_where_a_graph_lies_within_another():
    then, otherwise = (
        onnx.helper.make_graph(
            [onnx.helper.make_node(kind, ["input"], [name])],
            name,
            [],
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)],
        )
        for kind, name in (("Relu", "a"), ("Neg", "b"))
    )
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Identity", ["flag"], ["long name"]),
            onnx.helper.make_node(
                "If", ["long name"], ["logits"], then_branch=then, else_branch=otherwise
            ),
        ],
        "g",
        [
            value("input", onnx.TensorProto.FLOAT, [1]),
            value("flag", onnx.TensorProto.BOOL, []),
        ],
        [value("logits", onnx.TensorProto.FLOAT, [1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    tidy(model)
    assert model.graph.node[0].output[0] == "long name"


def test_metadata_are_texts_or_json_in_the_order_of_their_keys():
    model = onnx.ModelProto()
    write_metadata(model, {"b": {"y": 1, "x": 2}, "a": "text"})
    assert read_metadata(model) == {"a": "text", "b": '{"x": 2, "y": 1}'}
    assert [entry.key for entry in model.metadata_props] == ["a", "b"]
    write_metadata(model, {"c": 1})
    assert read_metadata(model) == {"c": "1"}


def test_the_deployable_module_takes_raw_inputs_and_has_only_the_networks_weights():
    data = tasks.create("digits", size=8)
    module = convolutions().eval()
    deployable = Deployable(module, data.preprocessing).eval()
    inputs = data.validation.inputs[:5]
    with torch.no_grad():
        found = deployable(torch.tensor(inputs)).numpy()
    assert np.abs(found - logits_of(module, data, inputs)).max() < 1e-5
    assert {name.partition(".")[0] for name in deployable.state_dict()} == {"network"}
    assert deployable.network is module


def test_packing_is_little_work(tmp_path: Path):
    module, data = convolutions(), digits()
    package(module, data, tmp_path / "warm.onnx", {})
    assert calls(lambda: package(module, data, tmp_path / "net.onnx", {})) < 20_000
