"""What a trainer holds, as a table: inputs, parameters with their shapes, outputs, and totals; and for a notebook."""

from __future__ import annotations

from html import escape
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metadata import Tensor
    from .train import Trainer


def overview(trainer: Trainer) -> str:
    """The table as text, without a final newline."""
    file, slots = trainer.file, trainer.slots
    rows = [(_type(entry), "input", entry.name) for entry in file.signature.inputs]
    rows += [(_type(entry), "target", entry.name) for entry in file.signature.targets]
    counts = {name: prod(slots[name].shape) for name in file.parameters}
    table = [(name, kind, type, "") for type, kind, name in rows]
    table += [(name, "parameter", f"float{_shape(slots[name].shape)}", f"{counts[name]:,}") for name in counts]
    table += [(entry.name, "output", _type(entry), "") for entry in file.signature.outputs]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)] if table else [0] * 4
    lines = [f"{file.title}, {trainer.device}, seed {trainer.seed}, {trainer.progress.step:,} updates"]
    for name, kind, type, count in table:
        lines.append(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {type:<{widths[2]}}  {count:>{widths[3]}}".rstrip())
    held = sum(prod(slot.shape) * slot.dtype.itemsize for slot in slots.values())
    lines.append(f"{sum(counts.values()):,} numbers in {len(counts):,} parameters; {held:,} bytes of state in all")
    return "\n".join(lines)


def shown(trainer: Trainer) -> str:
    """For a notebook: what it trains, how far it is, and the first parameters with their shapes."""
    shown = [trainer.slots[name] for name in list(trainer.file.parameters)[:20]]
    rows = "".join(f"<tr><td>{escape(x.name)}</td><td>{x.dtype} {list(x.shape)}</td></tr>" for x in shown)
    more = len(trainer.file.parameters) - len(shown)
    rest = f"<tr><td>and {more:,} more</td><td></td></tr>" if more else ""
    head = f"<b>{escape(trainer.file.title)}</b>, {escape(trainer.device)}, seed {trainer.seed}: "
    return f"{head}{trainer.progress.step:,} updates<table>{rows}{rest}</table>"


def _type(entry: Tensor) -> str:
    return f"{entry.dtype}{_shape(entry.shape)}"


def _shape(shape: tuple[object, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else ""
