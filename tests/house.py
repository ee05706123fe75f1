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


ROW, LEFT, WIDE, REACH = 44, 20, 150, 26  # of the drawing: pixels


def draw(path: Path) -> None:
    """A picture: the rooms below each other, from what a user calls down to what stands on nothing, and an arrow from
    each to those that it imports from."""
    from dlc.pipeline import ROOMS

    rows = {name: number for number, name in enumerate(reversed(ROOMS))}
    arrows = sorted({found.rooms for found in imports() if not found.typing and found.rooms[0] != found.rooms[1]})
    width, height = LEFT + WIDE + 220, ROW * len(ROOMS) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13">',
        "<title>The folders of compiler/: an arrow goes from each to those that it imports from</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#6b7c93"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for source, target in arrows:
        if source in rows and target in rows:
            above, below = rows[source], rows[target]
            assert above < below, f"{source} imports {target}, which stands above it"
            start, end = above * ROW + 32, below * ROW + 24
            edge = LEFT + WIDE
            far = edge + REACH * (below - above) ** 0.9
            parts.append(
                f'<path d="M{edge} {start} C{far:.0f} {start} {far:.0f} {end} {edge + 2} {end}" fill="none" '
                f'stroke="#6b7c93" stroke-opacity="{0.9 if below - above == 1 else 0.45}" '
                'marker-end="url(#head)"/>'
            )
    for name, row in rows.items():
        label = f"{name}/" if (COMPILER / name).is_dir() else f"{name}.py"
        parts.append(
            f'<rect x="{LEFT}" y="{row * ROW + 12}" width="{WIDE}" height="32" rx="6" fill="#eef2f7" '
            f'stroke="#5b6b7f"/><text x="{LEFT + 14}" y="{row * ROW + 33}" fill="#1c2733">'
            f"{label}</text>"
        )
    path.write_text("\n".join([*parts, "</svg>", ""]), "utf-8")


if __name__ == "__main__":
    draw(ROOT / "docs" / "house.svg")
