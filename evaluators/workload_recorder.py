"""Runs a module on tensors without data and records the operations that depend on its input."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from evaluators.workload_ops import (
    geometry_of,
    multiplies,
    op_of,
    reduction_of,
    role_of,
    shaped,
)
from nas.trials import CandidateError

INPUT = -1
"""The index that stands for the network's input among the inputs of a node."""


class Node(NamedTuple):
    """An operation that depends on the network's input.

    Attributes:
        name: as torch calls it, without namespace, overload and the underscore of in-place forms.
        role: ``mac`` (multiplies by weights), ``norm`` (batch norm), ``activation``, ``scale``
            (one number, or one a channel, is added or multiplied), ``zero`` (multiplied by 0),
            ``noop`` (0 added, multiplied by 1), ``view`` (moves no data anywhere), ``transpose``,
            ``slice``, ``copy``, ``constant`` (is no operation any more) or ``other``.
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
        same: nodes that have it in common and read the same compute the same; None: unknown.
        fused: the function that has become a part of it and costs something.
        geometry: (window, stride, padding) of a convolution or a pooling, each with a number for
            each axis; empty where it is not known.
        scope: the submodule that ran it, where that was asked for.
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
    same: Hashable = None
    fused: str = ""
    geometry: tuple[tuple[int, ...], ...] = ()
    scope: str = ""


class Recording(NamedTuple):
    """What a network does.

    Attributes:
        nodes: in order of execution.
        outputs: the nodes that make its output.
        input_shape: of what it reads, with batch; float32.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    input_shape: tuple[int, ...]


def record(module: torch.nn.Module, input_shape: Sequence[int], scopes: bool = False) -> Recording:
    """The operations of one forward pass in inference mode; no weight is read.

    Args:
        module: is left as it is.
        input_shape: with batch.
        scopes: note which submodule runs each operation.

    Raises:
        CandidateError: the shapes do not fit together, the control flow depends on data, or the
            module raises anything else; with the submodule and the operation where it did.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_inference(module))
        stack.enter_context(_uncompiled())
        stack.enter_context(torch.no_grad())
        recorder = stack.enter_context(_Recorder())
        if scopes:
            stack.enter_context(_followed(module, recorder))
        data = recorder.start(tuple(input_shape))
        try:
            result = module(data)
        except Exception as error:  # whatever the module's own code raises without data
            raise CandidateError(_what_failed(module, recorder.running, error)) from error
    results = result.values() if isinstance(result, Mapping) else (result,)
    sources = [recorder.maker(leaf) for leaf in _tensors(results)]
    outputs = tuple(source for source in sources if source is not None)
    return Recording(tuple(recorder.nodes), outputs, tuple(input_shape))


def _what_failed(module: torch.nn.Module, operation: str, error: Exception) -> str:
    """One line: the innermost submodule that was running, the operation, and what was raised."""
    names = {id(part): name for name, part in module.named_modules()}
    where, trace = "", error.__traceback__
    while trace is not None:
        where = names.get(id(trace.tb_frame.f_locals.get("self"))) or where
        trace = trace.tb_next
    what = (str(error).strip().splitlines() or [type(error).__name__])[0]
    place = f" at {where}" if where else ""
    return f"cannot be traced{place}: {f'{operation}: ' if operation else ''}{what}"


@contextmanager
def _followed(module: torch.nn.Module, recorder: _Recorder) -> Iterator[None]:
    """Within, the recorder knows which submodule is running."""
    running: list[str] = []

    def follow(part: torch.nn.Module, name: str) -> None:
        def enter(*_: Any) -> None:
            running.append(recorder.scope)
            recorder.scope = name

        def leave(*_: Any) -> None:
            recorder.scope = running.pop()

        handles.append(part.register_forward_pre_hook(enter))
        handles.append(part.register_forward_hook(leave))

    handles: list[Any] = []
    try:
        for name, part in module.named_modules():
            follow(part, name)
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _inference(module: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode within, every submodule's own mode after."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            if part.training != training:
                if "training" in vars(part):  # torch looks through its parameters otherwise
                    vars(part)["training"] = training
                else:
                    part.training = training


def _uncompiled() -> AbstractContextManager[None]:
    """Within, compiled parts run as they are written: there is nothing to compile without data."""
    if "torch._dynamo" in sys.modules:  # importing it takes three seconds
        stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
        return stance
    return contextlib.nullcontext()


class Undrawn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Networks that are built within have no weights to speak of: none are drawn.

    Large weights take milliseconds to draw. The memory is there, so whatever a module does with its
    weights when it is built works.
    """

    _DRAWS = ("aten::uniform_", "aten::normal_")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: nothing is compiled here, and importing the compiler takes three seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Whatever fills a tensor with random numbers leaves it as it is."""
        if func._schema.name in self._DRAWS:
            return args[0]
        return func(*args, **(kwargs or {}))


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Carries every operation out on meta tensors and notes those that depend on the input."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: list[Node] = []
        self.made_by: dict[int, int] = {}
        self.running = ""
        self.scope = ""
        self._written: dict[int, int] = {}
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
        schema, named = func._schema, kwargs or {}
        self.running = schema.name
        name = schema.name.partition("::")[2]
        data, makers, constants = self._sorted(_tensors((*args, *named.values())))
        if name == "_local_scalar_dense":
            if data:
                raise CandidateError("its control flow depends on data")
            result = func(*args)  # a weight or a constant, which may have a value
        else:
            result = shaped(name, args, named) if data else None
            if result is None:
                named = {key: self._without_data(value) for key, value in named.items()}
                result = func(*[self._without_data(value) for value in args], **named)
            if data:
                made = _tensors((result,))
                self._note(name.rstrip("_"), func.is_view, args, data, makers, constants, made)
                if schema.is_mutable:
                    self._write(schema.arguments, args)
        self.running = ""
        return result

    def _sorted(
        self, tensors: list[torch.Tensor]
    ) -> tuple[list[torch.Tensor], list[int], list[torch.Tensor]]:
        """Those that depend on the input, the nodes that made them, and the others."""
        data, makers, constants = [], [], []
        for tensor in tensors:
            made = self.maker(tensor)
            if made is None:
                constants.append(tensor)
            else:
                data.append(tensor)
                makers.append(made)
        return data, makers, constants

    def maker(self, tensor: torch.Tensor) -> int | None:
        """The node that made a tensor, or the last one to write into it; None for constants."""
        made = self.made_by.get(id(tensor))
        written = None
        if self._written:
            double = tensor if tensor.is_meta else self._empty.get(id(tensor))
            written = None if double is None else self._written.get(_memory(double))
        return written if made is None or (written is not None and written > made) else made

    def _write(self, parameters: Sequence[Any], args: tuple[Any, ...]) -> None:
        """What the last node has written data into is no constant any more, nor are its views."""
        for parameter, value in zip(parameters, args, strict=False):
            is_written = parameter.alias_info is not None and parameter.alias_info.is_write
            if is_written and isinstance(value, torch.Tensor):
                self._alive.append(value)
                self._written[_memory(self._emptied(value))] = len(self.nodes) - 1

    def _without_data(self, value: Any) -> Any:
        """An argument of an operation, its tensors on the meta device, the same ones every time."""
        if isinstance(value, torch.Tensor):
            return self._emptied(value)
        if isinstance(value, (list, tuple)):
            return [self._without_data(item) for item in value]
        return value

    def _emptied(self, value: torch.Tensor) -> torch.Tensor:
        if value.is_meta:
            return value
        empty = self._empty.get(id(value))
        if empty is None:
            self._alive.append(value)
            empty = torch.empty_strided(
                value.size(), value.stride(), dtype=value.dtype, device="meta"
            )
            self._empty[id(value)] = empty
        return empty

    def _note(
        self,
        name: str,
        is_view: bool,
        args: tuple[Any, ...],
        data: list[torch.Tensor],
        makers: list[int],
        constants: list[torch.Tensor],
        made: list[torch.Tensor],
    ) -> None:
        if not made:
            return
        first, out = data[0], made[0]
        macs, op = multiplies(name, args, out, bool(constants))
        role = "mac" if macs and constants else "other"
        if not macs:
            role = role_of(name, is_view, args, constants, out)
        node = Node(
            name=reduction_of(name, args),
            role=role,
            op=op or op_of(name, role, first),
            inputs=tuple(makers),
            in_shape=tuple(first.shape),
            out_shape=tuple(out.shape),
            dtype=str(out.dtype)[6:],  # without "torch."
            macs=macs,
            input_elements=sum([tensor.numel() for tensor in data]),
            output_elements=out.numel(),
            weight_elements=sum([t.numel() for t in constants if macs or t.numel() > 1]),
            bias=len(constants) > 1,
            same=None if constants else (name, repr([v for v in args if _is_plain(v)])),
            geometry=geometry_of(name, args),
            scope=self.scope,
        )
        for tensor in made:
            self._alive.append(tensor)
            self.made_by[id(tensor)] = len(self.nodes)
        self.nodes.append(node)


def _memory(tensor: torch.Tensor) -> int:
    """The same for all views of a tensor on the meta device."""
    return int(tensor.untyped_storage()._cdata)


def _is_plain(value: Any) -> bool:
    """No tensor, and no list of tensors."""
    if isinstance(value, list):
        return not value or _is_plain(value[0])
    return not isinstance(value, torch.Tensor)


def _tensors(values: Iterable[Any]) -> list[torch.Tensor]:
    """The tensors among arguments or results, those in lists included."""
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _tensors(value)
    return found
