"""A line of a source with carets under the place that is meant, in a given width of a terminal."""

from __future__ import annotations

import textwrap

CUT = 200  # columns of a source line that are shown whole where no terminal says how wide it is
NARROWEST = 20  # columns left for the text in a terminal that is narrower than that


def width(text: str) -> int:
    """The columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # takes longer to import than most messages to show, which are ASCII

    return cell_len(text)


def excerpt(line: str, start: int, end: int, says: str, number: str, columns: int | None) -> tuple[list[str], bool]:
    """The line after its number, and carets under `line[start:end]` with what they say; whether the line is whole.

    A line that is too wide is cut around the place: to the `columns` of a terminal, which would wrap it away from its
    carets. A wide character takes two columns, a combining mark none.
    """
    margin = " " * len(number)
    room = CUT if columns is None else max(NARROWEST, columns - len(number) - 4)
    low, high = max(0, start - room), min(len(line), start + room)  # a line may have a million characters
    # A tab or control character is drawn as one space, so that the carets are under what they mean.
    near = "".join(c if c.isprintable() else " " for c in line[low:high])
    first, last = 0, len(near)
    if low > 0 or high < len(line) or width(near) > room:
        first, last = _window(near, start - low, room - 2)
    shown, place = near[first:last], start - low - first
    before, after = "…" * (low + first > 0), "…" * (low + last < len(line))
    indent = width(before + shown[:place])
    carets = " " * indent + "^" * max(1, width(shown[place : place + end - start]))
    lines = [f" {number} | {before}{shown}{after}"]
    texts = says.split("\n")
    if columns is not None and max(map(width, texts)) + len(carets) + 1 > room:  # below, where it need not be broken
        texts = ["", *(part for text in texts for part in textwrap.wrap(text, room))]
        indent = 0
    else:
        indent = len(carets) + 1
    lines.append(f" {margin} | {carets} {texts[0]}".rstrip())
    lines += [f" {margin} | {' ' * indent}{text}" for text in texts[1:]]
    return lines, not before and not after


def _window(text: str, place: int, room: int) -> tuple[int, int]:
    """The piece of a text that fits, with a third of the room before the place, more where the text ends."""
    first = last = place
    used = 0
    while first > 0 and used + width(text[first - 1]) <= room // 3:
        first -= 1
        used += width(text[first])
    while last < len(text) and used + width(text[last]) <= room:
        used += width(text[last])
        last += 1
    while last == len(text) and first > 0 and used + width(text[first - 1]) <= room:
        first -= 1
        used += width(text[first])
    return first, last
