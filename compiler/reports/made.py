"""What a model makes where no target says what is right.

an output of an input's shape that reads it        the input made again, as an autoencoder does
an output that reads nothing but what is drawn     samples, as a generator makes them
any other output of several numbers a row          a code: rows as points of a plane
"""

from __future__ import annotations

from html import escape

import numpy as np
from dlc.runtime import graphs
from dlc.runtime.callbacks import figure

from .drawn import COLOURS, Plot, ends, image, image_of, key
from .inside import POINTS, Spread, principal
from .predictions import Judged, chosen
from .ran import Ran
from .samples import SHOWN, Samples

Array = np.ndarray


def shown(run: Ran, judged: Judged, samples: Samples) -> list[str]:
    """A part of the page for each output that answers no target."""
    answered = {found.output for found in judged.found}
    drawn = {one.name for one in run.file.signature.inputs if one.drawn is not None}
    parts = []
    for name, values in judged.outputs.items():
        if name in answered or values.dtype.kind != "f" or not values.size or not np.isfinite(values).all():
            continue
        reads = _reads(run, name)
        like = [x for x, held in judged.inputs.items() if held.shape[1:] == values.shape[1:] and held.dtype.kind == "f"]
        again = next((x for x in like if x in reads), None)
        if again is not None and len(values) == judged.rows:
            parts.append(_again(name, again, judged, samples))
        elif reads and reads <= drawn:
            parts.append(_samples(name, values, like[0] if like else None, judged, samples))
        elif values.ndim == 2 and values.shape[1] > 1 and len(values) == judged.rows > 2:
            parts.append(_code(name, values))
    return parts


def _reads(run: Ran, output: str) -> set[str]:
    """The inputs that an output is computed from."""
    kept = graphs.needed(list(run.file.main.node), [output])
    read = {name for node in kept for name in node.input} | {output}
    return read & {one.name for one in run.file.signature.inputs}


def _again(name: str, of: str, judged: Judged, samples: Samples) -> str:
    made, given = judged.outputs[name], judged.inputs[of]
    off = float(np.sqrt(np.mean((made.astype(np.float64) - given.astype(np.float64)) ** 2)))
    cards = "".join(
        f'<div class="sample">{samples.input(of, row)}{_one(name, made[row], of, row, samples)}<p>row {row}</p></div>'
        for row in chosen(range(judged.rows), SHOWN)
    )
    return (
        f"<h3>{escape(name)}: {escape(of)} made again</h3><p>Root mean square difference {figure(off)} over "
        f'{judged.rows:,} rows. Beside each row what is made of it.</p><div class="samples">{cards}</div>'
    )


def _one(name: str, value: Array, of: str | None, row: int, samples: Samples) -> str:
    """A value as an image where it is one, in the range of the input that it is like."""
    low, high = samples.ranges.get(of or "", (float(value.min()), float(value.max())))
    pixels = image_of(value, low, high) if of is None or of in samples.images else None
    if pixels is not None:
        return image(pixels, f"{name}, row {row}")
    return f"<p>{escape(name)}: {samples.value(name, value)}</p>"


def _samples(name: str, values: Array, like: str | None, judged: Judged, samples: Samples) -> str:
    head = f"<h3>{escape(name)}: drawn</h3>"
    if like is not None and values.shape[1:] == (2,):
        plot, both = (
            Plot(*_frame(values, judged.inputs[like]), ("first number", "second number"), f"{name} and {like}"),
            "",
        )
        for colour, (what, points) in zip(COLOURS, ((like, judged.inputs[like]), (name, values)), strict=False):
            plot.points(points[:POINTS], colour, what)
            both += key(colour, what)
        return f'{head}<div class="card">{plot.drawn()}<p class="soft">{both}</p></div>'
    cards = "".join(
        f'<div class="sample">{_one(name, values[i], like, i, samples)}</div>'
        for i in range(min(2 * SHOWN, len(values)))
    )
    return f'{head}<div class="samples">{cards}</div>'


def _frame(*points: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    both = np.concatenate(points)
    return ends(both[:, 0]), ends(both[:, 1])


def _code(name: str, values: Array) -> str:
    values = values[:POINTS]
    found = Spread(name, values, None) if values.shape[1] == 2 else principal(name, values)
    if found is None:
        return ""
    axes = ("first number", "second number")
    if found.share is not None:
        axes = tuple(f"{100 * share:.1f} % of the variance" for share in found.share)  # type: ignore[assignment]
    plot = Plot(ends(found.points[:, 0]), ends(found.points[:, 1]), axes, name)
    plot.points(found.points, COLOURS[0], "rows")
    how = "" if found.share is None else ", along its two principal components"
    return f'<div class="card"><h3>{escape(name)}{how}</h3>{plot.drawn()}</div>'
