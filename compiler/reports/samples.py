"""Rows of data with what is predicted for them: images as images, text as text."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from .drawn import image, image_of, number
from .predictions import Classes, Judged, Numbers, chosen, surprise
from .ran import Ran

Array = np.ndarray
SHOWN = 12  # of each kind
TOKENS = 160  # of a text


class Samples:
    """Shows rows of a data set."""

    def __init__(self, run: Ran, judged: Judged) -> None:
        self.judged = judged
        self.ranges = {
            name: (float(x.min()), float(x.max()))
            for name, x in judged.inputs.items()
            if x.size and x.dtype.kind in "fiu"
        }
        self.letters = {
            name: letters
            for name, x in {**judged.inputs, **judged.targets}.items()
            if x.dtype.kind in "iu" and x.ndim == 2 and (letters := _letters(run.data, x)) is not None
        }
        self.images = {
            name for name, x in judged.inputs.items() if self._pixels(name, 0) is not None and x.dtype.kind == "f"
        }

    def _pixels(self, name: str, row: int) -> Array | None:
        x = self.judged.inputs[name]
        if not len(x) or name not in self.ranges or not np.isfinite(self.ranges[name]).all():
            return None
        return image_of(x[row], *self.ranges[name])

    def input(self, name: str, row: int) -> str:
        """An element that shows one row of an input."""
        if name in self.images:
            pixels = self._pixels(name, row)
            assert pixels is not None
            return image(pixels, f"{name}, row {row}")
        return f"<p>{escape(name)}: {self.value(name, self.judged.inputs[name][row])}</p>"

    def value(self, name: str, values: Array) -> str:
        if name in self.letters:
            letters = self.letters[name]
            text = "".join(letters[int(token)] for token in values[:TOKENS])
            return f'<span class="token">{escape(text)}{"…" if len(values) > TOKENS else ""}</span>'
        flat = values.reshape(-1)
        text = ", ".join(_number(value) for value in flat[:12])
        return f'<span class="token">{escape(text)}{" …" if flat.size > 12 else ""}</span>'

    def shown(self, found: Classes | Numbers) -> str:
        """Rows spread over the data, and those whose predictions are furthest off."""
        judged = self.judged
        rows = judged.rows
        far = np.argsort(-surprise(found, rows), kind="stable")
        some, worst = chosen(range(rows), SHOWN), [int(i) for i in far[:SHOWN]]
        return (
            f'<h3>Some rows</h3><div class="samples">{"".join(self._row(found, i) for i in some)}</div>'
            f'<h3>Furthest off</h3><div class="samples">{"".join(self._row(found, i) for i in worst)}</div>'
        )

    def _row(self, found: Classes | Numbers, row: int) -> str:
        parts = [self.input(name, row) for name in self.judged.inputs]
        at = slice(row * found.each, (row + 1) * found.each)
        wrong = False
        if found.each == 1 and isinstance(found, Classes):
            true, predicted = int(found.true[row]), int(found.predicted[row])
            wrong = true != predicted
            sure = "" if found.confidence is None else f" ({100 * found.confidence[row]:.0f} %)"
            said = f"{predicted}{sure}, is {true}"
        elif found.target in self.letters and isinstance(found, Classes):
            said = f"{self.value(found.target, found.predicted[at])}<br>is {self.value(found.target, found.true[at])}"
            return f'<div class="sample">{"".join(parts)}<p>predicted {said}</p></div>'
        else:
            said = f"{_several(found.predicted[at])}, is {_several(found.true[at])}"
        mark = ' class="wrong"' if wrong else ""
        kind = "sample wrong" if wrong else "sample"
        return f'<div class="{kind}">{"".join(parts)}<p{mark}>row {row}: predicted {said}</p></div>'


def _several(values: Array) -> str:
    return escape(", ".join(_number(value) for value in values[:6]) + (" …" if len(values) > 6 else ""))


def _number(value: object) -> str:
    return number(float(value)) if isinstance(value, np.floating | float) else str(value)


def _letters(data: str, tokens: Array) -> Sequence[str] | None:
    """What tokens stand for: a one-dimensional array of texts beside them in an .npz file, or ASCII."""
    low, high = int(tokens.min(initial=0)), int(tokens.max(initial=0))
    if low < 0:
        return None
    path = Path(data.rpartition(" of ")[2] or data)
    if path.suffix == ".npz" and path.is_file():
        try:
            with np.load(path, allow_pickle=False) as held:
                for name in held.files:
                    if held[name].dtype.kind == "U" and held[name].ndim == 1 and len(held[name]) > high:
                        return [str(text) for text in held[name]]
        except (OSError, ValueError, zipfile.BadZipFile):
            return None
    if low >= 9 and 64 < high < 127:
        return [chr(code) for code in range(high + 1)]
    return None
