"""Published streaming designs as circuits: the topologies, and what a row of the table says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evaluators.dataflow.folding import fold, fold_to
from evaluators.dataflow.units import Circuit, Map, Unit
from hw_profiles import HardwareProfile, load

_CONVOLUTIONS = (64, 64, 0, 128, 128, 0, 256, 256)
"""Output channels of CNV's 3 x 3 convolutions without padding; 0: pooling of 2 x 2."""
_HIDDEN = 512
_BOARDS = {
    "pynq-z2": "pynq-z2",
    "pynq-z1": "pynq-z2",
    "arty-a7-100t": "arty-a7-100t",
    "ultra96": "ultra96",
    "aup-zu3": "ultra96",
}
"""The profile with the same chip."""
_SIZES = {"tfc": (784, 64, 64, 64, 10), "mlp-4": (784, 1024, 1024, 1024, 10)}
"""Of networks whose row does not spell them out; MLP-4 of FINN-R has 6 million operations."""
_BINARY_INPUTS = ("lfc", "unsw", "mlp-4")


@dataclass(frozen=True)
class Design:
    """A row of the table, as far as it can be predicted.

    Args:
        row: its id.
        topology: by name.
        circuit: folded.
        profile: of the board, or of one with the same chip.
        clock_hz: of the row.
        clock_is_inferred: from the row's own throughput.
        folding: ``published``, ``by FINN's rule for its target``, or ``found here``.
        is_convolutional: what the validation counts.
    """

    row: str
    topology: str
    circuit: Circuit
    profile: HardwareProfile
    clock_hz: float
    clock_is_inferred: bool
    folding: str
    is_convolutional: bool


def design_of(row: Mapping[str, str]) -> Design | str:
    """The design of a row, or why there is none.

    Args:
        row: texts by the column names of the table.
    """
    if "FINN" not in row["framework"]:
        return "no streaming dataflow design of FINN's kind"
    profile = _profile_of(row["board"])
    clock = re.match(r"\d+(?:\.\d+)?", row["clock_mhz"])
    if profile is None or clock is None:
        return "the board or its clock is not known"
    model = row["model"].lower()
    bits = int(float(row["w_bits"])), int(float(row["a_bits"]))
    given = re.search(r"PE ([\d/]+) SIMD ([\d/]+)", row["folding"])
    folds = _pairs(given.group(1), given.group(2)) if given else None
    if "cnv" in model:
        outputs = 64 if folds and 10 % folds[-1][0] else 10
        circuit, topology = cnv(bits, outputs), "CNV"
    else:
        sizes = _sizes_of(model)
        if sizes is None:
            return "its layers are not known"
        inputs = 1 if any(name in model for name in _BINARY_INPUTS) else 8
        circuit, topology = mlp(sizes, bits, inputs), "-".join(map(str, sizes))
    clock_hz = float(clock.group()) * 1e6
    how, folded = _folded(circuit, row["folding"], folds, clock_hz, profile)
    return Design(
        row=row["id"],
        topology=topology,
        circuit=folded,
        profile=profile,
        clock_hz=clock_hz,
        clock_is_inferred="inferred" in row["clock_mhz"],
        folding=how,
        is_convolutional=topology == "CNV",
    )


def cnv(bits: tuple[int, int], outputs: int = 10) -> Circuit:
    """FINN's CNV on images of 3 x 32 x 32: six convolutions, two poolings, three linear layers.

    Args:
        bits: of weights and of activations.
        outputs: of the last layer, which some designs widen to 64.
    """
    weight_bits, activation_bits = bits
    units: list[Unit] = []
    shape: Map = (3, 32, 32)
    for channels in _CONVOLUTIONS:
        side, window = (shape[1] - 2, (3, 3)) if channels else (shape[1] // 2, (2, 2))
        made = (channels or shape[0], side, side)
        units.append(
            Unit(
                op="conv" if channels else "pool",
                inputs=(len(units) - 1,),
                in_shape=shape,
                out_shape=made,
                window=window,
                stride=(1, 1) if channels else (2, 2),
                weight_bits=weight_bits,
                in_bits=activation_bits if units else 8,
                out_bits=activation_bits,
            )
        )
        shape = made
    rest = mlp((shape[0], _HIDDEN, _HIDDEN, outputs), bits, activation_bits).units
    behind = [replace(unit, inputs=(len(units) + at - 1,)) for at, unit in enumerate(rest)]
    return Circuit((*units, *behind), (3, 32, 32))


def mlp(sizes: Sequence[int], bits: tuple[int, int], input_bits: int) -> Circuit:
    """Linear layers one after the other.

    Args:
        sizes: of the input and of the outputs of each layer.
        bits: of weights and of activations.
        input_bits: of what the first layer reads.
    """
    weight_bits, activation_bits = bits
    units = tuple(
        Unit(
            op="linear",
            inputs=(place - 1,),
            in_shape=(inputs, 1, 1),
            out_shape=(outputs, 1, 1),
            weight_bits=weight_bits,
            in_bits=activation_bits if place else input_bits,
            out_bits=activation_bits if place < len(sizes) - 2 else 0,
        )
        for place, (inputs, outputs) in enumerate(zip(sizes, sizes[1:], strict=False))
    )
    return Circuit(units, (sizes[0], 1, 1), input_bits)


def _folded(
    circuit: Circuit,
    said: str,
    folds: list[tuple[int, int]] | None,
    clock_hz: float,
    profile: HardwareProfile,
) -> tuple[str, Circuit]:
    target = re.search(r"target_fps=([\d.e]+)", said)
    if folds:
        with_pools = iter(folds)
        pairs = [
            next(with_pools) if unit.op != "pool" else (unit.out_shape[0], 1)
            for unit in circuit.units
        ]
        return "published", circuit.folded(pairs)
    if target:
        cycles = clock_hz / float(target.group(1))
        return "by FINN's rule for its target", fold_to(circuit, cycles)
    return "found here", fold(circuit, profile).circuit


def _pairs(elements: str, lanes: str) -> list[tuple[int, int]]:
    pe, simd = ([int(each) for each in text.split("/")] for text in (elements, lanes))
    return list(zip(pe, simd, strict=True))


def _profile_of(board: str) -> HardwareProfile | None:
    name = board.lower().removesuffix(" (inferred)")
    return load(_BOARDS[name]) if name in _BOARDS else None


def _sizes_of(model: str) -> tuple[int, ...] | None:
    spelled = re.search(r"\d+(?:-\d+){2,}", model)
    if spelled:
        return tuple(int(each) for each in spelled.group().split("-"))
    return next((sizes for name, sizes in _SIZES.items() if name in model), None)
