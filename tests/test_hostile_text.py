"""Hostile texts as comments, strings, names of columns, cells and metadata: none steers a terminal, and none is markup
in a page, a picture, a notebook or an editor."""

from __future__ import annotations

import csv
import json
import os
import re
import select
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dlc
import pytest
from dlc.cli import main
from dlc.editor import document, hover
from dlc.runtime.failures import plain
from hand_built import compiled
from opened import Opened
from test_metadata import with_text
from test_page import HOSTILE

CONTROL = [f"a{chr(code)}b" for code in [*range(1, 9), 11, 12, *range(14, 32), *range(0x7F, 0xA0)]]
STEERING = [
    *("\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://e.x\x1b\\link\x1b]8;;\x1b\\", "\x1b]52;c;aGk=\x07", "\x9b31m"),
    *("\x1b[31mred", "\x1bP$q\x1b\\", "\x1b[?1049h", "\x1bc", "a\x08\x08\x08", "\u202egnp.exe", "\u2066x\u2069"),
    *("\u2028line", "\u2029", "\u061c", "\u200e", "[bold red]x[/]", "{0.__class__}", "%s%n", "${jndi:x}", "{{7*7}}"),
]
MARKDOWN = [
    *("![x](http://e.x/i.png)", "[x](command:workbench.action.quit)", "<img src=http://e.x>", "```\n![x](http://e.x)"),
    *("`x` ![y](http://e.x)", "``` ![z](http://e.x)", "<http://e.x>", "&lt;b&gt;", "\\![x](u)", "[x]: http://e.x"),
]
TEXTS = [text.replace("\n", " ") for text in [*HOSTILE, *CONTROL, *STEERING, *MARKDOWN]]
CHUNK = 100
assert len(TEXTS) > 200
CHUNKS = [TEXTS[i : i + CHUNK] for i in range(0, len(TEXTS), CHUNK)]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'


def written(folder: Path, texts: list[str]) -> tuple[Path, Path]:
    """A spec and its table: the texts are comments, the words of a title, names of columns, cells and settings."""
    named = [quoted(f"{i} {text}.") for i, text in enumerate(texts)]
    comments = "\n".join(f"# {text}" for text in texts)
    spec = f"""{comments}
layer part(out: int)(x) = x |> dense(out)        # {texts[0]}
model m {{
    # {texts[-1]}
    input x: float[batch, n] from {", ".join(named)}
    input w: int[batch] from "w" vocabulary
    target y: int[batch] from {quoted("y" + texts[1] + ".")} vocabulary
    h = part(3)(x) + embedding(30, 3)(w)
    y ~ categorical(logits = h)
    output probability = softmax(h)
    output kind = argmax(h, axis = -1)
}}
train m {quoted(texts[2])} {{
    minimize loss using adam(1e-2)
    data: "d.csv"
    epochs: 2
    validate: 0.25
}}
"""
    path, data = folder / "m.dl", folder / "d.csv"
    path.write_text(spec, "utf-8")
    with data.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow([*(f"{i} {text}." for i, text in enumerate(texts)), "w", "y" + texts[1] + "."])
        for row in range(24):
            out.writerow(
                [*(str(row % (i + 2)) for i in range(len(texts))), f".{texts[row % 20]}.", f".{texts[row % 3]}."]
            )
    return path, data


class Page(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: list[tuple[str, str]] = []
        self.framed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(name, value or "") for name, value in attrs]
        self.framed += [value or "" for name, value in attrs if name == "srcdoc"]


def harmless(text: str) -> None:
    """No element, attribute or address of a page or picture is one that a text brought."""
    found = Page(text)
    assert not found.tags.keys() & {"link", "object", "embed", "base", "form", "image", "foreignobject", "animate"}
    for name, value in found.attributes:
        assert not name.startswith("on"), (name, value)
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith(("data:image/png;base64,", "#", "http://www.w3.org/")), (name, value)
    assert found.tags.get("script", 0) <= 8  # of a page: three of data and libraries, five of its own
    for inner in found.framed:
        harmless(inner)


COMMANDS = [
    "check SPEC", "check SPEC --json", "summary SPEC", "summary SPEC --json", "data SPEC", "data SPEC --json",
    "compile SPEC -o FILE", "train SPEC --runs RUNS", "train SPEC --runs RUNS --json --epochs 1",
    "check FILE", "summary FILE", "evaluate RUN --data DATA", "predict RUN --data DATA", "profile SPEC --calls 1",
    "profile SPEC --calls 1 -o OUT.html", "predict RUN --data DATA --json", "export FILE --inference -o OUT.onnx",
    "evaluate RUN", "report RUN -o OUT.html", "graph SPEC -o OUT.html", "graph FILE -o OUT.html --view step",
    "graph RUN -o OUT.html --values", "graph SPEC -o OUT.svg --depth all", "graph SPEC -o OUT.dot",
    "graph SPEC -o OUT.mmd", "graph SPEC -o OUT.tex", "grad SPEC --wrt part.dense.W --html",
    "grad SPEC --wrt part.dense.W", "grad SPEC --wrt part.dense.W --latex", "doctor", "train SPEC --data NONE",
    "predict FILE --data SPEC", "fmt --check SPEC", "check SPEC --set TEXT=3", "graph SPEC -o OUT.svg --only TEXT",
    "explain TEXT", "TEXT", "train TEXT", "check SPEC --model TEXT", "grad SPEC --wrt TEXT", "report TEXT",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_no_command_prints_what_steers_a_terminal(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = CHUNKS[number]
    texts = [*texts, *TEXTS[: max(0, 20 - len(texts))]]
    spec, data = written(tmp_path, texts)
    wrong = []
    for i, command in enumerate(COMMANDS):
        words: dict[str, Any] = {
            "SPEC": spec, "DATA": data, "FILE": tmp_path / "m.onnx", "RUNS": tmp_path / "runs",
            "TEXT": texts[i % len(texts)],
            "NONE": tmp_path / f"none{texts[3].replace('/', '')}.csv".replace("\0", ""),
            "RUN": next(iter(sorted((tmp_path / "runs").glob("*"))), None),
        }  # fmt: skip
        words |= {f"OUT.{end}": tmp_path / f"{i}.{end}" for end in ("html", "svg", "dot", "mmd", "tex", "onnx")}
        argv = [str(words.get(word.split("=")[0], word)) + ("=3" if "=" in word else "") for word in command.split()]
        try:
            status = main(argv)
        except SystemExit as end:
            status = int(end.code or 0)
        said = "".join(capsys.readouterr())
        fine = 0 if i < COMMANDS.index("train SPEC --data NONE") else None
        if plain(said) != said or status not in (0, 1, 2) or (fine is not None and status != fine):
            wrong.append(f"{command}: {status}: {said[-600:]!r}")
    assert not wrong, "\n".join(wrong)
    for path in [*tmp_path.glob("*.html"), *tmp_path.glob("*.svg")]:
        harmless(path.read_text("utf-8"))
    for path in tmp_path.glob("*.tex"):
        assert not re.search(r"\\(?:write18|input|include|openout|catcode)\b", path.read_text("utf-8"))


def test_a_notebook_shows_no_markup(tmp_path: Path) -> None:
    for texts in CHUNKS[:2]:
        program = dlc.compile(written(tmp_path, texts)[0])
        harmless(program._repr_html_())
        trainer = dlc.fit(program, epochs=1)
        shown = getattr(trainer.history, "_repr_html_", None)
        if shown is not None:
            harmless(shown())
    with pytest.raises(dlc.Error) as caught:
        dlc.compile(f"model m {{ loss = {quoted(HOSTILE[1])} + nothing }}")
    harmless(caught.value._repr_html_())


def test_an_editor_is_told_text(tmp_path: Path) -> None:
    """A hover is Markdown: a comment brings no image, link or fence into it."""
    for i, text in enumerate(TEXTS):
        spec = f"# {text}\nfn f{i}(x) = 2 * x\nmodel m {{ input x: float[batch]; output y = f{i}(x) }}"
        found = hover.hover(document.read(spec), spec.index(f"f{i}(x) }}"))
        assert found is not None and plain(found[1]) == found[1]
        prose = found[1].rpartition("```\n\n")[2]
        bare = re.sub(r"\\.", "", re.sub(r"(?<![\\`])`[^`\n]+`(?!`)", "", prose))
        assert not re.search(r"[\[\]<`]|&\w+;", bare), (text, prose)
        assert found[1].count("```") == 4


def test_metadata_is_printed_plain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In every string of a file that a command shows."""
    for i, text in enumerate([*STEERING, *CONTROL[::7], *HOSTILE[:8]]):
        model = with_text("dlc.model", text) if i % 2 else compiled()
        model.doc_string, model.producer_name, model.graph.doc_string = text, text, text
        model.graph.name = text
        for node in model.graph.node:
            node.doc_string = text
            node.metadata_props.add(key="dlc.scope", value=f"layer[{text}]")
            node.metadata_props.add(key="dlc.source", value=f"{text}:1:1")
        path = tmp_path / f"{i}.onnx"
        path.write_bytes(model.SerializeToString())
        for command in ("check", "check --json --device cuda", "summary", "summary --json", "graph -o OUT"):
            words = [str(tmp_path / "o.svg") if word == "OUT" else word for word in command.split()]
            assert main([words[0], str(path), *words[1:]]) in (0, 2)
            said = "".join(capsys.readouterr())
            assert plain(said) == said, (command, text)


@pytest.mark.skipif(sys.platform == "win32", reason="has no terminals of this kind")
def test_the_progress_of_a_training_on_a_terminal(tmp_path: Path) -> None:
    """What a real terminal is sent: the sequences of the bar, and none of the spec's, the data's or the folder's."""
    import pty

    folder = tmp_path / "a\x1b[2Jb\u202e\x07[red]"
    folder.mkdir()
    written(folder, [*STEERING, *CONTROL[:8]])
    own, other = pty.openpty()
    argv = [sys.executable, "-c", "import sys; from dlc.cli import main; sys.exit(main())"]
    argv += ["train", str(folder / "m.dl"), "--runs", str(folder / "runs")]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(argv, stdout=other, stderr=other, stdin=other, env=environment)
    os.close(other)
    told = b""
    while True:
        ready, _, _ = select.select([own], [], [], 60)
        try:
            part = os.read(own, 65536) if ready else b""
        except OSError:  # the other end is closed
            break
        if not part:
            break
        told += part
    assert process.wait(60) == 0, told[-2000:]
    shown = told.decode("utf-8", "replace")
    assert "\\u001b[2J" in shown
    # A bar moves the cursor, clears lines, and colours; it does nothing else.
    rest = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[lh]|[0-9]*[AG]|2?K)", "", shown).replace("\r", "")
    assert plain(rest) == rest, [part for part in rest.split("\n") if plain(part) != part][:5]
    lines = next((folder / "runs").glob("*/metrics.jsonl")).read_text("utf-8").splitlines()
    assert all(json.loads(line)["train"] for line in lines)


@pytest.mark.browser
@pytest.mark.parametrize("number", range(len(CHUNKS)))
def test_no_page_runs_what_it_shows(chromium: Any, number: int, tmp_path: Path) -> None:
    """Pages of a model, a run, a profile and a derivation in Chromium: nothing is logged, loaded or run."""
    spec, _ = written(tmp_path, [*CHUNKS[number], *TEXTS[: max(0, 20 - len(CHUNKS[number]))]])
    assert main(["train", str(spec), "--runs", str(tmp_path / "runs"), "--quiet"]) == 0
    run = str(next((tmp_path / "runs").iterdir()))
    pages = {
        "graph": ["graph", run, "--values"],
        "report": ["report", run],
        "profile": ["profile", str(spec), "--calls", "1"],
    }
    ready = {"graph": "#scene .node", "report": ".uplot canvas", "profile": "#flame [data-i]"}
    for name, words in pages.items():
        path = tmp_path / f"{name}.html"
        assert main([*words, "-o", str(path)]) == 0
        opened = Opened(chromium, path, ready=ready[name])
        assert opened.tab.evaluate("document.querySelectorAll('img:not([src^=\"data:\"])').length") == 0
        assert opened.tab.evaluate("typeof window.hurt") == "undefined"
        opened.done()
