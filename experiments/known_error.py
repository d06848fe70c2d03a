"""The error of a profile's latency model, in the same words everywhere."""

from __future__ import annotations

from collections.abc import Mapping

from hw_profiles import HardwareProfile

KNOWN_ERROR = "Error on networks that the model did not see"


def in_words(mape: float, w10: float) -> str:
    """A mean absolute error and the share within 10 %, both in percent."""
    return f"{w10:.0f} % within 10 %, mean error {mape:.1f} %"


def error_text(profile: HardwareProfile) -> str:
    """What is known of a profile's error; the data sheet's factor where it is not calibrated."""
    error = (profile.calibration or {}).get("error")
    if isinstance(error, Mapping) and {"mape", "w10"} <= set(error):
        return in_words(float(error["mape"]), float(error["w10"]))
    return f"x{profile.uncertainty.value:g}"
