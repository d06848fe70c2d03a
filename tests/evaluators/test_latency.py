"""Latencies as values."""

import math
from typing import Any

import pytest

from evaluators.devices import Device
from evaluators.latency import Latency
from nas.trials import Provenance
from tests.hw_profiles.profiles import processor


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"latency_ms": 0.0, "low": 0.0}, "0 < low <= latency_ms <= high must hold"),
        ({"low": 1.5}, r"must hold, but got \(low=1.5, latency_ms=1.0, high=2.0\)"),
        ({"high": 0.5}, "must hold"),
        ({"high": math.inf}, "must hold"),
        ({"latency_ms": math.nan}, "must hold"),
        ({"source": "guessed"}, "source must be 'measured' or 'modeled', but got 'guessed'"),
        ({"binds": "luck"}, "binds must be one of .*, but got 'luck'"),
    ],
)
def test_a_latency_lies_within_its_own_bar_and_says_where_it_is_from(
    changes: dict[str, Any], line: str
) -> None:
    values: dict[str, Any] = {"latency_ms": 1.0, "low": 0.5, "high": 2.0, "source": "modeled"}
    assert Latency(**values).binds == ""
    with pytest.raises(ValueError, match=line):
        Latency(**(values | changes))


def test_its_provenance_names_the_device_and_how_it_was_found() -> None:
    device = Device("gpu", processor(), "modeled", runtime="xla", batch=4, threads=2)
    latency = Latency(1.0, 0.5, 2.0, "modeled", method="roofline, datasheet")
    assert latency.provenance(device, "xla", "float16") == Provenance(
        source="modeled",
        device="made-up",
        runtime="xla",
        dtype="float16",
        batch=4,
        threads=2,
        method="roofline, datasheet",
        low=0.5,
        high=2.0,
    )
