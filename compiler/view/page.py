"""The page around a picture: one file without links to anything; drag, wheel, and search."""

from __future__ import annotations

from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
  html, body {{ margin: 0; height: 100%; font: 14px/1.4 Helvetica, Arial, sans-serif; color: #1b1f24 }}
  header {{ position: fixed; inset: 0 0 auto 0; display: flex; gap: 1em; align-items: center; padding: 8px 14px;
    background: #ffffffee; border-bottom: 1px solid #d0d7de; z-index: 1 }}
  h1 {{ font-size: 15px; margin: 0 }}
  input {{ font: inherit; padding: 3px 8px; border: 1px solid #8a929a; border-radius: 4px; min-width: 16em }}
  button {{ font: inherit; padding: 3px 10px; border: 1px solid #8a929a; border-radius: 4px; background: #f6f8fa }}
  :focus-visible {{ outline: 2px solid #0b5394; outline-offset: 1px }}
  #view {{ position: fixed; inset: 46px 0 0 0; overflow: hidden; cursor: grab; touch-action: none }}
  #view.moving {{ cursor: grabbing }}
  #view > svg {{ width: 100%; height: 100% }}
  .dim {{ opacity: .18 }}
  a {{ cursor: inherit }}
</style>
</head>
<body>
<header>
  <h1>{title}</h1>
  <input id="search" type="search" placeholder="search" aria-label="search">
  <span id="found" role="status"></span>
  <button id="fit">fit</button>
</header>
<div id="view" tabindex="0" aria-label="the graph: drag to move, wheel to zoom">
{svg}
</div>
<script>
"use strict";
const view = document.getElementById("view"), svg = view.querySelector("svg");
svg.removeAttribute("width"); svg.removeAttribute("height");
const whole = svg.viewBox.baseVal, home = [whole.x, whole.y, whole.width, whole.height];
let box = home.slice(), grip = null;
const show = () => svg.setAttribute("viewBox", box.join(" "));
const scale = () => Math.max(box[2] / view.clientWidth, box[3] / view.clientHeight);
function zoom(by, x, y) {{
  const side = view.getBoundingClientRect(), k = scale();
  const px = box[0] + box[2] / 2 + (x - side.left - side.width / 2) * k;
  const py = box[1] + box[3] / 2 + (y - side.top - side.height / 2) * k;
  box = [px + (box[0] - px) * by, py + (box[1] - py) * by, box[2] * by, box[3] * by];
  show();
}}
view.addEventListener("wheel", e => {{ e.preventDefault(); zoom(Math.exp(e.deltaY * 0.0015), e.clientX, e.clientY); }},
  {{ passive: false }});
view.addEventListener("pointerdown", e => {{
  grip = [e.clientX, e.clientY]; view.setPointerCapture(e.pointerId); view.classList.add("moving");
}});
view.addEventListener("pointermove", e => {{
  if (!grip) return;
  const k = scale();
  box[0] -= (e.clientX - grip[0]) * k; box[1] -= (e.clientY - grip[1]) * k;
  grip = [e.clientX, e.clientY]; show();
}});
for (const end of ["pointerup", "pointercancel"])
  view.addEventListener(end, () => {{ grip = null; view.classList.remove("moving"); }});
view.addEventListener("keydown", e => {{
  const side = view.getBoundingClientRect(), step = 40 * scale();
  const x = side.left + side.width / 2, y = side.top + side.height / 2;
  const act = {{
    "+": () => zoom(0.8, x, y), "-": () => zoom(1.25, x, y), "0": fit,
    ArrowLeft: () => box[0] -= step, ArrowRight: () => box[0] += step,
    ArrowUp: () => box[1] -= step, ArrowDown: () => box[1] += step,
  }}[e.key];
  if (act) {{ e.preventDefault(); act(); show(); }}
}});
function fit() {{ box = home.slice(); show(); }}
document.getElementById("fit").addEventListener("click", fit);
const nodes = [...svg.querySelectorAll("g.node")], edges = [...svg.querySelectorAll("g.edge")];
const tips = n => [...n.querySelectorAll("a")].map(a => a.getAttribute("xlink:title")).join(" ");
const words = nodes.map(n => (n.textContent + " " + tips(n)).toLowerCase());
document.getElementById("search").addEventListener("input", e => {{
  const text = e.target.value.trim().toLowerCase();
  let count = 0, first = null;
  nodes.forEach((n, i) => {{
    const hit = !text || words[i].includes(text);
    n.classList.toggle("dim", !hit);
    if (hit && text) {{ count += 1; first = first || n; }}
  }});
  edges.forEach(n => n.classList.toggle("dim", !!text));
  document.getElementById("found").textContent = text ? count + " found" : "";
  if (first) {{
    const at = first.getBBox(), place = svg.querySelector("g.graph").transform.baseVal.consolidate().matrix;
    box[0] = at.x + at.width / 2 + place.e - box[2] / 2; box[1] = at.y + at.height / 2 + place.f - box[3] / 2; show();
  }}
}});
</script>
</body>
</html>
"""


def page(title: str, svg: str) -> str:
    """A self-contained page. `svg` is Graphviz's, which escapes every label; the title is escaped here."""
    return _PAGE.format(title=escape(title), svg=svg)
