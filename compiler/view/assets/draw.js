"use strict";
// A view on the screen: its boxes and arrows, of a large picture those that are near, and what of them is marked.

let placed = { boxes: new Map(), arrows: [] };

function curve(points) {
  let d = `M${points[0].x} ${points[0].y}`;
  for (let i = 1; i < points.length - 1; i++) {
    const p = points[i], q = points[i + 1], last = i === points.length - 2;
    d += `Q${p.x} ${p.y} ${last ? q.x : (p.x + q.x) / 2} ${last ? q.y : (p.y + q.y) / 2}`;
  }
  return points.length === 2 ? d + `L${points[1].x} ${points[1].y}` : d;
}

function across(a, b, down) {
  if (down) {  // into the update from above, past what stands beside
    const x = a.x + a.width, y = a.y + a.height / 2, to = b.x + b.width / 2;
    return `M${x} ${y}C${x + 60} ${y} ${to} ${Math.min(y, b.y) - 30} ${to} ${b.y}`;
  }
  const right = a.x + a.width / 2 < b.x + b.width / 2;
  const x1 = right ? a.x + a.width : a.x, x2 = right ? b.x : b.x + b.width, y1 = a.y + a.height / 2, y2 = b.y + b.height / 2;
  const bend = Math.max(30, Math.abs(x2 - x1) / 2) * (right ? 1 : -1);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

function around(a, b) {  // from the end of an iteration back to the beginning of the next, on the right
  const x1 = a.x + a.width, x2 = b.x + b.width, y1 = a.y + a.height / 2, y2 = b.y + b.height / 2;
  const out = Math.max(x1, x2) + 34;
  return `M${x1} ${y1}C${out} ${y1} ${out} ${y2} ${x2} ${y2}`;
}

// The line of an arrow, and what kind of one it is.
function lined(arrow) {
  const a = placed.boxes.get(arrow.from), b = placed.boxes.get(arrow.to);
  const sides = now.items[arrow.from].side + ">" + now.items[arrow.to].side;
  arrow.kind = arrow.next ? "next" : arrow.starts ? "backward" : arrow.serving ? "serving" : sides === "forward>backward" ? "kept"
    : sides === "forward>forward" ? "forward" : sides === "forward>update" ? "kept" : sides.endsWith("update") ? "update" : "backward";
  arrow.d = arrow.points ? curve(arrow.points) : arrow.next ? around(a, b) : across(a, b, arrow.kind === "update");
}

function drawArrow(arrow) {
  const a = placed.boxes.get(arrow.from), b = placed.boxes.get(arrow.to), { kind, d } = arrow;
  const ends = arrow.points || [a, b, ...[a, b].map(box => ({ x: box.x + box.width, y: box.y + box.height }))];
  const x = ends.map(p => p.x), y = ends.map(p => p.y), wide = arrow.next ? 60 : 10;
  part("arrows", Math.min(...x) - wide, Math.min(...y) - wide, Math.max(...x) + wide, Math.max(...y) + wide, () => {
    const path = make("path", { class: "edge " + kind, d, "marker-end": `url(#head-${kind})` });
    path.dataset.from = arrow.from; path.dataset.to = arrow.to;
    return path;
  });
  if (arrow.label) part("arrows", arrow.label.x - 60, arrow.label.y - 10, arrow.label.x + 60, arrow.label.y + 10, () =>
    make("text", { class: "shape", x: arrow.label.x, y: arrow.label.y + 4, "text-anchor": "middle" }, arrow.shape));
}

function drawBox(i) {
  const box = placed.boxes.get(i);
  part(box.group ? "groups" : "boxes", box.x, box.y, box.x + box.width, box.y + box.height, () => {
    const item = now.items[i], group = now.isGroup(i);
    const g = make("g", { class: box.group ? "group" + (item.depth % 2 ? " odd" : "") : "node k-" + item.look, role: "treeitem",
      tabindex: -1, "aria-level": item.depth + 1, "aria-label": (box.group ? item.title : item.text.join(", ")) });
    if (group) g.setAttribute("aria-expanded", String(box.group));
    g.dataset.i = i;
    const round = ["input", "target", "call", "operation", "serving", "backward", "update"].includes(item.look) ? 9 : 2;
    const rect = make("rect", { x: box.x, y: box.y, width: box.width, height: box.height, rx: box.group ? 9 : round });
    if (shades.has(i)) rect.style.fill = `color-mix(in srgb, var(--heat) ${Math.round(90 * shades.get(i))}%, var(--paper))`;
    g.append(rect);
    if (box.group) {
      g.append(make("text", { x: box.x + 9, y: box.y + 14 }, (item.look === "turn" ? "" : "▾ ") + item.title));
    } else {
      const text = make("text", { "text-anchor": "middle" });
      lines(item).forEach((line, n) => text.append(make("tspan", { class: n ? "more" : "first", x: box.x + box.width / 2, y: box.y + 19 + 17 * n }, line)));
      g.append(text);
      if (item.tip) g.append(make("title", {}, item.tip));
    }
    return g;
  }, i);
}

// Of a large picture only what is on the screen, or half a screen away, is there: so it moves smoothly. Seen from far, where
// nothing of it could be read, its boxes are one path for each kind.
const MANY = 300, FAR = 0.2;
let parts = [], partOf = new Map(), layers = {}, shades = new Map(), afar = false;
function part(layer, left, top, right, bottom, make, i) {
  const one = { layer, left, top, right, bottom, make, element: null, i, order: parts.length };
  parts.push(one);
  if (i !== undefined) partOf.set(i, one);
}
function there(one) {  // in its layer; a group behind the groups in it
  if (one.element) return one.element;
  one.element = one.make();
  dress(one.element);
  const behind = one.layer === "groups" ? [...layers.groups.children].find(other => partOf.get(+other.dataset.i).order > one.order) : null;
  layers[one.layer].insertBefore(one.element, behind || null);
  return one.element;
}
function elementOf(i) { const one = partOf.get(i); return one && there(one); }
function cull() {
  const far = parts.length >= MANY && at.k < FAR;
  if (far !== afar) {
    afar = far;
    for (const layer of ["groups", "arrows", "boxes"]) layers[layer].style.display = far ? "none" : "";
    layers.far.style.display = far ? "" : "none";
  }
  if (far) { outlined(); return; }
  const width = view.clientWidth / at.k, height = view.clientHeight / at.k, x = -at.x / at.k, y = -at.y / at.k, all = parts.length < MANY;
  for (const one of parts) {
    const near = all || !(one.right < x - width / 2 || one.left > x + 1.5 * width || one.bottom < y - height / 2 || one.top > y + 1.5 * height);
    if (near) there(one);
    else if (one.element) { one.element.remove(); one.element = null; }
  }
}
function outlined() {
  if (layers.far.childElementCount) return;
  const shapes = new Map();
  for (const [i, box] of placed.boxes) {
    const look = box.group ? "group" : { parameter: "layer", target: "input", backward: "gradient" }[now.items[i].look] || now.items[i].look;
    const rect = `M${Math.round(box.x)} ${Math.round(box.y)}h${Math.round(box.width)}v${Math.round(box.height)}h${-Math.round(box.width)}z`;
    shapes.has(look) ? shapes.get(look).push(rect) : shapes.set(look, [rect]);
  }
  const lines = placed.arrows.filter(arrow => arrow.points).map(({ points: p }) => `M${Math.round(p[0].x)} ${Math.round(p[0].y)}L${Math.round(p[p.length - 1].x)} ${Math.round(p[p.length - 1].y)}`);
  for (const [look, rects] of [...shapes].sort(([a], [b]) => (b === "group") - (a === "group"))) {
    const path = make("path", { d: rects.join("") });
    path.style.fill = path.style.stroke = look === "group" ? "var(--group-2)" : `var(--${look}-line)`;
    layers.far.append(path);
  }
  const path = make("path", { d: lines.join("") });
  path.style.stroke = "var(--edge)";
  layers.far.append(path);
}

function draw() {
  placed = layout();
  placed.arrows.forEach(lined);
  labelled(placed);
  shades = scaled ? heat() : new Map();
  [parts, partOf, afar] = [[], new Map(), false];
  layers = Object.fromEntries(["far", "groups", "arrows", "boxes"].map(name => [name, make("g", { class: name })]));
  layers.far.style.display = "none";
  scene.replaceChildren(...Object.values(layers));
  const order = [...placed.boxes.keys()];
  order.filter(i => placed.boxes.get(i).group).sort((a, b) => now.items[a].depth - now.items[b].depth).forEach(drawBox);
  placed.arrows.forEach(drawArrow);
  order.filter(i => !placed.boxes.get(i).group).forEach(drawBox);
  mark();
  sketch();
  cull();
  overview();
}

// What is chosen, found and idle, as it shows on what is there.
let marks = { found: new Set(), shown: null, first: null };
function dress(element) {
  const { found, shown, first } = marks;
  if (element.dataset.i !== undefined) {
    const i = +element.dataset.i, idle = name === "predict" && !runs(i);
    element.classList.toggle("on", i === shown);
    element.classList.toggle("hit", found.has(i));
    element.classList.toggle("dim", idle || (hits.length > 0 && !found.has(i) && !placed.boxes.get(i).group));
    element.setAttribute("tabindex", i === (shown ?? first) ? 0 : -1);
  } else if (element.dataset.from !== undefined) {
    const ends = [+element.dataset.from, +element.dataset.to];
    const idle = name === "predict" && !element.classList.contains("serving") && !ends.every(runs);
    const aside = shown !== null && element.classList.contains("kept") && !ends.includes(shown);
    element.classList.toggle("dim", hits.length > 0 || idle || aside);
  }
}

function mark() {
  const lines = new Set(picked === null ? [] : now.items[picked].at || []);
  marks = { found: new Set(hits.map(i => now.closed(i))), shown: picked === null ? null : now.closed(picked), first: placed.boxes.keys().next().value };
  for (const one of parts) if (one.element) dress(one.element);
  for (const span of byId("text").children) span.classList.toggle("on", lines.has(+span.dataset.n));
}
