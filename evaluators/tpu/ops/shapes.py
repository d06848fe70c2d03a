"""What moves elements, takes some of them, or makes constants."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

Array = Any


def _same(data: Array, *_: Any, **__: Any) -> Array:
    return data


def _flatten(data: Array, start: int = 0, end: int = -1) -> Array:
    start, end = start % data.ndim, end % data.ndim
    return data.reshape(*data.shape[:start], -1, *data.shape[end + 1 :])


def _unflatten(data: Array, axis: int, sizes: Sequence[int]) -> Array:
    axis %= data.ndim
    return data.reshape(*data.shape[:axis], *sizes, *data.shape[axis + 1 :])


def _squeeze(data: Array, axis: int | Sequence[int] | None = None) -> Array:
    """Without the named axes of size 1; other ones stay."""
    named = range(data.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    return jnp.squeeze(data, tuple(a % data.ndim for a in named if data.shape[a] == 1))


def _expand(data: Array, sizes: Sequence[int], **_: Any) -> Array:
    """To these sizes, of which -1 is the one that is there."""
    new = len(sizes) - data.ndim
    known = [data.shape[n - new] if size == -1 else size for n, size in enumerate(sizes)]
    return jnp.broadcast_to(data, known)


def _split(data: Array, size: int, axis: int = 0) -> list[Array]:
    return list(jnp.split(data, list(range(size, data.shape[axis], size)), axis))


def _split_with_sizes(data: Array, sizes: Sequence[int], axis: int = 0) -> list[Array]:
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes) - 1)]
    return list(jnp.split(data, ends, axis))


def _chunk(data: Array, chunks: int, axis: int = 0) -> list[Array]:
    """In pieces as torch cuts them: all of one size but for the last one."""
    return _split(data, -(-data.shape[axis] // chunks), axis)


def _unbind(data: Array, axis: int = 0) -> list[Array]:
    return [lax.index_in_dim(data, n, axis, keepdims=False) for n in range(data.shape[axis])]


def _slice(
    data: Array, axis: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Array:
    taken = (slice(None),) * (axis % data.ndim)
    return data[(*taken, slice(start, end, step))]


def _pad(
    data: Array, amounts: Sequence[int], mode: str = "constant", value: float | None = None
) -> Array:
    """By pairs (before, after), the last axis first."""
    pairs = [(amounts[n], amounts[n + 1]) for n in range(len(amounts) - 2, -1, -2)]
    widths = [(0, 0)] * (data.ndim - len(pairs)) + pairs
    if mode == "constant":
        return lax.pad(data, jnp.asarray(value or 0, data.dtype), [(*w, 0) for w in widths])
    return jnp.pad(data, widths, {"replicate": "edge", "circular": "wrap"}.get(mode, mode))


def _constant_pad(data: Array, amounts: Sequence[int], value: float = 0) -> Array:
    return _pad(data, amounts, "constant", value)


def _repeat(data: Array, counts: Sequence[int]) -> Array:
    return jnp.tile(data, counts)


def _roll(data: Array, shifts: Sequence[int], axes: Sequence[int] = ()) -> Array:
    return jnp.roll(data, tuple(shifts), tuple(axes) if axes else None)


def _pixel_shuffle(data: Array, factor: int) -> Array:
    """(batch, channels x factor^2, height, width) -> (batch, channels, height x factor, ...)."""
    batch, channels, height, width = data.shape
    parts = data.reshape(batch, channels // factor**2, factor, factor, height, width)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(batch, -1, height * factor, width * factor)


def _converted(data: Array, dtype: Any = None, *_: Any, **__: Any) -> Array:
    return data if dtype is None else data.astype(dtype)


def _like(value: float | None) -> Callable[..., Array]:
    def make(data: Array, *given: Any, dtype: Any = None, **_: Any) -> Array:
        number = given[0] if value is None else value
        return jnp.full(data.shape, number, dtype or data.dtype)

    return make


def _filled(value: float | None) -> Callable[..., Array]:
    def make(sizes: Sequence[int], *given: Any, dtype: Any = None, **_: Any) -> Array:
        return jnp.full(tuple(sizes), given[0] if value is None else value, dtype)

    return make


def _arange(*bounds: float, dtype: Any = None, **_: Any) -> Array:
    made: Array = jnp.arange(*bounds)
    return made if dtype is None else made.astype(dtype)


def _gather(data: Array, axis: int, index: Array, **_: Any) -> Array:
    return jnp.take_along_axis(data, index, axis)


def _scalar(value: float, *, dtype: Any = None, **_: Any) -> Array:
    return jnp.asarray(value, dtype)


_COPIES = ("clone", "contiguous", "alias", "detach", "detach_", "dropout", "lift_fresh_copy")
_CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async")
_VIEWS = ("view", "reshape", "_unsafe_view", "_reshape_copy", "view_copy")

OPS: dict[str, Callable[..., Any]] = {
    **{f"{name}.default": _same for name in (*_COPIES, *_CHECKS)},
    **{f"{name}.default": lambda data, sizes: data.reshape(sizes) for name in _VIEWS},
    "flatten.using_ints": _flatten,
    "unflatten.int": _unflatten,
    "transpose.int": jnp.swapaxes,
    "permute.default": jnp.transpose,
    "movedim.intlist": jnp.moveaxis,
    "movedim.int": jnp.moveaxis,
    "t.default": jnp.transpose,
    "numpy_T.default": jnp.transpose,
    "unsqueeze.default": jnp.expand_dims,
    "squeeze.dim": _squeeze,
    "squeeze.dims": _squeeze,
    "squeeze.default": _squeeze,
    "expand.default": _expand,
    "expand_as.default": lambda data, other: jnp.broadcast_to(data, other.shape),
    "cat.default": lambda parts, axis=0: jnp.concatenate(parts, axis),
    "concat.default": lambda parts, axis=0: jnp.concatenate(parts, axis),
    "stack.default": lambda parts, axis=0: jnp.stack(parts, axis),
    "split.Tensor": _split,
    "split.sizes": _split_with_sizes,
    "split_with_sizes.default": _split_with_sizes,
    "chunk.default": _chunk,
    "unbind.int": _unbind,
    "select.int": lambda data, axis, n: lax.index_in_dim(data, n, axis, keepdims=False),
    "slice.Tensor": _slice,
    "narrow.default": lambda data, axis, start, length: _slice(data, axis, start, start + length),
    "pad.default": _pad,
    "constant_pad_nd.default": _constant_pad,
    "repeat.default": _repeat,
    "roll.default": _roll,
    "flip.default": lambda data, axes: jnp.flip(data, tuple(axes)),
    "pixel_shuffle.default": _pixel_shuffle,
    "to.dtype": _converted,
    "_to_copy.default": _converted,
    "type_as.default": lambda data, other: data.astype(other.dtype),
    "full_like.default": _like(None),
    "zeros_like.default": _like(0),
    "ones_like.default": _like(1),
    "full.default": _filled(None),
    "zeros.default": _filled(0),
    "ones.default": _filled(1),
    "arange.default": _arange,
    "arange.start": _arange,
    "arange.start_step": _arange,
    "scalar_tensor.default": _scalar,
    "gather.default": _gather,
    "index_select.default": lambda data, axis, index: jnp.take(data, index, axis=axis),
    "embedding.default": lambda table, index, *_: jnp.take(table, index, axis=0),
    "getitem": operator.getitem,
}
