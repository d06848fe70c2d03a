"""The table of the benchmark of proxies."""

from __future__ import annotations

import numpy as np

from benchmarks.proxies import COLUMNS, table


def test_columns_rank_with_accuracy() -> None:
    accuracy = np.array([0.1, 0.2, 0.3, 0.4])
    values = np.tile(accuracy[:, None], (1, len(COLUMNS)))
    values[:, COLUMNS.index("macs")] = [4, 1, 3, 2]
    values[:, COLUMNS.index("zico")] *= -1
    values[0, COLUMNS.index("naswot")] = np.nan
    lines = {line.split()[0]: line.split()[1:] for line in table(values)[1:]}
    assert lines["macs"] == ["-0.33", "-0.40", "4/4"]
    assert lines["zico"][:2] == ["-1.00", "-1.00"]
    assert lines["naswot"][-1] == "3/4"
