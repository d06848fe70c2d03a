"""What the CPU that runs the tests can do."""

from __future__ import annotations

from pathlib import Path

import pytest

_CPUINFO = Path("/proc/cpuinfo")
HAS_AVX512 = _CPUINFO.exists() and "avx512f" in _CPUINFO.read_text(encoding="utf-8").split()
"""ONNX Runtime blocks channels by 16 then, else by 8; OpenVINO computes in bfloat16 only then."""

needs_bfloat16 = pytest.mark.skipif(not HAS_AVX512, reason="no AVX-512: no bfloat16 in OpenVINO")
