"""Quantization-aware training: integers times powers of two, and hardly any accuracy lost."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from evaluators import runtimes
from evaluators.compression import (
    PruneConfig,
    QuantizeConfig,
    prune,
    quantize,
    quantize_in_training,
    quantized_shape,
)
from evaluators.compression.qat import QuantizedLayer, Quantizer
from evaluators.compression.qat_file import as_integers, is_power_of_two
from evaluators.packaging import Deployable, package, read_metadata
from evaluators.scoring import accuracy_of, predict
from evaluators.training import TrainingConfig, seeded, train
from nas.trials import CandidateError
from tests.evaluators.packed import convolutions, digits, perceptron, trained

DATA = digits()
INPUTS = torch.from_numpy(DATA.preprocessing.apply(DATA.train.inputs[:128]))


def config(weights: int, activations: int, inputs: int = 5) -> QuantizeConfig:
    return QuantizeConfig("qat", 128, {"all": weights}, {"all": activations}, inputs)


def no_training(module: nn.Module) -> None:
    """Leave it as it is."""


def fine_tune(module: nn.Module) -> None:
    train(module, DATA, TrainingConfig(), 3, epochs=4, learning_rate=0.1)


def layers_of(module: nn.Module) -> list[QuantizedLayer]:
    return [part for part in module.modules() if isinstance(part, QuantizedLayer)]


def filed(module: nn.Module, chosen: QuantizeConfig, folder: Path) -> Path:
    package(module, DATA, folder / "float.onnx")
    return quantize(folder / "float.onnx", chosen, None, folder / "fixed.onnx")


def outputs(path: Path) -> np.ndarray:
    with runtimes.load(path) as session:
        return predict(session, DATA.validation.inputs)


@pytest.mark.parametrize(("weights", "activations"), [(1, 1), (2, 3), (8, 8)])
def test_weights_are_few_integers_times_a_power_of_two(weights, activations):
    module = quantize_in_training(convolutions(), config(weights, activations), INPUTS, no_training)

    for layer in layers_of(module):
        integers, scale = as_integers(layer.weight.detach().numpy())
        assert is_power_of_two(scale)
        assert np.abs(integers).max() <= max(1, 2 ** (weights - 1) - 1)
        assert weights > 1 or set(np.unique(integers)) == {-1, 1}
        steps = layer.layer.bias.detach() / (scale * layer.inputs.scale)
        assert weights > 1 or torch.equal(steps, steps.round())
    assert [layer.inputs.bits for layer in layers_of(module)] == [5, activations, activations]


def test_what_layers_read_is_unsigned_after_relu_and_signed_before():
    module = quantize_in_training(convolutions(), config(4, 3), INPUTS, no_training)
    ranges = [(float(q.low), float(q.high)) for q in (layer.inputs for layer in layers_of(module))]

    assert ranges == [(-16, 15), (0, 7), (0, 7)]


def test_a_quantizer_drops_bits_and_clips():
    quantizer = Quantizer(3).eval()
    for name, value in (("inverse", 4.0), ("scale", 0.25), ("low", -4.0), ("high", 3.0)):
        getattr(quantizer, name).fill_(value)
    values = torch.tensor([-9.0, -1.0, -0.1, 0.0, 0.24, 0.25, 0.74, 9.0], requires_grad=True)

    expected = [-1.0, -1.0, -0.25, 0.0, 0.0, 0.25, 0.5, 0.75]
    assert quantizer(values).tolist() == expected
    trained_on = quantizer.train()(values)
    assert trained_on.tolist() == pytest.approx(expected)
    trained_on.sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 1, 1, 1, 1, 0]


def test_training_brings_the_accuracy_back(tmp_path):
    before = trained(DATA, epochs=10)
    chosen = config(2, 2)
    plain, tuned = (
        filed(quantize_in_training(before, chosen, INPUTS, how), chosen, tmp_path)
        and accuracy_of(outputs(tmp_path / "fixed.onnx"), DATA.validation.labels)
        for how in (no_training, fine_tune)
    )

    assert tuned > 0.94
    assert tuned > plain


def test_the_file_answers_exactly_as_the_module(tmp_path):
    chosen = config(3, 3)
    module = quantize_in_training(trained(DATA), chosen, INPUTS, fine_tune)
    path = filed(module, chosen, tmp_path)

    with torch.no_grad():
        expected = Deployable(module, DATA.preprocessing).eval()(
            torch.tensor(DATA.validation.inputs)
        )
    assert np.array_equal(outputs(path), expected.numpy())
    model = onnx.load(path)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {"Sub", "Mul", "Floor", "Clip", "Cast", "Conv", "Relu", "Flatten", "Gemm"}
    stored = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8]
    assert len(stored) == 3
    assert read_metadata(model)["dtype"] == "fixed"
    assert path.stat().st_size < (tmp_path / "float.onnx").stat().st_size


@pytest.mark.parametrize("weights", [1, 4])
def test_what_was_pruned_stays_zero(weights):
    pruned = prune(trained(DATA), PruneConfig("magnitude", sparsity=0.75), DATA.task, no_training)
    zeros = [p == 0 for p in pruned.parameters() if p.ndim > 1]
    module = quantize_in_training(pruned, config(weights, 4), INPUTS, fine_tune)

    assert sum(int(zero.sum()) for zero in zeros) > 100
    for layer, zero in zip(layers_of(module), zeros, strict=True):
        assert bool((layer.weight[zero] == 0).all())
        assert weights > 1 or bool((layer.weight[~zero] != 0).all())


def test_the_module_that_goes_in_stays_as_it_is():
    module = trained(DATA)
    before = copy.deepcopy(module.state_dict())
    quantize_in_training(module, config(2, 2), INPUTS, fine_tune)

    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_stored_weights_are_loaded_again():
    chosen = config(4, 4)
    module = quantize_in_training(trained(DATA), chosen, INPUTS, fine_tune)
    again = quantized_shape(convolutions(seed=9), chosen)
    again.load_state_dict(module.state_dict())

    with torch.no_grad():
        assert torch.equal(again.eval()(INPUTS), module(INPUTS))


def test_the_same_seed_gives_the_same_network():
    first, other = (
        quantize_in_training(trained(DATA), config(3, 3), INPUTS, fine_tune) for _ in range(2)
    )

    assert all(map(torch.equal, first.state_dict().values(), other.state_dict().values()))


def test_a_signal_is_convolved_in_few_bits_too(tmp_path):
    """Not one layer keeps float weights where the file says that it is fixed-point."""
    with seeded(0):
        module = nn.Sequential(
            nn.Flatten(2), nn.Conv1d(1, 4, 5, 4), nn.BatchNorm1d(4), nn.ReLU(),
            nn.Flatten(), nn.Linear(60, 10),
        )  # fmt: skip
    quantized = quantize_in_training(module, config(2, 4), INPUTS, no_training)
    assert [len(layer.weight.unique()) for layer in layers_of(quantized)] == [3, 3]
    assert not any(isinstance(part, nn.BatchNorm1d) for part in quantized.modules())
    chosen = config(2, 4)
    with torch.no_grad():
        expected = quantized(torch.from_numpy(DATA.preprocessing.apply(DATA.validation.inputs)))
    np.testing.assert_array_equal(outputs(filed(quantized, chosen, tmp_path)), expected.numpy())


def test_other_schemes_leave_the_module_to_the_packed_file():
    module = perceptron(4, 2)

    assert quantize_in_training(module, QuantizeConfig("static"), INPUTS, fine_tune) is module
    assert quantized_shape(module, QuantizeConfig("none")) is module


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (nn.Sequential(nn.Flatten()), "nothing to quantize .* no convolution and no linear layer"),
        (nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3)), "0 is a BatchNorm2d"),
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), "1 is a LayerNorm"),
        (nn.Sequential(nn.MultiheadAttention(4, 1)), "0 is a MultiheadAttention"),
        (nn.Sequential(nn.ConvTranspose2d(1, 4, 3), nn.Linear(4, 4)), "0 is a ConvTranspose2d"),
        (nn.Sequential(nn.Linear(4, 4), nn.LSTM(4, 4)), "1 is a LSTM"),
    ],
)
def test_what_cannot_be_quantized_is_the_candidates_fault(module, line):
    with pytest.raises(CandidateError, match=line):
        quantized_shape(module, config(4, 4))


def test_a_layer_whose_weights_are_all_zero_is_one_too():
    with seeded(0):
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(module[1].weight)
    for weights in (1, 4):
        quantized = quantize_in_training(module, config(weights, 4), INPUTS, no_training)
        assert not layers_of(quantized)[0].weight.any()


@pytest.mark.parametrize(
    ("values", "integers", "scale"),
    [
        ([0.5, -1.5, 0.0], [1, -3, 0], 0.5),
        ([4.0, 8.0], [1, 2], 4.0),
        ([0.0], [0], 1.0),
        ([127.0, 1.0], [127, 1], 1.0),
    ],
)
def test_weights_as_integers(values, integers, scale):
    found = as_integers(np.array(values, np.float32))

    assert (found[0].tolist(), found[1]) == (integers, scale)
    assert found[0].dtype == np.int8


def test_weights_that_are_no_small_integers_are_refused(tmp_path):
    with pytest.raises(CandidateError, match="integers of up to 127 times a power of two"):
        filed(trained(DATA), config(4, 4), tmp_path)
