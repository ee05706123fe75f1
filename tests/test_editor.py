"""What editors and notebooks are told of a text: without a server, and through the files that editors read."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
from dlc.editor import document, hover, names, textmate, words
from dlc.editor.fixes import fixes
from dlc.editor.lexer import DlLexer
from pygments.token import Error, Keyword

ROOT = Path(__file__).parent.parent
SPECS = sorted(path for folder in ("specs", "benchmarks") for path in (ROOT / folder).rglob("*.dl"))


def test_the_words_are_those_of_the_grammar() -> None:
    text = "".join((ROOT / "grammar" / name).read_text("utf-8") for name in words.GRAMMARS)
    for word in words.keywords():
        assert f'"{word}"' in text
    assert {"model", "layer", "fn", "input", "param", "scan", "minimize", "using", "over", "init"} <= set(
        words.keywords()
    )


def test_the_textmate_grammar_is_made_of_them() -> None:
    """`python -m dlc.editor.textmate` writes it anew."""
    assert (ROOT / textmate.PLACE).read_text("utf-8") == textmate.text()
    for part in json.loads(textmate.text())["patterns"]:
        for key in ("match", "begin", "end"):
            if key in part:
                re.compile(part[key])


def test_the_extension_names_what_is_there() -> None:
    place = ROOT / "editors" / "vscode"
    package = json.loads((place / "package.json").read_text("utf-8"))
    given = package["contributes"]
    files = [package["main"], given["languages"][0]["configuration"], given["grammars"][0]["path"]]
    assert all((place / name).is_file() for name in files)
    json.loads((place / "language-configuration.json").read_text("utf-8"))
    # `vsce package` refuses a link that leads out of the extension.
    readme = (place / "README.md").read_text("utf-8")
    assert not [link for link in re.findall(r"\]\(([^)]+)\)", readme) if not link.startswith("https://")]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_pygments_reads_every_file_of_the_repository(path: Path) -> None:
    text = path.read_text("utf-8")
    tokens = list(DlLexer().get_tokens_unprocessed(text))
    assert "".join(part for _, _, part in tokens) == text
    assert not [part for _, kind, part in tokens if kind is Error]
    assert any(kind in Keyword for _, kind, _ in tokens)


def test_pygments_finds_it_by_its_entry_point() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    module, _, name = declared["pygments.lexers"]["dlc"].partition(":")
    assert getattr(importlib.import_module(module), name) is DlLexer


def test_a_word_that_is_a_name_is_no_keyword() -> None:
    text = "train { over = 3; minimize loss over *.W using sgd(0.1) }"
    shown = [(part, kind) for _, kind, part in DlLexer().get_tokens_unprocessed(text) if part == "over"]
    assert [kind in Keyword for _, kind in shown] == [False, True]


DIGITS = (ROOT / "specs" / "digits.dl").read_text("utf-8")


def at(text: str, mark: str, shift: int = 0) -> int:
    return text.index(mark) + shift


def shown(text: str, mark: str, shift: int = 0) -> str:
    found = hover.hover(document.read(text), at(text, mark, shift))
    return "" if found is None else found[1]


def test_hover() -> None:
    assert "logits: float[batch, 10]" in shown(DIGITS, "logits =")
    said = shown(DIGITS, "dense(hidden)")
    assert "layer dense(out: int" in said and "`float[batch, 128]`" in said and "8,320 parameters" in said
    assert "maximum(x, 0)" in shown(DIGITS, "relu") and "Nair and Hinton" in shown(DIGITS, "relu")
    assert "128" in shown(DIGITS, "hidden) |>")
    text = "model m { input x: float[batch, 4]; param W: float[4, 3]; z = x @ W; loss = mean(z^2); output z = z }"
    assert "`z = x W`" in shown(text, "z = x")


def test_a_comment_is_shown_as_it_stands() -> None:
    """As Markdown: its stars and brackets are text, what is between backticks is code, an image is not loaded."""
    comment = "# a*b*c of `x[i]`, <b>, ![i](http://e.x/i.png)"
    text = f"{comment}\nfn f(x) = 2 * x\nmodel m {{ input x: float[b]; output y = f(x) }}"
    assert "a\\*b\\*c of `x[i]`, \\<b>, !\\[i\\](http://e.x/i.png)" in shown(text, "f(x) }")


def test_shapes_behind_the_lines() -> None:
    text = DIGITS.replace("x |> dense(hidden) |> relu", "x\n        |> dense(hidden)\n        |> relu\n       ")
    found = {text.split("\n")[i.line - 1].strip(): i.text for i in hover.inlays(document.read(text), 1, 99)}
    assert found["|> dense(hidden)"] == ": [batch, 128]" and found["|> relu"] == ": [batch, 128]"
    assert found["|> dropout(0.2) |> dense(10)"] == ": [batch, 10]"
    assert found["target y: int[batch]"] == ": int[batch]"


def test_definition_and_uses() -> None:
    read = document.read(DIGITS)
    place = names.definition(read, at(DIGITS, "dense(hidden)"))
    assert place is not None and place.source.name == "std/layers.dl" and place.text == "dense"
    own = names.definition(read, at(DIGITS, "logits)          #"))
    assert own is not None and own.start == at(DIGITS, "logits =")
    assert len(names.uses(read, at(DIGITS, "logits ="))) == 4


@pytest.mark.parametrize(
    ("text", "mark", "places"),
    [
        (DIGITS, "hidden =", 2),
        ("fn f(a) = a + 1\nmodel m { input x: float[batch]; loss = mean(f(x) + f(a = x)) }", "a) =", 3),
        ("fn f(a) = a + 1\nmodel m { input x: float[batch]; loss = mean(f(x) + f(x)) }", "f(a", 3),
        (
            "model m { input x: float[batch, 2]; head = dense(3); loss = mean(head(x)) }\n"
            "train { minimize loss over head.* using sgd(0.1) }",
            "head =",
            3,
        ),
    ],
)
def test_uses(text: str, mark: str, places: int) -> None:
    found = names.uses(document.read(text), at(text, mark))
    assert len(found) == places
    renamed = text
    for span in reversed(found):
        assert span.text == found[0].text
        renamed = renamed[: span.start] + "other" + renamed[span.end :]
    assert not [p for p in document.read(renamed).problems if p.severity == "error"]


def offered(text: str) -> dict[str, names.Offer]:
    """What may stand at the `|` of a text, which is broken there."""
    place = text.index("¦")
    whole = text.replace("¦", "")
    return {offer.name: offer for offer in names.offers(document.read(DIGITS), whole, place)}


def test_completion() -> None:
    assert offered("model m {\n    input x: float[batch, 4]\n    h = x |> ¦\n}")["dense"].first
    assert offered("model m {\n    input x: float[batch, 4]\n    h = x |> dense(¦\n}")["bias"].insert == "bias = "
    assert offered("model m {\n    input pixels: float[batch, 4]\n    h = pi¦\n}")["pixels"].kind == "variable"
    assert offered("train {\n    ba¦\n}")["batch"].insert == "batch: "
    assert offered("train {\n    minimize loss using ¦\n}")["adam"].first
    assert offered("model m {\n    y ~ ¦\n}")["categorical"].first
    assert offered("model m {\n    input x: ¦\n}").keys() == set(words.TYPES)
    assert "layer" in offered("¦") and not offered("# a word ¦") and not offered('train {\n    data: "¦')


BROKEN = [
    ("logits = x |> dense", "logits = x |> dnse", "dense"),
    ("softmax(logits)", "softmx(logits)", "softmax"),
    ("epochs:   30", "epoch:   30", "epochs"),
    ("using adam(", "using adm(", "adam"),
    ("categorical(logits = logits)", "categorical(logit = logits)", "logits"),
]


@pytest.mark.parametrize(("right", "wrong", "word"), BROKEN)
def test_a_fix_is_tried_before_it_is_offered(right: str, wrong: str, word: str) -> None:
    broken = document.read(DIGITS.replace(right, wrong))
    errors = [p for p in broken.problems if p.severity == "error"]
    found = fixes(broken, errors[0])
    assert found and word in found[0].text
    text = broken.text[: found[0].span.start] + found[0].text + broken.text[found[0].span.end :]
    assert not [p for p in document.read(text).problems if p.severity == "error"]


def test_derivatives_are_looked_at_too() -> None:
    model = "model m { input x: float[batch]; param w: float; loss = mean(round(w * x)) }"
    text = f"{model}\ntrain {{ minimize loss using sgd(0.1) }}"
    read = document.read(text)
    assert not read.problems and [p.code for p in document.derive(read)] == ["E0402"]


def test_a_file_of_layers_is_no_mistake() -> None:
    assert document.read("layer twice()(x) = 2 * x").problems == []


@pytest.mark.parametrize("path", [p for p in SPECS if "std" not in p.parts], ids=lambda path: path.stem)
def test_every_spec_has_an_outline_colours_and_no_errors(path: Path) -> None:
    read = document.read(path.read_text("utf-8"), str(path), path.parent)
    assert not [p for p in read.problems if p.severity == "error"]
    assert hover.outline(read) and hover.inlays(read, 1, 10_000)
    places = [span.start for span, _ in hover.colours(read)]
    assert places == sorted(places) and {colour for _, colour in hover.colours(read)} <= set(hover.COLOURS)
