from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluators import runtimes
from evaluators.packaging_torch import package_torch
from evaluators.runtimes.cuda_session import CompiledCudaSession, CudaGraphSession, CudaSession
from evaluators.runtimes.torch_session import TorchSession
from tests.evaluators.packed import colours
from tests.evaluators.simulated import SimulatedGpu

INPUTS = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2)
    ).eval()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pt2")
    with torch.random.fork_rng():
        return package_torch(net(), colours(), folder / "net.pt2").path


def test_says_what_it_is(file: str) -> None:
    session = runtimes.load(file, "torch")
    assert session.name == f"torch {torch.__version__}"
    assert session.input_shape == (3, 8, 8)
    assert session.fixed_batch is None
    assert (session.accelerator, session.one_thread) == ("cpu", "thread")


def test_loads_bytes_as_well(file: str) -> None:
    content = Path(file).read_bytes()
    expected = runtimes.load(file, "torch").run(INPUTS)
    np.testing.assert_array_equal(runtimes.load(content, "torch").run(INPUTS), expected)


def test_bound_call_computes_without_gradients_on_inputs_of_its_own(file: str) -> None:
    session, inputs = runtimes.load(file, "torch"), INPUTS.copy()
    expected = session.run(inputs)
    call = session.bind(inputs)
    inputs[:] = 0
    output = call()
    assert isinstance(output, torch.Tensor)
    assert output.grad_fn is None
    np.testing.assert_array_equal(output.numpy(), expected)


def test_bfloat16_is_coarser(file: str) -> None:
    exact = runtimes.load(file, "torch").run(INPUTS)
    coarse = runtimes.load(file, "torch", dtype="bfloat16").run(INPUTS)
    assert coarse.dtype == np.float32
    difference = np.abs(exact - coarse).max() / np.abs(exact).max()
    assert 1e-5 < difference < 0.05


def test_threads_hold_for_the_call_alone(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), []
    session = TorchSession(file, before + 1)
    forward = session._forward
    session._forward = lambda x: (seen.append(torch.get_num_threads()), forward(x))[1]
    session.bind(INPUTS)()
    assert seen == [before + 1] * 2
    assert torch.get_num_threads() == before


def test_other_inputs_and_closed_sessions(file: str) -> None:
    session = runtimes.load(file, "torch")
    with pytest.raises(ValueError, match=r"shape \(batch, 3, 8, 8\), but got \(1, 4\)"):
        session.run(np.ones((1, 4), np.float32))
    session.close()
    for use in (session.run, session.bind):
        with pytest.raises(ValueError, match="closed"):
            use(INPUTS)


@pytest.mark.parametrize("content", [b"", b"no program", "truncated"])
def test_corrupt_file(
    tmp_path: Path, file: str, content: bytes | str, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.pt2"
    bad.write_bytes(Path(file).read_bytes()[:-99] if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"bad\.pt2 is no \.pt2 that torch can load") as error:
        runtimes.load(bad, "torch")
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_what_does_not_run_is_one_line(file: str) -> None:
    session = TorchSession(file, 1)

    def fail(_: torch.Tensor) -> None:
        raise NotImplementedError("no kernel\nfor this")

    session._forward = fail
    with pytest.raises(ValueError, match=r"net\.pt2 does not run on torch .*: no kernel for this"):
        session.bind(INPUTS)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_compiled(file: str) -> None:
    expected = runtimes.load(file, "torch").run(INPUTS)
    with runtimes.load(file, "torch-compile") as session:
        assert session.name == f"torch-compile {torch.__version__}"
        call = session.bind(INPUTS)
        output = call()
        assert isinstance(output, torch.Tensor)
        np.testing.assert_allclose(output.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("session_class", [CudaSession, CudaGraphSession])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_path_of_the_gpu(file: str, session_class: type[CudaSession], dtype: str) -> None:
    gpu = SimulatedGpu()
    session = session_class(file, 1, dtype, gpu)
    assert (session.accelerator, session.one_thread) == ("gpu", "gpu")
    expected = runtimes.load(file, "torch", dtype=dtype).run(INPUTS)
    np.testing.assert_allclose(session.run(INPUTS), expected, rtol=0.02, atol=0.02)
    call = session.bind(INPUTS)
    (output,) = call()  # type: ignore[misc]
    np.testing.assert_allclose(output.float().numpy(), expected, rtol=0.02, atol=0.02)
    assert gpu.captured == (session_class is CudaGraphSession)
    assert gpu.waits == 1  # warm before it is timed


@pytest.mark.parametrize(("dtype", "last"), [("float32", False), ("float16", True)])
def test_images_lie_channels_last_in_16_bits(file: str, dtype: str, last: bool) -> None:
    session = CudaSession(file, 1, dtype, SimulatedGpu())
    weight = next(p for p in session._module.parameters() if p.dim() == 4)
    for tensor in (weight, session.placed(INPUTS)):
        assert tensor.is_contiguous(memory_format=torch.channels_last) is last


def test_memory_is_that_of_the_network_alone(file: str) -> None:
    gpu = SimulatedGpu()
    session = CudaSession(file, 1, "float32", gpu)
    gpu.peak_bytes = 5000
    assert session.peak_memory_bytes() == 4000


def test_a_gpu_out_of_memory_is_one_line_and_not_the_end(file: str) -> None:
    gpu = SimulatedGpu()
    session = CudaSession(file, 1, "float32", gpu)
    call = session.bind(INPUTS)
    gpu.is_full = True
    full = "the GPU is out of memory: tried to allocate 2 GiB"
    for use in (call, lambda: session.bind(INPUTS), lambda: CudaSession(file, 1, "float32", gpu)):
        with pytest.raises(ValueError, match=full):
            use()
    gpu.is_full = False
    assert session.run(INPUTS).shape == (2, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU")
@pytest.mark.parametrize("runtime", ["torch-cuda", "torch-cuda-graph", "torch-cuda-compile"])
def test_no_gpu(file: str, runtime: str) -> None:
    with pytest.raises(ValueError, match="there is no CUDA GPU here that torch can use"):
        runtimes.load(file, runtime)


def test_versions_tell_how() -> None:
    versions = [c.version() for c in (CudaSession, CudaGraphSession, CompiledCudaSession)]
    assert [v.partition("cuda")[2] for v in versions] == ["", " replayed", " compiled replayed"]
