"""When each pixel of the first frame is where: a recurrence over pixels, a whole map at a time.

A unit starts a pixel when what it needs has arrived and the pixel before is done, so that
``done[i] = max(done[i - 1], arrived[i]) + cycles``. Between the units are FIFOs that never fill; of
branches that meet again the depths are found by the same recurrence, see `fifo_depths`.

A sliding window unit needs all lines of a window (as FINN's line buffers do), pooling all lines of
its window, a linear layer behind a map all pixels. The matrix unit overlaps its first fold with the
arrival of its last pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluators.dataflow import cycles
from evaluators.dataflow.units import INPUT, MATRIX, Circuit, Unit

Times = NDArray[np.float64]


class Service(NamedTuple):
    """Cycles of a unit.

    Attributes:
        reading: a pixel into its lines.
        window: to write the window of a pixel.
        pixel: to compute one.
        folds: in which the outputs of a pixel come one after the other.
    """

    reading: float
    window: float
    pixel: float
    folds: float


class Stream(NamedTuple):
    """What comes out of a unit.

    Attributes:
        done: (pixels,) cycles at which each is complete, ascending.
        spread: how much earlier the first channels of a pixel are there.
        taken: for each input, (pixels,) cycles at which the unit takes it from its FIFO.
    """

    done: Times
    spread: float
    taken: tuple[Times, ...]


def first_frame(circuit: Circuit, source_cycles: float) -> float:
    """Cycles from the first word that comes in until the first frame is out.

    Args:
        circuit: folded.
        source_cycles: between two pixels that come in.
    """
    return float(streams(circuit, source_cycles)[-1].done[-1])


def streams(circuit: Circuit, source_cycles: float) -> list[Stream]:
    """The streams of all units; see `first_frame`."""
    services = [_service(unit) for unit in circuit.units]
    return _run(circuit, services, source_cycles)


def fifo_depths(circuit: Circuit) -> dict[tuple[int, int], int]:
    """Pixels that must wait where branches meet, by (unit, number of its input).

    Every unit is given the whole period for a frame, and pixels come in at that pace: then no
    unit waits for anything but its own window, and a faster one needs no deeper FIFO elsewhere. So
    the depths do not depend on the folding. Edges that are not named need no more than a few words.
    """
    frame = 1.0
    services = [_unhurried(unit, frame) for unit in circuit.units]
    pixels = circuit.input_shape[1] * circuit.input_shape[2]
    found = _run(circuit, services, frame / pixels)
    begin = _steady(pixels, frame / pixels)
    depths = {}
    for place, unit in enumerate(circuit.units):
        if len(unit.inputs) < 2:
            continue
        for number, source in enumerate(unit.inputs):
            made = begin if source == INPUT else found[source].done
            depths[place, number] = _most_waiting(made, found[place].taken[number])
    return depths


def _run(circuit: Circuit, services: Sequence[Service], source_cycles: float) -> list[Stream]:
    pixels = circuit.input_shape[1] * circuit.input_shape[2]
    source = Stream(_steady(pixels, source_cycles), source_cycles, ())
    found: list[Stream] = []
    for unit, service in zip(circuit.units, services, strict=True):
        inputs = [source if at == INPUT else found[at] for at in unit.inputs]
        found.append(_through(unit, service, inputs))
    return found


def _steady(pixels: int, pace: float) -> Times:
    return np.arange(1, pixels + 1, dtype=np.float64) * np.float64(pace)


def _service(unit: Unit) -> Service:
    pe, simd = unit.pe, unit.simd
    return Service(
        reading=float(cycles.of_reading(unit, pe, simd)) if unit.slides else 0.0,
        window=float(cycles.of_window(unit, pe, simd)) if unit.slides else 0.0,
        pixel=float(cycles.of_pixel(unit, pe, simd)),
        folds=math.ceil(unit.mh / pe) if unit.op in MATRIX else 1,
    )


def _unhurried(unit: Unit, frame: float) -> Service:
    pixel = frame / max(unit.in_pixels, unit.out_pixels)
    made = frame / unit.out_pixels
    lines = frame / math.prod(unit.padded) if unit.slides else 0.0
    return Service(lines, made, made if unit.op in MATRIX else pixel, 1)


def _through(unit: Unit, service: Service, inputs: Sequence[Stream]) -> Stream:
    if unit.op == "linear" and unit.in_pixels != unit.out_pixels:
        return _gathering(unit, service, inputs[0])
    if unit.op in MATRIX:
        return _windows(unit, service, inputs[0]) if unit.slides else _plain(unit, service, inputs)
    if unit.op == "pool":
        done = _one_by_one(_lines_there(unit, inputs[0].done), service.pixel)
        return Stream(done, 0.0, (inputs[0].done,))
    if unit.op == "global_pool":
        ready = _one_by_one(inputs[0].done, service.pixel)
        return Stream(ready[-1:] + service.pixel, 0.0, (inputs[0].done,))
    return _plain(unit, service, inputs)


def _windows(unit: Unit, service: Service, source: Stream) -> Stream:
    """A sliding window unit and the matrix unit behind it."""
    height, width = unit.padded
    arrived = np.full((height, width), -np.inf)
    (top, left), (rows, columns) = unit.padding, unit.in_shape[1:]
    inside = arrived[top : top + rows, left : left + columns]
    inside[:] = source.done.reshape(rows, columns)[: inside.shape[0], : inside.shape[1]]
    start = float(source.done[0])
    read = _one_by_one(np.maximum(arrived.ravel(), start - service.reading), service.reading)
    there = read[_last_needed(unit, service)]
    written = _one_by_one(there, service.window)
    started = written - service.window
    done = _one_by_one(started, service.pixel)
    taken = read.reshape(height, width)[top : top + rows, left : left + columns]
    return Stream(done, _spread(service), (taken.ravel(),))


def _plain(unit: Unit, service: Service, inputs: Sequence[Stream]) -> Stream:
    """Pixel by pixel; a stream of one pixel, as a gate is, holds for all of them."""
    if unit.op in MATRIX:
        # The first fold runs while the channels of the pixel come in.
        early = min(inputs[0].spread, service.pixel / service.folds - 1)
        arrived = inputs[0].done - max(0.0, early)
    else:
        arrived = inputs[0].done
        for other in inputs[1:]:
            arrived = np.maximum(arrived, other.done)
    done = _one_by_one(arrived, service.pixel)
    started = done - service.pixel
    taken = tuple(started if len(each.done) == len(done) else each.done for each in inputs)
    return Stream(done, _spread(service), taken)


def _gathering(unit: Unit, service: Service, source: Stream) -> Stream:
    """A linear layer of a whole map: it has the first of its outputs with the last pixel."""
    fold = service.pixel / service.folds
    begun = float(source.done[0]) - source.spread
    first = max(float(source.done[-1]) + 1.0, begun + fold)
    done = np.array([first + (service.folds - 1) * fold])
    return Stream(done, _spread(service), (source.done,))


def _spread(service: Service) -> float:
    return service.pixel * (1 - 1 / service.folds)


def _last_needed(unit: Unit, service: Service) -> NDArray[np.int64]:
    """The pixel of the padded map that must have been read before a window is written.

    FINN's line buffers hold the lines of a window. While the windows of a line of the output are
    written, the lines that the next ones need are read, a word for a word: so most windows wait for
    the first of those lines as well, as long as there are any.
    """
    height, width = unit.padded
    rows, columns = np.arange(unit.out_shape[1])[:, None], np.arange(unit.out_shape[2])
    held = np.minimum(rows * unit.stride[0] + unit.window[0], height) * width
    beats = (columns + 1) * service.window / max(service.reading, 1e-12)
    ahead = np.minimum(np.ceil(beats), unit.stride[0] * width).astype(np.int64)
    last: NDArray[np.int64] = np.minimum(held + ahead, height * width) - 1
    return last.ravel()


def _lines_there(unit: Unit, read: Times) -> Times:
    """When all lines of the window of each output have been read."""
    height, width = unit.in_shape[1:]
    last = np.arange(unit.out_shape[1]) * unit.stride[0] + unit.window[0] - 1
    lines = read.reshape(height, width)[np.minimum(last, height - 1), -1]
    return np.repeat(lines, unit.out_shape[2])


def _one_by_one(arrived: Times, service: float) -> Times:
    """``done[i] = max(done[i - 1], arrived[i]) + service`` for all i at once."""
    before = np.arange(len(arrived)) * service
    result: Times = np.maximum.accumulate(arrived - before) + before + service
    return result


def _most_waiting(made: Times, taken: Times) -> int:
    """The most pixels that are made already and not yet taken."""
    if len(made) != len(taken):
        return len(made)
    there = np.searchsorted(made, taken, side="right") - np.arange(len(taken))
    return max(1, int(there.max()))
