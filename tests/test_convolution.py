"""Layers and functions that slide windows: against PyTorch, and what a spec is told when they do not fit."""

from __future__ import annotations

from pathlib import Path

import dlc
import numpy as np
import onnxruntime
import pytest
from dlc.diagnostics import CompileError
from dlc.ir import interpret
from dlc.lower.model import start_values

torch = pytest.importorskip("torch")
functional = torch.nn.functional
pytestmark = pytest.mark.oracle

SPACE = {1: "11", 2: "9, 10", 3: "5, 6, 7"}
CONV = (functional.conv1d, functional.conv2d, functional.conv3d)
TURNED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
ADAPTIVE = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)


def outputs(body: str, x, precision: str = "float64", batch: str = "batch"):
    """`out` of a spec over x by the interpreter and by stock ONNX Runtime, and its parameters by path."""
    space = ", ".join(str(size) for size in x.shape[1:])
    program = dlc.compile(
        f"model m {{\n input x: float[{batch}, {space}]\n {body}\n output out = z\n}}", precision=precision
    )
    module = program.module
    values = start_values(module, 0)
    rng = np.random.default_rng(1)
    values = {path: rng.uniform(-1, 1, value.shape) for path, value in values.items()}
    [mine] = interpret.evaluate([module.roots("output/")["output/out"]], values | {"x": x})
    model = program.model_proto()
    kind = np.dtype(precision)
    for tensor in model.graph.initializer:
        if tensor.name in values:
            tensor.raw_data = values[tensor.name].astype(kind).tobytes()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [stock] = session.run(["out"], {"x": x.astype(kind)})
    np.testing.assert_allclose(
        stock, mine, **({"rtol": 1e-4, "atol": 1e-4} if precision == "float32" else {"rtol": 1e-11, "atol": 1e-11})
    )
    return mine, {path: torch.tensor(value) for path, value in values.items()}


def drawn(n: int, channels: int = 4):
    sizes = [int(size) for size in SPACE[n].split(",")]
    return np.random.default_rng(n).uniform(-2, 2, (3, channels, *sizes))


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        ("kernel = 3", {}),
        ("kernel = 3, stride = 2, pad = 1", {"stride": 2, "padding": 1}),
        ("kernel = 2, dilation = 2, groups = 2, bias = false", {"dilation": 2, "groups": 2}),
        ("kernel = 1, stride = 2", {"stride": 2}),
        ('kernel = 3, pad = "same"', {"padding": "same"}),
        ("kernel = 4, groups = 4, pad = 2", {"groups": 4, "padding": 2}),
    ],
)
def test_conv_is_that_of_torch(n, arguments, how, precision):
    x = drawn(n)
    found, values = outputs(f"f = conv(8, {arguments}); z = f(x)", x, precision)
    expected = CONV[n - 1](torch.tensor(x), values["f.W"], values.get("f.b"), **how)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        ("kernel = 3", {}),
        ("kernel = 3, stride = 2, pad = 1", {"stride": 2, "padding": 1}),
        ("kernel = 4, stride = 2, pad = 1, output_pad = 1", {"stride": 2, "padding": 1, "output_padding": 1}),
        ("kernel = 2, dilation = 2, groups = 2, bias = false", {"dilation": 2, "groups": 2}),
        ("kernel = 1, stride = 3", {"stride": 3}),
    ],
)
def test_conv_transpose_is_that_of_torch(n, arguments, how, precision):
    x = drawn(n)
    found, values = outputs(f"f = conv_transpose(6, {arguments}); z = f(x)", x, precision)
    expected = TURNED[n - 1](torch.tensor(x), values["f.W"], values.get("f.b"), **how)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-11, atol=1e-11)


def test_padding_before_and_after():
    x = drawn(2)
    found, values = outputs("f = conv(3, 3, pad = [[1, 0], [0, 2]]); z = f(x)", x)
    padded = functional.pad(torch.tensor(x), (0, 2, 1, 0))
    np.testing.assert_allclose(found, functional.conv2d(padded, values["f.W"], values["f.b"]), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("size", "stride"), [(9, 1), (9, 2), (10, 2), (10, 3)])
def test_same_padding_gives_size_over_stride_rounded_up(size, stride):
    x = np.random.default_rng(0).uniform(-1, 1, (2, 3, size))
    found, _ = outputs(f'z = x |> conv(2, 3, stride = {stride}, pad = "same")', x)
    assert found.shape == (2, 2, -(-size // stride))
    found, _ = outputs(f'z = x |> conv_transpose(2, 3, stride = {stride}, pad = "same")', x)
    assert found.shape == (2, 2, size * stride)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_sizes_may_be_free(precision):
    text = """model m {{
    input x: float[batch, 3, h, w]
    output a = x |> conv(4, 3, stride = 2, pad = 1) |> relu |> max_pool(3, stride = 2, pad = 1) |> conv(2, 3, pad = 1)
    output b = x |> conv_transpose(2, 3, stride = 2, pad = 1, output_pad = 1) |> avg_pool(2)
    output c = grad(sum((x |> conv(4, 3, stride = 2, pad = 1) |> max_pool(2, stride = 1))^2), x)
}}"""
    program = dlc.compile(text.format(), precision=precision)
    module = program.module
    session = onnxruntime.InferenceSession(program.model_proto().SerializeToString())
    values = dict(start_values(module, 0))
    for shape in ((2, 3, 8, 8), (1, 3, 9, 12), (3, 3, 12, 7)):
        x = np.random.default_rng(2).uniform(-1, 1, shape)
        roots = module.roots("output/")
        expected = interpret.evaluate(list(roots.values()), values | {"x": x})
        found = session.run([name.removeprefix("output/") for name in roots], {"x": x.astype(precision)})
        for a, b in zip(found, expected, strict=True):
            tolerance = 1e-4 if precision == "float32" else 1e-11
            assert np.allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_pooling_is_that_of_torch(n, precision):
    x = drawn(n)
    given = torch.tensor(x)
    top = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[n - 1]
    mean = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[n - 1]
    for body, expected in (
        ("max_pool(2)", top(given, 2)),
        ("max_pool(3, stride = 2, pad = 1)", top(given, 3, 2, 1)),
        ("max_pool(2, stride = 1, dilation = 2)", top(given, 2, 1, 0, 2)),
        ("avg_pool(2)", mean(given, 2)),
        ("avg_pool(3, stride = 2, pad = 1)", mean(given, 3, 2, 1)),
        ("avg_pool(3, stride = 2, pad = 1, count_pad = false)", mean(given, 3, 2, 1, count_include_pad=False)),
        ("global_avg_pool()", given.flatten(2).mean(2)),
        ("global_max_pool()", given.flatten(2).amax(2)),
        ("adaptive_avg_pool(3)", ADAPTIVE[n - 1](given, 3)),
        ("adaptive_avg_pool()", ADAPTIVE[n - 1](given, 1)),
        ("maxout(2, axis = 1)", given.reshape(3, 2, 2, *x.shape[2:]).amax(1)),
    ):
        found, _ = outputs(f"z = x |> {body}", x, precision)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-11, atol=1e-11, err_msg=body)


@pytest.mark.parametrize(("n", "tile", "stride", "pad"), [(1, 3, 1, 1), (1, 2, 2, 0), (2, 2, 1, 1), (2, 3, 1, 1)])
def test_tiled_convolution_place_by_place(n, tile, stride, pad):
    sizes = (12,) * n
    x = np.random.default_rng(3).uniform(-1, 1, (2, 3, *sizes))
    body = f"f = tiled_conv(4, 3, tile = {tile}, stride = {stride}, pad = {pad}); z = f(x)"
    if stride == 2:  # five windows of three
        x = x[..., :11]
        body = body.replace("conv(4, 3", "conv(4, 4")
    found, values = outputs(body, x)
    whole = {
        place: CONV[n - 1](torch.tensor(x), values[f"f.part[{place}].W"], values[f"f.part[{place}].b"], stride, pad)
        for place in (",".join(str(i) for i in index) for index in np.ndindex(*[tile] * n))
    }
    for index in np.ndindex(*found.shape[2:]):
        part = whole[",".join(str(i % tile) for i in index)]
        np.testing.assert_allclose(found[(..., *index)], part[(..., *index)], rtol=1e-11, atol=1e-11)


def test_equal_greatest_values_share_the_derivative():
    text = "model m {\n input x: float[1, 1, 4]\n output g = grad(sum(max_pool(x, 2, stride = 1)), x)\n}"
    program = dlc.compile(text)
    [g] = interpret.evaluate([program.module.roots("output/")["output/g"]], {"x": np.array([[[1.0, 1.0, 0.0, 2.0]]])})
    assert g.tolist() == [[[0.5, 1.5, 0.0, 1.0]]]


def test_no_derivative_leads_through_the_choice_of_a_maximum():
    """A first derivative of max_pool depends on x by jumps alone."""
    with pytest.raises(CompileError) as caught:
        dlc.compile(
            "model m {\n input x: float[b, 1, 4]\n g = grad(sum(max_pool(x, 2)), x)\n output h = grad(sum(g), x)\n}"
        )
    assert caught.value.code == "E0402"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("conv(8, kernel = 0)(x)", "E0366"),
        ("conv(8, kernel = 2.5)(x)", "E0366"),
        ("conv(8, stride = [1])(x)", "E0366"),
        ("conv(8, pad = [[1, 2, 3], [1, 1]])(x)", "E0366"),
        ("conv(8, pad = -1)(x)", "E0366"),
        ('conv(8, pad = "full")(x)', "E0366"),
        ("convolve(x, x, groups = 0)", "E0366"),
        ("conv(8, groups = 4)(x)", "E0361"),
        ("conv(9, groups = 2)(x)", "E0361"),
        ("conv(8, kernel = 11)(x)", "E0362"),
        ("conv(8, kernel = 6, dilation = 2)(x)", "E0362"),
        ("conv(8)(x[:, :, 0, 0])", "E0360"),
        ("convolve(x, x[0])", "E0360"),
        ("convolve(x, x[:, 0:3])", "E0361"),
        ("max_pool(x, 11)", "E0362"),
        ("max_pool(x, 2, pad = 2)", "E0365"),
        ("conv_transpose(8, stride = 2, output_pad = 2)(x)", "E0364"),
        ("conv_transpose(8, 1, pad = 8)(x)", "E0362"),
        ("convolve_transpose(x, x[0])", "E0361"),
        ("convolve_transpose(x, 1.0)", "E0361"),
        ("avg_pool(x, 2, count_pad = 3)", "E0302"),
        ("tiled_conv(4, tile = 3)(x)", "E0342"),
    ],
)
def test_what_does_not_fit_is_said(body, code):
    with pytest.raises(CompileError) as caught:
        dlc.compile(f"model m {{\n input x: float[4, 6, 10, 10]\n output z = {body}\n}}")
    assert [d.code for d in caught.value.diagnostics] == [code]


@pytest.mark.long
def test_a_resnet_18_learns_four_images():
    """As He et al. 2016 print it, at 224 x 224, with ten classes: 11.2 million parameters, four updates."""
    path = Path(__file__).parent / "specs_design" / "resnet18.dl"
    trainer = dlc.Trainer(dlc.compile(path, classes=10, lr=0.005, steps=40), device="cpu", seed=0)
    assert sum(np.size(value) for value in trainer.parameters.values()) == 11_181_642
    x = np.random.default_rng(0).normal(size=(4, 3, 224, 224)).astype(np.float32)
    losses = [trainer.step({"image": x, "y": np.arange(4)})["loss"] for _ in range(4)]
    assert losses[-1] < 0.2 * losses[0]
