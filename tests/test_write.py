"""runtime/write.py: the bytes of a file are protobuf's own, and long runs of zeros take no room on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from dlc.runtime.write import LONG, write
from onnx import TensorProto, helper, numpy_helper

EDGE = LONG // 4
ARRAYS = {
    "zeros": np.zeros(4 * EDGE, np.float32),
    "first": np.eye(1, 4 * EDGE, 0, np.float32),
    "last": np.eye(1, 4 * EDGE, 4 * EDGE - 1, np.float32),
    "odd": np.zeros(LONG + 5, np.int8),
    "tail": np.append(np.zeros(LONG + 4, np.int8), np.int8(1)),
    "minus": np.full(4 * EDGE, -0.0, np.float32),
    "short": np.zeros(EDGE - 1, np.float32),
    "end": np.zeros(4 * EDGE, np.float32),
}


def model(order: list[str]) -> onnx.ModelProto:
    held = [numpy_helper.from_array(ARRAYS[name], name) for name in order]
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    node = helper.make_node("Identity", ["zeros"], ["y"])
    return helper.make_model(helper.make_graph([node], "g", [], [value], held))


@pytest.mark.parametrize("order", [list(ARRAYS), list(ARRAYS)[::-1]])
def test_the_bytes_are_those_that_protobuf_writes(order: list[str], tmp_path: Path) -> None:
    made = model(order)
    write(made, tmp_path / "m.onnx", threshold=1 << 40)
    assert (tmp_path / "m.onnx").read_bytes() == made.SerializeToString(deterministic=True)


@pytest.mark.parametrize("order", [list(ARRAYS), list(ARRAYS)[::-1]])
def test_a_file_that_ends_with_zeros_is_as_long_as_it_says(order: list[str], tmp_path: Path) -> None:
    write(model(order), tmp_path / "m.onnx", threshold=0)
    for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), ARRAYS[tensor.name])
        assert (np.signbit(numpy_helper.to_array(tensor)) == np.signbit(ARRAYS[tensor.name])).all()


def test_zeros_take_no_room(tmp_path: Path) -> None:
    many = 1 << 24
    held = [numpy_helper.from_array(np.zeros(many, np.float32), name) for name in ("zeros", "more")]
    made = model(["zeros"])
    del made.graph.initializer[:]
    made.graph.initializer.extend(held)
    (tmp_path / "probe").touch()
    with open(tmp_path / "probe", "r+b") as probe:
        probe.truncate(many)
    stat = (tmp_path / "probe").stat()
    if getattr(stat, "st_blocks", 1) * 512 >= many:
        pytest.skip("this file system keeps room for what was never written")
    write(made, tmp_path / "m.onnx", threshold=1 << 40)
    stat = (tmp_path / "m.onnx").stat()
    assert stat.st_size > 8 * many
    assert stat.st_blocks * 512 < many
