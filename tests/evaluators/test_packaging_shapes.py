"""Exported networks find their shapes without arithmetic, at any batch."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import search_spaces
from evaluators.compression import QuantizeConfig, quantize
from evaluators.packaging import package
from evaluators.packaging_shapes import with_constant_shapes
from evaluators.runtimes import load
from evaluators.training import seeded
from tests.evaluators.onnx_nets import linear
from tests.evaluators.packed import colours

DATA = colours()
OF_SHAPES = {"Shape", "Gather", "Slice", "Unsqueeze", "Cast", "Sqrt", "Where", "Equal", "Mod"}


def transformer(pool: str) -> nn.Module:
    space = search_spaces.create("transformer")
    genotype = {"patch": 2, "dim": 32, "activation": "gelu", "pool": pool, "depth": 2}
    for block in (1, 2):
        genotype |= {f"attention{block}.heads": 2, f"mlp{block}.ratio": 1}
    with seeded(0):
        return space.build(genotype, DATA.task)


class Encoder(nn.Module):
    """Torch's own transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 2, 2)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        result: torch.Tensor = self.head(self.layers(tokens).mean(1))
        return result


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def executed(path: Path, folder: Path) -> Counter[str]:
    """What ONNX Runtime makes of a file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return kinds(folder / "optimized.onnx")


def test_no_arithmetic_of_shapes_is_left(tmp_path: Path) -> None:
    package(transformer("mean"), DATA, tmp_path / "net.onnx")
    found = executed(tmp_path / "net.onnx", tmp_path)
    assert not OF_SHAPES.intersection(kinds(tmp_path / "net.onnx"))
    assert not OF_SHAPES.intersection(found)
    # The scale of the attention is a part of its product.
    assert (found["FusedMatMul"], found["Mul"]) == (2, 1)


def test_one_token_more_takes_the_batch_from_the_input(tmp_path: Path) -> None:
    package(transformer("token"), DATA, tmp_path / "net.onnx")
    found = kinds(tmp_path / "net.onnx")
    assert {kind: found[kind] for kind in OF_SHAPES if found[kind]} == {"Shape": 1, "Gather": 1}
    assert (found["Expand"], found["Concat"]) == (1, 2)


@pytest.mark.parametrize("scheme", ["none", "static", "dynamic"])
def test_any_batch_gives_the_same_answers(scheme: str, tmp_path: Path) -> None:
    """Torch's transformer; quantized, too."""
    with seeded(0):
        net = Encoder().eval()
    path = tmp_path / "net.onnx"
    package(net, DATA, path)
    assert not {"Shape", "Slice", "Where", "Equal", "Concat"}.intersection(kinds(path))
    inputs = DATA.train.inputs[:7]
    if scheme != "none":
        path = quantize(path, QuantizeConfig(scheme), DATA.train.inputs, tmp_path / "int8.onnx")
    with load(str(path)) as session:
        whole = session.run(inputs)
        assert whole.shape == (7, 2)
        alone = np.concatenate([session.run(one[None]) for one in inputs])
    assert np.abs(whole - alone).max() < (0.1 if scheme == "dynamic" else 1e-5)


def test_a_network_without_shapes_is_the_same_model() -> None:
    model = linear(np.ones((4, 3), np.float32))
    assert with_constant_shapes(model) is model


def handmade(nodes: list[onnx.NodeProto], constants: dict[str, list[int]]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("input", TensorProto.FLOAT, ["batch", 4, 6])],
        [value("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class TestByHand:
    def test_batch_and_heads_in_one_axis_are_what_is_left(self) -> None:
        """(batch, 4, 6) -> (2 batch, 12), the size worked out by a product."""
        nodes = [
            helper.make_node("Shape", ["input"], ["sizes"], start=0, end=1),
            helper.make_node("Mul", ["sizes", "two"], ["rows"]),
            helper.make_node("Concat", ["rows", "twelve"], ["shape"], axis=0),
            helper.make_node("Reshape", ["input", "shape"], ["logits"]),
        ]
        graph = with_constant_shapes(handmade(nodes, {"two": [2], "twelve": [12]})).graph
        (node,) = graph.node
        (sizes,) = [numpy_helper.to_array(t) for t in graph.initializer]
        assert node.op_type == "Reshape"
        assert sizes.tolist() == [-1, 12]

    def test_two_sizes_that_depend_on_the_batch_stay(self) -> None:
        """(batch, 4, 6) -> (batch, batch, 24 / batch), which only some batches have."""
        nodes = [
            helper.make_node("Shape", ["input"], ["sizes"], start=0, end=1),
            helper.make_node("Concat", ["sizes", "sizes", "rest"], ["shape"], axis=0),
            helper.make_node("Reshape", ["input", "shape"], ["logits"]),
        ]
        model = handmade(nodes, {"rest": [-1]})
        assert [n.op_type for n in with_constant_shapes(model).graph.node] == [
            "Shape", "Concat", "Reshape",
        ]  # fmt: skip

    def test_what_cannot_be_worked_out_stays(self) -> None:
        nodes = [
            helper.make_node("NonZero", ["input"], ["where"]),
            helper.make_node("Shape", ["where"], ["logits"]),
        ]
        model = handmade(nodes, {})
        assert with_constant_shapes(model) is model

    def test_the_model_itself_stays_as_it_is(self) -> None:
        nodes = [
            helper.make_node("Shape", ["input"], ["sizes"]),
            helper.make_node("Reshape", ["input", "sizes"], ["logits"]),
        ]
        model = handmade(nodes, {})
        before = model.SerializeToString(deterministic=True)
        assert len(with_constant_shapes(model).graph.node) == 1
        assert model.SerializeToString(deterministic=True) == before
