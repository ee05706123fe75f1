"""Curves of a fit as a picture for a notebook: small multiples in SVG, which needs no library and no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, BELOW = 230, 120, 46, 20, 16  # of the plane of a figure, and what stands around it
MOST = 6  # figures that are drawn
SIDES = (("train", ""), ("validation", ' stroke-dasharray="4 3"'))


def curves(records: Sequence[Mapping[str, Any]]) -> str:
    """An element `<svg>`: each figure over the epochs, that of validation dashed; nothing of less than two epochs.

    `records`: as `History.epochs` has them. A value that is not finite is a gap.
    """
    if len(records) < 2:
        return ""
    names = list(dict.fromkeys(name for record in records for side, _ in SIDES for name in record.get(side) or {}))
    drawn = [one for name in names[:MOST] if (one := _figure(name, records))]
    if not drawn:
        return ""
    across = LEFT + WIDTH + 14
    width, height = across * len(drawn), TOP + HEIGHT + BELOW
    moved = "".join(f'<g transform="translate({across * i} 0)">{one}</g>' for i, one in enumerate(drawn))
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="curves" '
        f'style="font: 10px sans-serif; max-width: 100%" fill="none" stroke="currentColor">{moved}</svg>'
    )


def _figure(name: str, records: Sequence[Mapping[str, Any]]) -> str:
    lines = {
        side: [(record["epoch"], value) for record in records if (value := _value(record, side, name)) is not None]
        for side, _ in SIDES
    }
    points = [point for line in lines.values() for point in line if math.isfinite(point[1])]
    if not points:
        return ""
    first, last = records[0]["epoch"], records[-1]["epoch"]
    low, high = min(value for _, value in points), max(value for _, value in points)
    span, range_ = max(last - first, 1), (high - low) or 1.0

    def at(epoch: float, value: float) -> str:
        return f"{LEFT + WIDTH * (epoch - first) / span:.1f} {TOP + HEIGHT * (high - value) / range_:.1f}"

    text = 'stroke="none" fill="currentColor"'
    made = [
        f'<text x="{LEFT}" y="12" font-weight="bold" {text}>{escape(name)}</text>',
        f'<path d="M{LEFT} {TOP}V{TOP + HEIGHT}H{LEFT + WIDTH}" opacity="0.4"/>',
        f'<text x="{LEFT - 4}" y="{TOP + 8}" text-anchor="end" {text}>{high:.3g}</text>',
        f'<text x="{LEFT - 4}" y="{TOP + HEIGHT}" text-anchor="end" {text}>{low:.3g}</text>',
        f'<text x="{LEFT}" y="{TOP + HEIGHT + 12}" {text}>{first:,}</text>',
        f'<text x="{LEFT + WIDTH}" y="{TOP + HEIGHT + 12}" text-anchor="end" {text}>{last:,}</text>',
    ]
    shown = [(side, dashes) for side, dashes in SIDES if lines[side]]
    for k, (side, dashes) in enumerate(shown if len(shown) > 1 else ()):  # which line is whose, above at the right
        x = LEFT + WIDTH - 120 + 50 * k
        made.append(f'<path d="M{x} 9h14" stroke-width="1.5"{dashes}/><text x="{x + 17}" y="12" {text}>{side}</text>')
    for side, dashes in SIDES:
        path, pen = "", "M"
        for epoch, value in lines[side]:
            path += pen + at(epoch, value) if math.isfinite(value) else ""
            pen = "L" if math.isfinite(value) else "M"
        if path:
            made.append(f'<path d="{path}" stroke-width="1.5"{dashes}><title>{side}</title></path>')
    return "".join(made)


def _value(record: Mapping[str, Any], side: str, name: str) -> float | None:
    found = (record.get(side) or {}).get(name)
    return float(found) if isinstance(found, int | float) else None
