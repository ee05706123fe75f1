"""Small still pictures in the text of a page: images as PNG, scatters, bars and lines as SVG."""

from __future__ import annotations

import math
import zlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from struct import pack

import numpy as np

Array = np.ndarray
# Okabe and Ito (2008): told apart by those who see fewer colours, too. Beyond eight they begin again.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5c00", "#5f5f5f")
SMALLEST, LARGEST = 4, 512  # pixels of a side of what is taken for an image


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def key(shade: str, text: str) -> str:
    """What a colour means, for below a plot."""
    return f'<svg class="key" viewBox="0 0 15 7"><rect width="15" height="7" fill="{shade}"/></svg>{escape(text)} '


def rgb(number: int) -> tuple[int, int, int]:
    text = colour(number)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def png(pixels: Array) -> bytes:
    """uint8 [height, width] or [height, width, 3] as a PNG file (ISO/IEC 15948), no row filtered."""
    height, width = pixels.shape[:2]
    grey = pixels.ndim == 2
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], 1).tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    head = pack(">IIBBBBB", width, height, 8, 0 if grey else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def image(pixels: Array, text: str, kind: str = "image") -> str:
    """An element that shows pixels; `text` says what they are."""
    data = b64encode(png(pixels)).decode()
    return f'<img class="{kind}" alt="{escape(text)}" title="{escape(text)}" src="data:image/png;base64,{data}">'


def image_of(row: Array, low: float, high: float) -> Array | None:
    """A row of an input as pixels, where it may be an image: [h, w], [1 or 3, h, w], [h, w, 1 or 3], or a square
    number of pixels. `low` and `high` are black and white."""
    if row.ndim == 1:
        side = round(len(row) ** 0.5)
        if side < SMALLEST or side * side != len(row):
            return None
        row = row.reshape(side, side)
    if row.ndim == 3 and row.shape[0] in (1, 3) and row.shape[2] not in (1, 3):
        row = np.moveaxis(row, 0, 2)
    if row.ndim == 3 and row.shape[2] == 1:
        row = row[..., 0]
    if not (row.ndim == 2 or (row.ndim == 3 and row.shape[2] == 3)):
        return None
    if not all(SMALLEST <= side <= LARGEST for side in row.shape[:2]):
        return None
    scaled = (row.astype(np.float64) - low) / (high - low if high > low else 1.0)
    return np.asarray(np.clip(scaled * 255 + 0.5, 0, 255).astype(np.uint8))


# --- scatters, bars and lines

WIDTH, HEIGHT, LEFT, BELOW = 420, 300, 56, 34


def number(value: float) -> str:
    return f"{value + 0.0:.4g}"


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers between two."""
    span = high - low
    if not span > 0 or not np.isfinite(span):
        return [low]
    step = 10.0 ** np.floor(np.log10(span / 3))
    step *= next((k for k in (5, 2) if span / (step * k) >= 3), 1)
    first = np.ceil(low / step - 1e-9)
    return [float((first + i) * step) for i in range(int(np.floor(high / step + 1e-9) - first) + 1)]


def decades(low: float, high: float) -> list[tuple[float, str]]:
    """Places on an axis of logarithms to the base of ten between two, and the numbers there: powers of ten, where these
    are fewer than three also twice and five times them, on a short axis round numbers."""
    for factors in ((1,), (1, 2, 5)):
        found = [
            (at, number(factor * 10.0**power))
            for power in range(math.floor(low), math.ceil(high) + 1)
            for factor in factors
            if low <= (at := math.log10(factor) + power) <= high
        ]
        if len(found) >= 3:
            break
    if len(found) < 2:
        found = [(math.log10(value), number(value)) for value in ticks(10.0**low, 10.0**high) if value > 0]
    return found[:: 1 + len(found) // 8]


class Plot:
    """A frame with axes, into which marks are drawn. `told`: places on the axis across and what is said there, in place
    of numbers."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        names: tuple[str, str],
        title: str,
        told: Sequence[tuple[float, str]] | None = None,
    ) -> None:
        self.x, self.y, self.names, self.title, self.told = _wide(x), _wide(y), names, title, told
        self.marks: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - 10)
        return across, HEIGHT - BELOW - (y - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - BELOW - 10)

    def points(self, points: Array, fill: str, tip: str = "", size: float = 2.6) -> None:
        drawn = "".join(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{size}"/>'
            for a, b in (self.at(float(p), float(q)) for p, q in points)
        )
        self.marks.append(f'<g fill="{fill}" fill-opacity=".75"><title>{escape(tip)}</title>{drawn}</g>')

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in (self.at(*point) for point in points))
        self.marks.append(f'<polyline class="{kind}" points="{path}"/>')

    def bar(self, low: float, high: float, value: float, tip: str, kind: str = "bar") -> None:
        (a, top), (b, bottom) = self.at(low, value), self.at(high, max(0.0, self.y[0]))
        self.marks.append(
            f'<rect class="{kind}" x="{a:.1f}" y="{top:.1f}" width="{max(0.5, b - a - 0.6):.1f}" '
            f'height="{max(0.0, bottom - top):.1f}"><title>{escape(tip)}</title></rect>'
        )

    def picture(self, pixels: Array) -> None:
        """Pixels over the whole frame, below the marks."""
        (a, top), (b, bottom) = self.at(self.x[0], self.y[1]), self.at(self.x[1], self.y[0])
        data = b64encode(png(pixels)).decode()
        self.marks.insert(
            0,
            f'<image class="plane" x="{a:.1f}" y="{top:.1f}" width="{b - a:.1f}" height="{bottom - top:.1f}" '
            f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>',
        )

    def drawn(self) -> str:
        axes = []
        told = self.told if self.told is not None else [(value, number(value)) for value in ticks(*self.x)]
        for value, text in told:
            a, b = self.at(value, self.y[0])
            axes.append(f'<line x1="{a:.1f}" x2="{a:.1f}" y1="{b:.1f}" y2="{b + 4:.1f}"/>')
            axes.append(f'<text x="{a:.1f}" y="{b + 16:.1f}" text-anchor="middle">{escape(text)}</text>')
        for value in ticks(*self.y):
            a, b = self.at(self.x[0], value)
            axes.append(f'<line x1="{a - 4:.1f}" x2="{a:.1f}" y1="{b:.1f}" y2="{b:.1f}"/>')
            axes.append(f'<text x="{a - 7:.1f}" y="{b + 4:.1f}" text-anchor="end">{number(value)}</text>')
        (left, top), (right, bottom) = self.at(self.x[0], self.y[1]), self.at(self.x[1], self.y[0])
        frame = f'<path class="frame" d="M{left:.1f} {top:.1f}V{bottom:.1f}H{right:.1f}"/>'
        across, up = self.names
        return (
            f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self.title)}">'
            f'{"".join(self.marks)}<g class="axis">{frame}{"".join(axes)}'
            f'<text class="name" x="{(left + right) / 2:.0f}" y="{HEIGHT - 3}" text-anchor="middle">'
            f"{escape(across)}</text>"
            f'<text class="name" transform="translate(11 {(top + bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
            f"{escape(up)}</text></g></svg>"
        )


def _wide(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = float(ends[0]), float(ends[1])
    if not (np.isfinite(low) and np.isfinite(high)):
        return 0.0, 1.0
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def ends(values: Array, share: float = 0.04) -> tuple[float, float]:
    """The least and the greatest of some numbers, with room around them."""
    low, high = float(values.min()), float(values.max())
    room = (high - low) * share
    return low - room, high + room


def histogram(values: Array, title: str, across: str, bins: int = 40) -> str:
    """How often values lie where."""
    finite = values[np.isfinite(values)].reshape(-1)
    if not finite.size:
        return ""
    counts, edges = np.histogram(finite.astype(np.float64), bins)
    plot = Plot((edges[0], edges[-1]), (0, float(counts.max())), (across, "count"), title)
    for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        plot.bar(low, high, count, f"{number(low)} to {number(high)}: {count:,}")
    return plot.drawn()
