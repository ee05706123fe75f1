"""Start values that a model leaves out, since they are large: whoever made it can make them again, or has them as
bytes, where protobuf would take twice their memory. A trainer has its state, and does not need them twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial

from onnx import ModelProto, TensorProto

from . import graphs

# Bytes of a value that is left out, where values have so many together.
LONG, TOGETHER = 1 << 12, 1 << 22
Left = Mapping[tuple["int | None", str], Callable[[], bytes]]  # by the training_info (None: the main graph) and name


def initializers(model: ModelProto) -> Iterator[tuple[int | None, TensorProto]]:
    """Those of the main graph and of the steps, each with the number of its training_info."""
    yield from ((None, held) for held in model.graph.initializer)
    for index, info in enumerate(model.training_info):
        yield from ((index, held) for held in info.algorithm.initializer)


def lightened(
    model: ModelProto, state: Collection[tuple[int | None, str]]
) -> tuple[ModelProto, dict[tuple[int | None, str], Callable[[], bytes]]]:
    """A model without the large values of its state, and what gives them. The one that is given has lost them, too;
    it comes back as it was, and nothing beside it, where the rest is over 2 GB."""
    taken: dict[tuple[int | None, str], Callable[[], bytes]] = {}
    for part, held in initializers(model):
        if (part, held.name) in state and (graphs.raw_size(held) or 0) >= LONG:
            taken[part, held.name] = partial(bytes, held.raw_data)  # of bytes these are the same bytes
            held.ClearField("raw_data")
    data = graphs.serialized(model)
    if data is None:
        _put_back(model, taken, taken)
        return model, {}
    made = ModelProto()
    made.ParseFromString(data)  # what a message has lost keeps its memory until all of it goes
    return made, taken


def whole(model: ModelProto, left: Left, but: Collection[tuple[int | None, str]] = ()) -> ModelProto:
    """A copy of the model with what it leaves out, `but` for these; itself where that is nothing."""
    lacking = left.keys() - but
    if not lacking:
        return model
    made = ModelProto()
    made.CopyFrom(model)
    _put_back(made, left, lacking)
    return made


def _put_back(model: ModelProto, left: Left, lacking: Collection[tuple[int | None, str]]) -> None:
    for part, held in initializers(model):
        if (part, held.name) in lacking:
            held.raw_data = left[part, held.name]()
