"""From torch modules to graphs."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from evaluators.tpu.export import export
from evaluators.tpu.graph import references
from nas.trials import CandidateError
from tests.evaluators.tpu.nets import SHAPE, Function, convolutional, settled


def ops(module: nn.Module, fold: bool = True) -> list[str]:
    graph, _ = export(module, SHAPE, fold=fold)
    return [node.op.partition(".")[0] for node in graph.nodes]


def test_batch_norm_folds_into_the_convolution_before_it() -> None:
    assert "batch_norm" in ops(convolutional(), fold=False)
    assert ops(convolutional()) == [
        *["conv2d", "relu"] * 2,
        "adaptive_avg_pool2d",
        "flatten",
        "linear",
    ]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_a_folded_layer_gives_the_same(bias: bool, affine: bool) -> None:
    net = settled(nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4, affine=affine)))
    graph, weights = export(net, SHAPE)
    (layer,) = graph.nodes
    _, weight, shift = (weights.get(name) for name in references(layer))
    inputs = torch.randn(SHAPE)
    assert weight is not None
    torch.testing.assert_close(functional.conv2d(inputs, weight, shift), net(inputs))
    assert set(weights) == set(graph.weights) == set(references(layer)) - set(graph.inputs)


def test_a_linear_layer_folds_too() -> None:
    net = settled(nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4)))
    assert ops(net) == ["flatten", "linear"]


def test_what_is_read_elsewhere_does_not_fold() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, inputs: Tensor) -> Tensor:
            made = self.layer(inputs)
            return made + self.norm(made)

    assert "batch_norm" in ops(settled(Twice()))


def test_a_batch_norm_that_comes_first_stays() -> None:
    assert ops(settled(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))) == ["batch_norm", "relu"]


def test_the_module_stays_as_it_is() -> None:
    net = convolutional().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    export(net, SHAPE)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_the_same_module_gives_the_same_graph_whatever_its_weights() -> None:
    torch.manual_seed(0)
    one, other = (export(convolutional(), SHAPE)[0] for _ in range(2))
    assert one.fingerprint == other.fingerprint
    assert export(convolutional(), (4, *SHAPE[1:]))[0].fingerprint != one.fingerprint


def test_operations_in_place_are_replaced() -> None:
    net = Function(lambda inputs: functional.relu_(inputs + 1).mul_(2))
    assert not any(op.endswith("_") for op in ops(net))


def test_control_flow_by_data_is_refused_in_one_line() -> None:
    net = Function(lambda inputs: inputs if inputs.sum() > 0 else -inputs)
    with pytest.raises(CandidateError, match="cannot be exported for XLA: ") as caught:
        export(net, SHAPE)
    assert "\n" not in str(caught.value)


def test_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="input_shape must be sizes of at least 1, but got"):
        export(convolutional(), (0, 3, 8, 8))
