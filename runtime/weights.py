"""Tensors by name from a file of weights, without reading their values: `.onnx`, `.safetensors` (also in shards, by
their index) and `.npz`. Nothing is ever unpickled, and no size is believed before it is compared with the file's.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from . import external, graphs, memory, metadata
from .checkpoint import BEST
from .data.load import HEADERS
from .failures import Error
from .file import CompiledFile

INDEX = ".safetensors.index.json"
ENDINGS = ("`.onnx`", "`.safetensors`", "`.safetensors.index.json`", "`.npz`")
HEADER = 100_000_000  # bytes: what the package safetensors reads at most
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64",
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """One tensor of a file; `read` gives its values. `dtype` is None where NumPy has no such type."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic] | None
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * (self.dtype.itemsize if self.dtype is not None else 1)


def tensors(path: Path) -> Mapping[str, Held]:
    """What a file holds: of a file or checkpoint of ours parameters and states of layers, of any other `.onnx` its
    initializers. Raises `Error` E0637 for what cannot be read, E0647, and those of a compiled file."""
    name = path.name.lower()
    try:
        memory.refuse_endless(path)
        if name.endswith(INDEX):
            return _shards(path)
        if name.endswith(".safetensors"):
            return _safetensors(path)
        if name.endswith(".npz"):
            return _npz(path)
        if name.endswith(".onnx"):
            return _onnx(path)
    except OSError as problem:
        raise _unreadable(path, problem.strerror or str(problem)) from None
    raise _unreadable(
        path,
        f"expected {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}",
        help="from PyTorch: `safetensors.torch.save_file(model.state_dict(), FILE)`; pickles are never read",
    )


def _unreadable(path: Path, why: str, help: str | None = None) -> Error:
    return Error("E0637", f"the weights in `{path.name}` cannot be read", where=str(path), notes=[why], help=help)


# --- safetensors


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[metadata.Total, ...]
    data_offsets: tuple[metadata.Total, metadata.Total]


@dataclass(frozen=True)
class _Index:
    weight_map: dict[str, str]


def _safetensors(path: Path) -> dict[str, Held]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, HEADER):
            raise _unreadable(path, f"its header would be longer than the file, of {size} bytes")
        text = file.read(length)
    told = _json(path, text)
    notes = told.pop("__metadata__", None)
    ours = isinstance(notes, dict) and "dlc.checkpoint" in notes
    found = {}
    for name, value in told.items():
        entry = _form(path, value, _Entry, name)
        begin, end = entry.data_offsets
        kind = None if entry.dtype not in DTYPES else _dtype(DTYPES[entry.dtype])
        count = math.prod(entry.shape)
        if not begin <= end <= size - 8 - length or (kind is not None and end - begin != count * kind.itemsize):
            raise _unreadable(path, f"`{name}` has {end - begin} bytes, and {list(entry.shape)} of {entry.dtype}")
        if not ours or _is_state(name):
            found[name] = Held(entry.shape, kind, _slice(path, 8 + length + begin, kind, entry.shape))
    return found


def _is_state(name: str) -> bool:
    """Whether a name of one of our files is that of a parameter or of a layer's state."""
    return "/" not in name and not name.startswith(BEST) and name not in metadata.RESERVED


def _dtype(name: str) -> np.dtype[np.generic]:
    return graphs.dtype_of(TensorProto.BFLOAT16) if name == "bfloat16" else np.dtype(name)


def _slice(
    path: Path, start: int, kind: np.dtype[np.generic] | None, shape: tuple[int, ...]
) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        assert kind is not None
        count = math.prod(shape) * kind.itemsize
        try:
            with path.open("rb") as file:
                file.seek(start)
                data = np.fromfile(file, np.uint8, count)
        except OSError as problem:
            raise _unreadable(path, problem.strerror or str(problem)) from None
        if data.size != count:
            raise _unreadable(path, "it has become shorter")
        return data.view(kind).reshape(shape)

    return read


def _shards(path: Path) -> dict[str, Held]:
    """The tensors that an index names, each from the file beside it that the index gives."""
    index = _form(path, _json(path, path.read_bytes()), _Index, "")
    files: dict[str, dict[str, Held]] = {}
    found = {}
    for name, file in index.weight_map.items():
        if file not in files:
            if os.path.basename(file) != file or "\\" in file or file in ("", ".", ".."):
                raise _unreadable(path, f"`{name}` would lie in `{file}`, outside its folder")
            place = (path.parent / file).resolve()
            if not place.is_relative_to(path.parent.resolve()) or not place.is_file():
                raise _unreadable(path, f"`{name}` would lie in `{file}`, which is not beside it")
            memory.refuse_endless(place)
            files[file] = _safetensors(place)
        if name not in files[file]:
            raise _unreadable(path, f"`{file}` does not hold `{name}`")
        found[name] = files[file][name]
    return found


def _json(path: Path, text: bytes) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _unreadable(path, "its header is no JSON object")
    return found


def _form(path: Path, value: object, form: type, place: str):  # type: ignore[no-untyped-def]
    try:
        return metadata.build(value, form, place)
    except metadata.Unfit as problem:
        raise _unreadable(path, "; ".join(problem.notes())) from None


# --- npz


BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, SyntaxError, TypeError, KeyError, ValueError,
    RuntimeError, OverflowError, struct.error, MemoryError,
)  # fmt: skip


def _npz(path: Path) -> dict[str, Held]:
    found: dict[str, Held] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as data:
                    version = np.lib.format.read_magic(data)
                    shape, _, dtype = HEADERS[version](data)
                    size = info.file_size - data.tell()
                if dtype.hasobject:
                    raise _unreadable(path, f"`{name}` holds Python objects, which are never unpickled")
                if any(one < 0 for one in shape) or math.prod(shape) * dtype.itemsize != size:
                    raise _unreadable(path, f"`{name}` has {size} bytes, and claims {list(shape)} of {dtype}")
                if name in found:
                    raise _unreadable(path, f"two arrays in it are called `{name}`")
                found[name] = Held(tuple(shape), dtype if dtype.kind in "fiub" else None, _member(path, info.filename))
    except BROKEN as problem:
        raise _unreadable(path, str(problem) or type(problem).__name__) from None
    return found


def _member(path: Path, name: str) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(name) as data:
                return np.asarray(np.lib.format.read_array(data, allow_pickle=False))
        except (*BROKEN, OSError) as problem:
            raise _unreadable(path, str(problem) or type(problem).__name__) from None

    return read


# --- onnx


def _onnx(path: Path) -> dict[str, Held]:
    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception:  # of protobuf, which has classes of its own for each way
        raise _unreadable(path, "it is no ONNX model, or was cut short") from None
    if any(entry.key == "dlc.format" for entry in model.metadata_props):
        file = CompiledFile.load(path, predicts=True)
        names = {entry.name for entry in (*file.signature.parameters, *file.signature.states)}
        holds = {slot.name for slot in file.slots if slot.name in names and _is_state(slot.name)}
        return {name: Held(a.shape, a.dtype, _given(a)) for name, a in file.values().items() if name in holds}
    external.inline(model, path.parent, str(path))
    found: dict[str, Held] = {}
    for graph in (model.graph, *(info.algorithm for info in model.training_info)):
        for held in graph.initializer:
            try:
                dtype = graphs.dtype_of(held.data_type)
            except KeyError:
                dtype = None
            if any(size < 0 for size in held.dims) or (
                dtype is not None and graphs.held(held) != graphs.holds(held, dtype)
            ):
                raise _unreadable(path, f"the tensor `{held.name}` does not hold what its shape says")
            kind = dtype if dtype is not None and (dtype.kind in "fiub" or dtype.name == "bfloat16") else None
            found.setdefault(held.name, Held(tuple(held.dims), kind, _initializer(held)))
    return found


def _given(array: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: array


def _initializer(held: TensorProto) -> Callable[[], np.ndarray]:
    return lambda: numpy_helper.to_array(held)
