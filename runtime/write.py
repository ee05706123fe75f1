"""A model on disk, byte for byte as protobuf writes it, but piece by piece: the numbers of large tensors go from where
they are to the file. protobuf's own serializer holds a message twice more, and has none of over 2 GB."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from onnx import GraphProto, ModelProto, StringStringEntryProto, TensorProto

from . import graphs
from .atomic import replacing
from .graphs import Values

ALIGNMENT = 4096
LONG = 1 << 16  # bytes
SMALL = 1024  # bytes; smaller tensors stay in the model
BRANCHES = ("graph", "training_info", "algorithm", "initialization")  # fields on the way to initializers


def write(
    model: ModelProto,
    path: Path,
    threshold: int,
    values: Values | None = None,
    metadata: Mapping[str, str] | None = None,
    mark: bytes = b"",
) -> None:
    """Writes `model`, which stays as it is, with `values` for initializers of a step and with `metadata` for its own.

    Large tensors go to `NAME.onnx.data` beside `path`, behind `mark`, when they pass `threshold` bytes in all. Each
    file appears whole or not at all. Takes memory for the graphs and for one tensor. Raises OSError.
    """
    root = _Message(model, values or {}, metadata)
    large = [tensor for tensor in root.tensors() if tensor.size >= SMALL]
    if sum(tensor.size for tensor in large) > threshold:
        beside = path.with_name(path.name + ".data")
        with replacing(beside) as out:
            out.write(mark)
            for tensor in large:
                tensor.move(out, beside.name)
            out.truncate()
    with replacing(path) as out:
        for piece in root.pieces():
            _put(out, piece if isinstance(piece, bytes) else piece.read())
        out.truncate()


def _put(out: BinaryIO, data: Any) -> None:
    """Writes bytes at the end of a file. Long runs of zeros, such as the state of an optimizer before its first update,
    are passed over: the system reads what was never written as zeros, and most keep no room for it. Whoever closes the
    file truncates it where it ends."""
    if len(data) >= LONG and not np.frombuffer(data, np.uint64, len(data) // 8).any() and not any(data[-8:]):
        out.seek(len(data), os.SEEK_CUR)
    else:
        out.write(data)


class _Tensor:
    """A tensor in a graph that is a copy (the attribute of a node), with all it holds."""

    def __init__(self, tensor: TensorProto) -> None:
        self.after, self.size = tensor, graphs.raw_size(tensor) or 0
        self.read: Callable[[], Any] = lambda: tensor.raw_data

    def move(self, out: BinaryIO, location: str) -> None:
        """The numbers go to `out`; the tensor says where they are."""
        offset = -(-out.tell() // ALIGNMENT) * ALIGNMENT
        out.write(b"\0" * (offset - out.tell()))
        _put(out, self.read())
        self.after.ClearField("raw_data")
        for key, value in (("location", location), ("offset", offset), ("length", self.size)):
            self.after.external_data.add(key=key, value=str(value))
        self.after.data_location = TensorProto.EXTERNAL
        self.size = 0


class _Initializer(_Tensor):
    """An initializer: the fields before its numbers, the numbers (`size` bytes that `read` gives; 0 where they are few
    and stay with the fields), the fields after them."""

    def __init__(self, tensor: TensorProto, array: np.ndarray | None) -> None:
        """`array` takes the place of what the tensor holds."""
        self.before, self.after, self.size = TensorProto(), TensorProto(), 0
        size = (graphs.raw_size(tensor) or 0) if array is None else array.nbytes
        if array is None and size < SMALL:
            self.before.CopyFrom(tensor)
            return
        if array is not None and size < SMALL:
            self.before.CopyFrom(graphs.tensor(tensor.name, array))
        else:
            kind, shape = tensor.data_type, tensor.dims
            self.read = lambda: tensor.raw_data
            if array is not None:
                kind, shape = graphs.element_of(array.dtype), array.shape
                self.read = lambda: graphs.numbers(array)
            self.before.name, self.before.data_type, self.size = tensor.name, kind, size
            self.before.dims.extend(shape)
        if tensor.HasField("doc_string"):
            self.after.doc_string = tensor.doc_string
        self.after.metadata_props.extend(tensor.metadata_props)

    def tensors(self) -> Iterator[_Tensor]:
        yield self

    def pieces(self) -> list[bytes | _Tensor]:
        before, after = _serialized(self.before), _serialized(self.after)
        if not self.size:
            return [before, after]
        return [before, _head(TensorProto.RAW_DATA_FIELD_NUMBER, self.size), self, after]


class _Message:
    """A message on the way to initializers: what branches off, and the runs of other fields between, in their order."""

    def __init__(
        self, message: Any, values: Values, metadata: Mapping[str, str] | None = None, part: int | None = None
    ) -> None:
        self.parts: list[tuple[int, Any]] = []  # number of the field and what it holds; 0 and a message of other fields
        for field, value in message.ListFields():
            if field.name == "training_info":
                self.parts += [(field.number, _Message(v, values, None, i)) for i, v in enumerate(value)]
            elif field.name in BRANCHES:
                self.parts.append(
                    (field.number, _Message(value, {} if field.name == "initialization" else values, None, part))
                )
            elif field.name == "initializer":
                self.parts += [(field.number, _Initializer(v, values.get((part, v.name)))) for v in value]
            else:
                if not self.parts or self.parts[-1][0]:
                    self.parts.append((0, type(message)()))
                _copy(field.name, value, self.parts[-1][1])
        if metadata is not None:
            self._describe(metadata)

    def _describe(self, metadata: Mapping[str, str]) -> None:
        """The metadata of a model, in place of its own."""
        entries = [StringStringEntryProto(key=key, value=value) for key, value in metadata.items()]
        runs = [held for number, held in self.parts if not number]
        into = next((run for run in runs if run.metadata_props), None)
        if into is None:
            into = ModelProto()
            self.parts.append((0, into))
        del into.metadata_props[:]
        into.metadata_props.extend(entries)

    def tensors(self) -> Iterator[_Tensor]:
        for number, held in self.parts:
            if number:
                yield from held.tensors()
            elif isinstance(held, GraphProto):
                yield from map(_Tensor, graphs.tensors(held))

    def pieces(self) -> list[bytes | _Tensor]:
        """The message: bytes, and tensors that stand for their numbers."""
        made: list[bytes | _Tensor] = []
        for number, held in self.parts:
            inner = held.pieces() if number else [_serialized(held)]
            made += [_head(number, sum(map(_length, inner))), *inner] if number else inner
        return made


def _copy(name: str, value: Any, into: Any) -> None:
    """One field of a message."""
    if hasattr(value, "extend"):
        getattr(into, name).extend(value)
    elif hasattr(value, "CopyFrom"):
        getattr(into, name).CopyFrom(value)
    else:
        setattr(into, name, value)


def _length(piece: bytes | _Tensor) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.size


def _serialized(message: Any) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def _head(number: int, length: int) -> bytes:
    """What stands before a field of a length: its number and wire type 2, and the length (protobuf's encoding)."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    digits = []
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
