"""Where results are written: standard output, as tables that fit the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType

from experiments.confirming import confirmed_lines
from experiments.fronts import Front, knee
from experiments.runs import Run
from experiments.second_look import META
from experiments.tables import Again, setting_lines, trial_tables

FINE = 0
WIDE = 200
"""Characters in a line of what is written to a file or a pipe."""


class Output:
    """Plain text and tables on standard output."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = WIDE

    @property
    def width(self) -> int:
        """Characters in a line."""
        return self._console.width

    def line(self, text: str = "") -> None:
        """A line as it is, however long."""
        self._console.print(text, soft_wrap=True, markup=False)

    def show(self, *renderables: RenderableType) -> None:
        """Tables."""
        for renderable in renderables:
            self._console.print(renderable)


def second_look(run: Run) -> Again:
    """The latencies of the front measured once more, by device alias."""
    with run.ledger() as ledger:
        notes = ledger.get_meta(META) or {}
    return {alias: note["trials"] for alias, note in notes.items()}


def show_front(output: Output, front: Front, again: Again, title: str = "") -> None:
    """A front as tables, what its latencies mean, and which point is the knee.

    Raises:
        NothingFound: when the front is empty.
    """
    front.require_trials()
    marks = {knee(front.trials, front.objectives).number: "knee"}
    output.line(title or f"Front of {front.run}: {len(front.trials)} points")
    output.show(*trial_tables(front.trials, output.width, again, marks))
    lines(output, confirmed_lines(front.trials))
    lines(output, setting_lines(front.trials))


def lines(output: Output, texts: Iterable[str]) -> None:
    """Several lines, indented."""
    for text in texts:
        output.line(f"  {text}")


def hints(output: Output, pairs: Sequence[tuple[str, str]]) -> None:
    """What to do next: a command, and what it does."""
    longest = max(len(command) for command, _ in pairs)
    lines(output, (f"{command:<{longest}}   {what}" for command, what in pairs))


def without_password(uri: str) -> str:
    """An address without the user and the password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", uri)
