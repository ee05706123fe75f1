"""The documentation as a site, and the library's reference out of its source."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
from dlc.editor import pictured, reference
from dlc.elaborate.library import standard_index
from dlc.syntax import tree as syntax
from dlc.syntax.parser import parse, read_source

ROOT = Path(__file__).parent.parent
DECLARED = {
    declaration.name: declaration
    for path in reference.files()
    for declaration in parse(read_source(path)).declarations
    if isinstance(declaration, syntax.Fn | syntax.Layer | syntax.Optimizer | syntax.Distribution)
}


@pytest.mark.parametrize("path", reference.files(), ids=lambda path: path.stem)
def test_the_reference_has_every_declaration_with_its_comment(path: Path) -> None:
    text = reference.page(path)
    names = re.findall(r"^## (\w+)$", text, re.M)
    assert names == [
        d.name
        for d in parse(read_source(path)).declarations
        if isinstance(d, type(DECLARED[d.name])) and not isinstance(d, syntax.Derivative)
    ]
    for name in names:
        assert DECLARED[name].doc in text and set(standard_index()) >= {name}
    assert text.count("```") % 2 == 0


def test_what_a_layer_learns_stands_there_with_its_shape() -> None:
    text = reference.page(next(path for path in reference.files() if path.stem == "layers"))
    assert "| parameter `W` | `float[n, out]` | `weights` |" in text
    assert "```dl\nlayer dense(out: int, bias = true" in text


def test_every_layer_has_a_picture() -> None:
    """Small, the same each time, with what the layer learns."""
    layers = {name for name, declared in DECLARED.items() if isinstance(declared, syntax.Layer)}
    assert set(pictured.EXAMPLES) == layers
    pages = "".join(reference.page(path, pictured.EXAMPLES) for path in reference.files())
    for name in layers:
        drawn = pictured.picture(name)
        assert drawn == pictured.picture(name) and len(drawn.encode()) < 30_000
        words = "".join(ElementTree.fromstring(drawn).itertext())
        assert f"{name}(" in words or f"{name}\n" in words, name
        held = {p.name for p in syntax.walk(list(DECLARED[name].body)) if isinstance(p, syntax.Param)}
        assert not held or held & set(re.findall(r"\w+", words)), name  # some are learned only if that is asked for
        assert f"![{name}, opened]({name}.svg)" in pages


ROW = re.compile(r"^\| (`\w+\(.*?) \| ", re.M)


def signatures() -> list[tuple[str, str]]:
    """Every name with its first argument list, as the tables of docs/library.md have it."""
    text = (ROOT / "docs" / "library.md").read_text("utf-8").partition("\n## Primitives\n")[0]
    return [
        pair for row in ROW.findall(text) for pair in re.findall(r"`(\w+)\(([^()`]*(?:\([^()`]*\)[^()`]*)*)\)", row)
    ]


def test_the_page_of_the_library_has_the_arguments_of_the_source() -> None:
    """docs/library.md is written by hand: the names, order and defaults in it are those of the declarations."""
    compared, wrong = 0, []
    for name, said in signatures():
        if name not in DECLARED or "..." in said:
            continue
        own = {p.name: p for p in DECLARED[name].configuration}
        order = list(own)
        place = -1
        for part in re.split(r",(?![^(\[{]*[)\]}])", said):
            if not part.strip():
                continue
            word, _, default = (half.strip() for half in part.partition("="))
            word = word.partition(":")[0].strip()
            if word not in own or order.index(word) <= place:
                wrong.append(f"{name}: {word}")
                continue
            place = order.index(word)
            written = own[word].default
            if re.fullmatch(r"[-\d.e]+|true|false|none", default) and written is not None:
                same = default == written.span.text or _number(default) == _number(written.span.text)
                wrong += [] if same else [f"{name}: {word} = {default}, not {written.span.text}"]
            compared += 1
    assert wrong == [] and compared > 200


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="the site needs the extra [docs] (mkdocs)")
def test_the_site_is_built_and_loads_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "site"
    for page in ("index", "tutorial/index", "language/index", "reference/layers/index", "errors/E0101/index"):
        text = (site / f"{page}.html").read_text("utf-8")
        assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?:https?:)?//(?!www\.mkdocs)", text), page
    assert re.search(r"<span style=[^>]+>model</span>", (site / "tutorial" / "index.html").read_text("utf-8"))
    assert "Glorot" in (site / "reference" / "initialisers" / "index.html").read_text("utf-8")
