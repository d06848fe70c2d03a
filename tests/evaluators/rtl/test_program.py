"""What an artifact computes on integers: the same as ONNX Runtime, to the last bit."""

import numpy as np
import onnx
import pytest
from torch import nn

from evaluators.compression import QuantizeConfig, quantize
from evaluators.packaging import package
from evaluators.rtl.program import Numbers, load_program
from evaluators.training import seeded
from nas.trials import CandidateError
from tests.evaluators.packed import blobs, convolutions, perceptron
from tests.evaluators.rtl.fixed_nets import DATA, answers, fixed, mlp


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, values):
        return values + self.body(values)


def pooled() -> nn.Module:
    """Every kind of layer that can be unrolled."""
    with seeded(0):
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, 1, 1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 3, 1, 1, groups=4),
            nn.ReLU(),
            Residual(),
            nn.AvgPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 10),
        )


@pytest.mark.parametrize("module", [mlp(), convolutions(4), pooled()], ids=["mlp", "conv", "all"])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_numbers_give_what_onnx_runtime_gives(module, bits, tmp_path):
    artifact = fixed(module, tmp_path, bits, bits, bits)
    program = load_program(artifact.path)
    integers = program.integers(DATA.validation.inputs)

    assert integers.min() >= program.low == -(2 ** (bits - 1))
    assert integers.max() <= program.high == 2 ** (bits - 1) - 1
    assert np.array_equal(integers, np.round(integers))
    assert integers.shape[1:] == program.shape
    found = program.run(integers.astype(np.float64), Numbers())
    assert np.array_equal(found, answers(artifact, DATA.validation.inputs))


def test_tables_are_taken_too(tmp_path):
    data = blobs()
    artifact = fixed(perceptron(5, 3), tmp_path, data=data)
    program = load_program(artifact.path)

    assert program.shape == (5,)
    found = program.run(program.integers(data.validation.inputs), Numbers())
    assert np.array_equal(found, answers(artifact, data.validation.inputs))


def test_only_weights_that_are_not_zero_count(tmp_path):
    module = mlp(12)
    with seeded(0):
        module[1].weight.data[:6] = 0
    dense = load_program(fixed(mlp(12), tmp_path, 1).path).macs()
    sparse = load_program(fixed(module, tmp_path, 1).path).macs()

    assert dense == 64 * 12 + 12 * 10
    assert sparse == dense - 64 * 6


def test_a_convolution_counts_once_a_pixel(tmp_path):
    with seeded(0):
        module = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Flatten(), nn.Linear(32, 10))

    assert load_program(fixed(module, tmp_path, 1).path).macs() == 16 * 18 + 320


@pytest.mark.parametrize(
    ("layers", "line"),
    [
        ([nn.Linear(64, 8), nn.Sigmoid()], "the network has a Sigmoid"),
        ([nn.Linear(64, 8), nn.Hardtanh()], "no part of a quantizer"),
        ([nn.Linear(64, 8), nn.ReLU6()], r"ReLU6\? take ReLU"),
    ],
)
def test_what_is_no_logic_of_adders_is_refused(layers, line, tmp_path):
    with seeded(0):
        module = nn.Sequential(nn.Flatten(), *layers, nn.Linear(8, 10))
    artifact = fixed(module, tmp_path)

    with pytest.raises(CandidateError, match=f"no circuit: .*{line}"):
        load_program(artifact.path).macs()


def test_a_network_of_floats_is_refused(tmp_path):
    package(mlp(), DATA, tmp_path / "float.onnx")
    quantize(tmp_path / "float.onnx", QuantizeConfig("static"), DATA.train.inputs, tmp_path / "8")

    for name in ("float.onnx", "8"):
        with pytest.raises(CandidateError, match="inputs are not quantized .* of the scheme qat"):
            load_program(tmp_path / name)


def test_the_part_outside_is_a_model_of_its_own(tmp_path):
    program = load_program(fixed(mlp(), tmp_path).path)

    onnx.checker.check_model(onnx.load_from_string(program.outside), full_check=True)
