"""The torch modules of `search_spaces.transformer`."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.blocks import Block
from search_spaces.convnet_modules import Residual
from search_spaces.planned import Shape

_POSITION_SCALE = 1.0
"""As large as what the patches say: with the usual 0.02, training takes far more epochs."""


class EmbeddingSpec(NamedTuple):
    """Image to tokens; with ``token`` one more in front, which belongs to no patch."""

    in_shape: Shape
    patch: int
    dim: int
    token: bool


class AttentionSpec(NamedTuple):
    """Self-attention behind a norm, added to what comes in."""

    dim: int
    heads: int


class MLPSpec(NamedTuple):
    """Two linear layers behind a norm, added to what comes in."""

    dim: int
    hidden: int
    activation: str


class HeadSpec(NamedTuple):
    """The classifier of the first token, or of the mean of all."""

    dim: int
    token: bool
    outputs: int


Spec = EmbeddingSpec | AttentionSpec | MLPSpec | HeadSpec


def grid_of(shape: Shape, patch: int) -> tuple[int, int]:
    """The patches in a column and in a row; those at the border may be part padding."""
    return -(-shape[1] // patch), -(-shape[2] // patch)


class Embedding(nn.Module):
    """Patches to tokens by a convolution, and their places by a learned sum.

    Args:
        spec: what to make.
    """

    def __init__(self, spec: EmbeddingSpec) -> None:
        super().__init__()
        channels, height, breadth = spec.in_shape
        rows, columns = grid_of(spec.in_shape, spec.patch)
        # Half of what is missing on each side, rounded up; padding that is too much is not read.
        padding = (-(-(rows * spec.patch - height) // 2), -(-(columns * spec.patch - breadth) // 2))
        self.patches = nn.Conv2d(channels, spec.dim, spec.patch, spec.patch, padding)
        self.position = nn.Parameter(_POSITION_SCALE * torch.randn(1, rows * columns, spec.dim))
        self.token = nn.Parameter(torch.zeros(1, 1, spec.dim)) if spec.token else None

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, tokens, dim)."""
        # The position first: the sum takes its layout, in which each token is in one piece.
        tokens: Tensor = self.position + self.patches(inputs).flatten(2).transpose(1, 2)
        if self.token is None:
            return tokens
        return torch.cat([self.token.expand(tokens.shape[0], -1, -1), tokens], dim=1)


class Attention(nn.Module):
    """Multi-head self-attention.

    Args:
        dim: of a token; a multiple of ``heads``.
        heads: parts of a token that attend on their own.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.output = nn.Linear(dim, dim)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, tokens, dim) -> the same shape."""
        query, key, value = (
            layer(inputs).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        outputs: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return outputs


class Pooled(nn.Module):
    """Tokens to one vector: the first, or the mean.

    Args:
        token: the first.
    """

    def __init__(self, token: bool) -> None:
        super().__init__()
        self.token = token

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, tokens, dim) -> (batch, dim)."""
        return inputs[:, 0] if self.token else inputs.mean(1)


@functools.lru_cache(maxsize=1 << 16, typed=True)  # specifications are tuples, hence equal
def as_block(spec: Spec, shape: tuple[int, ...]) -> Block:
    """The block of a specification, for inputs of a shape without the batch."""
    output = shape
    if isinstance(spec, EmbeddingSpec):
        rows, columns = grid_of(spec.in_shape, spec.patch)
        output = (rows * columns + spec.token, spec.dim)
    elif isinstance(spec, HeadSpec):
        output = (spec.outputs,)
    return Block(f"transformer {spec}", shape, output, functools.partial(build, spec))


def build(spec: Spec) -> nn.Module:
    """The module of a specification, its weights drawn from torch's own generator."""
    if isinstance(spec, EmbeddingSpec):
        return Embedding(spec)
    if isinstance(spec, AttentionSpec):
        return Residual(
            nn.Sequential(nn.LayerNorm(spec.dim), Attention(spec.dim, spec.heads)), None
        )
    if isinstance(spec, MLPSpec):
        layers = nn.Sequential(
            nn.LayerNorm(spec.dim),
            nn.Linear(spec.dim, spec.hidden),
            nn.GELU() if spec.activation == "gelu" else nn.ReLU(),
            nn.Linear(spec.hidden, spec.dim),
        )
        return Residual(layers, None)
    norm = nn.LayerNorm(spec.dim)
    return nn.Sequential(norm, Pooled(spec.token), nn.Linear(spec.dim, spec.outputs))
