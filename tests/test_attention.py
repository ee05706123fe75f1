"""Attention trains as PyTorch's, costs what the written-out one costs, and says what it cannot do."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any

import dlc
import numpy as np
import pytest
from library_attention import attention_of_torch, later
from library_sweep import Compiled

ROOT = Path(__file__).parent.parent
KINDS = {
    "self": ("f(x)", {}),
    "causal": ("g(x)", {"causal": True}),
    "cross": ("f(x, context = y)", {"context": True}),
    "padding": ("f(x, context = y, mask = known[:, none])", {"context": True, "padding": True}),
    "causal padding": ("g(x, mask = known[:, none, :6])", {"causal": True, "padding": True}),
    "one mask": ("f(x, mask = abs(arange(6)[:, none] - arange(6)) < 3)", {"band": True}),
}


@pytest.mark.oracle
@pytest.mark.parametrize("kind", KINDS)
def test_updates_are_those_of_torch(kind: str) -> None:
    """Every parameter after five updates, whatever is masked."""
    torch = pytest.importorskip("torch")
    call, how = KINDS[kind]
    text = f"""model m {{
        input x: float[batch, 6, 8]
        input y: float[batch, 7, 8]
        input known: bool[batch, 7]
        target z: float[batch, 6, 8]
        f = attention(4{", causal = true" if "causal" in how else ""})
        loss = mean(({call.replace("g(", "f(")} - z)^2)
        output out = sum(y) * x
    }}
    train {{ minimize loss using sgd(0.5); batch: all }}"""
    trainer = dlc.Trainer(dlc.compile(text, precision="float64"), seed=1)
    rng = np.random.default_rng(0)
    data: dict[str, Any] = {
        "x": rng.normal(size=(3, 6, 8)),
        "y": rng.normal(size=(3, 7, 8)),
        "known": rng.random((3, 7)) < 0.6,
        "z": rng.normal(size=(3, 6, 8)),
    }
    data["known"][:, 0] = True
    theirs = {path: torch.tensor(trainer.parameters[path], requires_grad=True) for path in trainer.parameters}
    optimizer = torch.optim.SGD(theirs.values(), 0.5)
    x, y, known, z = (torch.tensor(value) for value in data.values())
    masks: dict[str, Any] = {}
    if "padding" in how:
        masks["key_padding_mask"] = ~known[:, : 7 if "context" in how else 6]
    if "causal" in how:
        masks["attn_mask"] = later(torch, 6, 6)
    if "band" in how:
        masks["attn_mask"] = (torch.arange(6)[:, None] - torch.arange(6)).abs() >= 3
    for _ in range(5):
        trainer.step(data)
        optimizer.zero_grad()
        out = attention_of_torch(torch, x, y if "context" in how else x, theirs, "f.", heads=4, **masks)
        ((out - z) ** 2).mean().backward()
        optimizer.step()
    for path, value in theirs.items():
        np.testing.assert_allclose(trainer.parameters[path], value.detach().numpy(), atol=1e-10, rtol=1e-10)


def test_a_query_that_may_attend_to_nothing_attends_to_all_alike() -> None:
    spec = Compiled("""model m {
        input x: float[batch, time, 4]
        input mask: bool[batch, time, time]
        f = attention(2)
        y = f(x, mask = mask)
        output y = y
        output d = grad(sum(y^2), x)
    }""")
    mask = np.ones((1, 3, 3), bool)
    mask[0, 1] = False
    values = {**spec.variables, "x": np.random.default_rng(0).normal(size=(1, 3, 4)), "mask": mask}
    found = spec(values)
    assert all(np.isfinite(value).all() for value in found.values())
    alike = values["x"].mean(1) @ values["f.value.W"] + values["f.value.b"]
    np.testing.assert_allclose(found["y"][:, 1], alike @ values["f.out.W"] + values["f.out.b"], atol=1e-14)


def test_a_causal_position_does_not_see_later_ones() -> None:
    spec = Compiled("""model m {
        input x: float[batch, time, 4]
        f = attention(2, causal = true, turn = rotary)
        output y = f(x)
    }""")
    x = np.random.default_rng(0).normal(size=(2, 6, 4))
    moved = x.copy()
    moved[:, 4:] += 1
    before, after = (spec({"x": value})["y"] for value in (x, moved))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).all()


def test_products_of_rotated_rows_depend_on_their_distance() -> None:
    spec = Compiled("""model m {
        input q: float[8]
        input k: float[8]
        a, b = rotary(broadcast_to(q, [20, 8])), rotary(broadcast_to(k, [20, 8]))
        output score = a @ transpose(b)
    }""")
    rng = np.random.default_rng(0)
    score = spec({"q": rng.normal(size=8), "k": rng.normal(size=8)})["score"]
    for distance in range(-19, 20):
        np.testing.assert_allclose(np.diagonal(score, distance), np.diagonal(score, distance)[0], atol=1e-13)


LIBRARY = "encoder_block(heads, causal = true, activation = gelu, weights = normal(0, 0.02))"


def test_it_is_the_written_out_one() -> None:
    """benchmarks/gpt.dl with the block of the library: the same probabilities from the same numbers, in fewer nodes."""
    text = (ROOT / "benchmarks" / "gpt.dl").read_text("utf-8")
    text = text[text.index("model gpt") :].replace("transformer(heads)", LIBRARY)
    small = {"vocabulary": 16, "time": 8, "width": 8, "layers": 2, "heads": 2}
    library = dlc.compile(text, precision="float64", **small)
    written = dlc.compile(ROOT / "benchmarks" / "gpt.dl", precision="float64", **small)
    assert len(library.model_proto().graph.node) <= len(written.model_proto().graph.node)
    theirs, ours = dlc.Trainer(written, seed=2), dlc.Trainer(library, seed=3)
    renamed = {"attend.out": "attend.join", "mix.": "", "norm1": "layer_norm", "norm2": "layer_norm[1]"}
    for path in ours.parameters:
        start, _, end = path.rpartition(".")
        part = start.rpartition(".")[2]
        if part in ("query", "key", "value"):
            fused = theirs.parameters[f"{start.removesuffix(part)}project.{end}"]
            ours.parameters[path] = np.split(fused, 3, -1)[("query", "key", "value").index(part)]
        else:
            written_path = reduce(lambda at, name: at.replace(name, renamed[name]), renamed, path)
            ours.parameters[path] = theirs.parameters[written_path]
    tokens = np.random.default_rng(0).integers(0, 16, (3, 8))
    found, expected = (t.predict({"tokens": tokens})["probability"] for t in (ours, theirs))
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("x |> attention(3)", "E0383"),
        ("attention(2)(x, context = x[:, 0])", "E0324"),
        ("attention(2)(x, x[1:])", "E0311"),
        ("attention(2)(x, mask = x[:, :, 0])", "E0305"),
        ("attention(2)(x, mask = x > 0)", "E0310"),
    ],
)
def test_what_does_not_fit_is_refused(call: str, code: str) -> None:
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(f"model m {{\n input x: float[batch, time, 8]\n output y = {call}\n}}")
    shown = caught.value.diagnostics[0].labels[0].span  # a place in the text of the user
    assert caught.value.code == code and shown.source.name == "<text>"
