"""Start values that a model leaves out, since they are large and whoever made it can make them again: a trainer has its
state, and does not need them twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from onnx import ModelProto, TensorProto

Left = Mapping[tuple["int | None", str], Callable[[], bytes]]  # by the training_info (None: the main graph) and name


def initializers(model: ModelProto) -> Iterator[tuple[int | None, TensorProto]]:
    """Those of the main graph and of the steps, each with the number of its training_info."""
    yield from ((None, held) for held in model.graph.initializer)
    for index, info in enumerate(model.training_info):
        yield from ((index, held) for held in info.algorithm.initializer)


def whole(model: ModelProto, left: Left, but: Collection[tuple[int | None, str]] = ()) -> ModelProto:
    """A copy of the model with what it leaves out, `but` for these; itself where that is nothing."""
    lacking = left.keys() - but
    if not lacking:
        return model
    made = ModelProto()
    made.CopyFrom(model)
    for part, held in initializers(made):
        if (part, held.name) in lacking:
            held.raw_data = left[part, held.name]()
    return made
