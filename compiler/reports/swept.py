"""A search for hyperparameters as a page: its trials, how each learned, and what each hyperparameter does."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from dlc.runtime.callbacks import figure

from .curves import Chart, Curve
from .drawn import COLOURS, Plot, colour, decades, ends
from .page import placed, table, written

if TYPE_CHECKING:
    from .search import Search, Trial

LINES = 24  # trials whose curves are drawn: the best


def swept(title: str, search: Search, trials: Sequence[Trial], command: str) -> str:
    """The page of a search; `trials` the best first, `command` trains as the best did."""
    chart = Chart(
        search.on,
        "epoch",
        [Curve(f"trial {one.number}", colour(i), dict(one.curve)) for i, one in enumerate(trials[:LINES]) if one.curve],
    )
    names = list(search.ranges)
    rows = [
        [
            str(one.number),
            one.state,
            *(shown(one.values.get(name)) for name in names),
            "" if one.value is None else figure(one.value),
            str(max(one.curve, default="")),
            f"{one.seconds:.1f}",
            one.said,
        ]
        for one in trials
    ]
    head = ["trial", "", *names, search.on, "epochs", "seconds", ""]
    body = [f"<p>The best of {len(trials):,} trials:</p><pre>{escape(command)}</pre>", table(head, rows, 2, 0)]
    if chart.curves:
        body.append("<section><h2>Curves</h2>" + placed([chart], 0) + "</section>")
    body.append('<section><h2>Hyperparameters</h2><div class="charts">')
    body += [_scatter(name, search, trials) for name in names]
    body.append("</div></section>")
    return written(title, "\n".join(body), [chart] if chart.curves else [])


def shown(value: object) -> str:
    """A value of a hyperparameter as text."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _scatter(name: str, search: Search, trials: Sequence[Trial]) -> str:
    """The figure over a hyperparameter, complete trials drawn, pruned ones pale; of a list over its choices."""
    [(kind, choices)] = search.ranges[name].items()
    found = [one for one in trials if one.value is not None and name in one.values]
    if not found:
        return ""

    def place(value: float) -> float:
        if kind == "of":
            return float(choices.index(value))
        return float(np.log10(value)) if kind == "log" else float(value)

    points = np.array([(place(one.values[name]), one.value) for one in found], np.float64)
    across, told = ends(points[:, 0]), None
    if kind == "of":
        across = (-0.5, len(choices) - 0.5)
        told = [(float(i), str(choice)[:12]) for i, choice in enumerate(choices)] if len(choices) <= 8 else None
    elif kind == "log":
        told = decades(*across)
    plot = Plot(across, ends(points[:, 1]), (name[:60], search.on), name, told)
    for state, fill in (("pruned", "#b5b5b5"), ("complete", COLOURS[0])):
        mine = points[[one.state == state for one in found]]
        if len(mine):
            plot.points(mine, fill, f"{len(mine)} {state}")
    return f'<div class="chart"><h3>{escape(name)}</h3>{plot.drawn()}</div>'
