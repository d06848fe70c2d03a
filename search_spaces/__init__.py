"""What can be built. Each space brings its choices and the torch builder that they feed.

A space has ``choices`` and ``build(genotype, task)``; see `nas.protocols.SearchSpace`. Besides:

- ``blocks(genotype, task, keep=keep_all)`` describes the same network, after structured pruning by
  ``keep``, as `nas.blocks.Block` in sequence, so that screening need not build it; None where the
  space has no such description.
- ``stages`` are the parts that are pruned by a ratio of their own: names of submodules of the
  network, each with the conditions (see `nas.choices.Choice.when`) under which it is there.
  Empty: one ratio holds for the whole network.
- ``fingerprint`` changes when the same genotype would build another network.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from nas.blocks import Block, Keep
from nas.choices import Genotype, Value
from nas.protocols import SearchSpace
from nas.registry import Registry, unknown
from nas.task import Task

__all__ = ["BlocksFunction", "Space", "create", "names"]

_REGISTRY = Registry(
    "search space",
    {
        "cell": "search_spaces.cell:CellSpace",
        "convnet": "search_spaces.convnet:ConvNetSpace",
        "macro": "search_spaces.macro:MacroSpace",
        "mlp": "search_spaces.mlp:MLPSpace",
        "mnasnet": "search_spaces.mnasnet:MnasNetSpace",
        "mobile": "search_spaces.mobile:MobileSpace",
        "python": "search_spaces.python:PythonSpace",
        "transformer": "search_spaces.transformer:TransformerSpace",
    },
    "hwnas.search_spaces",
)


class BlocksFunction(Protocol):
    """Describes a network by its blocks."""

    def __call__(self, genotype: Genotype, task: Task, keep: Keep = ...) -> Sequence[Block]:
        """The blocks in sequence, with the channels that ``keep`` leaves."""
        ...


class Space(SearchSpace, Protocol):
    """A search space with all that the shipped ones offer."""

    @property
    def stages(self) -> Mapping[str, Mapping[str, Collection[Value]]]:
        """The prunable stages, each with the conditions under which it is there."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the same genotype would build another network."""
        ...

    @property
    def blocks(self) -> BlocksFunction | None:
        """The fast description of a network."""
        ...


def names() -> list[str]:
    """All known search spaces."""
    return _REGISTRY.names()


def create(name: str, **options: Any) -> Space:
    """Make a search space by its name.

    Args:
        name: one of `names`.
        options: of that space, for example ``stages=3`` of ``convnet``, ``file="my_space.py"`` of
            ``python``.

    Raises:
        ValueError: for an unknown name, or options that are missing, unknown or wrong.
    """
    factory: Callable[..., Space] = _REGISTRY.get(name)
    known = inspect.signature(factory).parameters
    strange = [option for option in options if option not in known]
    if strange:
        raise ValueError(unknown(f"option of the search space {name!r}", strange[0], known))
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise ValueError(f"search space {name!r}: {error}") from None
    return factory(**options)
