"""Kernels and arrays as text, so that a calibration fits into a YAML file."""

from __future__ import annotations

import base64
import binascii
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from evaluators.workload import Kernel

_DAMAGED = (binascii.Error, zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError)
"""What reading a damaged archive raises; encryption that it seems to have is a RuntimeError."""


def kernels_to(kernels: Iterable[Kernel]) -> str:
    """Kernels, each with count 1, as JSON, packed."""
    rows = [
        [kernel.op, kernel.in_shape, kernel.out_shape, kernel.dtype, kernel.macs]
        + [kernel.input_bytes, kernel.output_bytes, kernel.weight_bytes, kernel.fused]
        for kernel in kernels
    ]
    text = json.dumps(rows, separators=(",", ":")).encode()
    return arrays_to({"text": np.frombuffer(text, dtype=np.uint8)})


def kernels_from(text: str) -> list[Kernel]:
    """What `kernels_to` made text of.

    Raises:
        ValueError: it is something else.
    """
    rows = json.loads(arrays_from(text)["text"].tobytes())
    return [
        Kernel(op, tuple(taken), tuple(made), dtype, macs, read, written, weights, 1, fused)
        for op, taken, made, dtype, macs, read, written, weights, fused in rows
    ]


def arrays_to(arrays: Mapping[str, Any]) -> str:
    """Arrays by name, compressed, in base 64."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return base64.b64encode(file.getvalue()).decode()


def arrays_from(text: str) -> dict[str, Any]:
    """What `arrays_to` made text of.

    Raises:
        ValueError: it is something else.
    """
    try:
        content = io.BytesIO(base64.b64decode(text, validate=True))
        with np.load(content, allow_pickle=False) as arrays:
            return dict(arrays)
    except _DAMAGED as error:
        raise ValueError(f"packed arrays are damaged: {error}") from None
