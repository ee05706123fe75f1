"""A model as a page to walk around in: one file that loads nothing and sends nothing.

Layers open and close in place, the spec stands beside the picture, and there is a view for each part of a training
step. The browser lays it out (dagre, in `assets/`, with its licence); a content security policy lets only the script
and the style that are written here run, and no other load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from ..ir.module import Module
from ..recursion import deep_recursion
from .box import Box, Picture
from .document import HEAD, asset, packed, policy
from .fold import opened
from .looks import LEGEND
from .outline import Measured, Outline
from .picture import TRAINING, primitives

KINDS = ("forward", "backward", "update", "kept", "serving", "next")  # of arrows
UNROLLED = 20_000  # boxes of a model whose repeated parts the page can show one by one
SCRIPTS = (
    "dagre.min",
    "tree",
    "layout",
    "labels",
    "draw",
    "move",
    "page",
)  # they share their names, and run in this order
COLOURS = {
    "forward": "edge",
    "backward": "gradient-line",
    "update": "update-line",
    "serving": "serving-line",
    "next": "state-line",
}

_PAGE = (
    HEAD
    + """<style>{css}</style>
</head>
<body>
<header>
  <h1>{title}</h1>
  <div class="views" role="group" aria-label="view"></div>
  <label>levels <input id="depth" type="range" min="0" max="1" value="0" step="1"></label>
  <button id="unroll" type="button" aria-pressed="false" hidden>unroll</button>
  <label id="by" hidden>colour by <select id="scale"></select></label>
  <input id="search" type="search" placeholder="search ( / )" aria-label="search">
  <span id="found" role="status"></span>
  <span class="space"></span>
  <button id="fit" type="button">whole</button>
  <button id="theme" type="button" aria-pressed="false">dark</button>
</header>
<main id="view" aria-label="the graph: click a layer to open it, drag to move, wheel to zoom">
  <svg id="svg" role="tree" aria-label="{title}"><defs>{heads}</defs><g id="scene"></g></svg>
  <div id="legend"></div>
  <canvas id="map" width="150" height="110" aria-hidden="true" hidden></canvas>
</main>
<aside>
  <section id="about" aria-live="polite"><h2>{title}</h2>{summary}</section>
  <section id="said"><h2>{name}</h2><pre id="text"></pre></section>
</aside>
<noscript>This page draws its picture by a script that is in it.</noscript>
<script type="application/octet-stream" id="data">{data}</script>
{scripts}
</body>
</html>
"""
)


def page(
    written: Module,
    derive: Callable[[], Module] | None = None,
    view: str = "forward",
    depth: int = 0,
    measured: Measured | None = None,
    on: str = "",
) -> str:
    """The page of a model. `written`: as its text says it; `derive` makes the same, differentiated, where it trains,
    and may make it of `written` itself, which has been drawn then. It opens with that view, and so many levels of it
    open. `measured`: what boxes say of a batch; `on`: of which."""
    with deep_recursion():
        outlines, views = _views(written, derive, measured)
    name, text = next(iter(written.sources.items()), ("", ""))
    data: dict[str, Any] = {"title": written.name, "views": views, "lines": text.split("\n"), "legend": LEGEND}
    data |= {"view": view, "depth": depth, "measured": on if measured is not None else None}
    css, scripts = styles_and_scripts()
    return _PAGE.format(
        title=escape(written.name),
        name=escape(name),
        css=css,
        policy=policy([css], scripts),
        heads="".join(map(_head, KINDS)),
        summary=_summary(outlines, written),
        data=packed(data),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _views(
    written: Module, derive: Callable[[], Module] | None, measured: Measured | None
) -> tuple[dict[str, Outline], dict[str, Any]]:
    names = {node: name for name, node in written.names.items()}
    runs = set(written.graph.order(written.roots("output/").values()))
    whole = primitives(written, "forward")
    outlines = {"forward": Outline(whole, names, runs, measured=measured)}
    views = {"forward": outlines["forward"].written()}
    each: dict[str, Any] = {}
    if outlines["forward"].repeats.times and whole.number_of_nodes() <= UNROLLED:
        each = {"forward/each": Outline(whole, names, runs, unrolled=True, measured=measured).written()}
    if written.trains and derive is not None:
        derived = derive()
        names |= {node: name for name, node in derived.names.items()}
        for view in TRAINING:
            outlines[view] = Outline(primitives(derived, view), names, measured=measured)
            views[view] = outlines[view].written()
    return outlines, views | each


def styles_and_scripts() -> tuple[str, list[str]]:
    """The style of every such page, and its scripts: a page that shows one in a frame allows them too."""
    return asset("page.css"), [asset(f"{name}.js") for name in SCRIPTS]


def _head(kind: str) -> str:
    colour = COLOURS.get(kind, "kept")
    return (
        f'<marker id="head-{kind}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="6.5" markerHeight="6.5" '
        f'orient="auto"><path d="M0 0L8 4L0 8z" fill="var(--{colour})"/></marker>'
    )


# --- what a reader asks first


def _summary(outlines: Mapping[str, Outline], module: Module) -> str:
    """What goes in and comes out, what is learned and by which layer most, where the loss is, what flows back."""
    shown = {view: opened(o.picture, o.repeats, 0) for view, o in outlines.items() if view in ("forward", "backward")}
    rows = _rows(shown["forward"], shown.get("backward"), module)
    return "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{escape(said)}</dd>" for term, said in rows.items()) + "</dl>"


def _down(picture: Picture) -> list[Box]:
    """The boxes of the model, those nearest to its inputs first."""
    found = dict.fromkeys(box for box in picture if box.kind == "input")
    for box in (queue := list(found)):
        for target in picture.successors(box):
            if target not in found and target.side == "forward":
                found[target] = None
                queue.append(target)
    return list(found)


def _rows(forward: Picture, backward: Picture | None, module: Module) -> Mapping[str, str]:
    rows: dict[str, str] = {}
    for kind, term in (("input", "goes in"), ("target", "target"), ("result", "comes out")):
        rows[term] = "; ".join(" ".join(box.lines) for box in forward if box.kind == kind)
    learned = [variable for variable in module.variables.values() if variable.kind == "parameter"]
    layers = [box for box in forward if box.kind == "layer"]
    times = forward.graph["times"]

    def holds(box: Box) -> int:
        held = box.count * box.times
        for i in range(len(box.path)):
            held *= times.get(box.path[: i + 1], 1)
        return held

    loose = sum(box.count for box in forward if box.kind == "parameter")
    whole = loose + sum(map(holds, layers))
    if learned:
        rows["learned"] = f"{whole:,} numbers in {len(learned):,} parameters"
    if layers:
        most = max(layers, key=holds)
        rows["most of it"] = f"{most.text[0]}: {holds(most):,}"
    losses = [box for box in forward if box.kind == "loss"]
    for loss in losses:
        made = [" ".join(source.text) for source in forward.predecessors(loss)]
        of = [end.text[0] for source in forward.predecessors(loss) for end in forward.predecessors(source)]
        said = ", ".join(made) + (f" of {', '.join(dict.fromkeys(of))}" if of else "")
        rows["loss"] = (
            said if len(losses) == 1 else "; ".join(filter(None, (rows.get("loss"), f"{loss.lines[0]}: {said}")))
        )
    if backward is not None:
        first = next((box for box in _down(backward) if box.kind == "layer"), None)
        back = next((b for b in backward if b.side == "backward" and first and b.partner == first.partner), None)
        if first is not None and back is not None:
            sources = [source.text[0] for source in backward.predecessors(back) if source.side == "backward"]
            flows = f", from {', '.join(sources)}" if sources else ""
            rows["flows back"] = f"{first.text[0]}: {', '.join(back.text[1:])}{flows}"
    return {term: said for term, said in rows.items() if said}
