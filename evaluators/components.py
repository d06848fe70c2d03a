"""Physical components of a latency: what a kernel demands of a device, in seconds.

A latency model sums them (zero-shot) or weighs them by coefficients that were fitted to
measurements (calibrated). Each kernel has its arithmetic on one engine, the activations and the
weights that it moves, and a share of the fixed costs; each of these is a component of its own for
every class of kernels, because runtimes are better at some than at others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from evaluators.integer_convolutions import IntegerConvolutions
from evaluators.register_tiles import RegisterTile, met
from evaluators.tiles import fill, with_batch
from evaluators.workload import Kernel, converted
from hw_profiles import Figure, HardwareProfile

_CONVOLUTIONS = ("conv", "transposed_conv")
_GATHERING = (*_CONVOLUTIONS, "depthwise", "grouped_conv")
_MATRIX = (*_CONVOLUTIONS, "grouped_conv", "linear", "matmul", "attention", "bilinear")
_FUNCTIONS = ("activation", "softmax", "layer_norm", "group_norm")
_FUNCTION_OPERATIONS = 8
"""Operations an element of a function that is no maximum or minimum: a polynomial, a quotient."""
_CLASSES = {
    "transposed_conv": "conv",
    "bilinear": "linear",
    "attention": "matmul",
    "batch_norm": "elementwise",
    "activation": "elementwise",
    "add": "add",
    "mul": "mul",
    "pool": "pool",
    "global_pool": "pool",
    "softmax": "function",
    "layer_norm": "function",
    "group_norm": "function",
}
_INTEGERS = ("uint8", "int16", "int32", "int64", "bool")
_MOVERS = ("add", "mul", "pool", "move")
_NORMALIZATION_BYTES = 16
"""For an element of the input: a difference and a product, each reads and writes it."""
_FEW_CHANNELS = 16
"""Below, runtimes take a convolution that reads images in another way."""
_MOVES = {
    "conv": "dense",
    "stem": "dense",
    "pointwise": "dense",
    "depthwise3": "depthwise",
    "depthwise5": "depthwise",
    "depthwise7": "depthwise",
}


@dataclass(frozen=True)
class Demand:
    """What one execution of a kernel demands of a device, in seconds at the profile's figures.

    Args:
        kind: the class of the kernel, for example ``pointwise``.
        compute_s: on its engine.
        activations_s: for what it reads and writes, at the bandwidth of the memory that holds it.
        weights_s: for its weights.
        overhead_s: fixed.
        spills: what it works on does not fit into the memory on the chip.
        relaid: its images are so large that the compiler changes their layout.
        relaid_s: for the tensors whose layout changes; None: all that it reads and writes.
        function_s: of the function that it applies to what it writes.
        scattered_s: for what it fetches of the memory and does not use, or moves piece by piece.
        serial: what computes it moves its elements too, so that neither hides the other.
        exposed: weights are fetched or packed before its arithmetic, and so come on top but for
            what hides them; what transfers add to the arithmetic is a component, not all of them.
        hides_s: of its arithmetic, what goes on while weights are fetched all the same.
        refetched_s: more, if its weights have left the cache when they are needed.
    """

    kind: str
    compute_s: float
    activations_s: float
    weights_s: float
    overhead_s: float
    spills: bool = False
    relaid: bool = False
    relaid_s: float | None = None
    function_s: float = 0.0
    scattered_s: float = 0.0
    serial: bool = False
    exposed: bool = False
    hides_s: float = 0.0
    refetched_s: float = 0.0

    @property
    def busy_s(self) -> float:
        """Arithmetic and transfers run at the same time (Williams et al., Roofline, 2009)."""
        moving_s = self.activations_s + self.scattered_s
        moving_s += 0.0 if self.exposed else self.weights_s
        parts = self.compute_s + self.function_s, moving_s
        apart_s = self._visible_weights_s if self.exposed else 0.0
        return apart_s + (sum(parts) if self.serial else max(parts))

    @property
    def binds(self) -> str:
        """What its time goes into: ``compute``, ``memory`` or ``overhead``."""
        if self.overhead_s > self.busy_s:
            return "overhead"
        computes = self.compute_s + self.function_s
        return "compute" if computes >= self.activations_s + self.weights_s else "memory"

    def components(self) -> dict[str, float]:
        """The demand by component.

        Those that always go together are one: what a kernel without products computes goes with
        what it moves, and the pooling of a gate with the product that follows.
        """
        plain = self.kind.partition(".")[0]
        found = {
            f"{self.moves}.memory": self._exposed_s(plain),
            "weights": self._visible_weights_s,
            "overhead": self.overhead_s,
        }
        if plain not in _MOVERS:
            found[f"{self.kind}.compute"] = self.compute_s
        if self.function_s:
            found["fused"] = self.function_s
        if self.scattered_s:
            found[f"{self.moves}.scattered"] = self.scattered_s
        elif self.spills:
            found[f"{self.moves}.spill"] = self.activations_s
        if self.relaid and plain not in ("add", "pool"):
            again = self.activations_s if self.relaid_s is None else self.relaid_s
            found[f"{self.moves}.relayout"] = again
        return found

    def _exposed_s(self, plain: str) -> float:
        """What its activations add to the arithmetic.

        On a CPU, that is what does not hide behind it; elsewhere, measurements are described better
        by all of it.
        """
        if not self.exposed:
            return self.activations_s
        computes_s = self.compute_s + self.function_s
        longer_s = max(self.activations_s, computes_s)
        return longer_s if plain in _MOVERS else longer_s - computes_s

    @property
    def _visible_weights_s(self) -> float:
        return max(0.0, self.weights_s - self.hides_s)

    @property
    def moves(self) -> str:
        """The class as far as memory is concerned: the size of the window does not matter there."""
        kind, dot, dtype = self.kind.partition(".")
        return _MOVES.get(kind, kind) + dot + dtype


def class_of(kernel: Kernel) -> str:
    """The class of a kernel: convolutions by the size of their window, everything else by op."""
    window = window_of(kernel)
    if kernel.op == "depthwise":
        return "depthwise3" if window <= 9 else "depthwise5" if window <= 25 else "depthwise7"
    if kernel.op == "conv":
        if kernel.in_shape[1] < _FEW_CHANNELS and window > 1:
            return "stem"
        return "pointwise" if window == 1 else "conv"
    if kernel.macs:
        return _CLASSES.get(kernel.op, kernel.op)
    return _CLASSES.get(kernel.op, "move")


def window_of(kernel: Kernel) -> int:
    """The weights that an output of a convolution reads of one channel: 9 of a 3 x 3 window."""
    outputs = math.prod(kernel.out_shape)
    if kernel.op == "depthwise":
        return round(kernel.macs / outputs)
    if kernel.op == "conv":
        return round(kernel.macs / (outputs * kernel.in_shape[1]))
    return 1


class Processor:
    """The demands of kernels on a CPU, GPU or TPU.

    Dense convolutions and products run on the matrix engine, whose tiles are filled up with zeros;
    depthwise and everything else runs on the vector engine.

    Args:
        profile: of the device.
        batch: how often the workload's own batch goes into one call.
        dtype: in which floating-point kernels are computed.
    """

    def __init__(self, profile: HardwareProfile, batch: int, dtype: str) -> None:
        self._profile, self._batch, self._dtype = profile, batch, dtype
        efficiency = profile.efficiency["memory"].value
        self._memory_bytes_s = profile.bandwidth_bytes_s["memory"].value * efficiency
        self._relaid_pixels = profile.part("relayout_pixels", math.inf)
        self._tile: RegisterTile | None = None
        if "tile_pixels" in profile.parts:
            sizes = (int(profile.part(f"tile_{of}")) for of in ("channels", "pixels", "blocks"))
            costs = (profile.part(f"tile_{of}", 0.0) for of in ("step", "start", "reload"))
            self._tile = RegisterTile(*sizes, *costs)
        self._integers = _integers(profile)
        self._lanes, self._sublanes = (int(profile.part(n, 1)) for n in ("lanes", "sublanes"))
        self._cache_bytes, self._cache_bytes_s = 0.0, self._memory_bytes_s
        if "cache" in profile.memory_bytes:
            self._cache_bytes = profile.memory_bytes["cache"].value
            cache = profile.bandwidth_bytes_s.get("cache")
            if cache:
                self._cache_bytes_s = cache.value * efficiency

    def demand(self, kernel: Kernel) -> Demand:
        """Of one execution."""
        one = converted(kernel, self._dtype)
        if one.op == "reorder" and not self._tile:  # only convolutions on a CPU have their own
            return Demand("move", 0.0, 0.0, 0.0, 0.0)
        read, written = self._fill(one.in_shape), self._fill(one.out_shape)
        activations = (one.input_bytes * read + one.output_bytes * written) * self._batch
        fits = activations + one.weight_bytes <= self._cache_bytes
        bandwidth = self._cache_bytes_s if fits else self._memory_bytes_s
        name = class_of(one)
        moving = bandwidth * self._moving_share(name, one.dtype)
        if one.dtype in ("int8", "uint8") and self._profile.dtype != "int8":
            name += ".int8"
        demand = Demand(
            kind=name,
            compute_s=self._compute_s(one),
            activations_s=activations / moving,
            weights_s=self._weight_bytes(one) / (self._cache_bytes_s if self._tile else bandwidth),
            overhead_s=self._overhead_s(one),
            spills=self._cache_bytes > 0 and not fits,
            relaid=math.prod(one.out_shape[2:]) >= self._relaid_pixels,
            relaid_s=one.output_bytes * written * self._batch / bandwidth,
            function_s=self._function_s(one) if one.fused else 0.0,
            scattered_s=self._rows_s(one),
            # The vector unit of a TPU loads and stores by itself.
            serial=self._lanes > 1 and one.op == "depthwise",
            exposed=self._tile is not None,
        )
        if not self._tile or not demand.weights_s:
            return demand
        if one.op == "linear":  # the first rows use each weight as it comes
            rows = math.prod(one.out_shape[:-1]) * self._batch
            share = min(1.0, self._profile.part("tile_rows", 0.0) / rows)
            demand = replace(demand, hides_s=demand.compute_s * share)
        farther_s = demand.weights_s * self._cache_bytes_s / self._memory_bytes_s
        again_s = replace(demand, weights_s=farther_s).busy_s - demand.busy_s
        return replace(demand, refetched_s=again_s)

    def call_s(self, kernel: Kernel) -> float:
        """Cost of a call that begins with this kernel: fixed, and to normalize the input."""
        one = converted(kernel, self._dtype)
        fixed = figure(self._profile.overhead_s, "call", one.dtype)
        if not self._tile:
            return fixed
        # The files for ONNX Runtime on a CPU hold their normalization.
        elements = math.prod(one.in_shape) * self._batch
        return fixed + elements * _NORMALIZATION_BYTES / self._cache_bytes_s

    def evicted_s(self, weights_s: float, refetched_s: float) -> float:
        """To fetch weights again that a cache cannot hold until the next call needs them.

        Args:
            weights_s: the demand of all kernels of a network.
            refetched_s: the same.
        """
        if not self._tile or not self._cache_bytes:
            return 0.0
        of_cache = weights_s * self._cache_bytes_s / self._cache_bytes
        return refetched_s * min(1.0, max(0.0, 2 * of_cache - 1))  # activations need some of it

    def _overhead_s(self, kernel: Kernel) -> float:
        known = self._profile.overhead_s
        name = "product" if kernel.macs and "product" in known else "op"
        fixed = figure(known, name, kernel.dtype)
        if not self._tile:
            return fixed
        if kernel.op == "transpose" and len(kernel.out_shape) == 4:
            return 2 * fixed  # ONNX Runtime executes the view that splits the heads, too
        # The products of the heads come one after the other.
        return fixed * math.prod(kernel.out_shape[:-2]) if kernel.op == "matmul" else fixed

    def _rows_s(self, kernel: Kernel) -> float:
        """Of a transpose that keeps rows together: to copy each of them."""
        row = self._profile.overhead_s.get("row")
        moves_rows = kernel.op == "transpose" and kernel.in_shape[-1] == kernel.out_shape[-1]
        if not row or not moves_rows or 1 in kernel.out_shape[1:-1]:
            return 0.0
        return row.value * math.prod(kernel.out_shape[:-1]) * self._batch

    def _weight_bytes(self, kernel: Kernel) -> float:
        """Without those that meet nothing but padding."""
        is_image = kernel.op == "conv" and len(kernel.in_shape) == 4
        if not self._tile or not is_image:
            return kernel.weight_bytes
        return kernel.weight_bytes * met(kernel.in_shape, kernel.out_shape, window_of(kernel))

    def _moving_share(self, name: str, dtype: str) -> float:
        """Of the bandwidth, where a class of kernels does not reach it."""
        share = self._profile.efficiency.get(f"memory_{name}_{dtype}")
        return share.value if share else 1.0

    def _compute_s(self, kernel: Kernel) -> float:
        engine = "matrix" if kernel.op in _MATRIX else "vector"
        if kernel.macs:
            operations = 2 * self._padded_macs(kernel)
            if engine == "vector":
                operations *= self._fill(kernel.out_shape)
        else:
            each = _FUNCTION_OPERATIONS if kernel.op in _FUNCTIONS else 1
            operations = math.prod(kernel.out_shape) * self._fill(kernel.out_shape) * each
        share = self._share(kernel.op, class_of(kernel), engine, kernel.dtype)
        seconds = operations / (self._peak(engine, kernel.dtype) * share)
        if self._integers and kernel.dtype == "int8" and kernel.op in _GATHERING:
            seconds += self._integers.beside_s(kernel, window_of(kernel))
        return seconds * self._batch

    def _share(self, op: str, name: str, engine: str, dtype: str) -> float:
        """The attainable share of a peak: of this operator or class where the profile has it."""
        known = self._profile.efficiency
        names = dict.fromkeys((op, name, name.rstrip("357")))
        for key in (*(f"{each}_{dtype}" for each in names), *names):
            if key in known:
                return known[key].value
        return figure(known, engine, dtype)

    def _peak(self, engine: str, dtype: str) -> float:
        """Indexes, masks and unsigned integers count as 8-bit integers."""
        if dtype in _INTEGERS and dtype not in self._profile.peak_ops_s.get(engine, {}):
            dtype = "int8" if "int8" in self._profile.peak_ops_s.get(engine, {}) else ""
        return self._profile.peak(engine, dtype or self._profile.dtype)

    def _function_s(self, kernel: Kernel) -> float:
        elements = math.prod(kernel.out_shape) * self._fill(kernel.out_shape)
        operations = elements * _FUNCTION_OPERATIONS * self._batch
        share = self._share("fused", "fused", "vector", kernel.dtype)
        return operations / (self._peak("vector", kernel.dtype) * share)

    def _fill(self, shape: tuple[int, ...]) -> float:
        """How much larger a tensor is for the zeros that fill up its tiles."""
        if self._lanes == 1:
            return 1.0
        return fill(with_batch(shape, self._batch), self._lanes, self._sublanes)

    def _padded_macs(self, kernel: Kernel) -> float:
        """Multiply-accumulates with the zeros that fill up the tiles of the engine."""
        profile = self._profile
        inputs, outputs = _channels(kernel)
        if "systolic_rows" in profile.parts and kernel.op in _MATRIX:
            return self._systolic_macs(kernel)
        is_image = kernel.op in ("conv", "depthwise") and len(kernel.in_shape) == 4
        if self._tile and is_image and kernel.dtype not in _INTEGERS and kernel.dtype != "int8":
            return self._tile.macs(kernel, window_of(kernel))
        if self._integers and is_image and kernel.op == "depthwise":
            return kernel.macs * self._integers.depthwise_channels(outputs) / outputs
        tile = profile.part("tile_channels", 1)
        if kernel.op in _CONVOLUTIONS or kernel.op == "linear":
            # Fewer input channels than a tile are taken as they are: the first layer.
            fill = _up(inputs, tile) / inputs if inputs >= tile else 1.0
            return kernel.macs * fill * _up(outputs, tile) / outputs
        return kernel.macs * _up(outputs, tile) / outputs

    def _systolic_macs(self, kernel: Kernel) -> float:
        """With the zeros in the arrays, and as if arrays that have nothing to do worked too.

        An array takes a row of activations a clock. Several work on one kernel where there are
        tiles of weights for them that share neither rows nor results, or positions of a window.
        """
        rows, columns = (self._profile.part(f"systolic_{n}") for n in ("rows", "columns"))
        inputs, outputs = _channels(kernel)
        reduction = max(1, round(kernel.macs / math.prod(kernel.out_shape)))
        fill = _up(reduction, rows) / reduction * _up(outputs, columns) / outputs
        units = self._profile.part("matrix_units", 1)
        apart = min(math.ceil(inputs / rows), math.ceil(outputs / columns)) * window_of(kernel)
        return kernel.macs * fill * units / min(units, max(1, apart))


class ConvolutionEngine:
    """The demands of kernels on a fixed convolution engine, such as AMD's DPU (PG338).

    A clock takes ``pixels x input channels x output channels`` multiply-accumulates of a dense
    convolution, and a vector of channels for a few pixels of a depthwise one; pooling, products and
    sums go through the depthwise engine a vector at a time. A gate multiplies all pixels of a
    vector of channels by the same factors: of a tensor that is not on the chip it fetches vector by
    vector, and uses only that part of each burst of the memory.

    Args:
        profile: of the device, lowered for ``dpu``.
        batch: how often the workload's own batch goes into one call, one after the other.
        dtype: in which floating-point kernels are computed.
    """

    def __init__(self, profile: HardwareProfile, batch: int, dtype: str) -> None:
        self._profile, self._batch, self._dtype = profile, batch, dtype
        self._pixels = profile.part("pixel_parallelism")
        self._inputs = profile.part("input_channel_parallelism")
        self._outputs = profile.part("output_channel_parallelism")
        self._depthwise_pixels = profile.part("depthwise_pixel_parallelism")
        self._vector = profile.part("depthwise_channel_parallelism")
        self._bytes_s = profile.bandwidth_bytes_s["memory"].value
        self._chip_bytes = profile.memory_bytes["cache"].value
        self._relaid_pixels = profile.part("relayout_pixels", math.inf)
        self._scattered = max(1.0, profile.part("scattered_gate", 1.0))

    def demand(self, kernel: Kernel) -> Demand:
        """Of one execution."""
        one = converted(kernel, self._dtype)
        inputs, outputs = (self._lanes(shape) for shape in (one.in_shape, one.out_shape))
        sources = one.input_bytes / max(1, math.prod(one.in_shape))
        moved = inputs * sources + outputs
        if one.op == "mul" and one.input_bytes < 2 * one.output_bytes:
            moved = 2 * outputs  # a factor a channel
        # What gates a tensor reads it to the end before the first element is put out.
        spills = (moved if one.macs or one.op == "add" else 2 * inputs) > self._chip_bytes
        if one.op == "add":  # the newest summand is on the chip, and the sum takes its place
            moved = inputs * max(1.0, sources - 1)
        unused = moved * (self._scattered - 1) if spills and one.op == "mul" else 0.0
        return Demand(
            kind=class_of(one),
            compute_s=self._cycles(one) / self._profile.clock_hz.value * self._batch,
            activations_s=moved / self._bytes_s * self._batch,
            weights_s=one.weight_bytes / self._bytes_s,
            overhead_s=self._profile.overhead_s["op"].value,
            spills=spills,
            relaid=spills and math.prod(one.in_shape[2:]) >= self._relaid_pixels,
            scattered_s=unused / self._bytes_s * self._batch,
        )

    def call_s(self, kernel: Kernel) -> float:
        """Fixed cost of a call."""
        return self._profile.overhead_s["call"].value

    def evicted_s(self, weights_s: float, refetched_s: float) -> float:
        """Nothing: weights are fetched in each call anyway."""
        return 0.0

    def _cycles(self, kernel: Kernel) -> float:
        batch, channels, height, width = _as_image(kernel.out_shape)
        if kernel.op == "depthwise":
            groups = math.ceil(channels / self._vector)
            columns = math.ceil(width / self._depthwise_pixels)
            return batch * groups * window_of(kernel) * height * columns
        if kernel.macs:
            depth = kernel.macs / max(1, math.prod(kernel.out_shape))
            reads = _as_image(kernel.in_shape)[1] if kernel.op == "conv" else depth
            turns = math.ceil(reads / self._inputs) * math.ceil(channels / self._outputs)
            return batch * turns * depth / reads * height * math.ceil(width / self._pixels)
        images = (_as_image(kernel.in_shape), _as_image(kernel.out_shape))
        return max(n * math.ceil(c / self._vector) * h * w for n, c, h, w in images)

    def _lanes(self, shape: tuple[int, ...]) -> float:
        """Elements with the channels filled up to whole vectors."""
        batch, channels, height, width = _as_image(shape)
        return batch * _up(channels, self._vector) * height * width


def _integers(profile: HardwareProfile) -> IntegerConvolutions | None:
    """Where the profile has figures for them."""
    if "integer_lanes" not in profile.parts:
        return None
    ragged = (profile.part(f"ragged_{of}") for of in ("vector", "half", "single"))
    known = (profile.overhead_s[of].value for of in ("window", "output", "ragged"))
    return IntegerConvolutions(int(profile.part("integer_lanes")), *ragged, *known)


def figure(table: Mapping[str, Figure], name: str, dtype: str) -> float:
    """The figure of this dtype where there is one."""
    return table.get(f"{name}_{dtype}", table[name]).value


@lru_cache(maxsize=64)
def engine_of(profile: HardwareProfile, batch: int, dtype: str) -> Processor | ConvolutionEngine:
    """What runs the kernels of a device one after the other."""
    kind = ConvolutionEngine if profile.lowering == "dpu" else Processor
    return kind(profile, batch, dtype)


def _as_image(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(batch, channels, height, width) of an image, of a vector (batch, features), or of tokens."""
    if len(shape) == 4:
        return shape[0], shape[1], shape[2], shape[3]
    if len(shape) == 3:
        return shape[0], shape[2], 1, shape[1]
    return shape[0], math.prod(shape[1:]), 1, 1


def _channels(kernel: Kernel) -> tuple[int, int]:
    """Input and output channels of a convolution, inner and outer size of a product."""
    axis = 1 if kernel.op.endswith(("conv", "depthwise")) else -1
    return kernel.in_shape[axis], kernel.out_shape[axis]


def _up(size: int, tile: float) -> float:
    return math.ceil(size / tile) * tile
