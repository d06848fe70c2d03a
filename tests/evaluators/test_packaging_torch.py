from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluators import runtimes
from evaluators.packaging_torch import package_torch
from evaluators.tasks import TaskData
from nas.trials import CandidateError
from tests.evaluators.packed import blobs, colours, convolutions, logits_of, packed, perceptron


def colour_net(seed: int = 0) -> nn.Module:
    net = convolutions(seed=seed, outputs=2)
    net[0] = nn.Conv2d(3, 8, 3, 2, 1, bias=False)  # type: ignore[index]
    return net.eval()


@pytest.mark.parametrize("batch", [1, 5])
def test_answers_as_the_module_does_at_any_batch(tmp_path: Path, batch: int) -> None:
    data, net = colours(), colour_net()
    artifact = package_torch(net, data, tmp_path / "net.pt2")
    inputs = data.validation.inputs[:batch]
    with runtimes.load(artifact.path, "torch") as session:
        found = session.run(inputs)
    np.testing.assert_allclose(found, logits_of(net, data, inputs), atol=1e-5)


def test_features(tmp_path: Path) -> None:
    data = blobs()
    net = perceptron(5, 3)
    artifact = package_torch(net, data, tmp_path / "net.pt2")
    inputs = data.validation.inputs[:4]
    found = runtimes.load(artifact.path, "torch").run(inputs)
    np.testing.assert_allclose(found, logits_of(net, data, inputs), rtol=1e-3, atol=1e-4)


def test_found_beside_the_onnx_file_that_it_belongs_to(tmp_path: Path) -> None:
    data, net = colours(), colour_net()
    onnx = packed(net, data, tmp_path)
    with pytest.raises(ValueError, match=r"torch needs net\.pt2 beside .*net\.onnx, but it is not"):
        runtimes.load(onnx.path, "torch")
    package_torch(net, data, tmp_path / "net.pt2", onnx.path)
    inputs = data.validation.inputs[:3]
    expected = runtimes.load(onnx.path).run(inputs)
    np.testing.assert_allclose(runtimes.load(onnx.path, "torch").run(inputs), expected, atol=1e-4)
    packed(colour_net(seed=1), data, tmp_path)
    with pytest.raises(ValueError, match=r"net\.pt2 is not of the weights of the ONNX file"):
        runtimes.load(onnx.path, "torch")


def test_the_file_is_small_and_always_the_same(tmp_path: Path) -> None:
    data, net = colours(n=4000), colour_net()
    one = package_torch(net, data, tmp_path / "one.pt2")
    two = package_torch(net, data, tmp_path / "two.pt2")
    assert one.sha256 == two.sha256
    weights = 4 * sum(p.numel() for p in net.parameters())
    assert Path(one.path).stat().st_size < weights + 60_000 < data.train.inputs.nbytes


def test_the_module_stays_as_it_is(tmp_path: Path) -> None:
    net = colour_net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    package_torch(net, colours(), tmp_path / "net.pt2")
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Branches(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    data: TaskData = colours()
    with pytest.raises(CandidateError, match=r"cannot be exported to \.pt2: ") as error:
        package_torch(Branches(), data, tmp_path / "net.pt2")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
