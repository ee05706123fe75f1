"""The examples of docs/language.md and docs/derivatives.md compile."""

from __future__ import annotations

import re
from pathlib import Path

import dlc
import pytest
from error_examples import spec, statements

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = {
    (page, re.findall(r"\w+.*", block)[0][:40]): block
    for page in ("language", "derivatives")
    for block in re.findall(r"```dl\n(.*?)```", (DOCS / f"{page}.md").read_text("utf-8"), re.S)
}
WEIGHTS = "\n".join(f"param {name}" for name in ("W: float[4, hidden]", "U: float[hidden, hidden]", "b: float[hidden]"))
LOSSES = "\n".join(f"{name} = dense(3)\nloss {name}_loss = mean({name}(x)^2)" for name in ("critic", "generator"))
# What the lines of a block are among, by how it begins.
GIVEN = {
    "scan t over time": f"input x: float[batch, time, 4]\nhidden = 8\n{WEIGHTS}",
    "J = jacobian": "input t: float[batch]\nh = tanh(x)\nu, e = sin(t), sum(x^3, axis = -1)\nenergy, v = sum(e), 2 * x",
    "train gpt": "model gpt { input x: float[batch, 4]; target y: int[batch]; loss = cross_entropy(x |> dense(3), y) }",
    "load: weights": "",
    "train wgan": "model wgan {\ninput x: float[batch, 4]\n" + LOSSES + "\n}",
    "keep:": "grey = x[:, 0]",
    "for i in 0..depth": "depth, width, h = 64, 4, x",
}
# They read a file of weights, which test_load.py writes.
OF_FILES = ("load: weights",)


@pytest.mark.parametrize(("page", "begins"), BLOCKS)
def test_a_block(page: str, begins: str) -> None:
    given = next((given for begin, given in GIVEN.items() if begins.startswith(begin)), "")
    if begins.startswith(OF_FILES):
        return
    lines = [text for text, _ in statements(BLOCKS[page, begins])]
    text = (
        "\n".join(lines) if any(line.startswith("model ") for line in lines) else spec([*statements_of(given), *lines])
    )
    dlc.compile(text).model_proto()


def statements_of(text: str) -> list[str]:
    return [line for line, _ in statements(text)]


def test_most_blocks_are_compiled() -> None:
    assert len(BLOCKS) > 12 and all(any(b.startswith(begin) for _, b in BLOCKS) for begin in GIVEN)
