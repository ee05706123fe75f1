"""The language server: what `document`, `hover`, `names` and `fixes` know, over the protocol of editors (LSP 3.17).

Each change is read at once, up to the shapes; the derivatives are taken when the typing has stopped.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlparse

from dlc.runtime.failures import plain
from lsprotocol import types as lsp
from pygls.lsp.server import LanguageServer
from pygls.workspace import TextDocument

from .. import __version__
from ..diagnostics import CompileError, Diagnostic
from ..elaborate.library import standard_folder
from ..source import Span
from ..syntax.format import format_source
from ..syntax.parser import make_source
from . import hover as shown, names
from .document import Document, Shift, derive, foresee, read, recall
from .fixes import fixes

LONG = 0.05  # seconds of processor time above which a text is not read again before its editor is answered
PAUSE = 0.4  # seconds without a change after which derivatives are taken
SYMBOLS = {
    "model": lsp.SymbolKind.Module,
    "layer": lsp.SymbolKind.Class,
    "function": lsp.SymbolKind.Function,
    "derivative": lsp.SymbolKind.Function,
    "optimizer": lsp.SymbolKind.Class,
    "distribution": lsp.SymbolKind.Class,
    "train": lsp.SymbolKind.Event,
    "setting": lsp.SymbolKind.Property,
    "param": lsp.SymbolKind.Field,
    "state": lsp.SymbolKind.Field,
}
ITEMS = {
    "keyword": lsp.CompletionItemKind.Keyword,
    "setting": lsp.CompletionItemKind.Property,
    "argument": lsp.CompletionItemKind.Field,
    "layer": lsp.CompletionItemKind.Class,
    "optimizer": lsp.CompletionItemKind.Class,
    "distribution": lsp.CompletionItemKind.Class,
    "function": lsp.CompletionItemKind.Function,
    "type": lsp.CompletionItemKind.TypeParameter,
    "constant": lsp.CompletionItemKind.Constant,
    "variable": lsp.CompletionItemKind.Variable,
}


class Server(LanguageServer):
    """Keeps what was understood of each open text, and of the last version of it that parsed."""

    def __init__(self) -> None:
        super().__init__("dlc", __version__)
        self.documents: dict[str, Document] = {}
        self.parsed: dict[str, Document] = {}
        self.waiting: dict[str, asyncio.Task[None]] = {}
        self.reading = threading.Lock()

    def opened(self, uri: str) -> Document:
        """What is understood of a text as it stands."""
        text = self.workspace.get_text_document(uri)
        known = self.documents.get(uri)
        if known is None or known.source.text != make_source(text.source).text:
            path = _path(uri)
            folder = path.parent if path and path.parent.is_dir() else None
            before = self.parsed.get(uri)
            if before is not None and before.took > LONG:
                self.documents[uri] = foresee(before, text.source)
            else:
                self.understood(uri, read(text.source, str(path) if path else uri, folder, whole=False))
        return self.documents[uri]

    def understood(self, uri: str, document: Document) -> None:
        """Keeps what was read; where it does not parse, with what was understood before."""
        before = self.parsed.get(uri)
        if document.tree is not None:
            self.parsed[uri] = document
        elif before is not None:
            recall(document, before)
        self.documents[uri] = document

    def uses(self, uri: str, offset: int) -> list[Span]:
        """Every place of the name at a place, while a line is being typed too."""
        document, before = self.opened(uri), self.parsed.get(uri)
        if document.tree is None and before is not None:
            return names.uses_while_typing(before, document, offset)
        return names.uses(document, offset)

    # --- places: the protocol counts lines from 0 and UTF-16 units, sources count characters

    def offset(self, uri: str, position: lsp.Position) -> int:
        text = self.workspace.get_text_document(uri)
        place = text.position_codec.position_from_client_units(text.lines, position)
        return self.opened(uri).source.offset(place.line + 1, place.character + 1)

    def range(self, uri: str, span: Span) -> lsp.Range:
        text = self.workspace.get_text_document(uri)
        start, end = (self.position(text, span, offset) for offset in (span.start, span.end))
        return lsp.Range(start, end)

    @staticmethod
    def position(text: TextDocument, span: Span, offset: int) -> lsp.Position:
        line, column = span.source.position(offset)
        return text.position_codec.position_to_client_units(text.lines, lsp.Position(line - 1, column - 1))

    # --- problems

    def publish(self, uri: str) -> None:
        document = self.opened(uri)
        problems = [self.diagnostic(uri, problem) for problem in document.problems]
        version = self.workspace.get_text_document(uri).version
        self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, problems, version))

    def diagnostic(self, uri: str, problem: Diagnostic) -> lsp.Diagnostic:
        document = self.opened(uri)
        own = [label for label in problem.labels if label.span.source.name == document.source.name]
        first = own[0] if own else None
        span = first.span if first else Span(document.source, 0, 0)
        message = problem.message + (f": {first.text}" if first and first.text else "")
        message += "".join(f"\n{note}" for note in problem.notes) + (f"\nhelp: {problem.help}" if problem.help else "")
        related = [
            lsp.DiagnosticRelatedInformation(found, plain(label.text) or "here")
            for label in problem.labels
            if label is not first and (found := self.location(uri, label.span)) is not None
        ]
        severity = lsp.DiagnosticSeverity.Warning if problem.severity == "warning" else lsp.DiagnosticSeverity.Error
        return lsp.Diagnostic(
            self.range(uri, span),
            plain(message),
            severity,
            code=problem.code,
            source="dlc",
            related_information=related,
        )

    def location(self, uri: str, span: Span) -> lsp.Location | None:
        """A place in this text, in a file beside it, or in the library."""
        document = self.opened(uri)
        if span.source.name == document.source.name:
            return lsp.Location(uri, self.range(uri, span))
        if span.source.name.startswith("std/"):
            path = standard_folder() / span.source.name.removeprefix("std/")
        elif document.folder is not None:
            path = document.folder / span.source.name
        else:
            return None
        start, end = (span.source.position(offset) for offset in (span.start, span.end))
        place = lsp.Range(lsp.Position(start[0] - 1, start[1] - 1), lsp.Position(end[0] - 1, end[1] - 1))
        return lsp.Location(path.resolve().as_uri(), place)

    def changed(self, uri: str) -> None:
        """Says what is wrong, and in a while what is wrong with the derivatives."""
        self.publish(uri)
        if uri in self.waiting:
            self.waiting.pop(uri).cancel()
        if self.opened(uri).tree is not None:
            self.waiting[uri] = asyncio.ensure_future(self._derive(uri))

    async def _derive(self, uri: str) -> None:
        loop = asyncio.get_running_loop()
        document = self.documents.get(uri)
        if document is not None and document.early:
            found = await loop.run_in_executor(None, self._read, uri, document)
            if found is not None and self.documents.get(uri) is document:
                self.understood(uri, found)
                self.publish(uri)
        await asyncio.sleep(PAUSE)
        document = self.documents.get(uri)
        if document is None:
            return
        problems = await loop.run_in_executor(None, _thoroughly, document)
        if self.documents.get(uri) is document and problems != document.problems:
            document.problems = problems
            self.publish(uri)

    def _read(self, uri: str, document: Document) -> Document | None:
        """A text that takes long, read on the side: one at a time, and none that has changed since."""
        with self.reading:
            if self.documents.get(uri) is not document:
                return None
            return read(document.text, document.source.name, document.folder, whole=False)


def _thoroughly(document: Document) -> list[Diagnostic]:
    """All that is wrong with a text: of every pass, and with the derivatives."""
    return derive(read(document.text, document.source.name, document.folder))


def _path(uri: str) -> Path | None:
    parsed = urlparse(uri)
    return Path(unquote(parsed.path)) if parsed.scheme == "file" else None


def make_server() -> Server:
    """A server with every feature."""
    server = Server()
    for feature in (_synchronization, _reading, _writing):
        feature(server)
    return server


def _synchronization(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    async def did_open(params: lsp.DidOpenTextDocumentParams) -> None:
        server.changed(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    async def did_change(params: lsp.DidChangeTextDocumentParams) -> None:
        server.changed(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    async def did_save(params: lsp.DidSaveTextDocumentParams) -> None:
        server.documents.pop(params.text_document.uri, None)  # what it imports may have changed
        server.changed(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    async def did_close(params: lsp.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        for held in (server.documents, server.parsed):
            held.pop(uri, None)
        if uri in server.waiting:
            server.waiting.pop(uri).cancel()
        server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))


def _reading(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        uri = params.text_document.uri
        found = shown.hover(server.opened(uri), server.offset(uri, params.position))
        if found is None:
            return None
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found[1]), server.range(uri, found[0]))

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        uri = params.text_document.uri
        found = names.definition(server.opened(uri), server.offset(uri, params.position))
        return None if found is None else server.location(uri, found)

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def references(params: lsp.ReferenceParams) -> list[lsp.Location]:
        uri = params.text_document.uri
        found = server.uses(uri, server.offset(uri, params.position))
        return [lsp.Location(uri, server.range(uri, span)) for span in found]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        uri = params.text_document.uri

        def made(entry: shown.Entry) -> lsp.DocumentSymbol:
            return lsp.DocumentSymbol(
                plain(entry.name) or entry.kind,
                SYMBOLS.get(entry.kind, lsp.SymbolKind.Variable),
                server.range(uri, entry.span),
                server.range(uri, entry.name_span),
                detail=plain(entry.detail) if entry.detail else None,
                children=[made(inner) for inner in entry.inner],
            )

        document, before = server.opened(uri), server.parsed.get(uri)
        if document.tree is None and before is not None:
            moved = Shift(before.source, document.source)
            return [made(entry) for entry in shown.carried(shown.outline(before), moved)]
        return [made(entry) for entry in shown.outline(document)]

    @server.feature(lsp.TEXT_DOCUMENT_INLAY_HINT)
    def inlay_hints(params: lsp.InlayHintParams) -> list[lsp.InlayHint]:
        uri = params.text_document.uri
        text = server.workspace.get_text_document(uri)
        found = shown.inlays(server.opened(uri), params.range.start.line + 1, params.range.end.line + 1)
        return [
            lsp.InlayHint(
                text.position_codec.position_to_client_units(text.lines, lsp.Position(i.line - 1, i.column)),
                i.text,
                lsp.InlayHintKind.Type,
            )
            for i in found
        ]

    @server.feature(
        lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, lsp.SemanticTokensLegend(list(shown.COLOURS), ["defaultLibrary"])
    )
    def semantic_tokens(params: lsp.SemanticTokensParams) -> lsp.SemanticTokens:
        uri = params.text_document.uri
        data: list[int] = []
        before = lsp.Position(0, 0)
        for span, colour in shown.colours(server.opened(uri)):
            place = server.range(uri, span)
            line = place.start.line - before.line
            start = place.start.character - (0 if line else before.character)
            width = place.end.character - place.start.character
            data += [line, start, width, shown.COLOURS.index(colour), 0]
            before = place.start
        return lsp.SemanticTokens(data)


def _writing(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=[">", "~", "(", ",", " "]))
    def completion(params: lsp.CompletionParams) -> lsp.CompletionList:
        uri = params.text_document.uri
        document = server.opened(uri)
        known = document if document.tree is not None else server.parsed.get(uri, document)
        found = names.offers(known, document.text, server.offset(uri, params.position))
        return lsp.CompletionList(
            False,
            [
                lsp.CompletionItem(
                    offer.name,
                    kind=ITEMS.get(offer.kind, lsp.CompletionItemKind.Text),
                    detail=offer.detail or None,
                    documentation=offer.doc or None,
                    insert_text=offer.insert or None,
                    sort_text=f"{int(not offer.first)}{offer.name}",
                )
                for offer in found
            ],
        )

    @server.feature(lsp.COMPLETION_ITEM_RESOLVE)
    def resolve(item: lsp.CompletionItem) -> lsp.CompletionItem:
        """The comment above a declaration of the library, which is read when it is looked at."""
        if item.documentation is None and item.label in names.heads():
            found = names.declared(read(""), item.label)
            item.documentation = found[0].doc if found is not None else None
        return item

    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    def prepare_rename(params: lsp.PrepareRenameParams) -> lsp.Range | None:
        uri = params.text_document.uri
        offset = server.offset(uri, params.position)
        word = server.opened(uri).word(offset)
        return server.range(uri, word) if word is not None and server.uses(uri, offset) else None

    @server.feature(lsp.TEXT_DOCUMENT_RENAME)
    def rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        uri = params.text_document.uri
        found = server.uses(uri, server.offset(uri, params.position))
        if not found or not names.is_name(params.new_name):
            return None
        return lsp.WorkspaceEdit({uri: [lsp.TextEdit(server.range(uri, span), params.new_name) for span in found]})

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def formatting(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        """What `dlc fmt` does; nothing where the text does not parse."""
        uri = params.text_document.uri
        source = server.opened(uri).source
        try:
            text = format_source(source)
        except CompileError:
            return []
        if text == server.workspace.get_text_document(uri).source:
            return []
        lines = len(server.workspace.get_text_document(uri).lines)
        return [lsp.TextEdit(lsp.Range(lsp.Position(0, 0), lsp.Position(lines, 0)), text)]

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )
    def code_actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        uri = params.text_document.uri
        document = server.opened(uri)
        found = []
        for problem in document.problems:
            shown_as = server.diagnostic(uri, problem)
            if not _touch(shown_as.range, params.range):
                continue
            for i, fix in enumerate(fixes(document, problem)):
                edit = lsp.WorkspaceEdit({uri: [lsp.TextEdit(server.range(uri, fix.span), fix.text)]})
                found.append(
                    lsp.CodeAction(
                        plain(fix.title),
                        lsp.CodeActionKind.QuickFix,
                        diagnostics=[shown_as],
                        is_preferred=i == 0,
                        edit=edit,
                    )
                )
        return found


def _touch(one: lsp.Range, other: lsp.Range) -> bool:
    def key(position: lsp.Position) -> tuple[int, int]:
        return position.line, position.character

    return key(one.start) <= key(other.end) and key(other.start) <= key(one.end)


def run(made: Callable[[], Server] = make_server) -> None:
    """Serves over the standard streams, until the editor ends it."""
    with os.fdopen(os.dup(0), "rb") as given, os.fdopen(os.dup(1), "wb") as answers:  # which pygls closes
        made().start_io(given, answers)
