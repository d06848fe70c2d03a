"""The XLA:TPU compiler itself, in its process."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import hw_profiles
from evaluators.tpu.autograd import keeping
from evaluators.tpu.chips import CHIPS
from evaluators.tpu.export import export
from evaluators.tpu.graph import Graph, Node, Spec
from evaluators.tpu.process import VERSIONS, installed
from evaluators.tpu.xla import XlaCompiler, latency
from nas.trials import CandidateError
from tests.evaluators.tpu.nets import SHAPE, SMALL, convolutional

pytestmark = [
    pytest.mark.tpu,
    pytest.mark.slow,
    pytest.mark.skipif(
        {name: installed(name) for name in VERSIONS} != VERSIONS,
        reason=f"the extra tpu is not installed: {VERSIONS}",
    ),
]


@pytest.fixture(scope="module", name="compiler")
def _compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[XlaCompiler]:
    compiler = XlaCompiler(tmp_path_factory.mktemp("cache"), 120)
    yield compiler
    compiler.close()


@pytest.fixture(scope="module", name="graph")
def _graph() -> Graph:
    return export(convolutional(), SHAPE)[0]


@pytest.mark.parametrize("chip", sorted(CHIPS))
def test_every_chip_compiles(compiler: XlaCompiler, graph: Graph, chip: str) -> None:
    program = compiler.compile(graph, chip)
    assert program.cycles > 1000
    assert 0.005 < latency(program, hw_profiles.load(f"tpu-{chip}")).latency_ms < 1


def test_it_is_deterministic_and_larger_is_slower(
    compiler: XlaCompiler, graph: Graph, tmp_path: Path
) -> None:
    other = XlaCompiler(tmp_path, 120)
    again = other.compile(graph, "v5e")
    other.close()
    assert again.instructions == compiler.compile(graph, "v5e").instructions
    large, _ = export(convolutional(), (256, 3, 64, 64))
    assert compiler.compile(large, "v5e").cycles > 3 * again.cycles


def test_what_is_kept_for_a_backward_pass_costs(compiler: XlaCompiler) -> None:
    shape = (64, 3, 64, 64)
    clean, _ = export(convolutional(), shape)
    unfolded, _ = export(convolutional(), shape, fold=False)
    kept = compiler.compile(keeping(unfolded), "v2")
    assert kept.cycles > 1.2 * compiler.compile(clean, "v2").cycles


def test_an_operation_without_a_mapping_costs_one_candidate(
    compiler: XlaCompiler, graph: Graph
) -> None:
    strange = replace(SMALL, nodes=(*SMALL.nodes, Node("a", "fft_fft.default", (), {})))
    with pytest.raises(CandidateError, match=r"no mapping to XLA for: fft_fft\.default"):
        compiler.compile(strange, "v5e")
    assert compiler.compile(graph, "v5e").cycles


def test_a_network_too_large_for_the_chip_costs_one_candidate(compiler: XlaCompiler) -> None:
    large = replace(SMALL, inputs={"x": Spec((2**33, 4), "float32")})
    with pytest.raises(CandidateError, match="v5e"):
        latency(compiler.compile(large, "v5e"), hw_profiles.load("tpu-v5e"))
