"""Files that were written to mislead, each by a number: metadata of every wrong kind, tensors that are not what they
say, names that no terminal should see. Graphs stay as they are: what ONNX Runtime makes of those is its own affair."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

from hand_built import compiled
from onnx import ModelProto
from test_metadata import KEYS, WRONG, full, places, replaced, text_of

NUMBERS = ("dlc.format", "dlc.language", "dlc.trained", "dlc.model", "dlc.precision", "dlc.compiler")
TEXTS = [
    "",
    "\x00",
    "\x1b[2J",
    "\u202e",
    "-1",
    "9" * 5_000,
    "²",
    "1e3",
    " 1",
    "../../x",
    "a" * 70_000,
    "[/x]",
    "[bold]",
    "{}",
    "null",
]
NAMES = ["\x1b[2J\x07", "\u202eabc", "[/red]", "a\nerror[E0001]: b", "../../x", "a" * 5_000, "\x9b31m"]


def hostile(number: int) -> bytes:
    """The file of a number."""
    r = random.Random(number)
    model = full() if number % 4 else compiled()
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        _change(r, model)
    data = model.SerializeToString()
    if r.random() < 0.05:
        data = data[: r.randrange(len(data))]
    return data


def _change(r: random.Random, model: ModelProto) -> None:
    kind = r.choice(["json"] * 8 + ["text", "text", "broken", "twice", "tensor", "tensor", "name", "scope", "gone"])
    entries = {entry.key: entry for entry in model.metadata_props}
    keys = [key for key in KEYS if key in entries]
    if kind == "json":
        key = r.choice(keys)
        value = _json(text_of(model, key))
        entries[key].value = json.dumps(replaced(value, r.choice(list(places(value))), r.choice(WRONG)))
    elif kind == "text":
        key = r.choice(NUMBERS)
        entry = entries.get(key) or model.metadata_props.add(key=key)
        entry.value = r.choice(TEXTS)
    elif kind == "broken":
        entry = entries[r.choice(keys)]
        at = r.randrange(len(entry.value) + 1)
        entry.value = entry.value[:at] + r.choice(["", "[" * 50_000, "{", '"', "\\ud800", "9" * 5_000, "\x00"])
    elif kind == "twice":
        key = r.choice(KEYS)
        model.metadata_props.add(key=key, value=json.dumps(r.choice(WRONG)))
    elif kind == "gone":
        del model.metadata_props[r.randrange(len(model.metadata_props))]
    elif kind == "tensor":
        _tensor(r, model)
    elif kind == "name":
        model.graph.name = model.producer_name = model.doc_string = r.choice(NAMES)
        for node in model.graph.node:
            node.name = r.choice(NAMES) + node.name
    else:
        for graph in (model.graph, model.training_info[0].algorithm):
            for node in graph.node:
                node.metadata_props.add(key=r.choice(["dlc.scope", "dlc.source"]), value=r.choice(NAMES))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # metadata that an earlier change has broken, perhaps by nesting
        return {}


def _tensor(r: random.Random, model: ModelProto) -> None:
    graph = r.choice([model.graph, model.training_info[0].algorithm, model.training_info[0].initialization])
    held = r.choice(list(graph.initializer))
    kind = r.randrange(6)
    if kind == 0:
        held.raw_data = held.raw_data + struct.pack("f", 1.0) * r.randint(1, 9)
    elif kind == 1:
        held.float_data.extend([0.5] * r.randint(1, 99))
    elif kind == 2:
        held.ClearField("raw_data")
        held.float_data.extend([0.5] * r.randint(0, 99))
    elif kind == 3:
        held.dims.append(r.choice([-1, 0, 2, 2**40, 2**62, 2**63 - 1]))
    elif kind == 4:
        held.data_type = r.choice([0, 2, 8, 21, 27, 99, 2**31 - 1])
    else:
        held.data_location = 1
        location = r.choice(["/etc/passwd", "../x", "", "\x00", "loop"])
        held.external_data.add(key=r.choice(["location", "x"]), value=location)
