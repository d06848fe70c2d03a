"""The registered methods, reached through the package."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from evaluators import compression
from evaluators.compression import PruneConfig, QuantizeConfig
from nas.task import Task

TASK = Task("table", "classification", (16,), 4, "accuracy", "data")


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))


def test_none_gives_a_copy_without_training():
    module = network()

    copied = compression.prune(module, PruneConfig(), TASK, lambda _: pytest.fail("trained"))

    assert copied is not module
    assert torch.equal(copied[0].weight, module[0].weight)
    assert copied[0].weight is not module[0].weight


def test_quantizing_by_none_copies_the_file(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"network")

    path = compression.quantize(tmp_path / "a.onnx", QuantizeConfig(), None, tmp_path / "b.onnx")

    assert path == tmp_path / "b.onnx"
    assert path.read_bytes() == b"network"


def test_each_method_is_reached_by_its_name():
    module = network()
    structured = PruneConfig("structured", {"all": 0.5})

    pruned = compression.prune(module, structured, TASK, lambda _: None)
    assert pruned[0].out_features == 16
    assert compression.reshape(module, structured, TASK)[0].out_features == 16
    sparse = compression.prune(module, PruneConfig("magnitude", sparsity=0.5), TASK, lambda _: None)
    assert (sparse[0].weight == 0).any()


@pytest.mark.parametrize("config", [PruneConfig(), PruneConfig("magnitude", sparsity=0.5)])
def test_methods_that_keep_the_shapes_are_reshaped_to_a_copy(config):
    module = network()

    copied = compression.reshape(module, config, TASK)

    assert copied is not module
    assert copied[0].out_features == 32


def test_unknown_methods_are_refused():
    with pytest.raises(ValueError, match="unknown pruning method 'half'"):
        compression.prune(network(), PruneConfig("half"), TASK, lambda _: None)
    with pytest.raises(ValueError, match="unknown quantization scheme 'int3'"):
        compression.quantize("a", QuantizeConfig("int3"), None, "b")


def test_the_choices_alone_import_nothing_heavy():
    code = (
        "import sys; from evaluators.compression import compression_choices as c;"
        "c(['none', 'structured'], ['static'], ['a']);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'torch_pruning', 'onnxruntime')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
