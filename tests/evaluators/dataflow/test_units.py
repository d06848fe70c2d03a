"""Units and circuits check themselves."""

import pytest

from evaluators.dataflow.units import INPUT, Circuit, Unit
from tests.evaluators.dataflow.circuits import conv, linear, perceptron, residual


def test_what_is_folded_are_outputs_and_the_weights_of_one() -> None:
    assert (linear(6, 4).mh, linear(6, 4).mw, linear(6, 4).weights) == (4, 6, 24)
    layer = conv(3, 8, 10)
    assert (layer.mh, layer.mw, layer.out_pixels) == (8, 27, 64)
    grouped = conv(8, 8, 10, groups=2)
    assert grouped.mw == 4 * 9
    depthwise = Unit("depthwise", (INPUT,), (8, 10, 10), (8, 8, 8), window=(3, 3))
    assert (depthwise.mh, depthwise.mw, depthwise.weights) == (8, 9, 72)


def test_a_linear_layer_takes_a_whole_map_where_one_pixel_comes_out() -> None:
    flat = Unit("linear", (INPUT,), (16, 4, 4), (10, 1, 1))
    assert flat.mw == 256
    tokens = Unit("linear", (INPUT,), (16, 20, 1), (10, 20, 1))
    assert tokens.mw == 16


def test_a_window_of_one_pixel_needs_no_sliding_window_unit() -> None:
    assert conv(3, 8, 10).slides
    assert not conv(3, 8, 10, window=1).slides
    assert conv(3, 8, 10, window=1, stride=(2, 2)).slides


@pytest.mark.parametrize(("side", "stride", "padding", "padded"), [
    (10, 1, 0, 10), (10, 1, 1, 12), (10, 2, 1, 11), (9, 2, 1, 11), (8, 2, 0, 8),
])  # fmt: skip
def test_the_window_slides_over_the_map_with_its_padding(
    side: int, stride: int, padding: int, padded: int
) -> None:
    layer = conv(3, 8, side, stride=(stride, stride), padding=(padding, padding))
    assert layer.padded == (padded, padded)


def test_forks_are_units_with_several_readers() -> None:
    assert residual().readers == [2, 1, 1, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"op": "softmax"}, "a streaming circuit has no unit for 'softmax'"),
        ({"weight_bits": 9}, "weight_bits must be 1 to 8, but got 9"),
        ({"in_bits": 0}, "in_bits must be 1 to 8, but got 0"),
        ({"out_bits": -1}, "out_bits must be 1 to 8, but got -1"),
        ({"pe": 3}, "PE must divide 4 and SIMD 6 in linear, but got PE 3, SIMD 1"),
        ({"simd": 4}, "PE must divide 4 and SIMD 6 in linear, but got PE 1, SIMD 4"),
        ({"out_shape": (4, 0, 1)}, "sizes of a unit must be at least 1"),
    ],
)
def test_a_unit_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    values = {"op": "linear", "inputs": (INPUT,), "in_shape": (6, 1, 1), "out_shape": (4, 1, 1)}
    with pytest.raises(ValueError, match=message):
        Unit(**{**values, **changes})  # type: ignore[arg-type]


def test_a_circuit_has_units_behind_those_that_they_read() -> None:
    with pytest.raises(ValueError, match="needs units, but the network has none"):
        Circuit((), (6, 1, 1))
    with pytest.raises(ValueError, match=r"unit 0 must read units before it, but got \(0,\)"):
        Circuit((linear(6, 4, 0),), (6, 1, 1))
    with pytest.raises(ValueError, match="input_bits must be 1 to 8, but got 16"):
        Circuit((linear(6, 4),), (6, 1, 1), 16)


def test_folding_changes_nothing_else() -> None:
    circuit = perceptron(6, 4, 2)
    folded = circuit.folded([(2, 3), (1, 4)])
    assert [(unit.pe, unit.simd) for unit in folded.units] == [(2, 3), (1, 4)]
    assert folded.folded([(1, 1), (1, 1)]) == circuit
    with pytest.raises(ValueError, match="PE must divide"):
        circuit.folded([(5, 1), (1, 1)])
