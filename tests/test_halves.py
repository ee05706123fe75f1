"""Half precision: products of 16 bits in a file of float32, beside NumPy, PyTorch's autocast and float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlc
import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from dlc.runtime import Trainer, graphs
from onnx import ModelProto, NodeProto, TensorProto

SPECS = Path(__file__).parent.parent / "specs"
KINDS = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
ELEMENTS = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
MLP = """
model m(hidden = 7) {
    input  x: float[batch, 5]
    target y: int[batch]
    h = x |> dense(hidden) |> tanh
    z = h |> dense(3)
    y ~ categorical(logits = z)
    output z = z
}
train m { minimize loss using sgd(0.5); batch: 16; seed: 1 }
"""
RNG = np.random.default_rng(5)
DATA = {"x": RNG.normal(size=(16, 5)).astype(np.float32), "y": RNG.integers(0, 3, 16)}


def trained(text: str | Path, precision: str, **options: Any) -> Trainer:
    return Trainer(dlc.compile(text, precision=precision), device="cpu", **options)


def steps(one: Trainer, count: int, data: dict[str, Any] = DATA) -> list[float]:
    return [one.step(data)["loss"] for _ in range(count)]


# --- the form


def everything(model: ModelProto) -> list[NodeProto]:
    parts = [model.graph, *(info.algorithm for info in model.training_info)]
    return [node for graph in parts for node in graphs.nodes(graph)]


def target(node: NodeProto | None) -> int | None:
    return (
        next((one.i for one in node.attribute if one.name == "to"), None) if node and node.op_type == "Cast" else None
    )


def halved(node: NodeProto, maker: dict[str, NodeProto], kind: str) -> bool:
    """Whether what a node reads was rounded, moves aside."""

    def made(name: str) -> NodeProto | None:
        found = maker.get(name)
        while found is not None and found.op_type in (
            "Transpose",
            "Reshape",
            "Expand",
            "Squeeze",
            "Unsqueeze",
            "Slice",
        ):
            found = maker.get(found.input[0])
        return found

    sources = [made(name) for name in node.input[:2]]
    return all(target(one) == 1 and target(maker.get(one.input[0])) == ELEMENTS[kind] for one in sources if one)


def chooses(made: NodeProto | None) -> bool:
    """Whether an operand is a constant, the same number everywhere, or made of conditions."""
    return made is None or made.op_type == "Expand" or (target(made) == 1 and "Cast" not in made.input[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", ["digits", "cnn", "characters", "gan", "tagger", "vae"])
def test_products_of_the_model_alone_are_in_16_bits(spec: str, kind: str) -> None:
    model = dlc.compile(SPECS / f"{spec}.dl", precision=kind).model_proto()
    nodes = everything(model)
    maker = {name: node for node in nodes for name in node.output}
    products = [node for node in nodes if node.op_type in PRODUCTS]
    made_of = [halved(node, maker, kind) for node in products]
    assert sum(made_of) >= 5
    for node, low in zip(products, made_of, strict=True):
        if not low:  # a sum over rows, times ones; rows of a table, by a matrix of 0 and 1
            assert any(chooses(maker.get(name)) for name in node.input[:2]), node
    held = [one for graph in [model.graph, *(i.algorithm for i in model.training_info)] for one in graph.initializer]
    assert not {one.data_type for one in held} & set(ELEMENTS.values())
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert props["dlc.precision"] == kind


def test_conversions_are_shared() -> None:
    """What several products read is converted once: two matrices, what they multiply, and what flows back."""
    nodes = everything(dlc.compile(MLP, precision="bfloat16").model_proto())
    down = [node.input[0] for node in nodes if target(node) == ELEMENTS["bfloat16"]]
    assert len(down) == len(set(down))
    assert len(down) == 11  # x, W, x W, h, V, h V, dz, hᵀ dz, dz Vᵀ, dh, xᵀ dh


@pytest.mark.parametrize("kind", KINDS)
def test_products_of_products(kind: str) -> None:
    """Operands that are rounded already are rounded no more, and no product becomes its own operand."""
    model = dlc.compile("model m { input x: float[4, 4]; y = (x @ x) @ (x @ x); output y = y @ y }", precision=kind)
    nodes = everything(model.model_proto())
    assert sum(node.op_type == "MatMul" for node in nodes) == 3
    assert sum(target(node) == ELEMENTS[kind] for node in nodes) == 4


def test_mixed_is_float16() -> None:
    one, other = (dlc.compile(MLP, precision=name).model_proto() for name in ("mixed", "float16"))
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", ["DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL"])
def test_stock_onnx_runtime_predicts_the_same_at_every_level(kind: str, level: str, tmp_path: Path) -> None:
    one = trained(MLP, kind)
    steps(one, 3)
    path = one.save(tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [z] = session.run(["z"], {"x": DATA["x"]})
    np.testing.assert_allclose(z, one.predict({"x": DATA["x"]})["z"], rtol=1e-5, atol=1e-6)
    whole = trained(MLP, "float32", start="file")
    for name, value in one.parameters.items():
        whole.parameters[name] = value
    assert np.abs(z - whole.predict({"x": DATA["x"]})["z"]).max() > 1e-5  # it is not float32


# --- numbers


def rounder(kind: str) -> Any:
    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        low = [x.astype(np.float32).astype(KINDS[kind]).astype(np.float64) for x in (a, b)]
        return (low[0] @ low[1]).astype(np.float32).astype(KINDS[kind]).astype(np.float64)

    return product


def by_numpy(p: dict[str, np.ndarray], kind: str, scale: float) -> tuple[float, dict[str, np.ndarray]]:
    """The loss and the parameters after a step of MLP, whose products round."""
    dot = rounder(kind)
    x, y = DATA["x"].astype(float), DATA["y"]
    w, b, v, c = (p[name].astype(float) for name in ("dense.W", "dense.b", "dense[1].W", "dense[1].b"))
    h = np.tanh(dot(x, w) + b)
    z = dot(h, v) + c
    share = np.exp(z - z.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    loss = -np.log(share[np.arange(16), y]).mean()
    dz = scale * (share - np.eye(3)[y]) / 16
    dh = dot(dz, v.T) * (1 - h**2)
    found = {"dense.W": dot(x.T, dh), "dense.b": dh.sum(0), "dense[1].W": dot(h.T, dz), "dense[1].b": dz.sum(0)}
    return float(loss), {name: p[name] - 0.5 * g / scale for name, g in found.items()}


@pytest.mark.parametrize("native", [False, None])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_that_of_numpy_with_products_that_round(kind: str, native: bool | None) -> None:
    """Where a sum in float32 and one in float64 fall on two sides of a rounding, one last digit of 16 bits differs."""
    one = trained(MLP, kind, native=native)
    digit = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[kind]
    for _ in range(5):
        before = {name: np.array(value) for name, value in one.parameters.items()}
        loss, after = by_numpy(before, kind, 2.0**16 if kind == "float16" else 1.0)
        assert one.step(DATA)["loss"] == pytest.approx(loss, rel=digit / 100)
        for name, value in after.items():
            moved, mine = value - before[name], one.parameters[name] - before[name]
            np.testing.assert_allclose(mine, moved, rtol=2 * digit, atol=digit * np.abs(moved).max() / 4)
            exact = np.isclose(mine, moved, rtol=1e-4, atol=1e-7)
            assert exact.mean() > 0.9, (name, exact.mean())


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_that_of_autocast(kind: str) -> None:
    """PyTorch rounds a layer after its bias, and here before: the losses differ by less than a digit of 16 bits."""
    torch = pytest.importorskip("torch")
    one = trained(MLP, kind)
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    with torch.no_grad():
        for layer, name in ((net[0], "dense"), (net[2], "dense[1]")):
            layer.weight.copy_(torch.tensor(np.array(one.parameters[f"{name}.W"]).T))
            layer.bias.copy_(torch.tensor(np.array(one.parameters[f"{name}.b"])))
    rule = torch.optim.SGD(net.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu", enabled=kind == "float16")
    x, y = torch.tensor(DATA["x"]), torch.tensor(DATA["y"])
    theirs = []
    for _ in range(40):
        rule.zero_grad()
        with torch.autocast("cpu", dtype=getattr(torch, kind)):
            z = net(x)
        loss = torch.nn.functional.cross_entropy(z.float(), y)
        scaler.scale(loss).backward()
        scaler.step(rule)
        scaler.update()
        theirs.append(float(loss.detach()))
    ours = steps(one, 40)
    assert theirs[-1] < 0.6 * theirs[0]
    np.testing.assert_allclose(ours, theirs, rtol={"float16": 2e-3, "bfloat16": 1.5e-2}[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_digits_are_learned_as_in_float32(kind: str) -> None:
    with np.load(SPECS / "data" / "digits.npz") as data:
        held = dict(data)
    accuracy = {
        name: trained(SPECS / "digits.dl", name).fit(held, validation=0.2, epochs=12).final["validation"]["accuracy"]
        for name in ("float32", kind)
    }
    assert accuracy["float32"] >= 0.97 and accuracy[kind] >= accuracy["float32"] - 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rule",
    [
        "momentum(0.1)",
        "adamw(1e-2)",
        "sam(sgd(0.1))",
        "lookahead(adam(1e-2))",
        "accumulate(adam(1e-2), 2)",
        "muon(2e-2)",
    ],
)
def test_every_rule_trains(rule: str, kind: str) -> None:
    """State of an optimizer and its own products are in float32: the first steps come to what float32 comes to."""
    text = MLP.replace("sgd(0.5)", f"matrices({rule}, adam(1e-2))" if "muon" in rule else rule)
    losses = {name: steps(trained(text, name), 12) for name in ("float32", kind)}
    np.testing.assert_allclose(losses[kind], losses["float32"], rtol=0.03)
    assert losses[kind][-1] < losses[kind][0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_needs_its_digits_keeps_them(kind: str) -> None:
    """Linear algebra and Fourier transforms of the library: their products are in float32, those of the text not."""
    text = "model m {{ input x: float[batch, 4, 4]; a = {}; output y = a }}"
    x = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    spd = x @ x.transpose(0, 2, 1) + 4 * np.eye(4, dtype=np.float32)
    for body, exact in (("cholesky(x)", True), ("inverse(x)", True), ("x @ x", False)):
        found = [
            Trainer(dlc.compile(text.format(body), precision=p), device="cpu").predict({"x": spd})["y"]
            for p in ("float32", kind)
        ]
        assert np.allclose(*found, rtol=1e-6, atol=1e-6) == exact, body


def test_the_command_takes_them(run: Any, tmp_path: Path) -> None:
    spec = tmp_path / "m.dl"
    spec.write_text(MLP, "utf-8")
    for kind in ("float16", "bfloat16", "mixed"):
        status, out, err = run("compile", spec, "-o", tmp_path / f"{kind}.onnx", "--precision", kind)
        assert status == 0, err
        status, out, err = run("check", tmp_path / f"{kind}.onnx")
        assert status == 0 and "is fine" in out, err
    assert run("compile", spec, "--precision", "half")[0] == 2
