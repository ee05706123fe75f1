"""What a file takes and gives as JSON Schema, for the OpenAPI description of a server: names, shapes, types, words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import graphs
from .data import Field
from .data.fields import KINDS
from .support import Support

if TYPE_CHECKING:
    from .train import Trainer

TYPES = {"float": "number", "int": "integer", "bool": "boolean", "text": "string"}
WORDS = 1_000  # of a column that are listed
Schema = dict[str, Any]


def request(trainer: Trainer) -> Schema:
    """Of the body of a request: an array for each input, nested as its dimensions are."""
    table = trainer.file.table
    wanted = trainer.predictor.needed()
    own = [table.field(one) if table is not None else one for one in wanted]
    properties = {one.name: _array(one, trainer) for one in own}
    return {"type": "object", "properties": properties, "required": list(properties)}


def answer(trainer: Trainer) -> Schema:
    """Of an answer: an array for each output."""
    table = trainer.file.table
    properties = {}
    for value in trainer.file.main.output:
        if value.name not in trainer.predictor.outputs:
            continue
        shape = graphs.shape_of(value) or ()
        if table is not None and value.name in table.outputs:
            words = table.words(table.outputs[value.name]) if table.made[table.outputs[value.name]].words else []
            kind: Schema = {"type": "string", "enum": words} if words else {"type": "number"}
        else:
            kind = {"type": TYPES.get(KINDS.get(graphs.dtype_of(value.type.tensor_type.elem_type).kind, ""), "number")}
        properties[value.name] = _nested(shape, kind)
    return {"type": "object", "properties": properties, "required": list(properties)}


def _array(field: Field, trainer: Trainer) -> Schema:
    kind: Schema = {"type": TYPES.get(field.kind, "number")}
    for support in field.supports:
        if support.part is None:
            kind |= _bounds(support)
    table = trainer.file.table
    column = table.made.get(field.name) if table is not None else None
    if table is not None and column is not None:
        if column.words and "words" not in column.encode:
            kind["examples"] = table.words(field.name)[:WORDS]  # others are taken too
        if "date" in column.encode:
            kind["format"] = "date"
        if getattr(field, "gaps", False):
            kind = {"anyOf": [kind, {"type": "null"}]}
    return _nested(field.shape, kind) | {"description": str(field)}


def _bounds(support: Support) -> Schema:
    if support.values is not None:
        return {"enum": list(support.values)}
    low = {"exclusiveMinimum" if support.low_open else "minimum": support.low} if support.low is not None else {}
    high = {"exclusiveMaximum" if support.high_open else "maximum": support.high} if support.high is not None else {}
    return low | high


def _nested(shape: Sequence[int | str | None], kind: Schema) -> Schema:
    for size in reversed(shape):
        kind = {"type": "array", "items": kind}
        if isinstance(size, int):
            kind |= {"minItems": size, "maxItems": size}
        elif size is not None:
            kind["title"] = size  # the name of the dimension
    return kind
