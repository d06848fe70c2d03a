"""Unstructured pruning: the smallest weights become zero.

It makes the compressed file smaller. It does not make the network faster: no runtime that we
measure skips single zeros.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from evaluators.compression.choices import PruneConfig
from evaluators.compression.methods import Train
from nas.task import Task

_PRUNED = (nn.modules.conv._ConvNd, nn.Linear)


def prune(module: nn.Module, config: PruneConfig, task: Task, train: Train) -> nn.Module:
    """Set the smallest weights to zero and fine-tune the others.

    The weights of all convolutions and linear layers are ranked together by their share of the
    squared weights of their layer that are not smaller (LAMP, Lee et al. 2021,
    https://arxiv.org/abs/2010.07611). Ranked by magnitude alone, whole layers of small networks
    vanish at 75 %.

    Args:
        module: trained; it stays as it is.
        config: its ``sparsity`` is the share of those weights to set to zero.
        task: what the module is for.
        train: fine-tunes a module in place; the zeros stay exactly zero.

    Returns:
        A new module.
    """
    pruned = copy.deepcopy(module)
    weights = list(_weights(pruned))
    masks = _masks(weights, config.sparsity)
    _apply(weights, masks)
    hooks = [_hold(weight, mask) for weight, mask in zip(weights, masks, strict=True)]
    try:
        train(pruned)
    finally:
        for hook in hooks:
            hook.remove()
    # Training may have replaced or moved the parameters.
    _apply(list(_weights(pruned)), masks)
    return pruned


def _hold(weight: nn.Parameter, mask: Tensor) -> RemovableHandle:
    """Without a gradient a zero stays zero, and the clipping by norm sees live weights only."""
    handle: RemovableHandle = weight.register_hook(  # type: ignore[no-untyped-call]
        lambda gradient: gradient * mask.to(gradient.device)
    )
    return handle


def _weights(module: nn.Module) -> Iterator[nn.Parameter]:
    for layer in module.modules():
        if isinstance(layer, _PRUNED):
            weight = layer.weight
            if isinstance(weight, nn.Parameter):
                yield weight


def _masks(weights: list[nn.Parameter], sparsity: float) -> list[Tensor]:
    """A mask a weight: 0 for exactly the share of all weights that matters least, 1 elsewhere."""
    scores = torch.cat([_scores(weight.detach()) for weight in weights])
    mask = torch.ones_like(scores)
    mask[scores.argsort(stable=True)[: round(sparsity * len(scores))]] = 0
    parts = torch.split(mask, [weight.numel() for weight in weights])
    return [part.reshape(w.shape).to(w) for part, w in zip(parts, weights, strict=True)]


def _scores(weight: Tensor) -> Tensor:
    """Each squared weight over the sum of those in its layer that are not smaller, in [0, 1]."""
    squares, order = weight.double().square().flatten().sort(stable=True)
    not_smaller = squares.flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = squares / not_smaller.clamp_min(torch.finfo(squares.dtype).tiny)
    return scores


@torch.no_grad()
def _apply(weights: list[nn.Parameter], masks: list[Tensor]) -> None:
    for weight, mask in zip(weights, masks, strict=True):
        weight.mul_(mask.to(weight.device))
