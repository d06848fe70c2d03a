"""Workloads read off ONNX files, against traces and against what ONNX Runtime executes."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from evaluators.compression import QuantizeConfig, quantize
from evaluators.packaging import Deployable, package
from evaluators.training import seeded
from evaluators.workload import LOWERINGS, Workload, from_onnx, trace, with_dtype
from nas.trials import CandidateError
from tests.evaluators.onnx_nets import chain, linear, sum_of_two
from tests.evaluators.packed import colours
from tests.evaluators.workload_nets import SqueezeExcite, conv, counts, head
from tests.evaluators.workload_spaces import SPACES, drawn

DATA = colours()
SHAPE = DATA.task.input_shape
QUANTIZED = {
    "QLinearConv": "convolution",
    "QGemm": "linear",
    "QLinearMatMul": "linear",
    "QLinearAdd": "add",
    "QLinearMul": "mul",
    "QLinearGlobalAveragePool": "global_pool",
}
"""Integer kernels of ONNX Runtime."""


def as_trained(net: nn.Module) -> nn.Module:
    """Weights that all differ, as after a training: the exporter joins equal ones."""
    with seeded(0):
        for parameter in net.parameters():
            nn.init.normal_(parameter, 1.0 if parameter.dim() == 1 else 0.0, 0.2)
    return net.eval()


def packaged(net: nn.Module, folder: Path) -> Path:
    path = folder / "net.onnx"
    package(net, DATA, path)
    return path


def traced(net: nn.Module, lowering: str = "onnxruntime", batch: int = 1) -> Workload:
    """Of the network behind its normalization, as it is packaged."""
    return trace(Deployable(net, DATA.preprocessing), (batch, *SHAPE), lowering)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("seed", range(3))
def test_a_file_is_the_trace_of_its_module(name: str, seed: int, tmp_path: Path) -> None:
    space, genotype = drawn(name, seed)
    net = space.build(genotype, DATA.task)
    path = packaged(net, tmp_path)
    for batch in (1, 5):
        found, expected = from_onnx(path, batch=batch), traced(net, batch=batch)
        assert found == expected
        assert found.peak_memory_bytes == expected.peak_memory_bytes


@pytest.mark.parametrize("name", [name for name in SPACES if name != "cell"])
@pytest.mark.parametrize("lowering", [name for name in LOWERINGS if name != "eager"])
def test_in_every_lowering_that_folds_batch_norm(name: str, lowering: str, tmp_path: Path) -> None:
    """Of cells the exporter has joined repeated operations, which only some runtimes do."""
    space, genotype = drawn(name, 3)
    net = space.build(genotype, DATA.task)
    assert from_onnx(packaged(net, tmp_path), lowering) == traced(net, lowering)


@pytest.mark.parametrize(
    "act", [nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Tanh]
)
def test_activations_are_what_they_were(act: type[nn.Module], tmp_path: Path) -> None:
    net = nn.Sequential(
        conv(3, 16, act=act), SqueezeExcite(), nn.AvgPool2d(2), conv(16, 16, groups=4, act=act),
        nn.Flatten(), nn.Linear(256, 8), act(), nn.Linear(8, 2),
    )  # fmt: skip
    assert from_onnx(packaged(net, tmp_path)) == traced(net)


def test_path_and_bytes_are_the_same(tmp_path: Path) -> None:
    path = packaged(nn.Sequential(conv(3, 8), head(8, 2)), tmp_path)
    assert from_onnx(path) == from_onnx(str(path)) == from_onnx(path.read_bytes())


class TestParams:
    net = nn.Sequential(conv(3, 8), nn.ReLU(), nn.BatchNorm2d(8), head(8, 2))

    def test_a_packaged_file_says_how_many(self, tmp_path: Path) -> None:
        params = sum(parameter.numel() for parameter in self.net.parameters())
        assert from_onnx(packaged(self.net, tmp_path)).params == params

    def test_otherwise_they_are_counted_where_a_folded_batch_norm_is_a_bias(
        self, tmp_path: Path
    ) -> None:
        model = onnx.load(packaged(as_trained(self.net), tmp_path))
        del model.metadata_props[:]
        expected = 3 * 8 * 9 + 8 + 2 * 8 + 8 * 2 + 2
        assert from_onnx(model.SerializeToString()).params == expected

    def test_weights_that_are_read_twice_count_once(self) -> None:
        assert from_onnx(chain(3, 4).SerializeToString()).params == 16


class TestIntegers:
    @pytest.mark.parametrize("name", ["convnet", "mobile", "cell", "transformer"])
    def test_what_runs_on_integers_is_int8(self, name: str, tmp_path: Path) -> None:
        space, genotype = drawn(name, 1)
        path = packaged(as_trained(space.build(genotype, DATA.task)), tmp_path)
        whole = from_onnx(path)
        quantize(path, QuantizeConfig("static"), DATA.train.inputs, tmp_path / "int8.onnx")
        found = from_onnx(tmp_path / "int8.onnx")
        assert (found.macs, found.params) == (whole.macs, whole.params)
        assert integers(found) == run_on_integers(tmp_path / "int8.onnx", tmp_path)
        kernels = {k for k in with_dtype(whole, "int8").kernels if k.op in ("conv", "depthwise")}
        sums = {k.op for k in whole.kernels} >= {"add"}
        assert sums or kernels <= set(found.kernels)

    def test_conversions_that_remain_are_kernels(self, tmp_path: Path) -> None:
        """Of the normalized input, and of the logits."""
        net = as_trained(nn.Sequential(conv(3, 8), conv(8, 8, groups=8), head(8, 2)))
        path = packaged(net, tmp_path)
        quantize(path, QuantizeConfig("static"), DATA.train.inputs, tmp_path / "int8.onnx")
        found = from_onnx(tmp_path / "int8.onnx")
        dtypes = {kernel.op: kernel.dtype for kernel in found.kernels}
        assert counts(found) == {
            "add": 1, "mul": 1, "quantize": 1, "conv": 1, "depthwise": 1, "global_pool": 1,
            "linear": 1, "dequantize": 1,
        }  # fmt: skip
        layers = ("conv", "depthwise", "global_pool", "linear")
        assert {dtypes[op] for op in layers} == {"int8"}
        assert dtypes["add"] == dtypes["mul"] == dtypes["dequantize"] == "float32"

    def test_linear_layers_of_dynamic_quantization(self, tmp_path: Path) -> None:
        net = as_trained(nn.Sequential(conv(3, 8), head(8, 2)))
        path = packaged(net, tmp_path)
        quantize(path, QuantizeConfig("dynamic"), DATA.train.inputs, tmp_path / "int8.onnx")
        found = from_onnx(tmp_path / "int8.onnx")
        assert {(k.op, k.dtype) for k in found.kernels if k.macs} == {
            ("conv", "float32"), ("linear", "int8"),
        }  # fmt: skip
        assert counts(found)["quantize"] == 1
        assert found.macs == from_onnx(path).macs


def integers(workload: Workload) -> Counter[str]:
    joined = {"conv": "convolution", "depthwise": "convolution", "matmul": "linear"}
    found: Counter[str] = Counter()
    for kernel in workload.kernels:
        op = joined.get(kernel.op, kernel.op)
        if kernel.dtype == "int8" and op in QUANTIZED.values():
            found[op] += kernel.count
    return found


def run_on_integers(path: Path, folder: Path) -> Counter[str]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(folder / "optimized.onnx").graph.node
    return Counter(QUANTIZED[node.op_type] for node in nodes if node.op_type in QUANTIZED)


class TestFilesOfOthers:
    def test_without_torch(self) -> None:
        workload = from_onnx(linear(np.ones((4, 3), np.float32)).SerializeToString(), batch=2)
        (kernel,) = workload.kernels
        assert (kernel.op, kernel.in_shape, kernel.out_shape) == ("linear", (2, 4), (2, 3))
        assert (workload.macs, workload.params) == (24, 12)

    def test_batch_norm_apart_is_a_kernel_where_nothing_folds_it(self) -> None:
        with torch.no_grad():
            net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1))
        assert counts(from_onnx(exported(net), "onnxruntime")) == {"batch_norm": 1, "conv": 1}

    def test_a_batch_that_the_file_has_fixed(self) -> None:
        fixed = linear(np.ones((4, 3), np.float32), batch=2).SerializeToString()
        assert from_onnx(fixed).kernels[0].in_shape == from_onnx(fixed, batch=2).kernels[0].in_shape
        with pytest.raises(CandidateError, match="batch of the file is 2, but 3 is asked for"):
            from_onnx(fixed, batch=3)


def exported(net: nn.Module) -> bytes:
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 4, 4])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4, 4, 4])]
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    names = ["0.weight", "0.bias", "0.running_mean", "0.running_var"]
    nodes = [
        helper.make_node("BatchNormalization", ["input", *names], ["normed"]),
        helper.make_node("Conv", ["normed", "1.weight", "1.bias"], ["logits"]),
    ]
    tensors = [onnx.numpy_helper.from_array(weights[name], name) for name in names]
    tensors += [onnx.numpy_helper.from_array(weights[n], n) for n in ("1.weight", "1.bias")]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


class TestBadInput:
    def test_what_is_no_onnx(self, tmp_path: Path) -> None:
        with pytest.raises(CandidateError, match="^no ONNX file: ") as caught:
            from_onnx(b"no onnx")
        assert "\n" not in str(caught.value)
        with pytest.raises(CandidateError, match="there is no file .*missing.onnx"):
            from_onnx(tmp_path / "missing.onnx")

    def test_two_inputs(self) -> None:
        with pytest.raises(CandidateError, match="must have one input, but got 2"):
            from_onnx(sum_of_two().SerializeToString())

    def test_a_shape_that_depends_on_data_is_named(self) -> None:
        inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3])]
        outputs = [helper.make_tensor_value_info("where", TensorProto.INT64, [2, "n"])]
        nodes = [helper.make_node("NonZero", ["input"], ["where"])]
        graph = helper.make_graph(nodes, "net", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        with pytest.raises(CandidateError, match="at where: NonZero: its shape depends on data"):
            from_onnx(model.SerializeToString())

    def test_arguments(self) -> None:
        file = linear(np.ones((4, 3), np.float32)).SerializeToString()
        with pytest.raises(ValueError, match="lowering must be one of .*, but got 'tvm'"):
            from_onnx(file, "tvm")
        with pytest.raises(ValueError, match="batch must be at least 1, but got 0"):
            from_onnx(file, batch=0)
