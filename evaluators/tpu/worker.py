"""The process that compiles: a request a line on standard input, an answer a line on the output.

It ends with its parent, at the latest at the end of its standard input, also while it compiles.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from dataclasses import asdict
from typing import Any, TextIO

from nas.trials import CandidateError


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin, lines), daemon=True).start()
    while True:
        print(json.dumps(answer(json.loads(lines.get()))), file=answers, flush=True)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Compile what was asked for.

    Args:
        request: ``graph`` (a record of `evaluators.tpu.graph.Graph`), ``chip`` and ``dtype``.

    Returns:
        ``instructions``, ``memory_bytes`` and ``seconds``; or ``error``, a line, with ``final``:
        it would come again.
    """
    start = time.monotonic()
    try:
        from evaluators.tpu.compiler import compiled
        from evaluators.tpu.graph import Graph
        from evaluators.tpu.hlo import instructions

        text, memory = compiled(
            Graph.from_json(request["graph"]), request["chip"], request["dtype"]
        )
        found = [asdict(each) for each in instructions(text)]
    except CandidateError as error:
        return {"error": str(error), "final": True}
    except Exception as error:  # whatever a compiler may raise: the search goes on
        line = " ".join(str(error).split())[:200]
        return {"error": f"the XLA:TPU compiler failed: {type(error).__name__}: {line}"}
    return {
        "instructions": found,
        "memory_bytes": memory,
        "seconds": time.monotonic() - start,
    }


def _receive(source: TextIO, lines: queue.SimpleQueue[str]) -> None:
    for line in source:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
