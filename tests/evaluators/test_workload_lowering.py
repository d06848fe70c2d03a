"""What folds into what, against the optimized graphs of ONNX Runtime and by hand."""

import io
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from evaluators.workload import trace
from tests.evaluators.workload_nets import Residual, SqueezeExcite, conv, counts, head
from tests.support.machine import HAS_AVX512

_SAME = {
    "Conv": "convolution",
    "conv": "convolution",
    "depthwise": "convolution",
    "grouped_conv": "convolution",
    "Gemm": "linear",
    "FusedGemm": "linear",
    "linear": "linear",
    "MaxPool": "pool",
    "AveragePool": "pool",
    "pool": "pool",
    "GlobalAveragePool": "global_pool",
    "global_pool": "global_pool",
    "BatchNormalization": "batch_norm",
    "batch_norm": "batch_norm",
    "add": "add",
    "Add": "add",
    "mul": "mul",
    "Mul": "mul",
    "transpose": "transpose",
    "Transpose": "transpose",
    "ReorderInput": "reorder",
    "ReorderOutput": "reorder",
    "reorder": "reorder",
    "clip": "activation",
}
OF_THIS_CPU = "onnxruntime" if HAS_AVX512 else "onnxruntime-nchwc8"
_FREE = ("Flatten", "Reshape")
"""Reshapes, which move nothing."""


def optimized(net: nn.Module, shape: tuple[int, ...], folder: Path) -> Counter[str]:
    """The kernels that ONNX Runtime really executes; what is not in the table is an activation."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(net.eval(), (torch.zeros(shape),), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "optimized.onnx").graph
    outputs = {value.name for value in graph.output}
    # Whoever traces a part of a network does not know that it is the last one.
    nodes = [n for n in graph.node if n.op_type not in _FREE]
    nodes = [n for n in nodes if n.op_type != "ReorderOutput" or n.output[0] not in outputs]
    return Counter(_SAME.get(n.op_type, "activation") for n in nodes)


def traced(net: nn.Module, shape: tuple[int, ...]) -> Counter[str]:
    found: Counter[str] = Counter()
    for op, count in counts(trace(net, shape, OF_THIS_CPU)).items():
        found[_SAME.get(op, op)] += count
    return found


def everything(act: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        conv(1, 16, act=act),
        conv(16, 16, groups=16, act=act),
        Residual(conv(16, 16, 1, act=None), act()),
        Residual(conv(16, 16, act=act)),
        nn.MaxPool2d(2),
        head(16, 24),
        act(),
        nn.Linear(24, 10),
        nn.BatchNorm1d(10),
        act(),
    )


@pytest.mark.parametrize(
    "act", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.GELU]
)
def test_onnx_runtime_executes_the_kernels_that_are_traced(
    act: Callable[[], nn.Module], tmp_path: Path
) -> None:
    net = everything(act)
    assert traced(net, (1, 1, 16, 16)) == optimized(net, (1, 1, 16, 16), tmp_path)


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(conv(1, 16), SqueezeExcite(), head(16, 10)),
        nn.Sequential(conv(1, 16), Residual(nn.Sequential(conv(16, 64, 1), conv(64, 16, 1)))),
        nn.Sequential(conv(1, 16, act=nn.Hardswish), conv(16, 16, act=nn.Hardsigmoid)),
    ],
)
def test_and_in_other_networks(net: nn.Module, tmp_path: Path) -> None:
    assert traced(net, (1, 1, 16, 16)) == optimized(net, (1, 1, 16, 16), tmp_path)


class TestByHand:
    """A convolution with batch norm and SiLU, a residual with ReLU behind it, a head."""

    net = nn.Sequential(
        conv(3, 16, act=nn.SiLU), Residual(conv(16, 16, act=None), nn.ReLU()), head(16, 10)
    )
    tail = {"global_pool": 1, "linear": 1}

    @pytest.mark.parametrize(
        ("lowering", "expected"),
        [
            ("onnxruntime", {"conv": 2, "activation": 1, "reorder": 1}),
            ("tflite", {"conv": 2, "activation": 1, "add": 1}),
            ("xla", {"conv": 2}),
            ("dataflow", {"conv": 2, "add": 1}),
            ("eager", {"conv": 2, "batch_norm": 2, "activation": 2, "add": 1}),
            ("dpu", {"conv": 2, "activation": 1, "add": 1}),
        ],
    )
    def test_what_each_lowering_leaves(self, lowering: str, expected: dict[str, int]) -> None:
        found = counts(trace(self.net, (1, 3, 8, 8), lowering))
        assert found == expected | self.tail

    def test_a_folded_convolution_has_a_bias_an_unfolded_one_has_none(self) -> None:
        folded, eager = (trace(conv(3, 16), (1, 3, 8, 8), name) for name in ("xla", "eager"))
        assert folded.kernels[0].weight_bytes == 4 * (3 * 16 * 9 + 16)
        assert eager.kernels[0].weight_bytes == 4 * 3 * 16 * 9
        assert eager.kernels[1].weight_bytes == 4 * 4 * 16

    def test_a_bias_that_is_there_already_is_not_added_again(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 16, 1), nn.BatchNorm2d(16))
        assert trace(net, (1, 3, 8, 8)).kernels[0].weight_bytes == 4 * (3 * 16 + 16)


class TestLimits:
    def test_what_is_read_twice_is_not_folded(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Conv2d(3, 3, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                y = self.body(x)
                return torch.relu(y) + torch.sigmoid(y)

        found = counts(trace(Twice(), (1, 3, 4, 4)))
        assert found == {"conv": 1, "clip": 1, "activation": 1, "add": 1}

    def test_an_output_counts_as_a_reader(self) -> None:
        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Conv2d(3, 3, 1)

            def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
                y = self.body(x)
                return {"raw": y, "relu": torch.relu(y)}

        assert counts(trace(Both(), (1, 3, 4, 4))) == {"conv": 1, "clip": 1}

    def test_batch_norm_behind_an_activation_stays(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.BatchNorm2d(8))
        assert counts(trace(net, (1, 3, 4, 4))) == {"conv": 1, "batch_norm": 1}
        assert counts(trace(net, (1, 3, 4, 4), "xla")) == {"conv": 1}

    def test_statistics_of_the_data_are_not_folded(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8))
        assert counts(trace(net, (1, 3, 4, 4)))["batch_norm"] == 1

    def test_a_convolution_takes_one_activation_only(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Sigmoid())
        assert counts(trace(net, (1, 3, 4, 4))) == {"conv": 1, "activation": 1}

    def test_batch_norm_before_the_convolution_stays(self) -> None:
        net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 1))
        assert counts(trace(net, (1, 3, 4, 4))) == {"conv": 1, "batch_norm": 1}

    def test_a_broadcast_sum_stays(self) -> None:
        class Broadcast(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = nn.Conv2d(3, 3, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.body(x) + x.mean((2, 3), keepdim=True)

        assert counts(trace(Broadcast(), (1, 3, 4, 4)))["add"] == 1

    def test_what_does_not_reach_the_output_runs_in_eager_only(self) -> None:
        class Dead(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.used, self.dead = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 5, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.dead(x)
                result: torch.Tensor = self.used(x)
                return result

        assert counts(trace(Dead(), (1, 3, 4, 4))) == {"conv": 1}
        assert counts(trace(Dead(), (1, 3, 4, 4), "eager")) == {"conv": 2}

    def test_views_are_free_and_transposes_depend(self) -> None:
        class Layout(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.flatten(2).transpose(1, 2).reshape(1, -1)[:, :4] * 2

        shape = (1, 3, 4, 4)
        assert counts(trace(Layout(), shape)) == {"transpose": 1, "slice": 1, "mul": 1}
        assert counts(trace(Layout(), shape, "xla")) == {"slice": 1, "mul": 1}
        assert counts(trace(Layout(), shape, "eager")) == {"copy": 1, "mul": 1}

    def test_two_transposes_one_after_the_other_are_one(self) -> None:
        class Turns(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.transpose(1, 2).transpose(2, 3) * 2

        kernels = trace(Turns(), (1, 2, 3, 4)).kernels
        assert [(kernel.op, kernel.out_shape) for kernel in kernels] == [
            ("transpose", (1, 3, 4, 2)),
            ("mul", (1, 3, 4, 2)),
        ]


class TestTokens:
    """A linear layer of tokens is a product and a sum, but not in front of GELU."""

    @pytest.mark.parametrize(
        ("behind", "adds"), [(nn.Identity(), 1), (nn.ReLU(), 1), (nn.GELU(), 0)]
    )
    def test_the_bias_is_a_sum(self, behind: nn.Module, adds: int) -> None:
        found = counts(trace(nn.Sequential(nn.Linear(8, 8), behind), (1, 5, 8)))
        assert (found["linear"], found["add"]) == (1, adds)

    def test_that_of_a_flattened_image_is_not(self) -> None:
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.Unflatten(1, (4, 2, 2)))
        assert counts(trace(net, (1, 3, 4, 4))) == {"linear": 1}


class TestDPU:
    @pytest.mark.parametrize(
        ("act", "activations"),
        [(nn.ReLU, 0), (nn.ReLU6, 0), (nn.LeakyReLU, 0), (nn.Hardsigmoid, 0), (nn.SiLU, 2)],
    )
    def test_the_piecewise_linear_ones_are_a_part_of_layers(
        self, act: Callable[[], nn.Module], activations: int
    ) -> None:
        net = nn.Sequential(conv(3, 16, act=act), conv(16, 16, groups=16, act=act))
        expected = {"conv": 1, "depthwise": 1} | ({"activation": 2} if activations else {})
        assert counts(trace(net, (1, 3, 8, 8), "dpu")) == expected

    def test_squeeze_and_excitation_pools_and_multiplies(self) -> None:
        """As the DPUs of the Accel-NASBench measurements do: the two layers between fold."""
        net = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(16, 4, 1),
            nn.ReLU(),
            nn.Conv2d(4, 16, 1),
            nn.Hardsigmoid(),
        )

        class Excite(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                result: torch.Tensor = x * self.net(x)
                return result

        found = counts(trace(Excite(), (1, 16, 8, 8), "dpu"))
        assert found == {"global_pool": 1, "conv": 2, "mul": 1}


class TestZeros:
    """0 + x, x * 1 and x * 0."""

    class Sum(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.body, self.factor = conv(3, 3, act=None), factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = sum([self.body(x), torch.sigmoid(x) * self.factor])
            return result

    @pytest.mark.parametrize(
        ("lowering", "factor", "expected"),
        [
            ("eager", 0.0, {"conv": 1, "batch_norm": 1, "activation": 1, "mul": 1, "add": 2}),
            ("eager", 1.0, {"conv": 1, "batch_norm": 1, "activation": 1, "mul": 1, "add": 2}),
            (
                "onnxruntime",
                0.0,
                {"conv": 1, "activation": 1, "mul": 1, "reorder": 1, "add": 1},
            ),
            ("onnxruntime", 1.0, {"conv": 1, "activation": 1, "reorder": 1, "add": 1}),
            ("tflite", 0.0, {"conv": 1}),
            ("tflite", 1.0, {"conv": 1, "activation": 1, "add": 1}),
            ("dpu", 0.0, {"conv": 1}),
        ],
    )
    def test_who_carries_them_out(
        self, lowering: str, factor: float, expected: dict[str, int]
    ) -> None:
        assert counts(trace(self.Sum(factor), (1, 3, 8, 8), lowering)) == expected

    def test_a_number_behind_a_convolution_is_a_part_of_its_weights(self, tmp_path: Path) -> None:
        class Half(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x * 0.5

        net = nn.Sequential(conv(3, 16, act=None), Half(), nn.ReLU())
        assert traced(net, (1, 3, 8, 8)) == optimized(net, (1, 3, 8, 8), tmp_path)
        assert counts(trace(net, (1, 3, 8, 8))) == {"conv": 1}


class TestPeakMemory:
    def test_input_and_output_of_the_largest_kernel(self) -> None:
        net = nn.Sequential(conv(3, 16), conv(16, 8), head(8, 10))
        assert trace(net, (1, 3, 8, 8)).peak_memory_bytes == 4 * 64 * (16 + 8)

    def test_a_residual_is_kept_meanwhile(self) -> None:
        net = Residual(nn.Sequential(conv(8, 32), conv(32, 32, groups=32), conv(32, 8, act=None)))
        folded, apart = (trace(net, (1, 8, 4, 4), name) for name in ("xla", "tflite"))
        assert folded.peak_memory_bytes == apart.peak_memory_bytes == 4 * 16 * (8 + 32 + 32)

    def test_a_sum_of_its_own_needs_room(self) -> None:
        net = Residual(conv(8, 8, act=None))
        folded, apart = (trace(net, (2, 8, 4, 4), name) for name in ("xla", "dataflow"))
        assert folded.peak_memory_bytes == 2 * 4 * 16 * (8 + 8)
        assert apart.peak_memory_bytes == 2 * 4 * 16 * (8 + 8 + 8)

    def test_an_eager_batch_norm_has_a_result_of_its_own(self) -> None:
        net = nn.Sequential(nn.Conv2d(1, 16, 1), nn.BatchNorm2d(16))
        folded, eager = (trace(net, (1, 1, 4, 4), name) for name in ("onnxruntime", "eager"))
        assert folded.peak_memory_bytes == 4 * 16 * 17
        assert eager.peak_memory_bytes == 4 * 16 * 32
