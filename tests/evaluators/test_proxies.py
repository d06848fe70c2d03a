"""Zero-cost proxies against values worked out by hand on tiny networks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import evaluators
from evaluators.proxies import (
    ZeroCostProxies,
    gradient_norm,
    loss_gradients,
    naswot,
    synflow,
    zico,
)
from evaluators.proxy_names import PROXIES
from evaluators.tasks import TaskData
from evaluators.tasks.digits import digits
from nas.trials import Candidate, CandidateError


def linear(*rows: list[float]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


def candidate(module: nn.Module | None, key: str = "a") -> Candidate:
    return Candidate({}, key, key, module=module)


class Tiny(nn.Module):
    """Digits of 8 x 8 to ten classes."""

    def __init__(self, middle: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.first, self.last, self.middle = nn.Linear(64, 16), nn.Linear(16, 10), middle

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.last(self.middle(self.first(inputs.flatten(1))))
        return hidden


@pytest.fixture(scope="module")
def data() -> TaskData:
    return digits(8).without_test()


def drawn(middle: Callable[[Tensor], Tensor] = torch.relu) -> Tiny:
    """The same weights each time: with others two examples may light the same units."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Tiny(middle)


@pytest.fixture
def tiny() -> Tiny:
    return drawn()


def test_synflow_sums_the_flow_through_each_layer() -> None:
    net = nn.Sequential(linear([1.0, -2.0], [0.5, 0.0]), nn.ReLU(), linear([-3.0, 4.0]))
    # |W| x ones = (3, 0.5); |W2| of that = 9 + 2 = 11 flows through either layer.
    assert synflow(net, (2,)) == pytest.approx(math.log(2 * 11))
    assert net[0].weight[0, 1] == -2.0


def test_synflow_ignores_batch_norm() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Flatten())
    net[0].weight.data = torch.tensor([3.0, -1.0]).reshape(2, 1, 1, 1)
    assert synflow(net, (1, 1, 1)) == pytest.approx(math.log(4.0), abs=1e-4)


def test_naswot_is_the_determinant_of_where_codes_agree() -> None:
    net = nn.Sequential(linear([1.0, 0.0], [0.0, 1.0], [1.0, 1.0]), nn.ReLU())
    inputs = torch.tensor([[1.0, -2.0], [-1.0, 3.0]])
    # Codes 100 and 011 agree nowhere: the kernel is ((3, 0), (0, 3)).
    assert naswot(net, inputs) == pytest.approx(math.log(9))
    # Codes 100 and 101 agree in two places: 3 * 3 - 2 * 2.
    assert naswot(net, torch.tensor([[1.0, -2.0], [2.0, -1.0]])) == pytest.approx(math.log(5))


def test_naswot_sees_functions_and_modules_alike(tiny: Tiny) -> None:
    inputs = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    as_modules = nn.Sequential(tiny.first, nn.ReLU(), tiny.last)
    assert naswot(tiny, inputs) == naswot(as_modules, inputs)


def test_naswot_without_activations_or_with_equal_inputs() -> None:
    assert math.isnan(naswot(linear([1.0, 2.0]), torch.ones(2, 2)))
    net = nn.Sequential(linear([1.0, 2.0]), nn.ReLU())
    assert naswot(net, torch.ones(2, 2)) == -math.inf


def test_the_gradient_norm_sums_those_of_the_layers() -> None:
    gradients = [torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, -2.0]])]
    assert gradient_norm(gradients) == pytest.approx(math.log(5 + 2))
    assert gradient_norm([torch.zeros(2, 2)]) == -math.inf


def test_gradients_are_those_of_the_cross_entropy() -> None:
    net = linear([0.0, 0.0], [0.0, 0.0])
    # Both classes are as likely: the gradient of a row is (0.5 - target) times the input.
    ((found,),) = loss_gradients(net, [(torch.tensor([[2.0, -4.0]]), torch.tensor([0]))])
    assert found.tolist() == [[-1.0, 2.0], [1.0, -2.0]]
    assert net.weight.grad is None


def test_zico_weighs_size_against_change() -> None:
    one = [torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0]])]
    other = [torch.tensor([[-3.0, 2.0]]), torch.tensor([[4.0]])]
    # Sizes 1 and 3: mean 2, deviation 1; 2 and 2 do not vary; 5 and 4: mean 4.5, deviation 0.5.
    assert zico([one, other]) == pytest.approx(math.log(2.0) + math.log(9.0))
    assert math.isnan(zico([one, one]))


def test_the_evaluator_gives_what_it_declares(data: TaskData, tiny: Tiny) -> None:
    proxies = evaluators.create("proxies", data=data)
    found = proxies.evaluate(candidate(tiny))
    assert proxies.stage == "screen"
    assert proxies.needs == ""
    assert tuple(found) == proxies.provides == tuple(f"proxy_{name}" for name in PROXIES)
    assert found.provenance["proxy_zico"].source == "scored"


def test_the_same_again_whatever_went_on_meanwhile(data: TaskData, tiny: Tiny) -> None:
    noisy = nn.Sequential(tiny, nn.Dropout(0.5), nn.BatchNorm1d(10))
    state = {name: value.clone() for name, value in noisy.state_dict().items()}
    threads, before = torch.get_num_threads(), torch.random.get_rng_state()
    found = ZeroCostProxies(data).evaluate(candidate(noisy))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    torch.rand(7)
    assert ZeroCostProxies(data).evaluate(candidate(noisy)) == found
    assert all(torch.equal(state[name], value) for name, value in noisy.state_dict().items())
    assert noisy.training
    assert all(p.grad is None for p in noisy.parameters())
    assert ZeroCostProxies(data).evaluate(candidate(noisy, "b")) != found  # another dropout


def test_only_what_is_asked_for(data: TaskData, tiny: Tiny) -> None:
    assert set(ZeroCostProxies(data, ["naswot"]).evaluate(candidate(tiny))) == {"proxy_naswot"}


def test_a_candidate_goes_without_what_is_not_finite(data: TaskData, tiny: Tiny) -> None:
    tiny.first.weight.data.fill_(math.nan)
    assert ZeroCostProxies(data).evaluate(candidate(tiny)) == {}


def test_a_candidate_goes_without_what_it_does_not_stand(data: TaskData) -> None:
    def single(inputs: Tensor) -> Tensor:
        if inputs.dtype != torch.float32:
            raise RuntimeError("expected a float")
        return torch.relu(inputs)

    found = ZeroCostProxies(data).evaluate(candidate(drawn(single)))
    assert set(found) == {"proxy_gradnorm", "proxy_naswot", "proxy_zico"}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Tiny(lambda inputs: inputs.detach()).requires_grad_(False), "no weights"),
        (nn.Sequential(Tiny(), nn.Softmax(1)), ""),
        (None, "there is none"),
    ],
)
def test_networks_that_cannot_be_trained(
    data: TaskData, module: nn.Module | None, message: str
) -> None:
    proxies = ZeroCostProxies(data, ["gradnorm"])
    if not message:
        assert proxies.evaluate(candidate(module))
        return
    with pytest.raises(CandidateError, match=message):
        proxies.evaluate(candidate(module))


def test_a_network_that_cuts_its_gradients(data: TaskData) -> None:
    class Cut(Tiny):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs).detach()

    with pytest.raises(CandidateError, match="cannot be back-propagated: element 0 of tensors"):
        ZeroCostProxies(data, ["zico"]).evaluate(candidate(Cut()))


def test_an_unknown_proxy_names_the_known_ones(data: TaskData) -> None:
    with pytest.raises(ValueError, match="unknown proxy 'synflo'; did you mean 'synflow'.*zico"):
        evaluators.create("proxies", data=data, names=["synflo"])
    with pytest.raises(ValueError, match="must be different ones, but got zico, zico"):
        ZeroCostProxies(data, ["zico", "zico"])


def test_batches_are_normalized_training_examples(data: TaskData) -> None:
    (inputs, labels), (others, _) = ZeroCostProxies(data)._batches
    assert inputs.shape == others.shape == (32, 1, 8, 8)
    assert labels.shape == (32,)
    known = {row.tobytes() for row in data.preprocessing.apply(data.train.inputs)}
    assert {row.tobytes() for row in np.concatenate([inputs, others])} <= known
