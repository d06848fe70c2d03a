"""Everything that a latency depends on besides the network, as recorded by a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from hw_profiles import load
from nas.keys import digest

if TYPE_CHECKING:
    from experiments.runs import Run


@dataclass(frozen=True)
class DeviceSetting:
    """The setting in which the latencies of one device alias were read or computed.

    Args:
        profile: of the device.
        fingerprint: of the machine for a measured device, of the profile's figures otherwise.
        method: ``measured`` or ``modeled``.
        runtime: by name, for example ``onnxruntime``.
        dtype: asked for, empty where it is the artifact's own or the device's default.
        batch: examples a call.
        threads: of the runtime.
    """

    profile: str
    fingerprint: str
    method: str
    runtime: str
    dtype: str = ""
    batch: int = 1
    threads: int = 1

    @property
    def key(self) -> str:
        """Six hexadecimal digits; latencies may be compared where these are equal."""
        return digest(asdict(self))[:6]

    def __str__(self) -> str:
        """One line for people."""
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        measured = self.method == "measured"
        said = (
            f"{self.profile} {self.fingerprint}".strip(),
            self.method,
            self.runtime if measured else "",
            self.dtype,
            f"batch {self.batch}",
            threads if measured else "",
        )
        return ", ".join(filter(None, said))


def device_settings(run: Run) -> Mapping[str, DeviceSetting]:
    """The settings of a run's devices by alias.

    The machine is the one that the run was created on; modeled devices are known by the figures
    of their profile as it is now.
    """
    settings = {}
    for alias, entry in run.config.devices.items():
        if entry.method == "measured":
            fingerprint = str(run.environment.get("fingerprint", ""))
        else:
            fingerprint = _profile_fingerprint(entry.profile)
        settings[alias] = DeviceSetting(
            entry.profile,
            fingerprint,
            entry.method,
            " or ".join(entry.runtimes),
            " or ".join(entry.dtypes),
            entry.batch,
            entry.threads,
        )
    return settings


def _profile_fingerprint(name: str) -> str:
    try:
        # Of this machine too: its identity says nothing of the figures and of a calibration.
        return replace(load(name), identity="").fingerprint()
    except (LookupError, OSError, ValueError):
        return ""
