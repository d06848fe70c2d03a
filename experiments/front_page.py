"""The front of a search as one HTML file that needs nothing else, offline too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

from experiments.confirming import confirmed_lines
from experiments.fronts import knee
from experiments.pictures import Plot, front_figure, latencies_of, panels_of, to_svg
from nas.trials import Trial

FIRST = ("accuracy", "accuracy_noise", "accuracy_impulse", "size_kb", "size_kb_compressed", "macs")
"""The columns that come before the latencies."""

_STYLE = """
:root { --ink: #1f2933; --soft: #52606d; --rule: #e4e7eb; --knee: #fff8e1 }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: #fff;
       margin: 1.5rem auto; max-width: 76rem; padding: 0 1rem }
h1 { font-size: 1.2rem; margin: 0 } p { color: var(--soft); margin: .2rem 0 1rem }
svg { width: 100%; height: auto; max-width: 62rem } svg text { font-family: system-ui, sans-serif }
.point { cursor: pointer } .point.lit use { stroke: #d64545 !important; stroke-width: 2.5 }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--rule); text-align: right;
         vertical-align: top; white-space: nowrap }
th { font-weight: 600; font-size: .85rem; vertical-align: bottom; white-space: normal }
td:last-child { text-align: left }
tr.knee { background: var(--knee) } tr.lit { background: #e6f0fa }
small { display: block; color: var(--soft); font-weight: 400; font-size: .75rem }
details { max-width: 26rem; white-space: normal } summary { color: var(--soft); cursor: pointer }
#tip { position: fixed; display: none; pointer-events: none; background: #fff; font-size: 12px;
       border: 1px solid #9aa5b1; border-radius: 6px; box-shadow: 0 4px 14px #0002;
       padding: .5rem .7rem; max-width: 22rem; z-index: 9 }
#tip b { font-size: 13px } #tip table td { padding: 0 .5rem 0 0; border: 0; text-align: left;
       white-space: normal }
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById('trials').textContent);
const tip = document.getElementById('tip');
function show(number, event) {
  const trial = data[number];
  tip.replaceChildren();
  const title = document.createElement('b');
  title.textContent = 'trial ' + number + (trial.note ? ', ' + trial.note : '');
  const table = document.createElement('table');
  for (const [name, value] of [...trial.metrics, ...trial.genotype]) {
    const row = table.insertRow();
    row.insertCell().textContent = name;
    row.insertCell().textContent = value;
  }
  tip.append(title, table);
  tip.style.display = 'block';
  const box = tip.getBoundingClientRect(), gap = 14;
  const left = event.clientX + gap + box.width > innerWidth
    ? event.clientX - gap - box.width : event.clientX + gap;
  tip.style.left = Math.max(4, left) + 'px';
  tip.style.top = Math.max(4, Math.min(event.clientY + gap, innerHeight - box.height - 4)) + 'px';
}
function light(number, on) {
  for (const each of document.querySelectorAll('[data-trial="' + number + '"]'))
    each.classList.toggle('lit', on);
}
for (const point of document.querySelectorAll('g[id]')) {
  const match = /^p\\d+-t(\\d+)$/.exec(point.id);
  if (!match) continue;
  const number = match[1];
  point.classList.add('point');
  point.dataset.trial = number;
  point.addEventListener('mousemove', event => { show(number, event); light(number, true); });
  point.addEventListener('mouseleave', () => { tip.style.display = 'none'; light(number, false); });
}
for (const row of document.querySelectorAll('tr[data-trial]')) {
  row.addEventListener('mouseenter', () => light(row.dataset.trial, true));
  row.addEventListener('mouseleave', () => light(row.dataset.trial, false));
}
"""


def front_html(plot: Plot, ended: str = "") -> str:
    """A page with the picture of a front, a tooltip on each point, and a table of its trials.

    Every latency is labeled ``measured`` or ``modeled``. Nothing is loaded from anywhere.

    Args:
        plot: of the front.
        ended: why the search ended, empty where it did not.

    Raises:
        ValueError: when the front is empty.
    """
    front = plot.front
    best = knee(front.trials, front.objectives) if front.trials else None
    picture = to_svg(front_figure(plot, title=False))
    wanted = ", ".join(f"{o.direction} {o.metric}" for o in front.objectives)
    scored = len(front.trials) + len(plot.others)
    confirmed = "".join(f" Shown is {escape(line)}." for line in confirmed_lines(front.trials))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(plot.label)}: Pareto front</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(plot.label)}</h1>"
        f"<p>{len(front.trials)} of {scored} scored trials are on the front of: {escape(wanted)}. "
        f"Point at one to see what it is.{confirmed}{_sentence(ended)}</p>"
        f"{picture}<div class=scroll>{_table(plot, best)}</div><div id=tip></div>"
        f'<script type="application/json" id="trials">{_data(plot, best)}</script>'
        f"<script>{_SCRIPT}</script></body></html>\n"
    )


def _sentence(ended: str) -> str:
    return f" The search ended: {escape(ended)}." if ended else ""


def number_text(metric: str, value: float) -> str:
    """A metric's value for people: shares with three decimals, counts with separators."""
    if metric.startswith("accuracy"):
        return f"{value:.4f}".removesuffix("0")
    return f"{value:,.0f}" if metric in ("macs", "params") else f"{value:.4g}"


def _columns(plot: Plot) -> list[str]:
    names = {name for trial in plot.front.trials for name in trial.metrics}
    return [name for name in (*FIRST, *latencies_of(plot)) if name in names]


def _table(plot: Plot, best: Trial | None) -> str:
    trials = plot.front.trials
    names = _columns(plot)
    labels = {panel.metric: panel for panel in panels_of([plot])}
    head = "".join(f"<th>{_breakable(name)}{_label(name, labels)}</th>" for name in names)
    rows = "".join(_row(trial, names, trial is best) for trial in trials)
    return (
        f"<table><thead><tr><th>trial</th>{head}<th style='text-align:left'>genotype</th></tr>"
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _breakable(name: str) -> str:
    return escape(name).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _label(name: str, panels: Any) -> str:
    panel = panels.get(name)
    if panel is None or not panel.source:
        return ""
    return f"<small>{escape(panel.source)}</small><small>{escape(panel.setting)}</small>"


def _row(trial: Trial, names: Iterable[str], best: bool) -> str:
    cells = "".join(f"<td>{_cell(trial, name)}</td>" for name in names)
    genotype = "<br>".join(f"{escape(k)} = {escape(str(v))}" for k, v in trial.genotype.items())
    mark, kind = ("<small>knee</small>", " class=knee") if best else ("", "")
    return (
        f'<tr data-trial="{trial.number}"{kind}><td>{trial.number}{mark}</td>{cells}'
        f"<td><details><summary>show</summary>{genotype}</details></td></tr>"
    )


def _cell(trial: Trial, name: str) -> str:
    if name not in trial.metrics:
        return ""
    text, origin = number_text(name, trial.metrics[name]), trial.provenance.get(name)
    if origin and origin.low is not None and origin.high is not None:
        low, high = number_text(name, origin.low), number_text(name, origin.high)
        text += f"<small>{low} … {high}</small>"
    return text


def _data(plot: Plot, best: Trial | None) -> str:
    members = {trial.number for trial in plot.front.trials}
    records = {}
    for trial in (*plot.front.trials, *plot.others):
        note = "knee" if trial is best else "on the front" if trial.number in members else ""
        records[trial.number] = {
            "note": note,
            "metrics": [[n, _described(trial, n)] for n in trial.metrics],
            "genotype": [[n, str(v)] for n, v in trial.genotype.items()],
        }
    # Inside a script element only "</" could end it.
    return json.dumps(records).replace("</", "<\\/")


def _described(trial: Trial, name: str) -> str:
    text, origin = number_text(name, trial.metrics[name]), trial.provenance.get(name)
    return f"{text} ({origin.source})" if origin else text
