"""ONNX external data: tensors in a file beside the model. No location may leave the model's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from onnx import ModelProto, TensorProto

from . import graphs
from .failures import Error

MARK = b"dlc.checksum "  # begins a file beside a model of ours; the checksum of that model follows


def model_tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor of the main graph and of the graphs of `training_info`."""
    yield from graphs.tensors(model.graph)
    for info in model.training_info:
        yield from graphs.tensors(info.algorithm)
        yield from graphs.tensors(info.initialization)


def inline(model: ModelProto, folder: Path | None, name: str, *, of: str | None = None) -> None:
    """Reads every external tensor into the model. Sizes are checked before a byte is read.

    `of`: the checksum that a file of ours beside it must begin with. Raises `Error` E0716 for a location outside
    `folder` (None: nothing may lie outside), E0717 for data that are missing, too short, or not as long as the tensor,
    E0756 for those of another save.
    """
    seen: set[Path] = set()
    for tensor in model_tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        # What is no UTF-8 comes as bytes; no name of a file is that.
        entries = {entry.key: entry.value if isinstance(entry.value, str) else "\0" for entry in tensor.external_data}
        path = locate(entries.get("location", ""), folder, tensor.name, name)
        if of is not None and path not in seen:
            seen.add(path)
            _one_save(path, of, name)
        data = _read(tensor, path, entries, name)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT
        tensor.raw_data = data


def locate(location: str, folder: Path | None, tensor: str, name: str) -> Path:
    """The file that a location means; symbolic links are followed before the folder is compared."""
    unsafe = Error(
        "E0716",
        f"the data of `{tensor}` lie outside the model's folder",
        where=name,
        notes=[f"location: {location!r}"],
        help="do not trust this file; external data must be a file in the model's own folder",
    )
    if folder is None or not location or "\0" in location or "\\" in location:
        raise unsafe
    if os.path.isabs(location) or PureWindowsPath(location).drive or ".." in Path(location).parts:
        raise unsafe
    try:
        root = folder.resolve()
        path = (root / location).resolve()
    except (OSError, RuntimeError):  # a link that leads back to itself
        raise unsafe from None
    if not path.is_relative_to(root):
        raise unsafe
    return path


def _one_save(path: Path, of: str, name: str) -> None:
    """Raises `Error` E0756 where a file of ours beside a model is of another save. Other tools write no mark."""
    wanted = MARK + of.encode()
    try:
        with path.open("rb") as data:
            found = data.read(len(wanted))
    except OSError:
        return  # whoever reads it will say so
    if found.startswith(MARK) and found != wanted:
        raise Error(
            "E0756",
            f"`{path.name}` is not from the same save as the model",
            where=name,
            notes=[f"found {found[len(MARK) :].decode('ascii', 'replace')}", f"expected {of}"],
            help="copy both files again from one place, or save the model again",
        )


def _read(tensor: TensorProto, path: Path, entries: dict[str, str], name: str) -> bytes:
    def broken(why: str) -> Error:
        return Error(
            "E0717",
            f"the data of `{tensor.name}` cannot be read from `{path.name}`",
            where=name,
            notes=[why],
            help="keep NAME.onnx and NAME.onnx.data together, from the same save",
        )

    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
    except ValueError:
        raise broken("its offset or length is not a number") from None
    try:
        item = graphs.dtype_of(tensor.data_type).itemsize
    except KeyError:
        raise broken(f"element type {tensor.data_type} is unknown") from None
    size = item
    for dim in tensor.dims:
        if dim < 0:
            raise broken("a dimension is negative")
        size *= dim
    if length == -1:
        length = size
    if length != size:
        raise broken(f"found a length of {length} bytes, expected {size} for shape {list(tensor.dims)}")
    try:
        if not path.is_file():
            raise broken("there is no such file")
        if offset < 0 or offset + length > path.stat().st_size:
            raise broken(f"found {path.stat().st_size} bytes, expected {length} at offset {offset}")
        with path.open("rb") as data:
            data.seek(offset)
            return data.read(length)
    except OSError as problem:
        raise broken(problem.strerror or str(problem)) from None
