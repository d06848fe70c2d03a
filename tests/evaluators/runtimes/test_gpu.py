from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from evaluators.runtimes import gpu as gpus
from evaluators.runtimes.cuda_session import bound, memory_format
from evaluators.runtimes.gpu import GpuWatch, TorchGpu
from tests.evaluators.simulated import Machine, SimulatedGpu, steady

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")


def test_watch_adds_up_the_time_between_its_marks() -> None:
    machine = Machine(costs={"net": steady(1_000_000.0)})
    gpu = SimulatedGpu(machine)
    watch, call = GpuWatch(gpu, machine.wall_ns), machine.call("net")
    begin_ns = watch.busy_ns()
    for _ in range(3):
        call()
    assert watch.busy_ns() - begin_ns == pytest.approx(3_000_000)
    call()
    assert watch.busy_ns() - begin_ns == pytest.approx(4_000_000)
    assert gpu.waits == 0
    assert watch.wall_ns() == machine.wall_ns()
    assert gpu.waits == 1


@pytest.mark.parametrize(
    ("said", "clocks"),
    [
        ("1980, 2619\n", "SM 1980 MHz, memory 2619 MHz"),
        ("[N/A], [N/A]", ""),
        ("", ""),
    ],
)
def test_clocks(monkeypatch: pytest.MonkeyPatch, said: str, clocks: str) -> None:
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert gpus.gpu_clocks() == clocks


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("x", 1.0)])
def test_without_nvidia_smi(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpus.gpu_clocks() == ""
    assert gpus.gpu_name() == ""


def test_name_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    assert gpus.gpu_name() == "NVIDIA H200"


def test_torch_says_that_memory_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(1))
    said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity\nof 139 GiB"
    line = r"^the GPU is out of memory: CUDA out of memory\. Tried to allocate 2\.00 GiB$"
    with pytest.raises(ValueError, match=line), TorchGpu().clear_errors():
        raise torch.OutOfMemoryError(said)
    assert freed == [1]
    with pytest.raises(RuntimeError, match="something else"), TorchGpu().clear_errors():
        raise RuntimeError("something else")


def on_gpu(dtype: torch.dtype) -> tuple[nn.Module, torch.Tensor]:
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).requires_grad_(False)
    net = net.to(device="cuda", dtype=dtype, memory_format=memory_format(dtype))
    inputs = torch.rand(4, 3, 32, 32, device="cuda").to(dtype)
    return net.eval(), inputs.contiguous(memory_format=memory_format(dtype))


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_replayed_graph_answers_as_the_network_does(dtype: torch.dtype) -> None:
    net, inputs = on_gpu(dtype)
    output = bound(net.forward, inputs, TorchGpu(), replays=True)()
    assert isinstance(output, torch.Tensor)
    np.testing.assert_allclose(
        output.float().cpu().numpy(), net(inputs).float().cpu().numpy(), atol=1e-2
    )


@pytest.mark.gpu
@needs_gpu
def test_events_see_the_work() -> None:
    net, inputs = on_gpu(torch.float16)
    gpu = TorchGpu()
    watch = GpuWatch(gpu, lambda: 0)
    call = bound(net.forward, inputs, gpu, replays=True)
    times = []
    for repetitions in (100, 400):
        begin_ns = watch.busy_ns()
        for _ in range(repetitions):
            call()
        times.append(watch.busy_ns() - begin_ns)
    assert 2 < times[1] / times[0] < 8
    assert gpu.peak_memory_bytes() > inputs.nbytes


@pytest.mark.gpu
@needs_gpu
def test_out_of_memory_is_one_line_and_the_process_goes_on() -> None:
    gpu = TorchGpu()
    with pytest.raises(ValueError, match="the GPU is out of memory") as error, gpu.clear_errors():
        torch.empty(1 << 50, device="cuda", dtype=torch.uint8)
    assert "\n" not in str(error.value)
    assert float(torch.ones(3, device="cuda").sum()) == 3.0


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("runtime", ["torch-cuda", "torch-cuda-graph", "torch-cuda-compile"])
def test_sessions_on_the_gpu(runtime: str, tmp_path: Path) -> None:
    from evaluators import runtimes
    from evaluators.packaging_torch import package_torch
    from tests.evaluators.packed import colours

    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2)).eval()
    artifact = package_torch(net, colours(), tmp_path / "net.pt2")
    inputs = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    expected = runtimes.load(artifact.path, "torch").run(inputs)
    for dtype in ("float32", "float16", "bfloat16"):
        with runtimes.load(artifact.path, runtime, dtype=dtype) as session:
            np.testing.assert_allclose(session.run(inputs), expected, atol=0.05)
            session.bind(inputs)()


def test_graphs_are_captured_once_warm() -> None:
    gpu, log = SimulatedGpu(), list[str]()

    def forward(x: torch.Tensor) -> torch.Tensor:
        log.append("forward")
        return x

    call = bound(forward, torch.ones(1), gpu, replays=True)
    assert gpu.captured == 1
    assert log[0] == "forward"
    assert call() is not None
