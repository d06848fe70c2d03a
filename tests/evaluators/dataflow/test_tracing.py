"""Circuits of torch modules: order, edges, windows, bits, and what no unit can do."""

import math

import pytest
import torch
from torch import Tensor, nn

from evaluators.dataflow.tracing import Bits, as_map, circuit_of
from evaluators.dataflow.units import INPUT, MATRIX
from evaluators.workload import trace
from nas.trials import CandidateError
from tests.evaluators.workload_nets import Residual, SqueezeExcite, cnv, conv, head, mobile


class FakeQuantized(nn.Module):
    """Activations of few bits, as they are trained: plain operations and a gradient that passes."""

    def forward(self, x: Tensor) -> Tensor:
        rounded = torch.clamp(torch.round(x * 8), 0, 15) / 8
        return x + (rounded - x).detach()


def ops(circuit) -> list[str]:
    return [unit.op for unit in circuit.units]


def test_cnv_is_nine_layers_and_two_poolings() -> None:
    circuit = circuit_of(cnv(), (3, 32, 32))
    convolutions = ["conv", "conv", "pool"] * 2 + ["conv", "conv"]
    assert ops(circuit) == [*convolutions, "linear", "linear", "linear"]
    assert [unit.inputs for unit in circuit.units] == [(at - 1,) for at in range(11)]
    assert circuit.units[2].window == circuit.units[2].stride == (2, 2)
    assert circuit.units[8].mw == 256
    assert circuit.units[-1].out_bits == 0


def test_branches_meet_where_the_network_joins_them() -> None:
    net = nn.Sequential(conv(3, 16), Residual(conv(16, 16, act=None), nn.ReLU()), head(16, 10))
    circuit = circuit_of(net, (3, 8, 8))
    assert ops(circuit) == ["conv", "conv", "add", "global_pool", "linear"]
    assert circuit.units[2].inputs == (0, 1)
    assert circuit.readers == [2, 1, 1, 1, 0]


def test_a_transposed_convolution_has_no_unit() -> None:
    """Its weights would be counted at a fraction of what they are."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 2, 2), head(8, 10))
    with pytest.raises(CandidateError, match="no unit for .transposed_conv. .in 1."):
        circuit_of(net, (3, 16, 16))


def test_a_gate_is_read_where_the_map_is() -> None:
    circuit = circuit_of(nn.Sequential(conv(3, 16), SqueezeExcite(), head(16, 10)), (3, 8, 8))
    assert ops(circuit) == ["conv", "global_pool", "conv", "conv", "mul", "global_pool", "linear"]
    assert circuit.units[4].inputs == (0, 3)
    assert circuit.units[4].out_shape == (16, 8, 8)


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (cnv(), (3, 32, 32)),
        (mobile(), (3, 32, 32)),
        (nn.Sequential(nn.Conv2d(8, 16, 3, groups=4), nn.Conv2d(16, 8, (1, 5))), (8, 12, 12)),
        (nn.Sequential(nn.Conv1d(2, 8, 9, 2, 4), nn.Flatten(), nn.Linear(128, 4)), (2, 32)),
        (nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), (8,)),
    ],
)
def test_the_products_of_the_units_are_those_of_the_network(
    net: nn.Module, shape: tuple[int, ...]
) -> None:
    circuit = circuit_of(net, shape)
    macs = sum(unit.weights * unit.out_pixels for unit in circuit.units if unit.op in MATRIX)
    assert macs == trace(net, (1, *shape), "dataflow").macs


def test_windows_strides_and_padding_are_those_of_the_modules() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, (3, 5), (2, 1), (1, 2)), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2)
    )
    first, pool, average = circuit_of(net, (3, 17, 16)).units
    assert (first.window, first.stride, first.padding) == ((3, 5), (2, 1), (1, 2))
    assert (pool.window, pool.stride, pool.padding) == ((3, 3), (2, 2), (1, 1))
    assert (average.window, average.stride) == ((2, 2), (2, 2))


def test_a_signal_lies_along_the_height() -> None:
    net = nn.Sequential(nn.Conv1d(2, 8, 9, padding=4), nn.MaxPool1d(4))
    first, pool = circuit_of(net, (2, 64)).units
    assert (first.in_shape, first.window, first.padding) == ((2, 64, 1), (9, 1), (4, 0))
    assert (pool.out_shape, pool.window) == ((8, 16, 1), (4, 1))
    flat = circuit_of(nn.Conv2d(2, 8, (1, 9), padding=(0, 4)), (2, 1, 64)).units[0]
    assert (flat.in_shape, flat.window, flat.padding) == ((2, 64, 1), (9, 1), (4, 0))


def test_fake_quantization_is_part_of_the_thresholds() -> None:
    net = nn.Sequential(
        FakeQuantized(), nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), FakeQuantized(),
        nn.Conv2d(8, 8, 3), FakeQuantized(), head(8, 4),
    )  # fmt: skip
    circuit = circuit_of(net, (3, 12, 12))
    assert ops(circuit) == ["conv", "conv", "global_pool", "linear"]
    assert [unit.inputs for unit in circuit.units] == [(INPUT,), (0,), (1,), (2,)]


class TestBits:
    net = nn.Sequential(
        conv(3, 8), nn.Sequential(conv(8, 8), Residual(conv(8, 8, act=None))), head(8, 4)
    )

    def test_a_layer_has_those_of_its_innermost_name(self) -> None:
        bits = Bits({"all": 4, "1": 2, "1.1": 3}, {"1": 5})
        units = circuit_of(self.net, (3, 8, 8), bits).units
        assert [unit.weight_bits for unit in units if unit.op in MATRIX] == [4, 2, 3, 4]
        assert [unit.in_bits for unit in units if unit.op in MATRIX] == [8, 5, 5, 8]

    def test_thresholds_put_out_what_the_readers_take(self) -> None:
        bits = Bits(activations={"1.0": 3, "1.1": 2, "2": 6}, inputs=7)
        circuit = circuit_of(self.net, (3, 8, 8), bits)
        assert circuit.input_bits == circuit.units[0].in_bits == 7
        # conv, conv, conv, add, global pool, linear
        assert [unit.out_bits for unit in circuit.units] == [3, 6, 6, 6, 6, 0]

    def test_a_label_says_the_range(self) -> None:
        assert str(Bits()) == "int8"
        assert str(Bits({"all": 8}, {"all": 8})) == "int8"
        assert str(Bits({"a": 1, "b": 4}, {"all": 2})) == "w1-4a2"

    @pytest.mark.parametrize("bits", [0, 9, 2.5, True])
    def test_other_bits_are_refused(self, bits: int) -> None:
        with pytest.raises(ValueError, match=f"bits of a circuit must be 1 to 8, but got {bits}"):
            Bits({"all": bits})


@pytest.mark.parametrize(
    ("net", "shape", "message"),
    [
        (nn.Sequential(nn.Linear(8, 4), nn.Softmax(-1)), (8,), "no unit for '_?softmax'"),
        (nn.Sequential(nn.Linear(8, 4), nn.LayerNorm(4)), (8,), "no unit for 'layer_norm'"),
        (nn.ReLU(), (8,), "needs units, but the network has none"),
        (nn.Conv3d(2, 2, 3), (2, 8, 8, 8), "takes vectors, signals and images, but got"),
        (nn.Conv2d(3, 4, 3), (2, 8, 8), "cannot be traced"),
    ],
)
def test_what_no_unit_can_do_is_one_line(
    net: nn.Module, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(CandidateError, match=message) as caught:
        circuit_of(net, shape)
    assert "\n" not in str(caught.value)


def test_attention_is_refused_with_its_place() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    with pytest.raises(CandidateError, match="a streaming circuit"):
        circuit_of(layer, (10, 16))


def test_the_module_is_left_as_it_is() -> None:
    net = mobile().train()
    circuit_of(net, (3, 32, 32))
    assert all(part.training for part in net.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_shapes_become_maps() -> None:
    assert as_map((1, 490)) == (490, 1, 1)
    assert as_map((1, 2, 128)) == (2, 128, 1)
    assert as_map((1, 2, 1, 128)) == (2, 128, 1)
    assert math.prod(as_map((1, 3, 20, 30))) == 1800
