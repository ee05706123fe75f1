"""The derivative of a convolution by its filters in the native library: against NumPy, in any geometry; what is
refused, and which graphs it stands for."""

from __future__ import annotations

from typing import Any, NamedTuple

import dlc
import numpy as np
import pytest
from dlc.runtime import filters, native, programs
from native_cases import Array
from onnx import ModelProto, TensorProto, helper
from test_native import run, same

there = pytest.mark.skipif(not native.works(), reason="the native library was not built")
KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


class Geometry(NamedTuple):
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    group: int = 1


def model(how: Geometry, kind: str = "float32", **other: Any) -> ModelProto:
    said = {**how._asdict(), "group": [how.group], **other}
    graph = helper.make_graph(
        [helper.make_node(filters.OPERATOR, ["x", "g"], ["w"], domain=programs.DOMAIN, **said)],
        "g",
        [helper.make_tensor_value_info(name, KINDS[kind], None) for name in ("x", "g")],
        [helper.make_tensor_value_info("w", KINDS[kind], None)],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(programs.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def oracle(x: Array, g: Array, how: Geometry) -> Array:
    """Its definition, one place of the filter after another, in double."""
    x, g = x.astype(np.float64), g.astype(np.float64)
    batch, out, down, across = g.shape
    reach = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip((down, across), how.strides, how.kernel, how.dilations, strict=True)
    ]
    wide = np.zeros((*x.shape[:2], *(max(r, p + n) for r, p, n in zip(reach, how.pads, x.shape[2:], strict=True))))
    top, left = how.pads
    wide[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    wide = wide.reshape(batch, how.group, x.shape[1] // how.group, *wide.shape[2:])
    parts = g.reshape(batch, how.group, out // how.group, down, across)
    w = np.zeros((how.group, out // how.group, x.shape[1] // how.group, *how.kernel))
    for i in range(how.kernel[0]):
        for j in range(how.kernel[1]):
            a, b = i * how.dilations[0], j * how.dilations[1]
            seen = wide[..., a : a + (down - 1) * how.strides[0] + 1 : how.strides[0], :]
            seen = seen[..., b : b + (across - 1) * how.strides[1] + 1 : how.strides[1]]
            w[..., i, j] = np.einsum("ngoij,ngcij->goc", parts, seen)
    return w.reshape(out, x.shape[1] // how.group, *how.kernel)


def close(found: Array, right: Array, terms: int) -> bool:
    """Within what the sums of so many terms may be off, relative to the largest."""
    eps = float(np.finfo(found.dtype).eps)
    scale = max(float(np.abs(right).max(initial=0)), 1.0)
    return found.shape == right.shape and bool(np.abs(found - right).max(initial=0) <= 4 * eps * terms**0.5 * scale)


def drawn(rng: np.random.Generator, kind: str) -> tuple[Array, Array, Geometry]:
    """Any geometry: filters wider than a run of the kernel, out channels that fill vectors and that do not."""
    group = int(rng.choice([1, 1, 1, 2, 3]))
    how = Geometry(
        kernel=(int(rng.integers(1, 5)), int(rng.choice([1, 2, 3, 4, 5, 6, 7, 11]))),
        strides=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        dilations=(int(rng.choice([1, 1, 2, 3])), int(rng.choice([1, 1, 2, 3]))),
        pads=(int(rng.integers(0, 5)), int(rng.integers(0, 5))),
        group=group,
    )
    batch, channels, out = int(rng.integers(1, 11)), int(rng.integers(1, 12)), int(rng.choice([1, 3, 6, 8, 16, 17, 33]))
    windows = int(rng.integers(1, 20)), int(rng.integers(1, 40))
    size = tuple(
        max(1, (n - 1) * s + (k - 1) * d + 1 - p - int(rng.integers(-2, 3)))
        for n, s, k, d, p in zip(windows, how.strides, how.kernel, how.dilations, how.pads, strict=True)
    )
    x = rng.normal(size=(batch, channels * group, *size)).astype(kind)
    return x, rng.normal(size=(batch, out * group, *windows)).astype(kind), how


@there
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("block", range(6))
def test_random_geometries_are_numpys(kind: str, block: int) -> None:
    for seed in range(block * 15, block * 15 + 15):
        x, g, how = drawn(np.random.default_rng(seed), kind)
        [w] = run(model(how, kind), {"x": x, "g": g})
        assert w.dtype == kind and close(w, oracle(x, g, how), g[:, 0].size), (seed, x.shape, g.shape, how)


@there
@pytest.mark.parametrize(
    ("x", "g", "how"),
    [
        ((2, 3, 70, 300), (2, 5, 70, 300), Geometry((3, 3), pads=(1, 1))),  # more than one band of an image
        ((1, 300, 20, 20), (1, 4, 20, 20), Geometry((3, 3), pads=(1, 1))),  # more channels than a piece has
        ((1, 2, 5, 20_000), (1, 4, 1, 20_000), Geometry((5, 1))),  # a row that no piece can hold
        ((70, 2, 1, 1), (70, 3, 1, 1), Geometry((1, 1))),  # many images in a piece
        ((2, 2, 2, 2), (2, 3, 9, 9), Geometry((2, 2), pads=(4, 4))),  # an image smaller than its padding
        ((2, 2, 3, 3), (2, 3, 1, 1), Geometry((3, 3), dilations=(9, 9), pads=(0, 0))),  # filters that reach beyond it
    ],
)
def test_large_and_small_pieces(x: tuple[int, ...], g: tuple[int, ...], how: Geometry) -> None:
    rng = np.random.default_rng(1)
    image, adjoint = rng.normal(size=x).astype("float32"), rng.normal(size=g).astype("float32")
    [w] = run(model(how), {"x": image, "g": adjoint})
    assert close(w, oracle(image, adjoint, how), adjoint[:, 0].size)


@there
@pytest.mark.parametrize(("kind", "out"), [("float32", 17), ("float32", 1), ("float64", 5)])
def test_any_number_of_rows_of_any_length(kind: str, out: int) -> None:
    """Of the filters: so many rows that are summed together, and so many numbers in each, have loops of their own."""
    rng = np.random.default_rng(2)
    for length in range(1, 6):
        for rows in range(1, 9):
            x, g = rng.normal(size=(2, rows, 1, length + 6)), rng.normal(size=(2, out, 1, 7))
            how, feeds = Geometry((1, length)), {"x": x.astype(kind), "g": g.astype(kind)}
            [w] = run(model(how, kind), feeds)
            assert close(w, oracle(feeds["x"], feeds["g"], how), g[:, 0].size), (length, rows)


@there
@pytest.mark.parametrize(
    ("x", "g"),
    [
        ((0, 3, 4, 4), (0, 5, 4, 4)),
        ((2, 3, 4, 4), (2, 5, 0, 4)),
        ((2, 3, 4, 4), (2, 0, 4, 4)),
        ((2, 0, 4, 4), (2, 5, 4, 4)),
        ((2, 3, 0, 4), (2, 5, 2, 4)),
    ],
)
def test_of_nothing(x: tuple[int, ...], g: tuple[int, ...]) -> None:
    [w] = run(model(Geometry((3, 3), pads=(1, 1))), {"x": np.ones(x, np.float32), "g": np.ones(g, np.float32)})
    assert w.shape == (g[1], x[1], 3, 3) and not w.any()


@there
def test_special_values_reach_the_filters_that_saw_them() -> None:
    x, g = np.ones((1, 2, 4, 4), np.float32), np.ones((1, 3, 4, 4), np.float32)
    x[0, 1, 0, 0], g[0, 2, 3, 3] = np.nan, np.inf
    [w] = run(model(Geometry((3, 3), pads=(1, 1))), {"x": x, "g": g})
    with np.errstate(invalid="ignore"):
        right = oracle(x, g, Geometry((3, 3), pads=(1, 1)))
    np.testing.assert_array_equal(w, right.astype(np.float32))
    assert np.isnan(w).any() and np.isinf(w).any() and np.isfinite(w).any()


@there
def test_filters_are_the_same_with_any_number_of_threads_and_again() -> None:
    for seed in range(8):
        x, g, how = drawn(np.random.default_rng(100 + seed), "float32")
        first = run(model(how), {"x": x, "g": g})[0]
        for threads in (1, 2, 3):
            assert same(run(model(how), {"x": x, "g": g}, threads)[0], first), seed


# --- what it refuses

FINE = Geometry((3, 3))


@there
@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel": [3]},
        {"kernel": [3, 3, 3]},
        {"kernel": [0, 3]},
        {"kernel": [-1, 3]},
        {"kernel": [2**62, 3]},
        {"kernel": [2**24, 2**24]},
        {"kernel": [1, 2**31 - 1]},
        {"strides": [0, 1]},
        {"strides": [-(2**63), 1]},
        {"strides": [2**31 - 1, 2**31 - 1]},
        {"dilations": [0, 1]},
        {"dilations": [2**24, 2**24]},
        {"dilations": [2**63 - 1, 1]},
        {"pads": [-1, 0]},
        {"pads": [2**40, 0]},
        {"pads": [1, 1, 1, 1]},
        {"group": [0]},
        {"group": [2]},
        {"group": [1, 1]},
        {"group": [2**31]},
        {"kernel": []},
    ],
    ids=str,
)
def test_wrong_attributes_are_refused(wrong: dict[str, list[int]]) -> None:
    feeds = {"x": np.ones((2, 3, 5, 5), np.float32), "g": np.ones((2, 4, 3, 3), np.float32)}
    with pytest.raises(Exception, match=r"ConvWeights|attribute|Attribute"):
        run(model(FINE, **wrong), feeds)


@there
def test_tensors_of_another_type_or_shape_are_no_images() -> None:
    x, g = np.ones((2, 3, 5, 5), np.float32), np.ones((2, 4, 3, 3), np.float32)
    for feeds in ({"x": x[0], "g": g}, {"x": x, "g": g[:1]}, {"x": x[..., None], "g": g}):
        with pytest.raises(Exception, match="ConvWeights"):
            run(model(FINE), feeds)
    mixed = model(FINE)
    mixed.graph.input[1].type.tensor_type.elem_type = TensorProto.DOUBLE
    with pytest.raises(Exception, match="types"):
        run(mixed, {"x": x, "g": g.astype("float64")})


@there
def test_random_attributes_are_refused_or_computed() -> None:
    """Any integers: an error, or the result that they say, and no reading where nothing is."""
    rng = np.random.default_rng(7)
    x, g = rng.normal(size=(2, 4, 6, 7)).astype("float32"), rng.normal(size=(2, 4, 3, 4)).astype("float32")
    done = 0
    for _ in range(300):
        values = [int(rng.choice([-1, 0, 1, 1, 2, 2, 3, 5, 40, 2**20, 2**31 - 1, 2**63 - 1])) for _ in range(8)]
        a, b, c, d, e, f, h, i = values
        how = Geometry((a, b), (c, d), (e, f), (h, i), int(rng.choice([1, 2])))
        try:
            [w] = run(model(how), {"x": x, "g": g})
        except Exception as problem:
            assert "ConvWeights" in str(problem)
            continue
        done += 1
        if max(values) <= 40:
            assert close(w, oracle(x, g, how), g[:, 0].size)
    assert done > 3


# --- in a step


def spec(layers: str, size: str = "3, 12, 11") -> str:
    return f"""
model m {{
    input  x: float[batch, {size}]
    target y: int[batch]
    h = x |> {layers} |> tanh
    z = rearrange(h, "b c i j -> b (c i j)") |> dense(4)
    y ~ categorical(logits = z)
    output p = softmax(z)
}}
train m {{ minimize loss using sgd(0.1) }}
"""


def trained(text: str, size: tuple[int, ...], **how: Any) -> tuple[dict[str, Array], dict[str, int]]:
    rng = np.random.default_rng(2)
    batch = {"x": rng.normal(size=(6, *size)).astype("float32"), "y": rng.integers(0, 4, 6)}
    trainer = dlc.Trainer(dlc.compile(text), device="cpu", seed=3, **how)
    for _ in range(3):
        trainer.step(batch)
    return {name: trainer.parameters[name] for name in trainer.parameters}, trainer.rewrites


LAYERS = {
    "conv(8, kernel = 3, pad = 1)": 1,
    "conv(8, kernel = 3, stride = 2) |> relu |> conv(5, kernel = 2)": 2,
    "conv(6, kernel = [2, 5], stride = [3, 1], pad = [1, 2])": 1,
    "conv(8, kernel = 3, dilation = 2)": 1,
    "conv(12, kernel = 3, groups = 3)": 1,
    "conv(8, kernel = 1) |> conv(4, kernel = 3, stride = 2, pad = 1)": 1,
    "conv(3, kernel = 3, groups = 3)": 0,  # one out channel of each group
}


@there
@pytest.mark.parametrize("layers", list(LAYERS))
def test_steps_with_and_without_agree(layers: str) -> None:
    text = spec(layers)
    with_, counts = trained(text, (3, 12, 11))
    without, none = trained(text, (3, 12, 11), native=False)
    assert counts.get(filters.FILTERS, 0) == LAYERS[layers] and filters.FILTERS not in none
    for name, value in without.items():
        np.testing.assert_allclose(with_[name], value, rtol=1e-4, atol=1e-6 + 1e-5 * float(np.abs(value).max()))


@there
def test_a_step_with_filters_is_the_same_with_any_number_of_threads() -> None:
    text = spec("conv(8, kernel = 3, pad = 1) |> relu |> conv(20, kernel = 3)")
    first, _ = trained(text, (3, 12, 11), threads=1)
    for name, value in trained(text, (3, 12, 11), threads=2)[0].items():
        assert same(value, first[name])


def test_a_compiler_without_vectors_leaves_it_to_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlc.runtime import rewrite

    monkeypatch.setattr(rewrite, "vector", lambda: 1)
    assert filters.FILTERS not in trained(spec("conv(8, kernel = 3)"), (3, 12, 11))[1]


@there
@pytest.mark.parametrize("block", range(4))
def test_filters_in_squares_are_numpys(block: int) -> None:
    """Of 3 x 3 at a stride of 1, with channels that fill vectors: another form of the same sum."""
    for seed in range(block * 10, block * 10 + 10):
        rng = np.random.default_rng(seed)
        how = Geometry((3, 3), pads=(int(rng.integers(0, 4)), int(rng.integers(0, 4))))
        batch, channels, out = int(rng.integers(1, 9)), int(rng.choice([16, 17, 40])), int(rng.choice([16, 21, 64]))
        windows = int(rng.integers(1, 34)), int(rng.integers(1, 34))
        size = [max(1, n + 2 - p - int(rng.integers(0, 4))) for n, p in zip(windows, how.pads, strict=True)]
        x = rng.normal(size=(batch, channels, *size)).astype("float32")
        g = rng.normal(size=(batch, out, *windows)).astype("float32")
        [w] = run(model(how), {"x": x, "g": g})
        assert close(w, oracle(x, g, how), g[:, 0].size), (seed, x.shape, g.shape, how)
        for threads in (2, 3):
            assert same(run(model(how), {"x": x, "g": g}, threads)[0], w), seed


@there
@pytest.mark.parametrize("value", [np.inf, np.nan, 3e38])
def test_filters_in_squares_with_infinities_are_what_the_definition_says(value: float) -> None:
    rng = np.random.default_rng(3)
    how = Geometry((3, 3), pads=(1, 1))
    x, g = (rng.normal(size=(2, 16, 6, 6)).astype("float32") for _ in range(2))
    x[0, 3, 0, 0], g[1, 5, 5, 5] = value, value
    g *= np.float32(0.05)
    [w] = run(model(how), {"x": x, "g": g})
    with np.errstate(all="ignore"):
        right = oracle(x, g, how)
        short = right.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(w), np.isnan(right))
    np.testing.assert_array_equal(w[np.isinf(right)], short[np.isinf(right)])
    assert np.isfinite(w[np.abs(right) < 1e38]).all()
