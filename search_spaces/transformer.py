"""Vision transformers (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929).

Each block has heads and an MLP ratio of its own (Chen et al. 2021, AutoFormer).
"""

from __future__ import annotations

from collections.abc import Iterator

from nas.blocks import Block, Keep
from nas.choices import Choice, Genotype
from nas.task import Task
from search_spaces.planned import (
    Conditions,
    PlannedSpace,
    Shape,
    checked_integer,
    image_shape,
)
from search_spaces.transformer_modules import (
    AttentionSpec,
    EmbeddingSpec,
    HeadSpec,
    MLPSpec,
    as_block,
    grid_of,
)

_PATCHES = (2, 4, 8, 16)
_DIMS = (32, 48, 64, 96, 128, 192, 256)
_HEADS = (1, 2, 4, 8)
_RATIOS = (1, 2, 3, 4)
_MOST_BLOCKS = 12
_SMALLEST_GRID, _LARGEST_GRID = 2, 28
_VERSION = 1


class TransformerSpace(PlannedSpace):
    """The space ``transformer``, for images.

    An embedding of patches with learned positions, blocks of attention and of an MLP (each behind
    a layer norm and added to what comes in), and a linear classifier of the class token or of the
    mean. Every dimension is a multiple of 16 and of every number of heads. Patches adapt to the
    image: they are halved while fewer than 2 of them fit the shorter side, and doubled while there
    are more than 28 along the longer one. So every genotype builds for every image.

    Structured pruning cuts the hidden width of the MLPs.

    Args:
        depth: the most blocks there may be, 1 to 12.

    Raises:
        ValueError: for another number of blocks.
    """

    def __init__(self, depth: int = 6) -> None:
        checked_integer("the depth of transformer", depth, 1, _MOST_BLOCKS)
        self._depth = depth
        there: list[Conditions] = [
            {"depth": tuple(range(i + 1, depth + 1))} if i else {} for i in range(depth)
        ]
        numbers = range(1, depth + 1)
        super().__init__(
            identity={"space": "transformer", "version": _VERSION, "depth": depth},
            choices=[
                Choice("patch", _PATCHES, ordered=True),
                Choice("dim", _DIMS, ordered=True),
                Choice("activation", ("gelu", "relu")),
                Choice("pool", ("mean", "token")),
                Choice("depth", tuple(numbers), ordered=True),
                *(
                    Choice(name, options, ordered=True, when=there[i - 1])
                    for i in numbers
                    for name, options in (
                        (f"attention{i}.heads", _HEADS),
                        (f"mlp{i}.ratio", _RATIOS),
                    )
                ),
            ],
            parts=(
                "embedding",
                *(part for i in numbers for part in (f"attention{i}", f"mlp{i}")),
                "head",
            ),
            stages={f"mlp{i}": there[i - 1] for i in numbers},
        )

    def _plan(self, genotype: Genotype, task: Task, keep: Keep) -> Iterator[tuple[str, Block]]:
        image = image_shape("transformer", task)
        dim, token = int(genotype["dim"]), genotype["pool"] == "token"
        activation = str(genotype["activation"])
        patch = _fitting_patch(image, int(genotype["patch"]))
        block = as_block(EmbeddingSpec(image, patch, dim, token), image)
        yield "embedding", block
        tokens = block.output_shape
        for i in range(1, int(genotype["depth"]) + 1):
            attention = AttentionSpec(dim, int(genotype[f"attention{i}.heads"]))
            hidden = keep(f"mlp{i}", dim * int(genotype[f"mlp{i}.ratio"]))
            yield f"attention{i}", as_block(attention, tokens)
            yield f"mlp{i}", as_block(MLPSpec(dim, hidden, activation), tokens)
        yield "head", as_block(HeadSpec(dim, token, task.outputs), tokens)


def _fitting_patch(shape: Shape, wanted: int) -> int:
    """The wanted patch, halved or doubled until a sensible number of them makes the image."""
    while max(grid_of(shape, wanted)) > _LARGEST_GRID:
        wanted *= 2
    while wanted > 1 and min(grid_of(shape, wanted)) < _SMALLEST_GRID:
        wanted //= 2
    return wanted
