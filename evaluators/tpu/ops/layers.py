"""Products, convolutions, norms, pooling and attention; images are (batch, channels, ...)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Array = Any
Sizes = int | Sequence[int]


def _each(value: Sizes, count: int) -> tuple[int, ...]:
    """One number an axis."""
    values = [value] if isinstance(value, int) else list(value)
    return tuple(values * count if len(values) == 1 else values)


def _a_channel_each(values: Array, ndim: int) -> Array:
    return values.reshape((1, -1) + (1,) * (ndim - 2))


def _convolution(
    data: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    spatial = data.ndim - 2
    if isinstance(padding, str):
        pads: Any = padding.upper()
    else:
        pads = [(amount, amount) for amount in _each(padding, spatial)]
    axes = "DHW"[-spatial:]
    result = lax.conv_general_dilated(
        data,
        weight,
        _each(stride, spatial),
        pads,
        rhs_dilation=_each(dilation, spatial),
        dimension_numbers=(f"NC{axes}", f"OI{axes}", f"NC{axes}"),
        feature_group_count=groups,
    )
    return result if bias is None else result + _a_channel_each(bias, data.ndim)


def _transposed(
    data: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Array:
    """The weights are (in, out / groups, ...), as torch keeps them."""
    spatial = data.ndim - 2
    steps, pads, extra, gaps = (
        _each(each, spatial) for each in (stride, padding, output_padding, dilation)
    )
    each_in, each_out, *window = weight.shape
    split = weight.reshape(groups, each_in // groups, each_out, *window).swapaxes(1, 2)
    turned = jnp.flip(
        split.reshape(groups * each_out, each_in // groups, *window), range(2, 2 + spatial)
    )
    reach = [gap * (size - 1) for gap, size in zip(gaps, window, strict=True)]
    axes = "DHW"[-spatial:]
    result = lax.conv_general_dilated(
        data,
        turned,
        (1,) * spatial,
        [(r - p, r - p + e) for r, p, e in zip(reach, pads, extra, strict=True)],
        lhs_dilation=steps,
        rhs_dilation=gaps,
        dimension_numbers=(f"NC{axes}", f"OI{axes}", f"NC{axes}"),
        feature_group_count=groups,
    )
    return result if bias is None else result + _a_channel_each(bias, data.ndim)


def _core_convolution(
    data: Array,
    weight: Array,
    bias: Array | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
) -> Array:
    if transposed:
        return _transposed(data, weight, bias, stride, padding, output_padding, groups, dilation)
    return _convolution(data, weight, bias, stride, padding, dilation, groups)


def _linear(data: Array, weight: Array, bias: Array | None = None) -> Array:
    result = data @ weight.T
    return result if bias is None else result + bias


def _addmm(bias: Array, one: Array, other: Array, *, beta: float = 1, alpha: float = 1) -> Array:
    product = one @ other
    return (bias if beta == 1 else beta * bias) + (product if alpha == 1 else alpha * product)


def _batch_norm(
    data: Array,
    scale: Array | None,
    shift: Array | None,
    mean: Array,
    variance: Array,
    training: bool = False,
    momentum: float = 0.1,
    epsilon: float = 1e-5,
    *_: Any,
) -> Array:
    if training:
        raise ValueError("batch norm must be in inference mode")
    factor = lax.rsqrt(variance + jnp.asarray(epsilon, variance.dtype))
    factor = factor if scale is None else factor * scale
    moved = -mean * factor if shift is None else shift - mean * factor
    return data * _a_channel_each(factor, data.ndim) + _a_channel_each(moved, data.ndim)


def _native_batch_norm(
    data: Array,
    scale: Array | None,
    shift: Array | None,
    mean: Array,
    variance: Array,
    momentum: float,
    epsilon: float,
) -> tuple[Array, None, None]:
    made = _batch_norm(data, scale, shift, mean, variance, False, momentum, epsilon)
    return made, None, None


def _normalized(data: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    """In float32, as torch does."""
    wide = data.astype(jnp.float32)
    mean = wide.mean(axes, keepdims=True)
    variance = jnp.square(wide - mean).mean(axes, keepdims=True)
    return ((wide - mean) * lax.rsqrt(variance + epsilon)).astype(data.dtype)


def _affine(data: Array, scale: Array | None, shift: Array | None) -> Array:
    data = data if scale is None else data * scale
    return data if shift is None else data + shift


def _layer_norm(
    data: Array,
    sizes: Sequence[int],
    scale: Array | None = None,
    shift: Array | None = None,
    epsilon: float = 1e-5,
    *_: Any,
) -> Array:
    return _affine(_normalized(data, tuple(range(-len(sizes), 0)), epsilon), scale, shift)


def _group_norm(
    data: Array,
    groups: int,
    scale: Array | None = None,
    shift: Array | None = None,
    epsilon: float = 1e-5,
    *_: Any,
) -> Array:
    grouped = data.reshape(data.shape[0], groups, -1)
    made = _normalized(grouped, (2,), epsilon).reshape(data.shape)
    known = [None if v is None else _a_channel_each(v, data.ndim) for v in (scale, shift)]
    return _affine(made, *known)


def _pooled(
    data: Array,
    window: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil: bool,
    start: float,
    combine: Any,
) -> Array:
    """A window over the last axes; with ``ceil`` the last one may reach beyond the border."""
    spatial = data.ndim - 2
    sizes, pads = _each(window, spatial), _each(padding, spatial)
    steps = _each(stride, spatial) if stride not in ((), []) else sizes
    ends = []
    for side, size, step, pad in zip(data.shape[2:], sizes, steps, pads, strict=True):
        room = side + 2 * pad - size
        count = -(-room // step) if ceil else room // step
        if ceil and count * step >= side + pad:  # it must begin within the image
            count -= 1
        ends.append(max(pad, pad + count * step - room))
    return lax.reduce_window(
        data,
        jnp.asarray(start, data.dtype),
        combine,
        (1, 1, *sizes),
        (1, 1, *steps),
        [(0, 0), (0, 0), *zip(pads, ends, strict=True)],
    )


def _max_pool(
    data: Array,
    window: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil: bool = False,
) -> Array:
    if set(_each(dilation, 1)) != {1}:
        raise ValueError("max_pool with dilation has no mapping")
    return _pooled(data, window, stride, padding, ceil, -math.inf, lax.max)


def _avg_pool(
    data: Array,
    window: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    ceil: bool = False,
    counts_padding: bool = True,
    divisor: int | None = None,
) -> Array:
    total = _pooled(data, window, stride, padding, ceil, 0, lax.add)
    if divisor:
        return total / divisor
    if not ceil and (counts_padding or not any(_each(padding, 1))):
        return total / math.prod(_each(window, data.ndim - 2))
    ones = jnp.ones((1, 1, *data.shape[2:]), data.dtype)
    if counts_padding:
        spatial = data.ndim - 2
        pads = [(p, p) for p in _each(padding, spatial)]
        ones = jnp.pad(ones, [(0, 0), (0, 0), *pads], constant_values=1)
        return total / _pooled(ones, window, stride or window, 0, ceil, 0, lax.add)
    return total / _pooled(ones, window, stride, padding, ceil, 0, lax.add)


def _adaptive(reduce: Callable[..., Array]) -> Callable[..., Array]:
    """Pooling to a size, whose windows may overlap, as torch cuts them."""

    def pool(data: Array, sizes: Sizes) -> Array:
        wanted = _each(sizes, data.ndim - 2)
        for axis, count in enumerate(wanted, start=2):
            side = data.shape[axis]
            if side % count == 0:
                cut = (*data.shape[:axis], count, side // count, *data.shape[axis + 1 :])
                data = reduce(data.reshape(cut), axis + 1)
            else:
                bounds = [(n * side // count, -(-(n + 1) * side // count)) for n in range(count)]
                parts = [lax.slice_in_dim(data, a, b, axis=axis) for a, b in bounds]
                data = jnp.concatenate([reduce(p, axis, keepdims=True) for p in parts], axis)
        return data

    return pool


def _attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    **_: Any,
) -> Array:
    """(..., tokens, features); a boolean mask says what may be looked at."""
    weights = (query @ jnp.swapaxes(key, -1, -2)) * (scale or query.shape[-1] ** -0.5)
    if is_causal:
        mask = jnp.tril(jnp.ones(weights.shape[-2:], bool))
    if mask is not None:
        weights = jnp.where(mask, weights, -jnp.inf) if mask.dtype == bool else weights + mask
    return jax.nn.softmax(weights, -1) @ value


def _multiplied(one: Array, other: Array) -> Array:
    return one @ other


def _nearest(data: Array, sizes: Sequence[int] | None, scales: Any = None, *_: Any) -> Array:
    """Each pixel taken several times."""
    if sizes is None:
        sizes = [int(side * s) for side, s in zip(data.shape[2:], scales, strict=True)]
    for axis, size in enumerate(sizes, start=2):
        index = jnp.arange(size) * data.shape[axis] // size
        data = jnp.take(data, index, axis=axis)
    return data


OPS: dict[str, Callable[..., Any]] = {
    "conv1d.default": _convolution,
    "conv2d.default": _convolution,
    "conv3d.default": _convolution,
    "conv1d.padding": _convolution,
    "conv2d.padding": _convolution,
    "conv_transpose1d.default": _transposed,
    "conv_transpose2d.input": _transposed,
    "convolution.default": _core_convolution,
    "linear.default": _linear,
    "addmm.default": _addmm,
    "baddbmm.default": _addmm,
    "matmul.default": _multiplied,
    "mm.default": _multiplied,
    "bmm.default": _multiplied,
    "einsum.default": lambda equation, operands, **_: jnp.einsum(equation, *operands),
    "batch_norm.default": _batch_norm,
    "_native_batch_norm_legit_no_training.default": _native_batch_norm,
    "layer_norm.default": _layer_norm,
    "native_layer_norm.default": lambda *given: (_layer_norm(*given), None, None),
    "group_norm.default": _group_norm,
    "max_pool1d.default": _max_pool,
    "max_pool2d.default": _max_pool,
    "max_pool2d_with_indices.default": lambda *given: (_max_pool(*given), None),
    "avg_pool1d.default": _avg_pool,
    "avg_pool2d.default": _avg_pool,
    "adaptive_avg_pool1d.default": _adaptive(jnp.mean),
    "adaptive_avg_pool2d.default": _adaptive(jnp.mean),
    "_adaptive_avg_pool2d.default": _adaptive(jnp.mean),
    "adaptive_max_pool2d.default": lambda *given: (_adaptive(jnp.max)(*given), None),
    "upsample_nearest2d.vec": _nearest,
    "upsample_nearest2d.default": _nearest,
    "scaled_dot_product_attention.default": _attention,
}
