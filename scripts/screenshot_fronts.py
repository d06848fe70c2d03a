"""Take a picture of what the link of a search opens in MLflow.

    python -m scripts.screenshot_fronts STORE EXPERIMENT OUT.png [--charts 5]

STORE is an SQLite store such as sqlite:///mlflow.db (its pages are served for the occasion) or the
address of a server. Needs chromium and the extra `dev`.
"""

from __future__ import annotations

import argparse
import contextlib

from experiments.tracking import connect, is_server, link
from tests.experiments.browser import free_port, open_fronts, page, server


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store")
    parser.add_argument("experiment")
    parser.add_argument("out")
    parser.add_argument("--charts", type=int, default=5, help="how many to wait for")
    parser.add_argument("--size", default="1600x1600")
    asked = parser.parse_args()
    width, height = map(int, asked.size.split("x"))
    with contextlib.ExitStack() as stack:
        address = asked.store
        if not is_server(asked.store):
            address = stack.enter_context(server(asked.store, free_port()))
        experiment_id = connect(asked.store, asked.experiment).experiment_id
        tab = stack.enter_context(page(width, height))
        for chart in open_fronts(tab, link(address, experiment_id), asked.charts):
            print(chart["x"], {name: len(points) for name, points in chart["lines"].items()})
        tab.screenshot(path=asked.out)


if __name__ == "__main__":
    main()
