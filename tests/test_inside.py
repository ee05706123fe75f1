"""`f.inner[0].W`: parameters of layers that a layer makes, by their path."""

from __future__ import annotations

import dlc
import pytest


def test_a_parameter_of_a_layer_inside_a_layer():
    """By its path, above the first application too; the first of a name has no number."""
    text = """
    layer twice()(x: float[batch, n]) -> float[batch, n] {
        for i in 0..2 { inner[i] = dense(n) }
        head = batch_norm()
        return x |> inner[0] |> inner[1] |> dense(n) |> dense(n) |> head
    }
    model m {
        input x: float[batch, 3]
        f = twice()
        early = sum(f.inner[1].W)
        y = f(x)
        output same = early - sum(f.inner[1].W)
        more = sum(f.dense.W) + sum(f.dense[0].W) + sum(f.dense[1].W)
        output parts = sum(f.inner[0].b) + more + sum(f.head.seen_mean)
        output y = y
    }"""
    program = dlc.compile(text, precision="float64")
    root = program.module.roots("output/")["output/parts"]
    read = [node.attrs["path"] for node in program.module.graph.order([root]) if node.op.name == "variable"]
    assert sorted(read) == ["f.dense.W", "f.dense[1].W", "f.head.seen_mean", "f.inner[0].b"]


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ("f.inner[2].W", "E0238", "no layer `f.inner[2]`"),
        ("f.inner[0].V", "E0211", "it has W, b"),
        ("f.inner.W", "E0211", "`[0]`"),
        ("f.other.W", "E0211", "has no part `other`"),
        ("f.inner[0]", "E0333", "the layer `f.inner[0]` inside another"),
        ("f.inner[0](x)", "E0213", "the layer `f.inner[0]` inside another"),
    ],
)
def test_what_a_layer_has_not_inside(wrong, code, said):
    text = f"""
    layer twice()(x: float[batch, n]) -> float[batch, n] {{
        for i in 0..2 {{ inner[i] = dense(n) }}
        return x |> inner[0] |> inner[1]
    }}
    model m {{
        input x: float[batch, 3]
        f = twice()
        output y = f(x)
        output z = {wrong}
    }}"""
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(text)
    assert caught.value.code == code and said in str(caught.value)
