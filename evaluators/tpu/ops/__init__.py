"""The operations of torch in JAX, by their names in `torch.export` graphs.

A literal table an area; what is in none of them is named in one line by the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from evaluators.tpu.ops import layers, pointwise, shapes

OPS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {**pointwise.OPS, **shapes.OPS, **layers.OPS}
)
