"""Workloads of networks that are made of blocks, each of which is built and traced only once."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evaluators.workload_values import Kernel, Paths, Workload, checked_lowering, kernel_of, merged
from nas.blocks import Block

if TYPE_CHECKING:
    from evaluators.workload_lowering import Tail
    from evaluators.workload_recorder import Recording

_Key = tuple[str, tuple[int, ...], int]
_RECENT = 4096
"""Recordings that are kept, 5 kB each: the next networks often have their blocks behind others."""
_FEW = 64
"""With fewer channels drawing weights takes less time than not drawing them (.33 ms a block)."""


@dataclass(frozen=True)
class _Part:
    """The kernels of a block behind a certain other one."""

    kernels: tuple[Kernel, ...]
    macs: int
    peak_bytes: int
    tail: Tail
    layout: Tail
    looks_back: bool
    apart: bool


@dataclass
class _Known:
    """What is known of a block in one lowering, by what is in front of it."""

    looks_back: bool
    behind: dict[Tail, _Part] = field(default_factory=dict)


class BlockCaches:
    """Workloads of networks made of blocks, for several runtimes at once.

    A block is built and run once for all of them. The result equals the trace of the whole network:
    what begins a block and folds into the block before it is lowered with that in mind, and where
    that is not enough (no data flows through a block), the whole network is traced.

    Args:
        lowerings: see `evaluators.workload.trace`.

    Raises:
        ValueError: for an unknown lowering.
    """

    def __init__(self, lowerings: Iterable[str]) -> None:
        self.lowerings = tuple(dict.fromkeys(checked_lowering(name) for name in lowerings))
        self._params: dict[_Key, int] = {}
        self._passes: dict[_Key, bool] = {}
        self._paths: dict[_Key, Paths] = {}
        self._known: dict[str, dict[_Key, _Known]] = {name: {} for name in self.lowerings}
        self._recent: OrderedDict[_Key, Recording] = OrderedDict()
        self._whole: dict[tuple[_Key, ...], dict[str, Workload]] = {}

    def workloads(
        self, blocks: Sequence[Block], batch: int = 1, lowerings: Iterable[str] | None = None
    ) -> dict[str, Workload]:
        """The workload of a network in each lowering.

        Args:
            blocks: in sequence.
            batch: examples a call.
            lowerings: of those of the caches; None for all.

        Raises:
            CandidateError: a block cannot be built or traced.
            ValueError: for a lowering that is none of those of the caches.
        """
        keys = [(block.signature, block.input_shape, batch) for block in blocks]
        for block, key in zip(blocks, keys, strict=True):
            if key not in self._params:
                self._recording(block, key)
        wanted = tuple(dict.fromkeys(self.lowerings if lowerings is None else lowerings))
        unknown = [name for name in wanted if name not in self.lowerings]
        if unknown:
            raise ValueError(
                f"lowerings must be of {', '.join(self.lowerings)}, but got {unknown[0]!r}"
            )
        paths = Paths.in_sequence([self._paths[key] for key in keys])
        found = {name: self._workload(name, blocks, keys, paths) for name in wanted}
        whole = self._traced(blocks, keys, wanted) if None in found.values() else {}
        return {name: whole[name] if one is None else one for name, one in found.items()}

    def is_connected(self, blocks: Sequence[Block], batch: int = 1) -> bool:
        """See `evaluators.workload.is_connected`; of a network that has been traced already."""
        return all(self._passes[block.signature, block.input_shape, batch] for block in blocks)

    def _workload(
        self, lowering: str, blocks: Sequence[Block], keys: list[_Key], paths: Paths
    ) -> Workload | None:
        """Put together from the blocks; None where a block does not stand for itself."""
        from evaluators.workload_lowering import START

        tail, layout, parts = START, _layout(START), []
        for block, key in zip(blocks, keys, strict=True):
            part = self._part(lowering, block, key, tail, layout)
            if not part.apart:
                return None
            parts.append(part)
            tail, layout = part.tail, part.layout
        return Workload(
            kernels=merged([kernel for part in parts for kernel in part.kernels]),
            macs=sum([part.macs for part in parts]),
            params=sum([self._params[key] for key in keys]),
            lowering=lowering,
            peak_memory_bytes=max([part.peak_bytes for part in parts], default=0),
            paths=paths,
        )

    def _part(self, lowering: str, block: Block, key: _Key, tail: Tail, layout: Tail) -> _Part:
        known = self._known[lowering].get(key)
        if known is not None:
            part = known.behind.get(tail if known.looks_back else layout)
            if part is not None:
                return part
        part = self._lowered(lowering, self._recording(block, key), tail)
        known = self._known[lowering].setdefault(key, _Known(part.looks_back))
        known.behind[tail if known.looks_back else layout] = part
        return part

    def _lowered(self, lowering: str, recording: Recording, tail: Tail) -> _Part:
        from evaluators.workload_lowering import lower
        from evaluators.workload_rules import RULES

        lowered = lower(recording, RULES[lowering], tail)
        kernels = tuple([kernel_of(node) for node in lowered.kernels])
        return _Part(
            kernels,
            macs=sum([kernel.macs for kernel in kernels]),
            peak_bytes=lowered.peak_bytes,
            tail=lowered.tail,
            layout=_layout(lowered.tail),
            looks_back=lowered.looks_back,
            apart=lowered.apart,
        )

    def _recording(self, block: Block, key: _Key) -> Recording:
        from evaluators.workload_lowering import is_cut_off
        from evaluators.workload_paths import paths_of

        if key in self._recent:
            return self._recent[key]
        recording, params = _recorded([block], (key[2], *block.input_shape))
        self._params[key], self._passes[key] = params, not is_cut_off(recording)
        self._paths[key] = paths_of(recording)
        self._recent[key] = recording
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        return recording

    def _traced(
        self, blocks: Sequence[Block], keys: list[_Key], lowerings: tuple[str, ...]
    ) -> dict[str, Workload]:
        """The trace of the whole network."""
        from evaluators.workload_lowering import workload_of

        known = self._whole.setdefault(tuple(keys), {})
        missing = [name for name in lowerings if name not in known]
        if missing:
            recording, params = _recorded(blocks, (keys[0][2], *blocks[0].input_shape))
            known.update({name: workload_of(recording, params, name) for name in missing})
        return known


class BlockCache:
    """The same for one runtime.

    Args:
        lowering: see `evaluators.workload.trace`.

    Raises:
        ValueError: for an unknown lowering.
    """

    def __init__(self, lowering: str = "onnxruntime") -> None:
        self.lowering = lowering
        self._caches = BlockCaches((lowering,))

    def workload(self, blocks: Sequence[Block], batch: int = 1) -> Workload:
        """The workload of a network, see `BlockCaches.workloads`.

        Raises:
            CandidateError: a block cannot be built or traced.
        """
        return self._caches.workloads(blocks, batch)[self.lowering]


def _layout(tail: Tail) -> Tail:
    """What of it matters to a block into whose beginning nothing folds."""
    return tail._replace(op="", stage=0, alone=False, biased=True)


def _channels(block: Block) -> tuple[int, ...]:
    """The sizes on which the number of its weights hangs: images come channels first."""
    shapes = (block.input_shape, block.output_shape)
    return tuple([size for shape in shapes for size in (shape[:1] if len(shape) == 3 else shape)])


def _recorded(blocks: Sequence[Block], input_shape: tuple[int, ...]) -> tuple[Recording, int]:
    """What blocks in sequence do, and how many parameters they have."""
    import torch

    from evaluators.workload_recorder import Undrawn, record

    is_small = len(blocks) == 1 and max(_channels(blocks[0])) < _FEW
    undrawn = contextlib.nullcontext() if is_small else Undrawn()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=[]), undrawn:
        net = torch.nn.Sequential(*[block.build() for block in blocks])
    params = sum([parameter.numel() for parameter in net.parameters()])
    return record(net[0] if len(net) == 1 else net, input_shape), params
