"""Takes as long to import as torch does on a slow machine."""

import time

from nas.protocols import StageResult
from nas.trials import Readings

time.sleep(1.2)


def quick() -> StageResult:
    return StageResult(Readings({"value": 1.0}))
