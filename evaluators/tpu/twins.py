"""The graph beside an artifact: the same network, behind its normalization, for the compiler.

It is exported from the float network that the file was made of, since weights do not matter to a
compiler; of a quantized file too, for which bfloat16 stands in.
"""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from evaluators.tpu.graph import Graph
from nas.trials import CandidateError

if TYPE_CHECKING:
    from torch import nn

    from evaluators.tasks.data import TaskData


def twin_of(artifact: str | os.PathLike[str], batch: int) -> Path:
    """Where the graph for this batch lies: beside the artifact."""
    return Path(artifact).with_suffix(f".batch{batch}.graph.json")


def write_twin(
    module: nn.Module, data: TaskData, artifact: str | os.PathLike[str], batch: int
) -> Path:
    """Export a network and write its graph.

    Args:
        module: that the artifact was made of; stays as it is.
        data: of its task.
        artifact: the file.
        batch: examples a call.

    Raises:
        CandidateError: for a module that cannot be exported.
    """
    from evaluators.packaging import Deployable
    from evaluators.tpu.export import export

    deployable = Deployable(copy.deepcopy(module), data.preprocessing)
    graph, _ = export(deployable, (batch, *data.task.input_shape))
    target = twin_of(artifact, batch)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(graph.to_json()), encoding="utf-8")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def read_twin(artifact: str | os.PathLike[str], batch: int) -> Graph:
    """The graph beside an artifact.

    Raises:
        CandidateError: there is none, or it cannot be read.
    """
    path = twin_of(artifact, batch)
    try:
        return Graph.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError:
        raise CandidateError(f"there is no graph for batch {batch} beside the artifact") from None
    except (ValueError, KeyError, TypeError):
        raise CandidateError(f"the graph {path.name} cannot be read") from None
