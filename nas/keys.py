"""Identities: stable hashes of values, and random seeds derived from them.

All randomness of a candidate comes from its keys, never from the number of its trial, so that the
same candidate has the same result in another process, on another day and after a resume.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from nas.choices import Genotype


def digest(value: Any) -> str:
    """A stable hash of a JSON-able value: 32 hexadecimal digits, independent of key order.

    Raises:
        ValueError: for a value that JSON cannot hold, NaN and infinity included.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except TypeError as error:
        raise ValueError(f"a key is made of JSON-able values only: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def training_key(
    architecture: Genotype, training: Mapping[str, Any], data_hash: str, repeat: int = 0
) -> str:
    """The identity of a trained network: what it is, how and on what it was trained.

    Args:
        architecture: the active choices of the search space, without those of compression.
        training: the training settings, JSON-able.
        data_hash: the content hash of the task's data.
        repeat: 0, or the number of an independent repetition with other randomness.
    """
    return digest(
        {
            "architecture": dict(architecture),
            "training": dict(training),
            "data": data_hash,
            "repeat": repeat,
        }
    )


def candidate_key(genotype: Genotype, key_of_training: str) -> str:
    """The identity of a candidate: all its active choices and the training it stands on."""
    return digest({"genotype": dict(genotype), "training": key_of_training})


def seed_of(key: str, purpose: str) -> int:
    """A seed in [0, 2**32) for one purpose (``"init"``, ``"batches"``) of one key."""
    return int.from_bytes(hashlib.sha256(f"{key}/{purpose}".encode()).digest()[:4], "big")
