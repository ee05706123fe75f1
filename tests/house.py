"""Which folder of the compiler imports from which: `python tests/house.py` draws it into docs/house.svg.

The rooms and their order are in compiler/pipeline.py; tests/test_house.py holds the imports to it.
"""
from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPILER = ROOT / "compiler"


@dataclass(frozen=True)
class Import:
    """One module of the compiler read by another, each as a path within `compiler/` without its suffix."""

    source: str
    target: str
    line: int
    late: bool  # within a function, so that it runs when that does
    typing: bool  # for annotations alone: it never runs

    @property
    def rooms(self) -> tuple[str, str]:
        return room(self.source), room(self.target)


def room(module: str) -> str:
    return module.partition("/")[0]


def modules() -> list[str]:
    return sorted(path.relative_to(COMPILER).with_suffix("").as_posix() for path in COMPILER.rglob("*.py"))


def imports() -> list[Import]:
    """Every import between modules of the compiler."""
    known = set(modules())
    return [found for module in sorted(known) for found in _of(module, known)]


def _of(module: str, known: set[str]) -> Iterator[Import]:
    tree = ast.parse((COMPILER / f"{module}.py").read_text("utf-8"))
    typing, late = set[ast.AST](), set[ast.AST]()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            typing.update(ast.walk(node))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            late.update(ast.walk(node))
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = module.split("/")[: -node.level] + (node.module.split(".") if node.module else [])
        for alias in node.names:
            target = _module("/".join([*base, alias.name]), known) or _module("/".join(base), known)
            if target is not None:
                yield Import(module, target, node.lineno, node in late, node in typing)


def _module(path: str, known: set[str]) -> str | None:
    return next((name for name in (path, f"{path}/__init__".lstrip("/")) if name in known), None)


def draw(path: Path) -> None:
    """The rooms, an arrow from each to those that it imports from, as a picture."""
    import pygraphviz
    from dlc.pipeline import ROOMS

    drawing = pygraphviz.AGraph(directed=True, rankdir="TB", bgcolor="transparent", ranksep="0.35", nodesep="0.3")
    drawing.node_attr.update(shape="box", style="rounded,filled", fillcolor="#eef2f7", color="#5b6b7f",
                             fontname="Helvetica", fontsize="12", height="0.3")
    drawing.edge_attr.update(color="#8a99ab", arrowsize="0.6")
    count = {name: sum(room(module) == name for module in modules()) for name in ROOMS}
    for name in reversed(ROOMS):
        files = f"{name}/ ({count[name]})" if (COMPILER / name).is_dir() else f"{name}.py"
        drawing.add_node(name, label=files)
    arrows = {found.rooms for found in imports() if not found.typing and found.rooms[0] != found.rooms[1]}
    for source, target in sorted(arrows):
        if source in count and target in count:
            drawing.add_edge(source, target)
    drawing.draw(str(path), prog="dot", format="svg")


if __name__ == "__main__":
    draw(ROOT / "docs" / "house.svg")
