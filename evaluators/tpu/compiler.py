"""The XLA:TPU compiler on a machine without a TPU; runs in a process of its own.

A program is compiled ahead of time for a topology that is only described; see
`evaluators.tpu.process` for the environment that this needs.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
from jax.experimental import topologies
from jax.experimental.layout import Format, Layout
from jax.sharding import SingleDeviceSharding

from evaluators.tpu.autograd import torch_xla_order
from evaluators.tpu.chips import CHIPS
from evaluators.tpu.graph import Graph, Spec
from evaluators.tpu.interpreter import check_ops, dtype_of, run
from nas.trials import CandidateError

_TOO_LARGE = "RESOURCE_EXHAUSTED"


def compiled(graph: Graph, chip: str, dtype: str) -> tuple[str, dict[str, int]]:
    """Compile a network for a chip.

    Args:
        graph: of the network.
        chip: one of `evaluators.tpu.chips.CHIPS`.
        dtype: that stands for float32: ``bfloat16``, or ``float32`` itself, in three passes.

    Returns:
        The text of the optimized program, and the bytes that it needs by what for.

    Raises:
        CandidateError: for an operation without a mapping, or a program too large for the chip.
    """
    check_ops(graph)
    place = SingleDeviceSharding(_device(chip))

    def described(spec: Spec) -> Any:
        return jax.ShapeDtypeStruct(spec.shape, dtype_of(spec.dtype, dtype), sharding=place)

    weights = {name: described(spec) for name, spec in graph.weights.items()}
    inputs = {name: described(spec) for name, spec in graph.inputs.items()}

    def program(values: Any, given: Any) -> Any:
        return run(graph, values, given, dtype)

    try:
        with jax.default_matmul_precision("high" if dtype == "float32" else "default"):
            outputs = _layouts(graph, jax.eval_shape(program, weights, inputs), place)
            made = jax.jit(program, out_shardings=outputs).lower(weights, inputs).compile()
    except jax.errors.JaxRuntimeError as error:
        line = " ".join(str(error).split())
        if _TOO_LARGE in line:
            raise CandidateError(f"too large for the memory of a {chip}: {line[:200]}") from error
        raise CandidateError(f"cannot be compiled for a {chip}: {line[:200]}") from error
    except (TypeError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise CandidateError(f"cannot be mapped to XLA: {line}") from error
    memory = made.memory_analysis()
    return str(made.as_text()), {
        "arguments": int(memory.argument_size_in_bytes),
        "outputs": int(memory.output_size_in_bytes),
        "temporary": int(memory.temp_size_in_bytes),
        "code": int(memory.generated_code_size_in_bytes),
    }


def _layouts(graph: Graph, outputs: Any, place: Any) -> Any:
    """Where the outputs go, each in which layout; None: as the compiler likes."""
    if not graph.layout:
        return None
    return tuple(Format(Layout(torch_xla_order(each.shape)), place) for each in outputs)


@functools.lru_cache(maxsize=16)
def _device(chip: str) -> Any:
    known = CHIPS[chip]
    found = topologies.get_topology_desc(
        platform="tpu", topology_name=known.topology, **known.settings
    )
    return found.devices[0]
