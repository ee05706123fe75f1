"""dlc summary"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from . import kinds, report, supplied
from .options import COMPILATION, OUTPUT, Compilation, Output

if TYPE_CHECKING:
    from dlc.runtime.file import CompiledFile
    from onnx import NodeProto


@dataclass
class Row:
    """One layer instance: what it holds, and how many nodes it is in each graph."""

    layer: str
    parameters: list[tuple[str, str, int]]  # name, shape, values
    states: list[tuple[str, str, int]]
    predicting: int
    training: int
    frozen: list[str]  # parameters that no update of the file moves


def summary(
    file: Annotated[Path, Parameter(help="A .dl spec, a .onnx file or a run folder.")],
    /,
    *,
    compilation: Compilation = COMPILATION,
    output: Output = OUTPUT,
) -> None:
    """Print a table of layers, parameters, shapes and counts."""
    kinds.expect(file, "summary", kinds.SPEC, kinds.COMPILED, kinds.RUN)
    compiled = compilation.file(file, output)
    rows, totals, given = rows_of(compiled), totals_of(compiled), supplied.records(compiled.supplied)
    if output.json:
        layers = [asdict(row) for row in rows]
        report.say(json.dumps({"model": compiled.title, "layers": layers, **totals, "supplied": given}))
        return
    table: list[tuple[str, ...]] = []
    for row in rows:
        held = [
            (f"{name} (frozen)" if name in row.frozen else name, shape, f"{values:,}")
            for name, shape, values in row.parameters
        ]
        held += [(f"{name} (state)", shape, f"{values:,}") for name, shape, values in row.states]
        held = held or [("", "", "")]
        table.append((row.layer or "(model)", *held[0], f"{row.predicting:,}", f"{row.training:,}"))
        table += [("", *more, "", "") for more in held[1:]]
    report.say(f"{compiled.title}\n")
    report.show(
        [
            ("layer", False),
            ("holds", False),
            ("shape", False),
            ("values", True),
            ("nodes: predict", True),
            ("train", True),
        ],
        table,
    )
    report.say(
        f"\n{totals['values']:,} values in {totals['parameters']} parameters; "
        f"{totals['predicting']:,} nodes predict, {totals['training']:,} more train; "
        f"{totals['optimizer_values']:,} values of optimizer state"
    )
    for line in supplied.lines(given):
        report.say(line)


def rows_of(file: CompiledFile) -> list[Row]:
    """One row for each layer instance that holds something or makes nodes, in the order of the text: each layer before
    what lies in it."""
    from dlc.runtime.metadata import RESERVED

    rows: dict[str, Row] = {"": Row("", [], [], 0, 0, [])}
    seen: dict[str, int] = {}  # layers as they come

    def row(layer: str) -> Row:
        if layer not in rows:
            rows[layer] = Row(layer, [], [], 0, 0, [])
            for above in _owners(layer):
                seen.setdefault(above, len(seen))
        return rows[layer]

    learned = set(file.parameters)
    states = {entry.name for entry in file.signature.states}
    updated = {name for part in file.parts for name in part.updates}
    for slot in file.slots:  # in the order of making; nodes stand as they run
        layer, _, name = slot.name.rpartition(".")
        if slot.name in learned or (slot.name in states and "/" not in slot.name and slot.name not in RESERVED):
            entry = (name, _shape(slot.shape), prod(slot.shape))
            (row(layer).parameters if slot.name in learned else row(layer).states).append(entry)
            if file.parts and slot.name in learned and slot.tensor not in updated:
                row(layer).frozen.append(name)
    for graph, field in [(file.main, "predicting"), *((part.algorithm, "training") for part in file.parts)]:
        for node in graph.node:
            found = row(_scope(node))
            setattr(found, field, getattr(found, field) + 1)
    return sorted(rows.values(), key=lambda row: [seen[above] for above in _owners(row.layer)])


def _owners(layer: str) -> list[str]:
    """The layers that a layer lies in, from the outside in, and itself."""
    parts = layer.split(".") if layer else []
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def totals_of(file: CompiledFile) -> dict[str, Any]:
    learned, members = set(file.parameters), file.ensemble.state if file.ensemble else {}
    return {
        "parameters": len(learned),
        "values": sum(prod(slot.shape) for slot in file.slots if slot.name in learned),
        "optimizer_values": sum(
            prod(slot.shape) for slot in file.slots if "/" in slot.name and slot.name not in members
        ),
        "predicting": len(file.main.node),
        "training": sum(len(part.algorithm.node) for part in file.parts),
    }


def _scope(node: NodeProto) -> str:
    return next((entry.value for entry in node.metadata_props if entry.key == "dlc.scope"), "")


def _shape(shape: Iterable[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"
