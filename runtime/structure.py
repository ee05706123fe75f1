"""What a file's graphs are made of, in short: whether a training part still fits the graph that it was made for.

Other tools change the main graph and carry `training_info` along as it was. The two may then fit by their names and
mean different numbers: the digest of a file says what each graph held when it was written, values left out.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto

from . import checksum, graphs, metadata

KEY = "dlc.structure"  # metadata of a compiled file
WIDTH = 6  # hexadecimal digits of an item: the lower 24 bits of its CRC-32
SHOWN = 3  # items that a message names


@dataclass(frozen=True)
class Digest:
    """`dlc.structure`: versions, and of each graph the items, `WIDTH` digits each, in its order."""

    ir: metadata.Whole  # which decides nothing: tools write their own
    opsets: dict[str, metadata.Whole]
    main: str
    algorithms: tuple[str, ...] = ()
    initializations: tuple[str, ...] = ()


def text(model: ModelProto) -> str:
    """What `KEY` says of a model."""
    parts = model.training_info
    return json.dumps(
        {
            "ir": model.ir_version,
            "opsets": dict(sorted(graphs.opsets(model).items())),
            "main": _hashes(model.graph),
            "algorithms": [_hashes(info.algorithm) for info in parts],
            "initializations": [_hashes(info.initialization) for info in parts],
        },
        separators=(",", ":"),
    )


@dataclass(frozen=True)
class Change:
    """How a model differs from its digest, in words; `slight`: in one item of one graph, as damage would."""

    notes: tuple[str, ...]
    slight: bool


def noted(model: ModelProto, name: str) -> Digest | None:
    """What a model says it is made of. Raises `Error` E0714."""
    said = next((one.value for one in model.metadata_props if one.key == KEY), None)
    return None if said is None else metadata.read(said, Digest, KEY, name)


def change(model: ModelProto, was: Digest) -> Change | None:
    """None where a model is made of what its digest says."""
    notes, moved = [], 0
    now = graphs.opsets(model)
    versions = [
        f"opset {now.get(one, 'none')}{f' of {one}' if one else ''}, was {was.opsets.get(one, 'none')}"
        for one in sorted({*now, *was.opsets})
        if now.get(one) != was.opsets.get(one)
    ]
    for what, graph, before in _pairs(model, was):
        new, gone = _difference(graph, before)
        moved += max(len(new), gone)
        if new:
            more = f" and {len(new) - SHOWN:,} more" if len(new) > SHOWN else ""
            notes.append(f"new in {what}: {', '.join(new[:SHOWN])}{more}")
        if gone:
            notes.append(f"{gone:,} of what dlc wrote in {what} {'is' if gone == 1 else 'are'} gone")
    notes += [f"found {one}" for one in versions]
    return Change(tuple(notes), moved == 1 and not versions) if notes else None


def _pairs(model: ModelProto, was: Digest) -> Iterator[tuple[str, GraphProto, str]]:
    yield "the main graph", model.graph, was.main
    for field, befores in (("algorithm", was.algorithms), ("initialization", was.initializations)):
        found = [getattr(info, field) for info in model.training_info]
        for index in range(max(len(found), len(befores))):
            yield (
                f"the {field}",
                found[index] if index < len(found) else GraphProto(),
                befores[index] if index < len(befores) else "",
            )


def _difference(graph: GraphProto, before: str) -> tuple[list[str], int]:
    """What a graph has that was not there, by name, and how much is gone."""
    left = Counter(before[at : at + WIDTH] for at in range(0, len(before), WIDTH))
    new = []
    for words, item in _items(graph):
        digits = _hash(item)
        if left[digits] > 0:
            left[digits] -= 1
        else:
            new.append(words)
    return new, left.total()


def _hashes(graph: GraphProto) -> str:
    return "".join(_hash(item) for _, item in _items(graph))


def _hash(item: bytes) -> str:
    return f"{zlib.crc32(item) & 0xFFFFFF:0{WIDTH}x}"


def _items(graph: GraphProto) -> Iterator[tuple[str, bytes]]:
    """What a graph is made of, in words and as bytes: nodes without their own names and documentation, tensors
    without their values."""
    for node in graph.node:
        name = node.output[0] if node.output else node.name
        item = _joined([node.op_type, node.domain, *node.input, "", *node.output])
        yield f"`{name}` ({node.op_type})", item + _attributes(node)
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            shape = graphs.shape_of(value)
            yield f"the {kind} `{value.name}`", _joined([kind, value.name, value.type.tensor_type.elem_type, shape])
    for held in graph.initializer:
        yield f"the initializer `{held.name}`", _joined(["held", held.name, held.data_type, list(held.dims)])
    for sparse in graph.sparse_initializer:
        yield f"the initializer `{graphs.sparse_name(sparse)}`", _joined(["sparse", graphs.sparse_name(sparse)])


def _attributes(node: NodeProto) -> bytes:
    held = sorted(checksum.normal(node).attribute, key=lambda one: one.name)
    return b"".join(one.SerializeToString(deterministic=True) for one in held)


def _joined(texts: Sequence[object]) -> bytes:
    return "\0".join(map(str, texts)).encode(errors="surrogateescape")
