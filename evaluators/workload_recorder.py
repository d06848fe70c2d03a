"""Runs a module on tensors without data and records the operations that depend on its input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from evaluators.workload_ops import multiplies, op_of, role_of, shaped
from nas.trials import CandidateError

INPUT = -1
"""The index that stands for the network's input among the inputs of a node."""


@dataclass(frozen=True)
class Node:
    """An operation that depends on the network's input.

    Args:
        name: as torch calls it, without namespace, overload and the underscore of in-place forms.
        role: ``mac`` (multiplies by weights), ``norm`` (batch norm), ``activation``, ``view``
            (moves no data anywhere), ``transpose``, ``slice``, ``copy`` or ``other``.
        op: what `evaluators.workload.Kernel` calls it.
        inputs: indices of the nodes that it reads, `INPUT` for the network's input.
        in_shape: of the first of them.
        out_shape: of the first output.
        dtype: of the first output.
        macs: multiply-accumulates.
        input_elements: of all that it reads.
        output_elements: of the first output.
        weight_elements: of weights, biases and other constants.
        bias: it adds a vector of weights.
    """

    name: str
    role: str
    op: str
    inputs: tuple[int, ...]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    dtype: str
    macs: int
    input_elements: int
    output_elements: int
    weight_elements: int
    bias: bool


@dataclass(frozen=True)
class Recording:
    """What a network does: nodes in order of execution, and those that make its output."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]


def record(module: torch.nn.Module, input_shape: Sequence[int]) -> Recording:
    """The operations of one forward pass in inference mode; no weight is read.

    Args:
        module: is left as it is.
        input_shape: with batch.

    Raises:
        CandidateError: the shapes do not fit together, the control flow depends on data, or the
            module raises anything else.
    """
    with _inference(module), torch.no_grad(), _Recorder() as recorder:
        data = recorder.start(tuple(input_shape))
        try:
            result = module(data)
        except CandidateError:
            raise
        except Exception as error:  # whatever the module's own code raises without data
            first = str(error).strip().splitlines() or [type(error).__name__]
            raise CandidateError(f"cannot be traced: {first[0]}") from error
    made_by = recorder.made_by
    results = result.values() if isinstance(result, Mapping) else (result,)
    outputs = tuple(made_by[id(leaf)] for leaf in _tensors(results) if id(leaf) in made_by)
    return Recording(tuple(recorder.nodes), outputs)


@contextmanager
def _inference(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode within, every submodule's own mode after."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries every operation out on meta tensors and notes those that depend on the input."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = []
        self.made_by: dict[int, int] = {}
        self._empty: dict[int, torch.Tensor] = {}
        self._alive: list[Any] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: nothing is compiled here, and importing the compiler takes three seconds."""
        return False

    def start(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The network's input."""
        data = torch.empty(shape, device="meta")
        self._alive.append(data)
        self.made_by[id(data)] = INPUT
        return data

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [*_tensors(args), *_tensors(kwargs.values())]
        data = [tensor for tensor in tensors if id(tensor) in self.made_by]
        name = func._schema.name.partition("::")[2]
        if name == "_local_scalar_dense":
            if data:
                raise CandidateError("cannot be traced: its control flow depends on data")
            return func(*args, **kwargs)
        args = tuple(self._without_data(value) for value in args)
        kwargs = {key: self._without_data(value) for key, value in kwargs.items()}
        result = shaped(name, args) if data else None
        if result is None:
            result = func(*args, **kwargs)
        if data:
            made = list(_tensors((result,)))
            self._note(name.rstrip("_"), func.is_view, args, data, tensors, made)
        return result

    def _without_data(self, value: Any) -> Any:
        """An argument of an operation, its tensors on the meta device, the same ones every time."""
        if isinstance(value, (list, tuple)):
            return [self._without_data(item) for item in value]
        if not isinstance(value, torch.Tensor) or value.is_meta:
            return value
        if id(value) not in self._empty:
            self._alive.append(value)
            self._empty[id(value)] = torch.empty_strided(
                value.size(), value.stride(), dtype=value.dtype, device="meta"
            )
        return self._empty[id(value)]

    def _note(
        self,
        name: str,
        is_view: bool,
        args: tuple[Any, ...],
        data: list[torch.Tensor],
        tensors: list[torch.Tensor],
        made: list[torch.Tensor],
    ) -> None:
        if not made:
            return
        constants = [tensor for tensor in tensors if id(tensor) not in self.made_by]
        macs, op = multiplies(name, args, made[0], bool(constants))
        role = "mac" if macs and constants else "other" if macs else role_of(name, is_view, args)
        node = Node(
            name=name,
            role=role,
            op=op or op_of(name, role, data[0], made[0]),
            inputs=tuple(self.made_by[id(tensor)] for tensor in data),
            in_shape=tuple(data[0].shape),
            out_shape=tuple(made[0].shape),
            dtype=str(made[0].dtype).removeprefix("torch."),
            macs=macs,
            input_elements=sum(tensor.numel() for tensor in data),
            output_elements=made[0].numel(),
            weight_elements=sum(tensor.numel() for tensor in constants),
            bias=len(constants) > 1,
        )
        for tensor in made:
            self._alive.append(tensor)
            self.made_by[id(tensor)] = len(self.nodes)
        self.nodes.append(node)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The tensors among arguments or results, those in lists included."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
