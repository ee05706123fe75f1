"""Convolutions in squares in the native library: against NumPy, of any size; what is refused, and which nodes it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dlc.runtime import graphs, native, programs, rewrite, squares
from native_cases import Array
from onnx import ModelProto, TensorProto, helper
from test_native import run, same
from test_native_filters import spec, trained

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")
wide = pytest.mark.skipif(native.vector() < rewrite.WIDE, reason="the runtime takes squares with wider vectors only")
F = TensorProto.FLOAT


def model(pads: list[int], *turned: int) -> ModelProto:
    said: dict[str, Any] = {"pads": pads, "turned": list(turned)}
    graph = helper.make_graph(
        [helper.make_node(squares.OPERATOR, ["x", "w"], ["y"], domain=programs.DOMAIN, **said)],
        "g",
        [helper.make_tensor_value_info(name, F, None) for name in ("x", "w")],
        [helper.make_tensor_value_info("y", F, None)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(programs.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def oracle(x: Array, w: Array, pads: list[int], turned: int = 0) -> tuple[Array, Array]:
    """Its definition in double, and the same of absolute values: what rounding is measured by."""
    if turned:
        w = w[:, :, ::-1, ::-1].swapaxes(0, 1)
    top, left, bottom, right = pads
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    down, across = wide.shape[2] - 2, wide.shape[3] - 2
    y = np.zeros((x.shape[0], w.shape[0], down, across))
    size = np.zeros_like(y)
    with np.errstate(all="ignore"):
        for i in range(3):
            for j in range(3):
                seen = wide[:, :, i : i + down, j : j + across]
                y += np.einsum("ncpq,oc->nopq", seen, w[:, :, i, j].astype(np.float64))
                size += np.einsum("ncpq,oc->nopq", np.abs(seen), np.abs(w[:, :, i, j]).astype(np.float64))
    return y, size


def drawn(rng: np.random.Generator) -> tuple[Array, Array, list[int], int]:
    batch, channels, out = (
        int(rng.integers(1, 8)),
        int(rng.choice([1, 3, 8, 16, 17, 40])),
        int(rng.choice([1, 5, 16, 33])),
    )
    pads = [int(size) for size in rng.integers(0, 4, 4)]
    size = [max(1, int(rng.integers(1, 30)), 3 - pads[k] - pads[k + 2]) for k in range(2)]
    turned = int(rng.integers(0, 2))
    shape = (channels, out, 3, 3) if turned else (out, channels, 3, 3)
    x, w = rng.normal(size=(batch, channels, *size)), rng.normal(size=shape)
    return x.astype("float32"), w.astype("float32"), pads, turned


@there
@pytest.mark.parametrize("block", range(6))
def test_random_squares_are_numpys(block: int) -> None:
    for seed in range(block * 15, block * 15 + 15):
        x, w, pads, turned = drawn(np.random.default_rng(seed))
        right, _ = oracle(x, w, pads, turned)
        first = run(model(pads, turned), {"x": x, "w": w})[0]
        largest = float(np.abs(right).max())
        assert first.shape == right.shape and np.abs(first - right).max() <= 2e-6 * max(1.0, largest), seed
        for threads in (1, 2, 3):
            assert same(run(model(pads, turned), {"x": x, "w": w}, threads)[0], first), seed


@there
@pytest.mark.parametrize(
    ("x", "out"),
    [
        ((2, 3, 150, 40), 4),  # more than one band of an image
        ((2, 300, 9, 9), 5),  # many channels, of which a piece has all
        ((1, 2, 3, 9_000), 3),  # rows that fill no cache
        ((100, 2, 1, 1), 3),  # many images in a piece
    ],
)
def test_large_and_small_pieces(x: tuple[int, ...], out: int) -> None:
    rng = np.random.default_rng(1)
    image, w = rng.normal(size=x).astype("float32"), rng.normal(size=(out, x[1], 3, 3)).astype("float32")
    right, _ = oracle(image, w, [1, 1, 1, 1])
    [y] = run(model([1, 1, 1, 1], 0), {"x": image, "w": w})
    assert np.abs(y - right).max() <= 3e-6 * np.abs(right).max()


@there
def test_squares_with_infinities_are_computed_by_their_definition() -> None:
    """What saw an infinity or NaN is what the definition says, the rest is not touched by it, and sums that only the
    transformed ones overflow are finite."""
    rng = np.random.default_rng(2)
    for value in (np.inf, -np.inf, np.nan, 3e38):
        for seed in range(6):
            x, w, pads, turned = drawn(np.random.default_rng(seed))
            w = w * np.float32(0.05)
            flat = x.reshape(-1)
            flat[rng.integers(0, flat.size, 2)] = value
            right, _ = oracle(x, w, pads, turned)
            [y] = run(model(pads, turned), {"x": x, "w": w})
            seen = ~np.isfinite(right)
            np.testing.assert_array_equal(y[seen], right[seen].astype(np.float32))
            assert np.isfinite(y[np.abs(right) < 3e38]).all()


@there
@pytest.mark.parametrize("x", [(0, 16, 5, 5), (2, 0, 5, 5), (2, 16, 5, 5)])
@pytest.mark.parametrize("out", [0, 3])
def test_of_nothing(x: tuple[int, ...], out: int) -> None:
    image, w = np.ones(x, np.float32), np.ones((out, x[1], 3, 3), np.float32)
    [y] = run(model([0, 0, 0, 0], 0), {"x": image, "w": w})
    assert y.shape == (x[0], out, 3, 3)
    np.testing.assert_array_equal(y, np.full(y.shape, 9.0 * x[1], np.float32))


# --- what it refuses


@there
@pytest.mark.parametrize(
    "wrong",
    [
        {"pads": [1, 1]},
        {"pads": [-1, 1, 1, 1]},
        {"pads": [2**40, 0, 0, 0]},
        {"turned": [2]},
        {"turned": [-1]},
        {"turned": []},
        {"turned": [1]},  # then the filters have other channels
    ],
    ids=str,
)
def test_wrong_attributes_of_squares_are_refused(wrong: dict[str, list[int]]) -> None:
    said = {"pads": [1, 1, 1, 1], "turned": [0], **wrong}
    feeds = {"x": np.ones((2, 3, 5, 5), np.float32), "w": np.ones((4, 3, 3, 3), np.float32)}
    with pytest.raises(Exception, match=r"Conv|attribute|Attribute"):
        run(model(said["pads"], *said["turned"]), feeds)


@there
@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((2, 3, 5, 5), (4, 2, 3, 3)),
        ((2, 3, 5, 5), (4, 3, 3, 1)),
        ((2, 3, 5, 5), (4, 3, 3)),
        ((3, 5, 5), (4, 3, 3, 3)),
        ((2, 3, 2, 5), (4, 3, 3, 3)),
    ],
)
def test_tensors_that_do_not_agree_are_refused(x: tuple[int, ...], w: tuple[int, ...]) -> None:
    with pytest.raises(Exception, match="Conv"):
        run(model([0, 0, 0, 0], 0), {"x": np.ones(x, np.float32), "w": np.ones(w, np.float32)})


# --- in a graph


def convolution(w: str = "w", shape: tuple[int, ...] = (16, 16, 3, 3), **said: Any) -> list[str]:
    """Operators of a model of one convolution of x after the rewrite."""
    attributes: dict[str, Any] = {"pads": [1, 1, 1, 1], "kernel_shape": shape[2:], **said}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", w], ["y"], **attributes)],
        "g",
        [helper.make_tensor_value_info("x", F, ["n", 16 * said.get("group", 1), 8, 8]),
         helper.make_tensor_value_info("w", F, shape)],
        [helper.make_tensor_value_info("y", F, None)],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    shapes = graphs.inferred(made)
    squares.squared(made, shapes, graphs.known(made, shapes))
    return [node.op_type for node in made.graph.node]


def test_which_convolutions_it_is() -> None:
    assert convolution() == convolution(auto_pad="NOTSET", dilations=[1, 1], group=1) == [squares.OPERATOR]
    for said in ({"strides": [2, 2]}, {"dilations": [2, 1]}, {"auto_pad": "SAME_UPPER"}, {"pads": [-1, 0, 0, 0]}):
        assert convolution(**said) == ["Conv"], said
    assert convolution(group=2, shape=(16, 16, 3, 3)) == ["Conv"]
    for shape in ((16, 16, 5, 5), (16, 16, 1, 1), (8, 16, 3, 3), (300, 16, 3, 3)):
        assert convolution(shape=shape) == ["Conv"], shape


LAYERS = {
    "conv(16, kernel = 3, pad = 1) |> relu |> conv(20, kernel = 3, pad = 1)": 2,
    "conv(16, kernel = 3) |> conv(16, kernel = 3, stride = 2) |> conv(16, kernel = 2)": 0,
}


@wide
@pytest.mark.parametrize("layers", list(LAYERS))
def test_steps_with_squares_and_without_agree(layers: str) -> None:
    """Forwards and back, as the filters are and turned."""
    text = spec(layers)
    with_, counts = trained(text, (3, 12, 11), threads=1)
    without, none = trained(text, (3, 12, 11), native=False)
    assert counts.get(squares.SQUARES, 0) == LAYERS[layers] and squares.SQUARES not in none
    for name, value in trained(text, (3, 12, 11), threads=2)[0].items():
        assert same(value, with_[name])
        largest = float(np.abs(value).max())
        np.testing.assert_allclose(with_[name], without[name], rtol=1e-4, atol=1e-6 + 1e-5 * largest)
