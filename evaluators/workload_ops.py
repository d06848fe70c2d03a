"""What torch's operations mean: their role, their multiply-accumulates, the shapes they make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

_FREE = frozenset({"_unsafe_view", "_reshape_alias", "lift_fresh"})
_TRANSPOSES = frozenset({"t", "transpose", "permute", "movedim", "numpy_T"})
_SLICES = frozenset({"slice", "select", "split", "split_with_sizes", "unbind", "narrow", "chunk"})
_COPIES = frozenset({"clone", "_to_copy", "copy"})
_CLIPS = frozenset({"relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "leaky_relu"})
_SIGMOIDS = frozenset(
    {"sigmoid", "tanh", "hardsigmoid", "silu", "hardswish", "gelu", "log_sigmoid"}
)
_ACTIVATIONS = _CLIPS | _SIGMOIDS | {"elu", "selu", "celu", "mish", "softplus", "_prelu_kernel"}
_ROLES = (
    (_TRANSPOSES, "transpose"),
    (_SLICES, "slice"),
    (_COPIES, "copy"),
    (frozenset({"zeros_like"}), "zero"),
)
_ARITHMETIC = frozenset({"add", "sub", "mul", "div"})
_OPS = {
    "add": "add",
    "sub": "add",
    "rsub": "add",
    "zeros_like": "mul",
    "mul": "mul",
    "div": "mul",
    "cat": "concat",
    "_softmax": "softmax",
    "_safe_softmax": "softmax",
    "_log_softmax": "softmax",
    "native_layer_norm": "layer_norm",
    "native_group_norm": "group_norm",
    "max_pool2d_with_indices": "pool",
    "max_pool1d_with_indices": "pool",
    "max_pool3d_with_indices": "pool",
    "avg_pool1d": "pool",
    "avg_pool2d": "pool",
    "avg_pool3d": "pool",
    "_adaptive_avg_pool2d": "pool",
    "adaptive_max_pool2d": "pool",
}
_POOLS = frozenset({"max_pool2d_with_indices", "avg_pool2d"})


def shaped(name: str, args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """The result of the commonest operations, for which torch takes ten times as long; or None.

    Args:
        name: of the operation.
        args: of it; constants may be on any device.
        named: those with names.
    """
    if name == "addmm":
        return _multiplied(*args)
    data, plain = args[0], name.rstrip("_")
    if not (isinstance(data, torch.Tensor) and data.is_meta):
        return None
    if name == "convolution":
        return _convolved(*args)
    if "batch_norm" in name and args[3] is not None and data.shape[1] == args[3].shape[0]:
        return _like(data, data.shape), _like(data, (0,)), _like(data, (0,))
    if name == "mean" and len(args) > 1:
        return _reduced(data, args[1] or range(data.dim()), keep=len(args) > 2 and args[2])
    if name in ("_softmax", "_safe_softmax") and not named:
        return _result(data)
    if name == "native_layer_norm" and list(data.shape[-len(args[1]) :]) == args[1]:
        return _like(data, data.shape), _like(data, (0,)), _like(data, (0,))
    if plain in ("add", "mul"):
        other = args[1]
        if isinstance(other, torch.Tensor):
            if not _alike(other, data):
                return None
        elif not data.is_floating_point():
            return None
    elif plain not in _ACTIVATIONS:
        return None
    return data if name != plain else _result(data)


def _multiplied(bias: torch.Tensor, data: torch.Tensor, weight: torch.Tensor) -> Any:
    """The result of a linear layer; None where torch shall work it out, or complain."""
    if data.dim() != 2 or weight.dim() != 2:
        return None
    rows, columns = data.shape[0], weight.shape[1]
    fits = data.shape[1] == weight.shape[0] and tuple(bias.shape) == (columns,)
    return _like(data, (rows, columns)) if fits else None


def _reduced(data: torch.Tensor, axes: Iterable[int], keep: bool) -> torch.Tensor:
    gone = {axis % data.dim() for axis in axes}
    sizes = [1 if axis in gone else size for axis, size in enumerate(data.shape)]
    return _like(data, sizes if keep else [sizes[a] for a in range(data.dim()) if a not in gone])


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _like(data: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return torch.empty(shape, dtype=data.dtype, device="meta")


def _result(data: torch.Tensor) -> torch.Tensor:
    """What an elementwise operation makes of it: the same layout."""
    return _like(data, data.shape) if data.is_contiguous() else torch.empty_like(data)


def _convolved(
    data: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> torch.Tensor | None:
    """The result of a convolution; None where torch shall work it out, or complain."""
    spatial = data.dim() - 2
    if transposed or weight.dim() != data.dim() or data.shape[1] != weight.shape[1] * groups:
        return None
    if not len(stride) == len(padding) == len(dilation) == spatial:
        return None
    sizes = []
    for axis in range(spatial):
        reach = dilation[axis] * (weight.shape[2 + axis] - 1) + 1
        room = data.shape[2 + axis] + 2 * padding[axis] - reach
        if room < 0:
            return None
        sizes.append(room // stride[axis] + 1)
    return _like(data, (data.shape[0], weight.shape[0], *sizes))


def role_of(
    name: str,
    is_view: bool,
    args: tuple[Any, ...],
    constants: Sequence[torch.Tensor] = (),
    made: torch.Tensor | None = None,
) -> str:
    """What an operation is to a runtime, see `evaluators.workload_recorder.Node`.

    Args:
        name: of the operation.
        is_view: it only looks at its input in another way.
        args: of the operation.
        constants: the tensors among them that do not depend on the network's input.
        made: its result.
    """
    if name in _ACTIVATIONS:
        return "activation"
    if "batch_norm" in name:
        of_the_data = len(args) > 5 and args[5] is True  # as instance norm does
        return "other" if of_the_data else "norm"
    for names, role in _ROLES:
        if name in names:
            return role
    if name in _ARITHMETIC and made is not None and len(args) > 1:
        return _arithmetic(name, args[0], args[1], constants, made)
    return "view" if is_view or name in _FREE else "other"


def _arithmetic(
    name: str, data: Any, other: Any, constants: Sequence[torch.Tensor], made: torch.Tensor
) -> str:
    """The role of a sum or product: whether one of its operands is a number, and which."""
    if not isinstance(data, torch.Tensor) or (data.shape, data.dtype) != (made.shape, made.dtype):
        return "other"
    if isinstance(other, (int, float)):
        return scaling(name, other)
    if len(constants) != 1 or (constants[0] is data and name in ("sub", "div")):
        return "other"
    sizes = tuple(constants[0].shape)
    return "scale" if math.prod(sizes) == 1 or is_a_channel_each(sizes, made.shape) else "other"


def scaling(name: str, number: float) -> str:
    """The role of an addition of, or a multiplication by, a number."""
    if number == (0 if name in ("add", "sub") else 1):
        return "noop"
    return "zero" if name == "mul" and number == 0 else "scale"


def is_a_channel_each(sizes: Sequence[int], shape: Sequence[int]) -> bool:
    """Numbers of these sizes are one for each channel of (batch, channels, height, width)."""
    rest = tuple(sizes)[-3:]
    return len(shape) == 4 and math.prod(sizes) == shape[1] and rest == (shape[1], 1, 1)


def op_of(name: str, role: str, data: torch.Tensor) -> str:
    """The op of the kernel, see `evaluators.workload.Kernel`."""
    if role in ("activation", "transpose", "slice", "copy"):
        return role
    if "batch_norm" in name:
        return "batch_norm"
    if name == "mean" and data.dim() > 2:
        return "global_pool"
    return _OPS.get(name, name)


def reduction_of(name: str, args: tuple[Any, ...]) -> str:
    """The name, ``reducemean`` for a mean that is no pooling.

    Pooling to one pixel asks for the mean over the last two axes in reverse order, and keeps them.
    """
    if name != "mean":
        return name
    pooling = len(args) > 2 and args[2] and list(args[1] or ()) == [-1, -2]
    return name if pooling else "reducemean"


def multiplies(
    name: str, args: tuple[Any, ...], made: torch.Tensor, weights: bool
) -> tuple[int, str]:
    """Multiply-accumulates and the op of what multiplies matrices; (0, "") of everything else."""
    if name == "convolution":
        return _convolution(args, made)
    op = "linear" if weights else "matmul"
    if name in ("mm", "bmm", "mv", "dot"):
        return made.numel() * args[0].shape[-1], op
    if name in ("addmm", "baddbmm", "addmv"):
        return made.numel() * args[1].shape[-1], op
    if name == "linear":
        return made.numel() * args[0].shape[-1], op
    if name == "_trilinear":  # nn.Bilinear: first times weights (out, first, second), then second
        first, second = args[1].shape[-2:]
        return made.numel() * (first + 1) * second, "bilinear"
    if name.startswith("_scaled_dot_product"):
        query, key, value = args[0].shape, args[1].shape, args[2].shape
        return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]), "attention"
    return 0, ""


def geometry_of(name: str, args: tuple[Any, ...]) -> tuple[tuple[int, ...], ...]:
    """(window, stride, padding) of a convolution or a pooling; empty of anything else."""
    if name == "convolution":
        return tuple(args[1].shape[2:]), tuple(args[3]), tuple(args[4])
    if name not in _POOLS:
        return ()
    window = tuple(args[1])
    stride = tuple(args[2]) if len(args) > 2 and args[2] else window
    return window, stride, tuple(args[3]) if len(args) > 3 else (0,) * len(window)


def _convolution(args: tuple[Any, ...], made: torch.Tensor) -> tuple[int, str]:
    data, weight, transposed, groups = args[0], args[1], args[6], args[8]
    each = math.prod(weight.shape[1:])
    if transposed:
        return data.numel() * each, "transposed_conv"
    if groups == 1:
        return made.numel() * each, "conv"
    op = "depthwise" if groups == data.shape[1] else "grouped_conv"
    return made.numel() * each, op
