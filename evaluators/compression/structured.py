"""Structured pruning: whole channels go, and the network gets really smaller.

Torch-Pruning (Fang et al. 2023, https://arxiv.org/abs/2301.12900) finds the channels that must go
together and cuts them. How many go is decided here, so that the widths that are left are those of
`PruneConfig.keep`; its own rounding leaves narrow layers whole without a word.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from evaluators.compression.choices import WHOLE, PruneConfig
from evaluators.compression.methods import Train
from nas.task import Task
from nas.trials import CandidateError

_PRODUCERS = (nn.modules.conv._ConvNd, nn.Linear)
_Rank = Callable[[Any], Tensor | None]
"""The importance of each channel of a group, or None for one that is to be left alone."""


def prune(module: nn.Module, config: PruneConfig, task: Task, train: Train) -> nn.Module:
    """Remove the channels of the smallest weights, stage by stage, and fine-tune.

    Channels that are added to one another, or that a depthwise convolution hands on, go together;
    they belong to the stage that holds the first layer to produce them. What no stage holds (the
    stem, say) and what gives the outputs stays whole. The importance of a channel is its squared
    weight, averaged over the layers that it goes through.

    Args:
        module: trained, (batch, *task.input_shape) -> (batch, task.outputs); it stays as it is.
        config: the ratios, by stage (names of submodules) or ``all``, and the alignment.
        task: what the module is for.
        train: fine-tunes a module in place.

    Returns:
        A new module, in training mode where the old one is.

    Raises:
        CandidateError: when the module lacks a stage or cannot be pruned.
    """
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2, normalizer=None)
    pruned = _cut(module, config, task, importance)
    train(pruned)
    return pruned


def reshape(module: nn.Module, config: PruneConfig, task: Task) -> nn.Module:
    """A new module with the shapes that `prune` leaves, its last channels cut off.

    Raises:
        CandidateError: when the module lacks a stage or cannot be pruned.
    """
    return _cut(module, config, task, _by_position)


def _by_position(group: Any) -> Tensor:
    return -torch.arange(len(group[0].idxs), dtype=torch.float32)


def _cut(module: nn.Module, config: PruneConfig, task: Task, rank: _Rank) -> nn.Module:
    for stage in config.ratios:
        if stage != WHOLE and stage not in dict(module.named_modules()):
            raise CandidateError(f"there is no submodule {stage!r} to prune")
    pruned = copy.deepcopy(module)
    try:
        # Whatever it warns of is either harmless or shows in the output below.
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            _cut_in_place(pruned, config, task, rank)
            outputs = tuple(pruned(_example(pruned, task)).shape)
    except Exception as error:
        # The library fails in many ways on a module that it does not understand.
        message = f"structured pruning failed: {type(error).__name__}: {error}"
        raise CandidateError(message.splitlines()[0]) from error
    if outputs != (1, task.outputs):
        raise CandidateError(f"structured pruning left outputs of shape {outputs}")
    return pruned.train(module.training)


def _example(module: nn.Module, task: Task) -> Tensor:
    return torch.zeros(1, *task.input_shape, device=next(module.parameters()).device)


def _cut_in_place(module: nn.Module, config: PruneConfig, task: Task, rank: _Rank) -> None:
    graph = torch_pruning.DependencyGraph().build_dependency(
        module,
        example_inputs=_example(module, task),
        # The addition marks the outputs as such, whichever layer they come from.
        forward_fn=lambda network, inputs: network(inputs) + 0.0,
    )
    names = {part: name for name, part in module.named_modules()}
    order = {part: place for place, part in enumerate(names)}
    cuts = []
    # Decide on all before the first cut, so that no decision depends on the order of the groups.
    for group in graph.get_all_groups(root_module_types=_PRODUCERS):
        layers = sorted(_producers(graph, group), key=order.__getitem__)
        if layers and (importance := rank(group)) is not None:
            stage = _stage_of(names[layers[0]], config)
            parts = math.lcm(*_parts(group))
            cuts.append((group[0].dep, _lowest(importance, config, stage, parts)))
    for dependency, channels in cuts:
        if channels:
            graph.get_pruning_group(dependency.target.module, dependency.handler, channels).prune()


def _stage_of(name: str, config: PruneConfig) -> str:
    return next((stage for stage in config.ratios if f"{name}.".startswith(f"{stage}.")), WHOLE)


def _producers(graph: Any, group: Any) -> list[nn.Module]:
    """The layers that produce the channels of a group; none when those are the outputs."""
    layers: list[nn.Module] = []
    for dependency, _ in group:
        layer = dependency.target.module
        if dependency.target.type == torch_pruning.ops.OPTYPE.OUTPUT:
            return []
        if isinstance(layer, _PRODUCERS) and graph.is_out_channel_pruning_fn(dependency.handler):
            # A depthwise convolution only hands on what another layer produces.
            depthwise = isinstance(layer, nn.modules.conv._ConvNd) and layer.groups > 1
            layers += [] if depthwise and layer.groups == layer.in_channels else [layer]
    return layers


def _parts(group: Any) -> Iterator[int]:
    """Into how many parts of equal size (attention heads, groups) the layers split the channels."""
    for dependency, _ in group:
        layer = dependency.target.module
        if isinstance(layer, nn.MultiheadAttention):
            yield layer.num_heads
        elif isinstance(layer, nn.GroupNorm):
            yield layer.num_groups
        elif isinstance(layer, nn.modules.conv._ConvNd) and layer.groups != layer.in_channels:
            yield layer.groups


def _lowest(importance: Tensor, config: PruneConfig, stage: str, parts: int) -> list[int]:
    """The channels of a group that go, the same ones in each part."""
    width = len(importance)
    config = dataclasses.replace(config, align=math.lcm(config.align, parts))
    cut = (width - config.keep(stage, width)) // parts
    order = importance.reshape(parts, -1).mean(dim=0).argsort(stable=True)
    return [part * (width // parts) + int(i) for part in range(parts) for i in order[:cut]]
