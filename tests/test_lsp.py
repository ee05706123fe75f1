"""`dlc lsp` as an editor meets it: a process, spoken to over its standard streams."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(find_spec("pygls") is None, reason="`dlc lsp` needs the extra [lsp] (pygls)")
ROOT = Path(__file__).parent.parent
DIGITS = (ROOT / "specs" / "digits.dl").read_text("utf-8")
SERVED = "import sys; from dlc.cli import main; sys.exit(main())"
ASIDE = "import dlc.editor.server as server; server.LONG = 0.0; "  # every change is read on the side
SOON = 0.1  # seconds of processor time in which an editor is answered


class Editor:
    """A client: one process of the server, and what it said."""

    def __init__(self) -> None:
        from lsprotocol import types as lsp
        from pygls.lsp.client import LanguageClient

        self.lsp, self.client = lsp, LanguageClient("test", "1")
        self.said: dict[str, list[Any]] = {}
        self.news = asyncio.Event()

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def published(params: Any) -> None:
            self.said.setdefault(params.uri, []).append((params.version, params.diagnostics))
            self.news.set()

    async def start(self, aside: bool = False) -> None:
        lsp = self.lsp
        await self.client.start_io(sys.executable, "-c", aside * ASIDE + SERVED, "lsp")
        general = lsp.GeneralClientCapabilities(position_encodings=[lsp.PositionEncodingKind.Utf16])
        given = lsp.InitializeParams(capabilities=lsp.ClientCapabilities(general=general))
        self.capabilities = (await self.client.initialize_async(given)).capabilities
        self.client.initialized(lsp.InitializedParams())

    async def stop(self) -> int:
        await self.client.shutdown_async(None)
        self.client.exit(None)
        process = self.client._server
        assert process is not None
        status = await asyncio.wait_for(process.wait(), 20)
        await self.client.stop()
        return status

    def processor(self) -> float:
        """Seconds of processor time that the server has taken so far."""
        assert self.client._server is not None
        fields = Path(f"/proc/{self.client._server.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def document(self, uri: str) -> Any:
        return self.lsp.TextDocumentIdentifier(uri)

    async def open(self, text: str, uri: str = "untitled:spec.dl") -> list[Any]:
        """Opens a text; what is wrong with it at once."""
        item = self.lsp.TextDocumentItem(uri, "dlc", 1, text)
        self.client.text_document_did_open(self.lsp.DidOpenTextDocumentParams(item))
        return await self.told(uri, 1)

    async def change(self, text: str, version: int, uri: str = "untitled:spec.dl") -> list[Any]:
        whole = self.lsp.TextDocumentContentChangeWholeDocument(text)
        identifier = self.lsp.VersionedTextDocumentIdentifier(uri=uri, version=version)
        self.client.text_document_did_change(self.lsp.DidChangeTextDocumentParams(identifier, [whole]))
        return await self.told(uri, version)

    async def wrong(self, text: str, version: int, uri: str = "untitled:spec.dl") -> list[Any]:
        """Changes to a text with a mistake; what is wrong with it, once that is found: not at once if the text before
        took long to read."""
        problems = await self.change(text, version, uri)
        return problems or await self.told(uri, version)

    async def told(self, uri: str, version: int) -> list[Any]:
        """What is said next of that version of a text."""
        said = self.said.setdefault(uri, [])
        while True:
            while said:
                found, problems = said.pop(0)
                if found == version:
                    return list(problems)
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 60)

    def place(self, text: str, mark: str, shift: int = 0) -> Any:
        before = text[: text.index(mark) + shift]
        units = len(before.rpartition("\n")[2].encode("utf-16-le")) // 2
        return self.lsp.Position(before.count("\n"), units)

    def at(self, uri: str, text: str, mark: str) -> dict[str, Any]:
        return {"text_document": self.document(uri), "position": self.place(text, mark)}


def edited(text: str, edits: list[Any]) -> str:
    """A text with the edits of an answer, the last first."""
    lines = text.split("\n")

    def offset(position: Any) -> int:
        if position.line >= len(lines):
            return len(text)
        units = lines[position.line].encode("utf-16-le")[: 2 * position.character]
        return sum(len(line) + 1 for line in lines[: position.line]) + len(units.decode("utf-16-le"))

    for edit in sorted(edits, key=lambda e: offset(e.range.start), reverse=True):
        text = text[: offset(edit.range.start)] + edit.new_text + text[offset(edit.range.end) :]
    return text


def session(talk: Callable[[Editor], Awaitable[None]], aside: bool = False) -> None:
    """One conversation with a server, which ends as an editor ends it."""

    async def run() -> None:
        editor = Editor()
        await editor.start(aside)
        try:
            await asyncio.wait_for(talk(editor), 120)
        finally:
            status = await editor.stop()
        assert status == 0

    asyncio.run(run())


URI = "untitled:spec.dl"


@pytest.mark.parametrize("aside", [False, True])
def test_a_conversation(aside: bool) -> None:
    """Problems and their fixes, hover, definition, completion, rename, outline, formatting, colours and shapes."""

    async def talk(editor: Editor) -> None:
        lsp, client = editor.lsp, editor.client
        assert await editor.open(DIGITS) == []
        said = await client.text_document_hover_async(lsp.HoverParams(**editor.at(URI, DIGITS, "logits =")))
        assert said is not None and "logits: float[batch, 10]" in said.contents.value
        place = await client.text_document_definition_async(
            lsp.DefinitionParams(**editor.at(URI, DIGITS, "dense(hidden)"))
        )
        library = ROOT / "specs" / "std" / "layers.dl"
        assert isinstance(place, lsp.Location) and place.uri == library.resolve().as_uri()
        line = library.read_text("utf-8").split("\n")[place.range.start.line]
        assert line[place.range.start.character : place.range.end.character] == "dense" and line.startswith("layer")

        renaming = lsp.RenameParams(**editor.at(URI, DIGITS, "hidden ="), new_name="width")
        edit = await client.text_document_rename_async(renaming)
        assert edit is not None and edit.changes is not None
        assert edited(DIGITS, list(edit.changes[URI])) == DIGITS.replace("hidden = 128", "width = 128").replace(
            "dense(hidden)", "dense(width)"
        )

        symbols = await client.text_document_document_symbol_async(lsp.DocumentSymbolParams(editor.document(URI)))
        assert [s.name for s in symbols or ()] == ["digits", "train digits"]
        assert "x" in [s.name for s in (symbols or ())[0].children or ()]

        whole = lsp.Range(lsp.Position(0, 0), lsp.Position(99, 0))
        hints = await client.text_document_inlay_hint_async(lsp.InlayHintParams(editor.document(URI), whole))
        assert ": [batch, 10]" in [hint.label for hint in hints or ()]
        colours = await client.text_document_semantic_tokens_full_async(lsp.SemanticTokensParams(editor.document(URI)))
        assert colours is not None and len(colours.data) % 5 == 0 and len(colours.data) > 300

        loose = DIGITS.replace("    input  x:", "  input x:")
        assert await editor.change(loose, 2) == []
        formatting = lsp.DocumentFormattingParams(editor.document(URI), lsp.FormattingOptions(4, True))
        edits = await client.text_document_formatting_async(formatting)
        from dlc.syntax.format import format_source
        from dlc.syntax.parser import make_source

        assert edited(loose, list(edits or ())) == format_source(make_source(loose))

        broken = DIGITS.replace("dense(10)", "dnse(10)")
        [problem, *_] = await editor.wrong(broken, 3)
        assert problem.code == "E0201" and "`dnse` is not defined" in problem.message and problem.source == "dlc"
        assert problem.range.start == editor.place(broken, "dnse")
        asked = lsp.CodeActionParams(editor.document(URI), problem.range, lsp.CodeActionContext([problem]))
        actions = await client.text_document_code_action_async(asked)
        first = (actions or [])[0]
        assert isinstance(first, lsp.CodeAction) and first.edit is not None and first.edit.changes is not None
        assert edited(broken, list(first.edit.changes[URI])) == DIGITS

        half = DIGITS.replace("|> dense(10)", "|> ")
        assert await editor.change(half, 4)
        completing = lsp.CompletionParams(editor.document(URI), editor.place(half, "|> \n", 3))
        offers = await client.text_document_completion_async(completing)
        assert isinstance(offers, lsp.CompletionList) and {"dense", "relu"} <= {item.label for item in offers.items}
        item = next(item for item in offers.items if item.label == "dense")
        resolved = await client.completion_item_resolve_async(item)
        assert resolved.documentation

    session(talk, aside)


def test_problems_with_derivatives_follow() -> None:
    model = "model m { input x: float[batch]; param w: float; loss = mean(round(w * x)) }"
    text = f"{model}\ntrain {{ minimize loss using sgd(0.1) }}"

    async def talk(editor: Editor) -> None:
        assert await editor.open(text) == []
        assert [p.code for p in await editor.told(URI, 1)] == ["E0402"]

    session(talk)


def test_characters_of_two_units() -> None:
    """Editors count in UTF-16: what stands behind a character outside the basic plane is where they say."""
    text = '# 𝛁 𝛁\nmodel m { input x: float[batch, 4]; loss = mean(x); output o = "𝛁" } # 𝛁\nfn f(𝛁) = 𝛁 + nothing'

    async def talk(editor: Editor) -> None:
        problems = await editor.open(text)
        for problem in problems:
            line = text.split("\n")[problem.range.start.line].encode("utf-16-le")
            line[2 * problem.range.start.character : 2 * problem.range.end.character].decode("utf-16-le")
        said = await editor.client.text_document_hover_async(
            editor.lsp.HoverParams(**editor.at(URI, text, "float[batch, 4]"))
        )
        assert said is None or said.range is None or said.range.start.line == 1

    session(talk)


LARGEST = [ROOT / "benchmarks" / f"{name}.dl" for name in ("gpt", "resnet20", "deep_residual")]


@pytest.mark.parametrize("path", LARGEST, ids=lambda path: path.stem)
def test_it_answers_soon(path: Path) -> None:
    """On the specs of the repository that make the largest graphs (1,000 layers), by the clock and by processor time:
    the best of several, as the machine may be busy with other things."""
    text = path.read_text("utf-8")
    uri = path.as_uri()
    mark = "dense(" if "dense(" in text else "layer_norm("

    async def talk(editor: Editor) -> None:
        await editor.open(text, uri)
        took: dict[str, list[tuple[float, float]]] = {}

        async def timed(what: str, asked: Awaitable[Any]) -> Any:
            clock, start = time.perf_counter(), editor.processor()
            answer = await asked
            took.setdefault(what, []).append((time.perf_counter() - clock, editor.processor() - start))
            return answer

        for version in range(2, 7):
            await asyncio.sleep(3)  # what is looked at in a while has been looked at
            await timed("problems", editor.change(text + f"\n# {version}\n", version, uri))
            at = editor.lsp.HoverParams(**editor.at(uri, text, mark))
            assert await timed("hover", editor.client.text_document_hover_async(at)) is not None
        assert all(min(both[i] for both in every) < SOON for every in took.values() for i in (0, 1)), took

    session(talk)


def test_what_takes_long_to_read_is_read_on_the_side() -> None:
    """At once what the parser says, with what was known before; then the rest."""
    text = (ROOT / "benchmarks" / "deep_residual.dl").read_text("utf-8")
    misspelt = text.replace("mean(", "maen(", 1)

    async def talk(editor: Editor) -> None:
        lsp = editor.lsp
        assert await editor.open(text) == []
        assert await editor.change(misspelt, 2) == []  # what was known of the text before
        [problem] = await editor.told(URI, 2)
        assert problem.code == "E0201" and problem.range.start == editor.place(misspelt, "maen")
        above = "# above\n" + misspelt
        [problem] = await editor.change(above, 3)
        assert problem.range.start == editor.place(above, "maen")
        said = await editor.client.text_document_hover_async(lsp.HoverParams(**editor.at(URI, above, "x: float")))
        assert "float[batch" in said.contents.value
        [problem, *_] = await editor.change(above.replace("for ", "for for ", 1), 4)
        assert problem.code.startswith("E01")
        await editor.change(text, 5)
        assert await editor.told(URI, 5) == []

    session(talk)


BROKEN = [  # what a line is while it is typed
    (
        "    logits = x |> dense(hidden) |> relu |> dropout(0.2) |> dense(10)",
        "    logits = x |> dense(hidden) |> relu |>",
    ),
    ("    y ~ categorical(logits = logits)", "    y ~ categorical(logits = "),
    ("    metric accuracy    = accuracy(logits, y)", "    metric accuracy = accuracy(logits, [y"),
    ("    seed:     7", "    seed:     7 +"),
    ("    clip:     global_norm(1.0)", '    clip:     "'),
    ("model digits(hidden = 128) {", "model digits(hidden = 128, {"),
]


@pytest.mark.parametrize(("line", "typed"), BROKEN, ids=[typed.strip()[:20] for _, typed in BROKEN])
def test_every_feature_while_a_line_is_typed(line: str, typed: str) -> None:
    """A text that does not parse: what was understood before stands, and what is typed is seen."""
    assert line in DIGITS
    broken = DIGITS.replace(line, typed)

    async def talk(editor: Editor) -> None:
        lsp, client = editor.lsp, editor.client
        await editor.open(DIGITS)
        assert await editor.change(broken, 2)
        around = "output probability" if "probability" not in typed else "input"
        hovered = await client.text_document_hover_async(lsp.HoverParams(**editor.at(URI, broken, "softmax(logits)")))
        assert hovered is not None and "softmax(x" in hovered.contents.value
        shape = await client.text_document_hover_async(lsp.HoverParams(**editor.at(URI, broken, "logits)\n    metric")))
        assert shape is not None and "float[batch, 10]" in shape.contents.value
        whole = lsp.Range(lsp.Position(0, 0), lsp.Position(99, 0))
        hints = await client.text_document_inlay_hint_async(lsp.InlayHintParams(editor.document(URI), whole))
        assert ": [batch, 10]" in [hint.label for hint in hints or ()]
        asked = lsp.SemanticTokensParams(editor.document(URI))
        colours = await client.text_document_semantic_tokens_full_async(asked)
        assert colours is not None and len(colours.data) > 250
        symbols = await client.text_document_document_symbol_async(lsp.DocumentSymbolParams(editor.document(URI)))
        assert "train digits" in [symbol.name for symbol in symbols or ()]
        at = editor.place(broken, around, len(around))
        offers = await client.text_document_completion_async(lsp.CompletionParams(editor.document(URI), at))
        assert isinstance(offers, lsp.CompletionList)
        renaming = lsp.RenameParams(**editor.at(URI, broken, "logits)\n    metric"), new_name="scores")
        edit = await client.text_document_rename_async(renaming)
        assert edit is not None and edit.changes is not None
        renamed = edited(broken, list(edit.changes[URI]))
        assert renamed == re.sub(r"\blogits\b(?! =(?! x))", "scores", broken)
        place = await client.text_document_definition_async(
            lsp.DefinitionParams(**editor.at(URI, broken, "softmax(logits)"))
        )
        assert place is not None
        mended = await editor.change(DIGITS, 3)
        assert mended == []

    session(talk)


def test_without_pygls_it_says_what_to_install(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlc.cli.lsp.find_spec", lambda name: None)
    status, _, err = run("lsp")
    assert status == 2 and "error[E0780]" in err and "dlc-compiler[lsp]" in err
