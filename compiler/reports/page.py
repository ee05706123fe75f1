"""Runs as one page that loads nothing: what they were told, what they did, and what they predict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from dlc.runtime.callbacks import figure

from ..ir.module import Module
from ..view.document import HEAD, asset, embedded, policy
from ..view.page import styles_and_scripts
from . import curves
from .drawn import COLOURS, Plot, colour, ends, histogram, key, number, rgb
from .inside import Spread, Surface, spread, surface
from .made import shown as made_again
from .predictions import CLASSES, Classes, Judged, Numbers, judged
from .ran import Ran, differing
from .samples import Samples

PARAMETERS = 24  # whose histograms are shown
WIDE = 30  # classes of a matrix that is shown whole
POINTS = 1_500

_PAGE = (
    HEAD
    + """<style>{uplot_css}</style>
<style>{css}</style>
</head>
<body>
<h1>{title}</h1>
{body}
<noscript>The curves are drawn by a script that is in this page; their numbers are in the tables.</noscript>
<script type="application/json" id="data">{data}</script>
<script>{uplot}</script>
<script>{js}</script>
</body>
</html>
"""
)


class Told:
    """A run with what the page needs of the compiler: its model as a graph, the picture of it, and the command."""

    def __init__(self, run: Ran, module: Module | None, picture: str, command: str) -> None:
        self.run, self.module, self.picture, self.command = run, module, picture, command


def report(told: Sequence[Told]) -> str:
    """The page of one or more runs."""
    runs = [one.run for one in told]
    charts: list[curves.Chart] = curves.figures(runs)
    parts = [_table(runs), _differences(runs)]
    sections = [f"<section id=curves><h2>Curves</h2>{placed(charts, 0)}{_epochs(runs)}</section>"]
    for i, one in enumerate(told):
        head = f"<h2>{escape(one.run.name)}</h2>" if len(told) > 1 else ""
        more = [made for made in (curves.rates(one.run, one.module) if one.module else None,) if made]
        more += curves.norms(one.run)
        sections.append(f'<section id="run-{i}">{head}')
        if more:
            sections.append("<h2>Learning rate, gradients and weights</h2>" + placed(more, len(charts)))
            sections.append(_norms(one.run))
            charts += more
        sections += [_answers(one.run), _weights(one.run), _picture(one), _told(one), "</section>"]
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    return written(title, _menu(runs) + "\n".join([*parts, *sections]), charts)


def figures_of(runs: Sequence[Ran], charts: Sequence[curves.Chart]) -> str:
    """The figures of runs as a table, as these curves, and by epoch."""
    return f"{_table(runs)}<h2>Curves</h2>{placed(charts, 0)}{_epochs(runs)}"


def written(title: str, body: str, charts: Sequence[curves.Chart]) -> str:
    """A page with these charts, whose places are in its body (`placed`)."""
    css, scripts = asset("report.css"), {"uplot": asset("uPlot.min.js"), "js": asset("report.js")}
    uplot_css = asset("uPlot.min.css")
    frame_css, frame_scripts = styles_and_scripts()
    allowed = policy([uplot_css, css, frame_css], [*scripts.values(), *frame_scripts], "img-src data:")
    return _PAGE.format(
        title=escape(title),
        policy=allowed,
        uplot_css=uplot_css,
        css=css,
        body=body,
        data=embedded({"charts": [chart.written() for chart in charts]}),
        **scripts,
    )


def _menu(runs: Sequence[Ran]) -> str:
    links = [f'<a href="#run-{i}">{escape(run.name)}</a>' for i, run in enumerate(runs)] if len(runs) > 1 else []
    return f"<nav>{''.join(links)}</nav>" if links else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0, best: int | None = None) -> str:
    """Texts as a table, the columns from `numbers` on to the right; the row `best` is lit up."""
    side = ["" if i < numbers else ' class="n"' for i in range(len(head))]
    top = "".join(f"<th{s}>{escape(text)}</th>" for s, text in zip(side, head, strict=True))
    body = "".join(
        f"<tr{' class=best' if i == best else ''}>"
        + "".join(f"<td{s}>{escape(text)}</td>" for s, text in zip(side, row, strict=True))
        + "</tr>"
        for i, row in enumerate(rows)
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


# --- what they were told and came to


def _table(runs: Sequence[Ran]) -> str:
    names = _names(runs)
    head = ["run", "model", "epochs", "updates", "seconds", "of epoch", *(f"{side} {name}" for side, name in names)]
    rows = []
    for run in runs:
        final = run.final
        found = {("train", k): v for k, v in (final.train if final else {}).items()}
        found |= {("validation", k): v for k, v in ((final.validation if final else None) or {}).items()}
        of = "" if final is None else f"{final.epoch}{' (best)' if run.best is not None else ''}"
        last = run.records[-1].epoch if run.records else 0
        rows.append(
            [run.name, run.file.title, f"{last:,}", f"{run.steps:,}", f"{run.seconds:.1f}", of]
            + [figure(found[name]) if name in found else "" for name in names]
        )
    notes = "".join(f'<p class="note">{escape(run.name)}: {escape(text)}</p>' for run in runs for text in run.said)
    return table(head, rows, 2) + notes


def _names(runs: Sequence[Ran]) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for side in ("train", "validation"):
        for run in runs:
            for record in run.records:
                found.update(((side, name), None) for name in (getattr(record, side) or {}))
    return list(found)


def _differences(runs: Sequence[Ran]) -> str:
    if len(runs) == 1:
        return ""
    rows = [[name, *values] for name, values in differing(runs).items()]
    if not rows:
        return "<p>Their settings are the same.</p>"
    return "<h2>What differs</h2>" + table(["setting", *(run.name for run in runs)], rows, 9**9)


def placed(charts: Sequence[curves.Chart], first: int) -> str:
    """The places of charts, the first of them that with this number on the page."""
    made = "".join(
        f'<div class="chart"><h3>{escape(chart.title)}</h3><div id="chart-{first + i}"></div></div>'
        for i, chart in enumerate(charts)
    )
    return f'<div class="charts">{made}</div>'


def _epochs(runs: Sequence[Ran]) -> str:
    """The numbers of the curves."""
    made = []
    for run in runs:
        names = _names([run])
        rows = []
        for record in run.records:
            values = {("train", k): v for k, v in record.train.items()}
            values |= {("validation", k): v for k, v in (record.validation or {}).items()}
            shown = [figure(values[name], 8) if name in values else "" for name in names]
            rows.append([str(record.epoch), f"{record.step:,}", f"{record.seconds:.2f}", *shown])
        best = next((i for i, record in enumerate(run.records) if record.epoch == run.best), None)
        head = ["epoch", "updates", "seconds", *(f"{side} {name}" for side, name in names)]
        title = f"numbers of {run.name}" if len(runs) > 1 else "numbers"
        made.append(f"<details><summary>{escape(title)}</summary>{table(head, rows, 0, best)}</details>")
    return "".join(made)


def _norms(run: Ran) -> str:
    if not run.norms:
        return '<p class="soft">This run noted no lengths of gradients and weights.</p>'
    last = run.norms[-1]
    rows = [
        [name, figure(last.gradients.get(name, float("nan"))), figure(value)] for name, value in last.weights.items()
    ]
    without = [name for name in last.weights if name not in last.gradients]
    said = "Euclidean lengths after some epochs; the gradients are of the loss with its penalties, before any clip, on "
    said += "the first rows of the first epoch."
    if without:
        said += (
            " Without a gradient of its own, as it is not trained or the compiler has made one product of it and the "
        )
        said += f"update: {', '.join(without)}."
    return (
        f'<p class="soft">{escape(said)}</p><details><summary>lengths after update {last.step:,}</summary>'
        + table(["parameter", "gradient", "weights"], rows, 1)
        + "</details>"
    )


# --- what they predict


def _answers(run: Ran) -> str:
    made = judged(run)
    if made is None or run.trainer is None or run.columns is None:
        return ""
    figures = run.trainer.evaluate(run.columns, run.batch)
    rows = f"{made.of:,} rows" if made.rows == made.of else f"the first {made.rows:,} of {made.of:,} rows"
    parts = [
        f"<h2>Predictions</h2><p>On {escape(run.data)}: {rows}. "
        + escape(", ".join(f"{name} {figure(value)}" for name, value in figures.items()))
        + "</p>"
    ]
    samples = Samples(run, made)
    for found in made.found:
        parts.append(f"<h3>{escape(found.output)} for {escape(found.target)}</h3>")
        parts.append(_classes(found, samples) if isinstance(found, Classes) else _numbers(found))
        drawn = surface(run, made, found)
        if drawn is not None:
            parts.append(_surface(drawn, made, found))
        parts.append(samples.shown(found))
    parts += made_again(run, made, samples)
    inner = spread(run, made)
    if inner is not None:
        parts.append(_spread(inner, made))
    return "".join(parts)


def _classes(found: Classes, samples: Samples) -> str:
    total, right = len(found.true), int((found.true == found.predicted).sum())
    parts = [f"<p>{right:,} of {total:,} are right: {figure(100 * found.accuracy)} %.</p>"]
    matrix = found.matrix()
    if found.count <= WIDE:
        parts.append(_matrix(matrix))
    if found.count <= CLASSES and found.each == 1:
        parts.append(_examples(found, matrix, samples))
    bins = found.calibration()
    cards = []
    if bins:
        plot = Plot((0, 1), (0, 1), ("confidence", "share that is right"), "calibration")
        plot.line([(0, 0), (1, 1)], "ideal")
        plot.line([(mean, share) for mean, share, _ in bins], "line")
        plot.points(np.array([(mean, share) for mean, share, _ in bins]), COLOURS[0], "bins of confidences", 4)
        rows = [[number(mean), number(share), f"{count:,}"] for mean, share, count in bins]
        cards.append(
            f'<div class="card"><h3>Calibration</h3>{plot.drawn()}<p>Expected calibration error '
            f"{figure(found.calibration_error(), 4)}</p><details><summary>numbers</summary>"
            + table(["confidence", "right", "count"], rows)
            + "</details></div>"
        )
    if found.confidence is not None:
        drawn = histogram(found.confidence, "confidences", "confidence", 20)
        cards.append(f'<div class="card"><h3>Confidences</h3>{drawn}</div>')
    return "".join(parts) + f'<div class="cards">{"".join(cards)}</div>'


def _matrix(matrix: np.ndarray) -> str:
    """Rows what was true, columns what was predicted."""
    k, most = len(matrix), max(1, int(matrix.max()))
    wrong = max(1, int((matrix - np.diag(np.diag(matrix))).max()))
    head = "".join(f'<th scope="col">{j}</th>' for j in range(k))
    rows = ""
    for i in range(k):
        cells = ""
        for j in range(k):
            n = int(matrix[i, j])
            shade = "" if not n else f"h{1 + min(4, 5 * n // most)}" if i == j else f"w{1 + min(3, 4 * n // wrong)}"
            cells += f'<td class="{shade}{" right" if i == j else ""}">{n or ""}</td>'
        rows += f'<tr><th scope="row">{i}</th>{cells}</tr>'
    corner = '<th class="corner">true \\ predicted</th>'
    return f'<div class="wide"><table class="matrix"><tr>{corner}{head}</tr>{rows}</table></div>'


def _examples(found: Classes, matrix: np.ndarray, samples: Samples) -> str:
    """The confusions that are most frequent, with rows of each."""
    pairs = [(int(matrix[i, j]), i, j) for i, j in zip(*np.nonzero(matrix), strict=True) if i != j]
    rows = []
    for count, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:8]:
        at = np.nonzero((found.true == i) & (found.predicted == j))[0][:6]
        shown = "".join(samples.input(name, int(row)) for row in at for name in samples.judged.inputs)
        rows.append(f"<tr><td>{i} taken for {j}</td><td class=n>{count:,}</td><td>{shown}</td></tr>")
    if not rows:
        return "<p>No class is taken for another.</p>"
    head = "<thead><tr><th>confusion</th><th class=n>rows</th><th>some of them</th></tr></thead>"
    return f'<h3>Confusions</h3><div class="wide"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _numbers(found: Numbers) -> str:
    said = ", ".join(f"{name} {figure(value)}" for name, value in found.figures().items())
    low, high = ends(np.concatenate([found.true, found.predicted]))
    against = Plot((low, high), (low, high), ("true", "predicted"), "predicted against true")
    against.line([(low, low), (high, high)], "ideal")
    shown = np.stack([found.true, found.predicted], 1)[:POINTS]
    against.points(shown, COLOURS[0], "rows")
    left = Plot(ends(found.predicted), ends(found.residuals), ("predicted", "true − predicted"), "residuals")
    left.line([(left.x[0], 0), (left.x[1], 0)], "ideal")
    left.points(np.stack([found.predicted, found.residuals], 1)[:POINTS], COLOURS[1], "rows")
    return (
        f'<p>{escape(said)}</p><div class="cards">'
        f'<div class="card"><h3>Predicted against true</h3>{against.drawn()}</div>'
        f'<div class="card"><h3>Residuals</h3>{left.drawn()}</div><div class="card"><h3>Their distribution</h3>'
        f"{histogram(found.residuals, 'residuals', 'true − predicted')}</div></div>"
    )


# --- what is inside


def _surface(drawn: Surface, made: Judged, found: Classes | Numbers) -> str:
    plot = Plot(
        (drawn.low[0], drawn.high[0]), (drawn.low[1], drawn.high[1]), ("x[0]", "x[1]"), "what is predicted where"
    )
    plot.x, plot.y = (drawn.low[0], drawn.high[0]), (drawn.low[1], drawn.high[1])
    if isinstance(found, Classes):
        shades = np.array([rgb(i) for i in range(found.count)], np.float64)[drawn.values]
        sure = np.ones(drawn.values.shape) if drawn.sure is None else drawn.sure
        strength = np.clip((sure - 1 / found.count) / (1 - 1 / found.count), 0, 1)[..., None]
        pixels = 255 + (shades - 255) * (0.15 + 0.85 * strength)
    else:
        low, high = float(drawn.values.min()), float(drawn.values.max())
        t = ((drawn.values - low) / (high - low if high > low else 1.0))[..., None]
        pixels = np.array(rgb(0), np.float64) * (1 - t) + np.array(rgb(4), np.float64) * t
    plot.picture(np.clip(pixels, 0, 255).astype(np.uint8))
    legend = _coloured(plot, drawn.points, drawn.of, isinstance(found, Classes))
    return f'<div class="card"><h3>What is predicted where</h3>{plot.drawn()}{legend}</div>'


def _coloured(plot: Plot, points: np.ndarray, of: np.ndarray, classes: bool) -> str:
    """Points by class, or by a number in five steps; what the colours mean."""
    if classes:
        groups = [(str(i), of == i) for i in np.unique(of).tolist()]
    else:
        cuts = np.quantile(of, [0, 0.2, 0.4, 0.6, 0.8, 1])
        at = np.clip(np.searchsorted(cuts, of, "right") - 1, 0, 4)
        groups = [(f"{number(cuts[i])} to {number(cuts[i + 1])}", at == i) for i in range(5) if (at == i).any()]
    keys = []
    for i, (text, which) in enumerate(groups):
        plot.points(points[which], colour(i), text, 3)
        keys.append(key(colour(i), text))
    return f'<p class="soft">{"".join(keys)}</p>'


def _spread(inner: Spread, made: Judged) -> str:
    points = inner.points
    plot = Plot(ends(points[:, 0]), ends(points[:, 1]), _axes(inner), inner.what)
    first = next((found for found in made.found if found.each == 1), None)
    if first is not None:
        legend = _coloured(plot, points, first.true[: len(points)], isinstance(first, Classes))
        legend += f'<p class="soft">coloured by {escape(first.target)}</p>'
    else:
        plot.points(points, COLOURS[0], "rows")
        legend = ""
    how = "" if inner.share is None else ", along its two principal components"
    return f'<div class="card"><h3>{escape(inner.what.capitalize())}{how}</h3>{plot.drawn()}{legend}</div>'


def _axes(inner: Spread) -> tuple[str, str]:
    if inner.share is None:
        return "first number", "second number"
    first, second = (f"{100 * share:.1f} % of the variance" for share in inner.share)
    return first, second


def _weights(run: Ran) -> str:
    values = run.file.values()
    largest = sorted(
        (name for name in run.file.parameters if name in values and values[name].size > 1),
        key=lambda name: -values[name].size,
    )
    shown = [name for name in run.file.parameters if name in largest[:PARAMETERS]]
    if not shown:
        return ""
    cards = []
    for name in shown:
        x = values[name].astype(np.float64)
        said = f"{x.size:,} numbers, mean {figure(float(x.mean()), 3)}, deviation {figure(float(x.std()), 3)}"
        said += f", zeros {100 * float((x == 0).mean()):.3g} %"
        drawn = histogram(x, name, "value")
        cards.append(f'<div class="card"><h3>{escape(name)}</h3>{drawn}<p class="soft">{escape(said)}</p></div>')
    more = len(largest) - len(shown)
    rest = f'<p class="soft">The {more:,} smaller ones are left out.</p>' if more else ""
    made = f'<details open><summary>histograms</summary><div class="cards">{"".join(cards)}</div>{rest}</details>'
    return f"<h2>Weights</h2>{made}"


# --- how to get it again


def _picture(one: Told) -> str:
    if not one.picture:
        return ""
    frame = f'<iframe sandbox="allow-scripts" loading="lazy" title="the model" srcdoc="{escape(one.picture)}"></iframe>'
    return f"<h2>Model</h2>{frame}"


def _told(one: Told) -> str:
    run = one.run

    def rows(values: Mapping[str, Any]) -> list[list[str]]:
        return [[name, str(value)] for name, value in values.items()]

    parts = [f"<h2>To train it again</h2><pre>{escape(one.command)}</pre>"]
    parts.append("<h2>Settings</h2>" + table(["setting", "value"], rows(run.settings), 2))
    if run.environment:
        parts.append("<h2>Environment</h2>" + table(["what", "value"], rows(run.environment), 2))
    return "".join(parts)
