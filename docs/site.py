"""What mkdocs.yml asks for: the library's reference out of its source with a picture of each layer, the README as the
first page, and links that lead out of `docs/` as plain text."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\[([^\]\[]*)\]\(([^)#: ]+)(#[^)]*)?\)")


def on_config(config: Any) -> Any:
    """Specs are coloured, whether the lexer is installed by its entry point or not."""
    from dlc.editor.lexer import DlLexer
    from pygments.lexers import LEXERS

    told = DlLexer.name, tuple(DlLexer.aliases), tuple(DlLexer.filenames), tuple(DlLexer.mimetypes)
    LEXERS["DlLexer"] = (DlLexer.__module__, *told)
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that are made when the site is."""
    from dlc.editor import pictured, reference
    from mkdocs.structure.files import File

    readme = (ROOT / "README.md").read_text("utf-8")
    readme = readme.replace('<img src="docs/', '<img src="').replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "contributing.md", content=_out_of_root("CONTRIBUTING.md")))
    files.append(File.generated(config, "changes.md", content=_out_of_root("CHANGELOG.md")))
    drawn = pictured.EXAMPLES if find_spec("pygraphviz") is not None else {}
    for name in drawn:
        files.append(File.generated(config, f"reference/{name}.svg", content=pictured.picture(name)))
    for path in reference.files():
        files.append(File.generated(config, f"reference/{path.stem}.md", content=reference.page(path, drawn)))
    names = [path.stem for path in reference.files()]
    rows = "\n".join(f"* [{name}]({name}.md)" for name in names)
    made = f"# Reference of the library\n\nOut of the source of each file.\n\n{rows}\n"
    files.append(File.generated(config, "reference/index.md", content=made))
    return files


def _out_of_root(name: str) -> str:
    return (ROOT / name).read_text("utf-8").replace("](docs/", "](").replace("](README.md)", "](index.md)")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to what the site does not have are words: the repository has it."""
    known = {file.src_uri for file in files}
    here = page.file.src_uri.rpartition("/")[0]

    def kept(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        place = _resolved(here, target)
        if place in ("../README.md", "../CONTRIBUTING.md", "CONTRIBUTING.md", "README.md", "CHANGELOG.md"):
            made = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
            up = "../" * (here.count("/") + 1 if here else 0)
            return f"[{words}]({up}{made[place.rpartition('/')[2]]}{anchor})"
        return match[0] if place in known else words

    return LINK.sub(kept, markdown)


def _resolved(here: str, target: str) -> str:
    parts = here.split("/") if here else []
    for part in target.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
