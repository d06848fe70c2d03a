"""Where a user's own profiles lie."""

from __future__ import annotations

import os
from pathlib import Path


def profiles_folder() -> Path:
    """``NAS_HOME/profiles``; ``NAS_HOME`` is ``./nas-runs`` by default."""
    return Path(os.environ.get("NAS_HOME") or "nas-runs") / "profiles"
