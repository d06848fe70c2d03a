from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from experiments.front_page import front_html, number_text
from experiments.fronts import Front, front_trials, knee
from experiments.pictures import Plot, plot_of
from nas.trials import Trial
from tests.experiments.fake_trials import OBJECTIVES, fake_trials

TRIALS = fake_trials(20)


def plot(trials: list[Trial]) -> Plot:
    front = Front("run-<1>", OBJECTIVES, None, front_trials(trials, OBJECTIVES))
    return plot_of(front, trials, settings={"cpu": "host-cpu 1a2b3c, batch 1"})


@pytest.fixture(scope="module")
def page() -> str:
    return front_html(plot(TRIALS))


class Elements(HTMLParser):
    """Collects start tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_loads_nothing(page: str) -> None:
    for _, attributes in Elements(page).tags:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("#", "data:")), value
    # Namespaces are names, not addresses; what style sheets import is an address.
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_has_a_row_for_each_trial_of_the_front(page: str) -> None:
    rows = [a for tag, a in Elements(page).tags if tag == "tr" and "data-trial" in a]
    members = front_trials(TRIALS, OBJECTIVES)
    assert [row["data-trial"] for row in rows] == [str(t.number) for t in members]
    (marked,) = (row for row in rows if row.get("class") == "knee")
    assert marked["data-trial"] == str(knee(members, OBJECTIVES).number)


def test_every_latency_is_labeled(page: str) -> None:
    head = page[page.index("<thead>") : page.index("</thead>")]
    assert head.count("<small>measured</small>") == 1
    assert head.count("<small>modeled</small>") == 3
    assert "host-cpu 1a2b3c, batch 1" in head


def test_values_carry_their_error_bars(page: str) -> None:
    trial = front_trials(TRIALS, OBJECTIVES)[0]
    origin = trial.provenance["latency_ms.fpga"]
    assert f"<small>{origin.low:.4g} … {origin.high:.4g}</small>" in page


def test_the_data_behind_the_tooltips_is_complete(page: str) -> None:
    match = re.search(r'<script type="application/json" id="trials">(.*?)</script>', page)
    assert match is not None
    data = json.loads(match[1])
    done = {str(t.number): t for t in TRIALS if t.status == "done"}
    assert set(data) == set(done)
    for number, record in data.items():
        assert [name for name, _ in record["metrics"]] == list(done[number].metrics)
        assert dict(record["genotype"])["quantize.scheme"] in ("none", "static", "dynamic")
    latency = dict(data["0"]["metrics"])["latency_ms.fpga"]
    assert latency.endswith("(modeled)")


def test_names_cannot_break_out(page: str) -> None:
    assert "run-<1>" not in page
    assert "run-&lt;1&gt;" in page
    evil = replace(TRIALS[0], genotype={"a": "</script><b onclick=x>"})
    text = front_html(plot([evil, *TRIALS[1:]]))
    assert "</script><b" not in text
    assert all(tag != "b" for tag, _ in Elements(text).tags)


def test_an_empty_front_is_refused() -> None:
    with pytest.raises(ValueError, match="is empty"):
        front_html(plot([]))


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("accuracy", 0.9, "0.900"),
        ("accuracy", 0.98765, "0.9877"),
        ("macs", 1234567.0, "1,234,567"),
        ("latency_ms.cpu", 0.0123456, "0.01235"),
    ],
)
def test_numbers_for_people(metric: str, value: float, text: str) -> None:
    assert number_text(metric, value) == text
