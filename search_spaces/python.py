"""A search space from a user's own file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.blocks import Block, Keep, keep_all
from nas.choices import Choice, Genotype, Value, check_choices
from nas.keys import digest
from nas.task import Task
from nas.trials import CandidateError
from nas.user_code import load_module, one_line, sources
from search_spaces import BlocksFunction


class PythonSpace:
    """The space ``python``: what a user's file defines.

    The file holds ``CHOICES``, a list of `nas.choices.Choice`, and ``build(genotype, task)``, which
    returns the untrained `torch.nn.Module`, (batch, *task.input_shape) -> (batch, task.outputs).

    If it wants to, it holds ``STAGES`` too, the names of submodules that are pruned by a ratio of
    their own, and ``blocks(genotype, task, keep)`` for fast screening, see `nas.blocks`.

    Args:
        file: its path, absolute or from the working folder, or the name of a module.

    Raises:
        ValueError: in one line, when the file cannot be imported, lacks something or has it wrong.
    """

    def __init__(self, file: str) -> None:
        if not isinstance(file, str) or not file:
            raise ValueError(f"file must be the path of a Python file, but got {file!r}")
        self._file = file
        module = load_module(file)
        self._path = str(module.__file__)
        self._build = _function(module, file, "build")
        self.choices = _choices(module, file)
        self.stages = _stages(module, file)
        self.fingerprint = digest(
            {"space": "python", "sources": sources(Path(self._path), _root(module, file))}
        )
        self._blocks = _function(module, file, "blocks") if hasattr(module, "blocks") else None
        self.blocks: BlocksFunction | None = self._checked_blocks if self._blocks else None

    def __reduce__(self) -> tuple[Any, ...]:
        return PythonSpace, (self._file,)

    def build(self, genotype: Genotype, task: Task) -> nn.Module:
        """The untrained module that the user's ``build`` returns, tried on an input of zeros.

        Raises:
            CandidateError: in one line, when the user's code raises, or returns something else.
        """
        module = self._call(self._build, dict(genotype), task)
        if not isinstance(module, nn.Module):
            raise CandidateError(
                f"{self._file}: build must return a torch.nn.Module, but got {_kind(module)}"
            )
        outputs = self._call(_outputs, module, task)
        shape = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else _kind(outputs)
        if shape != (2, task.outputs):
            raise CandidateError(
                f"{self._file}: inputs of shape {(2, *task.input_shape)} must give outputs "
                f"of shape {(2, task.outputs)}, but got {shape}"
            )
        return module

    def _checked_blocks(
        self, genotype: Genotype, task: Task, keep: Keep = keep_all
    ) -> Sequence[Block]:
        """The blocks that the user's ``blocks`` returns.

        Raises:
            CandidateError: in one line, when the user's code raises, or returns something else.
        """
        blocks = self._call(self._blocks, dict(genotype), task, keep)
        if not isinstance(blocks, Sequence) or not all(isinstance(b, Block) for b in blocks):
            raise CandidateError(
                f"{self._file}: blocks must return a list of nas.blocks.Block, "
                f"but got {_kind(blocks)}"
            )
        return blocks

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except CandidateError:
            raise
        except (Exception, SystemExit) as error:
            raise CandidateError(one_line(error, self._path)) from error


def _root(module: Any, file: str) -> Path:
    """Where absolute imports begin: beside the file, or beside the package that it is in."""
    path = Path(str(module.__file__))
    inside = 0 if file.endswith(".py") else module.__name__.count(".")
    return path.parents[inside + (path.name == "__init__.py")]


def _kind(value: object) -> str:
    return type(value).__name__


@torch.no_grad()
def _outputs(module: nn.Module, task: Task) -> object:
    """The outputs for two inputs of zeros; the statistics of batch norms stay as they are."""
    training = module.training
    outputs: object = module.eval()(torch.zeros(2, *task.input_shape))
    module.train(training)
    return outputs


def _function(module: Any, file: str, name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        got = "there is none" if function is None else f"got {_kind(function)}"
        raise ValueError(f"{file} must define the function {name}(genotype, task), but {got}")
    checked: Callable[..., Any] = function
    return checked


def _choices(module: Any, file: str) -> tuple[Choice, ...]:
    choices: Any = getattr(module, "CHOICES", None)
    listed = isinstance(choices, list | tuple) and len(choices) > 0
    if not listed or not all(isinstance(choice, Choice) for choice in choices):
        got = "there is none" if choices is None else f"got {choices!r:.60}"
        raise ValueError(f"{file} must define CHOICES, a list of nas.choices.Choice, but {got}")
    try:
        check_choices(choices)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return tuple(choices)


def _stages(module: Any, file: str) -> Mapping[str, Mapping[str, Collection[Value]]]:
    stages: Any = getattr(module, "STAGES", ())
    listed = isinstance(stages, Mapping | list | tuple)
    if not listed or not all(isinstance(stage, str) for stage in stages):
        raise ValueError(f"{file}: STAGES lists names of submodules, but got {stages!r:.60}")
    return stages if isinstance(stages, Mapping) else {stage: {} for stage in stages}
