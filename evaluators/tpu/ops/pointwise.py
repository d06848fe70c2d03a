"""What is done to each element, and what reduces along an axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Array = Any


def _add(one: Array, other: Array, *, alpha: float = 1) -> Array:
    return one + (other if alpha == 1 else alpha * other)


def _sub(one: Array, other: Array, *, alpha: float = 1) -> Array:
    return one - (other if alpha == 1 else alpha * other)


def _rsub(one: Array, other: Array, alpha: float = 1) -> Array:
    return other - (one if alpha == 1 else alpha * one)


def _div(one: Array, other: Array, *, rounding_mode: str | None = None) -> Array:
    quotient = one / other
    if rounding_mode == "floor":
        return jnp.floor(quotient)
    return jnp.trunc(quotient) if rounding_mode == "trunc" else quotient


def _clamp(data: Array, low: float | None = None, high: float | None = None) -> Array:
    return jnp.clip(data, low, high)


def _hardtanh(data: Array, low: float = -1.0, high: float = 1.0) -> Array:
    return jnp.clip(data, low, high)


def _hardsigmoid(data: Array) -> Array:
    return jnp.clip(data + 3, 0, 6) / 6


def _gelu(data: Array, approximate: str = "none") -> Array:
    return jax.nn.gelu(data, approximate=approximate == "tanh")


def _elu(data: Array, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Array:
    return scale * jnp.where(data > 0, data, alpha * jnp.expm1(input_scale * jnp.minimum(data, 0)))


def _softplus(data: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    return jnp.where(beta * data > threshold, data, jax.nn.softplus(beta * data) / beta)


def _prelu(data: Array, weight: Array) -> Array:
    shape = (1, -1) + (1,) * (data.ndim - 2) if weight.size > 1 else ()
    return jnp.where(data > 0, data, weight.reshape(shape) * data)


def _softmax(data: Array, axis: int, *_: Any) -> Array:
    return jax.nn.softmax(data, axis=axis)


def _log_softmax(data: Array, axis: int, *_: Any) -> Array:
    return jax.nn.log_softmax(data, axis=axis)


def _reduction(reduce: Callable[..., Array]) -> Callable[..., Array]:
    """Over some axes, or over all of them."""

    def along(
        data: Array,
        axes: int | Sequence[int] | None = None,
        keep: bool = False,
        *,
        dtype: Any = None,
    ) -> Array:
        chosen = tuple(axes) if isinstance(axes, list | tuple) else axes
        return reduce(data, axis=None if chosen == () else chosen, keepdims=keep)

    return along


def _ignoring_dtype(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda data, *_, **__: function(data)


def _variance(
    data: Array, axes: Sequence[int] | None = None, *, correction: int = 1, keepdim: bool = False
) -> Array:
    return jnp.var(data, axis=tuple(axes) if axes else None, ddof=correction, keepdims=keepdim)


def _where(condition: Array, one: Array, other: Array) -> Array:
    return jnp.where(condition, one, other)


def _scaled(one: Array, other: Array) -> Array:
    return one * other


_BINARY: dict[str, Callable[..., Array]] = {
    "pow": jnp.power,
    "eq": jnp.equal,
    "ne": jnp.not_equal,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "gt": jnp.greater,
    "ge": jnp.greater_equal,
    "minimum": jnp.minimum,
    "maximum": jnp.maximum,
    "add": _add,
    "sub": _sub,
    "rsub": _rsub,
    "mul": _scaled,
    "div": _div,
    "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or,
    "bitwise_and": jnp.bitwise_and,
}
_OVERLOADS = ("Tensor", "Scalar", "default", "Tensor_Scalar", "Tensor_Tensor", "Tensor_mode")

_UNARY: dict[str, Callable[..., Array]] = {
    "relu": jax.nn.relu,
    "relu6": lambda data: jnp.clip(data, 0, 6),
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda data, high: jnp.clip(data, None, high),
    "leaky_relu": lambda data, slope=0.01: jnp.where(data > 0, data, slope * data),
    "elu": _elu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "mish": lambda data: data * jnp.tanh(jax.nn.softplus(data)),
    "hardswish": lambda data: data * _hardsigmoid(data),
    "hardsigmoid": _hardsigmoid,
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "softplus": _softplus,
    "tanh": jnp.tanh,
    "gelu": _gelu,
    "prelu": _prelu,
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "rsqrt": jax.lax.rsqrt,
    "reciprocal": lambda data: 1 / data,
    "neg": jnp.negative,
    "abs": jnp.abs,
    "sign": jnp.sign,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "erf": jax.scipy.special.erf,
    "floor": jnp.floor,
    "ceil": jnp.ceil,
    "round": jnp.round,
    "square": jnp.square,
    "logical_not": jnp.logical_not,
}

OPS: dict[str, Callable[..., Array]] = {
    **{f"{name}.default": op for name, op in _UNARY.items()},
    **{f"{name}.{kind}": op for name, op in _BINARY.items() for kind in _OVERLOADS},
    "softmax.int": _softmax,
    "_softmax.default": _softmax,
    "_safe_softmax.default": _softmax,
    "log_softmax.int": _log_softmax,
    "_log_softmax.default": _log_softmax,
    "mean.dim": _reduction(jnp.mean),
    "mean.default": _ignoring_dtype(jnp.mean),
    "sum.dim_IntList": _reduction(jnp.sum),
    "sum.default": _ignoring_dtype(jnp.sum),
    "amax.default": _reduction(jnp.max),
    "amin.default": _reduction(jnp.min),
    "any.dim": _reduction(jnp.any),
    "var.correction": _variance,
    "var.dim": lambda data, axes=None, unbiased=True, keep=False: _variance(
        data, axes, correction=int(unbiased), keepdim=keep
    ),
    "argmax.default": lambda data, axis=None, keep=False: jnp.argmax(data, axis, keepdims=keep),
    "where.self": _where,
    "where.ScalarOther": _where,
    "where.ScalarSelf": _where,
    "masked_fill.Scalar": lambda data, mask, value: jnp.where(mask, value, data),
}
