"""Checks of strategy options, one clear line each."""

from __future__ import annotations


def check_whole(name: str, value: object, least: int) -> int:
    """A whole number of at least ``least``.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, but got {value!r}")
    return value


def check_share(name: str, value: object) -> float:
    """A share in [0, 1].

    Raises:
        ValueError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share from 0 to 1, but got {value!r}")
    return float(value)
