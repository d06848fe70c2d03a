"""The zero-cost proxies by name; without torch, so that a config can be checked at once."""

from __future__ import annotations

from collections.abc import Sequence

from nas.registry import unknown

PREFIX = "proxy_"
"""Before the name of a proxy: its metric."""

PROXIES = ("gradnorm", "naswot", "synflow", "zico")
"""All of them."""


def check_proxies(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once and known.

    Raises:
        ValueError: for one that is not, naming the known ones.
    """
    for name in names:
        if name not in PROXIES:
            raise ValueError(unknown("proxy", name, PROXIES))
    if len(set(names)) != len(names):
        raise ValueError(f"proxies must be different ones, but got {', '.join(names)}")
    return tuple(names)
