"""Is what the XLA:TPU compiler gets the same network, and what does a candidate cost?

    python -m benchmarks.tpu_mapping [--members 50] [--spaces A,B] [--compile 3] [--chip v5e]
        [--cache DIR]

Random members of every search space with random weights and statistics are exported, their batch
norms folded, and run in JAX on the CPU beside torch. Some are compiled for a chip, twice: the
second time is a hit in the cache.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import search_spaces
from evaluators.tpu.export import export
from evaluators.tpu.graph import Graph
from evaluators.tpu.xla import XlaCompiler
from nas.choices import sample
from nas.task import Task

INPUTS = {"convnet": (1, 16, 16), "cell": (3, 32, 32), "mlp": (16,)}
"""Of one example, where it is not `_IMAGE`."""
_IMAGE = (3, 32, 32)
_BATCH = 2
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Member:
    """A network of a space, beside what torch says.

    Args:
        graph: folded.
        weights: of the graph.
        error: of JAX, relative to the largest output of torch.
        seconds: of the export.
    """

    graph: Graph
    weights: Mapping[str, torch.Tensor]
    error: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where a network answers otherwise."""
    options = _options(arguments)
    os.environ["JAX_PLATFORMS"] = "cpu"  # before JAX looks for anything else
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # of programs that run once
    spaces = options.spaces or [name for name in search_spaces.names() if name != "python"]
    worst = 0.0
    for name in spaces:
        found = list(members(name, options.members))
        error = max(member.error for member in found)
        worst = max(worst, error)
        seconds = np.mean([member.seconds for member in found])
        print(
            f"{name:12s} {len(found)} members, largest relative difference {error:.1e}, "
            f"export {seconds:.2f} s each",
            flush=True,
        )
        _compile(found[: options.compile], options)
    print(f"largest difference {worst:.1e}, allowed {_TOLERANCE:.0e}")
    return int(worst > _TOLERANCE)


def members(name: str, count: int) -> Iterator[Member]:
    """Random networks of a space, each run in torch and in JAX.

    Args:
        name: of the space.
        count: how many.
    """
    space, shape = search_spaces.create(name), INPUTS.get(name, _IMAGE)
    task = Task("random", "classification", shape, 10, "accuracy", "none")
    for seed in range(count):
        torch.manual_seed(seed)
        module = space.build(sample(space.choices, random.Random(seed)), task)
        yield _member(_settled(module), shape)


def _member(module: torch.nn.Module, shape: tuple[int, ...]) -> Member:
    from evaluators.tpu.interpreter import run

    inputs = torch.randn(_BATCH, *shape)
    start = time.perf_counter()
    graph, weights = export(module, inputs.shape)
    seconds = time.perf_counter() - start
    values = {key: value.numpy() for key, value in weights.items()}
    (name,) = graph.inputs
    (found,) = run(graph, values, {name: inputs.numpy()})
    with torch.no_grad():
        expected = module(inputs).numpy()
    error = np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()
    return Member(graph, weights, float(error), seconds)


def _settled(module: torch.nn.Module) -> torch.nn.Module:
    """With statistics as training might have left them, in inference mode."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            for statistic, low, high in (
                (layer.running_mean, -0.2, 0.2),
                (layer.running_var, 0.5, 2),
            ):
                if statistic is not None:
                    statistic.uniform_(low, high)
    return module.eval()


def _compile(found: Sequence[Member], options: argparse.Namespace) -> None:
    """Compile networks twice; the second time is answered from the disk."""
    if not found:
        return
    with tempfile.TemporaryDirectory() as folder:
        compiler = XlaCompiler(options.cache or Path(folder))
        programs: list[list[Any]] = [
            [compiler.compile(member.graph, options.chip) for member in found] for _ in range(2)
        ]
        compiler.close()
    first, again = programs
    seconds = np.mean([program.seconds for program in first])
    hits = [sum(program.cached for program in each) for each in programs]
    print(
        f"{'':12s} compiled for {options.chip}: {seconds:.2f} s each, "
        f"{hits[0]} of {len(first)} from the cache; again: {hits[1]} of {len(again)}",
        flush=True,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, default=50, help="of each space")
    parser.add_argument("--spaces", type=lambda text: text.split(","), help="by comma; default all")
    parser.add_argument("--compile", type=int, default=3, help="of them to compile as well")
    parser.add_argument("--chip", default="v5e", help="to compile for")
    parser.add_argument("--cache", type=Path, help="folder of compiled programs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
