"""`metadata_props` of the model: what docs/file-format.md lists under Metadata."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict
from typing import Any

from dlc.runtime.column import Columns
from dlc.runtime.observed import CLASSES

from ..analysis import epoch
from ..analysis.aggregation import COMBINED
from ..analysis.evaluation import KEPT, OF_ALL
from ..ir.graph import Node
from ..ir.module import MEMBERS, TOGETHER, Module
from ..ir.types import Shape

# A reader of 1 would run each training_info in every iteration, on all rows, one of 2 would train one member of an
# ensemble and predict with none.
FORMAT, TURNS, ENSEMBLE = "1", "2", "3"
LANGUAGE = "1"


def version() -> str:
    """The version of dlc that is installed."""
    return importlib.metadata.version("dlc-compiler")


def metadata(module: Module, precision: str) -> dict[str, str]:
    props = {
        "dlc.format": ENSEMBLE if module.members else TURNS if module.turns or _of_rows(module) else FORMAT,
        "dlc.language": LANGUAGE,
        "dlc.compiler": version(),
        "dlc.model": module.name,
        "dlc.precision": precision,
        "dlc.settings": _json({"model": {}, "train": {}, **module.settings}),
        "dlc.sources": _json({"main": next(iter(module.sources), None), "files": module.sources}),
        "dlc.signature": _json(signature(module)),
    }
    if module.supplied:
        props["dlc.supplied"] = _json([asdict(one) for one in module.supplied])
    if module.trains:
        props["dlc.evaluate"] = _json(evaluation(module))
    if module.columns:
        props["dlc.columns"] = _json(asdict(Columns(module.columns)))
    if module.turns:
        shown = [{name: value for name, value in asdict(turn).items() if name != "block"} for turn in module.turns]
        props["dlc.turns"] = _json(shown)
    if module.blocks:
        passes = [sum(turn.block == number for turn in module.turns) for number in range(len(module.blocks))]
        props["dlc.blocks"] = _json(
            [
                {"title": block.title, "passes": count, "train": block.settings, "starts": block.starts}
                for block, count in zip(module.blocks, passes, strict=True)
            ]
        )
    if module.members:
        state = {path: path.removeprefix(MEMBERS) for path, v in module.variables.items() if v.kind == "member"}
        parts = {name.replace(TOGETHER, "evaluate/part/"): name for name in module.roots(TOGETHER)}
        told = {"members": module.members, "state": state, "parts": parts, "figures": list(module.together)}
        props["dlc.ensemble"] = _json(told)
    return props


def _of_rows(module: Module) -> bool:
    """Whether a runtime has to know more of the rows of the data than that there are some."""
    said = any(path.startswith(CLASSES) for path in module.variables)
    chosen = any(module.roots(f"{module.turn(number)}rows/") for number in range(max(len(module.turns), 1)))
    return said or chosen or len(module.rows) > 1


def signature(module: Module) -> dict[str, Any]:
    """What goes in and out and what is held, for the checks of a runtime and for people."""
    variables = module.variables.items()
    return {
        "inputs": [_data(module, leaf) for leaf in module.inputs],
        "targets": [_data(module, leaf) for leaf in module.targets],
        "outputs": [
            {"name": name, "dtype": node.dtype, "shape": _shape(node.shape)}
            for name in module.outputs
            for node in [module.graph.outputs[f"output/{name}"]]
        ],
        "parameters": [
            {"name": path, "shape": _shape(variable.type.shape)}
            for path, variable in variables
            if variable.kind == "parameter"
        ],
        "states": [
            {"name": path, "shape": _shape(variable.type.shape), "dtype": variable.type.dtype}
            for path, variable in variables
            if variable.kind in ("state", "optimizer", "member")
            or (variable.kind == "counter" and f"next/{path}" in module.graph.outputs)
        ],
        "batch": module.batch,
        **({"rows": list(module.rows)} if len(module.rows) > 1 else {}),
    }


def evaluation(module: Module) -> dict[str, Any]:
    combined = {name: how for name, how in module.epoch.items() if how in COMBINED}
    closing = _closing(module, module.reduces, "evaluate/part/", "evaluate/total/", "evaluate/value/")
    tables = {name: root for name, root in closing["values"].items() if module.graph.outputs[root].rank}
    closing["values"] = {name: root for name, root in closing["values"].items() if name not in tables}
    kept = {"kept": list(module.roots(KEPT)), "of_kept": {n.removeprefix(OF_ALL): n for n in module.roots(OF_ALL)}}
    return {
        **closing,
        **({"tables": tables} if tables else {}),
        **(kept if kept["kept"] else {}),
        "train": {"figures": combined, **_closing(module, module.epoch_reduces, epoch.PART, epoch.TOTAL, epoch.VALUE)},
    }


def _closing(module: Module, reduces: list[str], part: str, total: str, value: str) -> dict[str, Any]:
    return {
        "parts": [{"part": f"{part}{k}", "total": f"{total}{k}", "reduce": reduce} for k, reduce in enumerate(reduces)],
        "values": {root.removeprefix(value): root for root in module.roots(value)},
    }


def _data(module: Module, leaf: Node) -> dict[str, Any]:
    name = leaf.attrs["name"]
    entry = {"name": name, "dtype": leaf.dtype, "shape": _shape(leaf.shape)}
    if module.trains and leaf in module.drawn():
        entry["drawn"] = f"evaluate/draw/{name}"
    supports = module.supports.get(name)
    if supports:
        entry["support"] = [support.entry() for support in supports.values()]
    whole = module.whole_range(name) if leaf.dtype == "int" else None
    if whole is not None:  # what a runtime older than `support` reads
        entry["range"] = list(whole)
    return entry


def _shape(shape: Shape) -> list[int | str]:
    return [size if isinstance(size, int) else str(size) for size in shape]


def _json(value: Any) -> str:
    """Keys keep their order, which is that of the text."""
    return json.dumps(value, ensure_ascii=False, allow_nan=True, separators=(", ", ": "))
