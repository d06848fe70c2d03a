"""The one published synthesis of a streaming design beside its estimate."""

import pytest

from benchmarks import fpga_resources
from evaluators.dataflow.cycles import period


def test_the_design_is_as_fast_as_it_was_published() -> None:
    """Its slowest unit gives 659 frames a second and a little more at 100 MHz (MLPerf Tiny)."""
    assert 100e6 / period(fpga_resources.design()) > 659


def test_estimate_and_synthesis_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert fpga_resources.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["resource", *fpga_resources.PUBLISHED]
    assert lines[1].split()[1:3] == ["26,487", "21,135"]
    found = fpga_resources.estimated(fpga_resources.design())
    assert set(found) == {"lut", "ff", "bram18", "uram", "dsp"}
    assert found["uram"] == found["dsp"] == 0
    for name, (_, after) in fpga_resources.PUBLISHED.items():
        assert 0.5 < found[name] / after < 1.5, name
