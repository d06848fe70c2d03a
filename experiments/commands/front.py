"""``nas front``: the Pareto front of a run."""

from __future__ import annotations

import json

from experiments.commands.output import FINE, Output, second_look, show_front
from experiments.fronts import run_front
from experiments.runs import find_run, home


def run(text: str, as_json: bool) -> int:
    """Print the front of a run as tables, or as JSON.

    Raises:
        NothingFound: when it is empty.
    """
    found = find_run(home(), text)
    front = run_front(found)
    front.require_trials()
    output = Output()
    if as_json:
        output.line(json.dumps(front.to_json(), indent=2, allow_nan=False))
    else:
        show_front(output, front, second_look(found))
    return FINE
