"""The message of a file, which can be put away: protobuf takes six times the memory of its bytes for a graph."""

from __future__ import annotations

from onnx import ModelProto

MANY = 1_000  # nodes: the message of fewer takes little


class Frame:
    """Gives the message. Threads may share it: nobody changes the message, and who has it keeps it."""

    def __init__(self, message: ModelProto) -> None:
        self._message: ModelProto | None = message
        self._data: bytes | None = None
        graphs = [message.graph, *(graph for i in message.training_info for graph in (i.algorithm, i.initialization))]
        self._many = sum(len(graph.node) for graph in graphs) >= MANY

    def __call__(self) -> ModelProto:
        message = self._message
        if message is None:
            message = ModelProto()
            message.ParseFromString(self._data)
            self._message = message
        return message

    def fold(self) -> None:
        """Puts the message away as bytes until it is asked for again, which takes a hundredth of a second for a
        thousand nodes."""
        message = self._message
        if message is None or not self._many:
            return
        if self._data is None:
            try:
                self._data = message.SerializeToString()
            except Exception:  # protobuf has no class of its own for a message over 2 GB
                return
        self._message = None
