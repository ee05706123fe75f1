"""The message of a file: read, and put away while nobody asks for it, since protobuf takes six times the memory of its
bytes for a graph."""

from __future__ import annotations

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from . import graphs
from .failures import Error

MANY = 1_000  # nodes: the message of fewer takes little


class Frame:
    """Gives the message. Threads may share it: nobody changes the message, and who has it keeps it."""

    def __init__(self, message: ModelProto) -> None:
        self._message: ModelProto | None = message
        self._data: bytes | None = None
        parts = [message.graph, *(graph for i in message.training_info for graph in (i.algorithm, i.initialization))]
        self._many = sum(len(graph.node) for graph in parts) >= MANY

    def __call__(self) -> ModelProto:
        message = self._message
        if message is None:
            message = ModelProto()
            message.ParseFromString(self._data)
            self._message = message
        return message

    def replace(self, message: ModelProto) -> None:
        """Holds another message from now on, which says the same."""
        self._message, self._data = message, None

    def fold(self) -> None:
        """Puts the message away as bytes until it is asked for again, which takes a hundredth of a second for a
        thousand nodes."""
        message = self._message
        if message is None or not self._many:
            return
        if self._data is None:
            self._data = graphs.serialized(message)
            if self._data is None:
                return
        self._message = None


def parsed(data: bytes, name: str) -> ModelProto:
    """Raises `Error` E0711 for what is no model, E0771 for one with names that are no text."""
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        broken = True
    else:
        broken = not model.HasField("graph") or not model.ir_version
    if broken:
        raise Error(
            "E0711",
            "this is not an ONNX model, or it was cut short",
            where=name,
            notes=[f"found {len(data)} bytes"],
            help="a .dl spec is compiled first: dlc compile SPEC.dl",
        )
    wrong = graphs.undecoded(model)
    if wrong is not None:
        raise Error(
            "E0771",
            "a name or text in the file is not UTF-8",
            where=name,
            notes=[f"found {wrong[1][:40]!r} as `{wrong[0]}`"],
            help="the file is damaged: compile the spec again",
        )
    return model
