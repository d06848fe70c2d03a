"""Functions that are a part of a kernel, and the lowering of statically quantized networks."""

import math
import pickle

import pytest
from torch import nn

from evaluators.workload import BlockCaches, Workload, from_onnx, trace
from tests.evaluators.onnx_nets import chain
from tests.evaluators.workload_nets import Residual, SqueezeExcite, blocks_of, conv, counts, head

SHAPE = (1, 16, 8, 8)
INTEGERS = "onnxruntime-int8"


def dtypes(workload: Workload) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for kernel in workload.kernels:
        key = kernel.op, kernel.dtype
        found[key] = found.get(key, 0) + kernel.count
    return found


class TestFused:
    @pytest.mark.parametrize(
        ("lowering", "act", "fused"),
        [
            ("onnxruntime", nn.ReLU, ""),
            ("onnxruntime", nn.ReLU6, ""),
            ("onnxruntime", nn.Sigmoid, "sigmoid"),
            ("onnxruntime", nn.Hardswish, "hardswish"),
            ("onnxruntime", nn.SiLU, None),
            ("xla", nn.SiLU, "silu"),
            ("xla", nn.ReLU, ""),
            ("tflite", nn.ReLU6, ""),
            ("tflite", nn.Hardswish, None),
            ("dpu", nn.Hardswish, "hardswish"),
            ("dataflow", nn.Sigmoid, "sigmoid"),
            ("eager", nn.ReLU, None),
        ],
    )
    def test_a_kernel_names_the_function_unless_it_clips(
        self, lowering: str, act: type[nn.Module], fused: str | None
    ) -> None:
        workload = trace(conv(16, 16, act=act), SHAPE, lowering)
        first = workload.kernels[0]
        assert first.fused == (fused or "")
        assert counts(workload)["activation"] == (0 if fused is not None else 1)

    def test_kernels_that_differ_in_it_are_not_one(self) -> None:
        parts = [conv(16, 16, act=act) for act in (nn.ReLU, nn.Sigmoid, nn.ReLU, nn.Sigmoid)]
        kernels = trace(nn.Sequential(*parts), SHAPE).kernels
        assert [(kernel.fused, kernel.count) for kernel in kernels] == [("", 2), ("sigmoid", 2)]
        assert len({hash(kernel) for kernel in kernels}) == 2
        assert pickle.loads(pickle.dumps(kernels)) == kernels

    def test_a_function_at_the_beginning_of_a_block_is_found(self) -> None:
        parts = [conv(16, 16, act=None), nn.Sigmoid(), conv(16, 16)]
        whole = trace(nn.Sequential(*parts), SHAPE)
        assert whole.kernels[0].fused == "sigmoid"
        found = BlockCaches(["onnxruntime"]).workloads(blocks_of(parts, SHAPE[1:]))
        assert found == {"onnxruntime": whole}


class TestIntegers:
    def test_layers_and_sums_are_integer_and_functions_are_float(self) -> None:
        net = nn.Sequential(
            conv(16, 16), Residual(conv(16, 16, groups=16, act=None)), conv(16, 16, act=nn.SiLU),
            SqueezeExcite(), nn.MaxPool2d(2), head(16, 10),
        )  # fmt: skip
        assert dtypes(trace(net, SHAPE, INTEGERS)) == {
            ("conv", "int8"): 4,
            ("depthwise", "int8"): 1,
            ("add", "int8"): 1,
            ("activation", "float32"): 1,  # SiLU
            ("dequantize", "float32"): 1,  # before it
            ("quantize", "int8"): 2,  # behind it, and of the input
            ("activation", "int8"): 1,  # the sigmoid of the gate
            ("mul", "int8"): 1,
            ("pool", "int8"): 1,
            ("global_pool", "int8"): 2,
            ("linear", "int8"): 1,
        }

    def test_macs_and_params_are_those_of_the_float_network(self) -> None:
        net = nn.Sequential(conv(16, 32), conv(32, 32, 1), head(32, 10))
        one, other = trace(net, SHAPE), trace(net, SHAPE, INTEGERS)
        assert (one.macs, one.params) == (other.macs, other.params)
        moved = [sum(k.weight_bytes * k.count for k in w.kernels) for w in (one, other)]
        assert moved[0] == 4 * moved[1]

    def test_only_what_clips_folds_and_no_sum_does(self) -> None:
        net = Residual(conv(16, 16, act=None), nn.ReLU())
        quantized = {("quantize", "int8"): 1}
        integers = quantized | {("conv", "int8"): 1, ("add", "int8"): 1}
        assert dtypes(trace(net, SHAPE, INTEGERS)) == integers
        assert counts(trace(net, SHAPE, "xla")) == {"conv": 1}
        leaky = trace(conv(16, 16, act=nn.LeakyReLU), SHAPE, INTEGERS)
        assert dtypes(leaky) == quantized | {("conv", "int8"): 1, ("clip", "int8"): 1}

    def test_the_hard_swish_is_a_gate_and_a_product_between_conversions(self) -> None:
        net = nn.Sequential(conv(16, 16, act=nn.Hardswish), conv(16, 16, 1))
        found = trace(net, SHAPE, INTEGERS)
        assert dtypes(found) == {
            ("quantize", "int8"): 2,
            ("conv", "int8"): 2,
            ("dequantize", "float32"): 1,
            ("clip", "float32"): 1,
            ("mul", "float32"): 1,
        }
        elements = math.prod(SHAPE)
        moved = {k.op: (k.input_bytes, k.output_bytes) for k in found.kernels}
        assert moved["quantize"] == (4 * elements, elements)
        assert moved["dequantize"] == (elements, 4 * elements)
        assert moved["mul"] == (8 * elements, 4 * elements)

    def test_activations_take_a_quarter_of_the_memory(self) -> None:
        parts = [conv(16, 64), conv(64, 64), conv(64, 64), conv(64, 16)]
        whole = [trace(nn.Sequential(*parts), SHAPE, n) for n in ("onnxruntime", INTEGERS)]
        assert whole[0].peak_memory_bytes == 4 * whole[1].peak_memory_bytes
        blocks = BlockCaches([INTEGERS]).workloads(blocks_of(parts, SHAPE[1:]))[INTEGERS]
        assert blocks.peak_memory_bytes == whole[1].peak_memory_bytes

    def test_a_float_file_can_be_lowered_so_too(self) -> None:
        found = from_onnx(chain(3, 4).SerializeToString(), INTEGERS)
        assert {kernel.dtype for kernel in found.kernels} == {"int8"}
        assert found.lowering == INTEGERS
