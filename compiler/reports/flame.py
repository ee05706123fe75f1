"""A profile as a page: a flame graph of sides, layers, lines and operators, beside the text of the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from ..view.document import HEAD, asset, embedded, policy
from .profile import Profile, tree

_PAGE = (
    HEAD
    + """<style>{css}</style>
</head>
<body>
<h1>{title}</h1>
<p>{said}</p>
<p><label>width is
<select id="by"><option value="us">time</option><option value="bytes">bytes made</option></select></label>
<label>find <input id="find" type="search"></label> <button id="whole" type="button">whole</button>
<span id="told" role="status" class="soft">A click widens a box, a click on what lies below it goes back.</span></p>
<svg id="flame" role="tree" aria-label="{title}"></svg>
<pre id="line" class="soft"></pre>
<noscript>The picture is drawn by a script that is in this page; its numbers are in the tables.</noscript>
{tables}
<script type="application/json" id="data">{data}</script>
<script>{js}</script>
</body>
</html>
"""
)


def page(found: Profile, lines: Mapping[str, Sequence[str]]) -> str:
    """`lines`: the texts that the file was compiled from, by name."""
    css, js = asset("flame.css"), asset("flame.js")
    said = (
        f"One {found.what} on {found.rows:,} rows takes {found.plain:,.0f} µs. Profiled, {found.inside:,.0f} µs of it "
        f"are in nodes and {found.between:,.0f} µs between them, the mean of {len(found.calls)} calls. Values alive at "
        f"once: {found.peak:,} bytes."
    )
    tables = "".join(
        _table(title, rows)
        for title, rows in (
            ("layers", found.by(lambda one: f"{one.scope or '(model)'}, {one.side}")),
            ("lines of the spec", found.by(lambda one: _line(one.source, lines))),
            ("operators", found.by(lambda one: one.op)),
        )
    )
    return _PAGE.format(
        title=escape(f"{found.title}: {found.what}"),
        policy=policy([css], [js]),
        css=css,
        said=escape(said),
        tables=tables,
        data=embedded({"tree": tree(found), "lines": lines}),
        js=js,
    )


def _table(title: str, rows: Sequence[tuple[str, float, float, int, int]]) -> str:
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{t:,.1f}</td><td>{100 * share:.1f}</td><td>{count:,}</td>"
        f"<td>{made:,}</td></tr>"
        for name, t, share, count, made in rows
    )
    head = f"<tr><th>{escape(title)}</th><th>µs</th><th>%</th><th>nodes</th><th>bytes made</th></tr>"
    made = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
    return f"<details><summary>{escape(title)}</summary>{made}</details>"


def _line(source: str, lines: Mapping[str, Sequence[str]]) -> str:
    """`digits.dl:6: logits = ...`."""
    name, _, number = source.partition(":")
    at = number.partition(":")[0]
    text = lines.get(name, ())
    if not at.isdecimal() or not 0 < int(at) <= len(text):
        return source or "(no line)"
    return f"{name}:{at}: {text[int(at) - 1].strip()}"
