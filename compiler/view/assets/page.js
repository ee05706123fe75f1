"use strict";
// The data that Python wrote: views of the model as groups, leaves and arrows (compiler/view/outline.py), packed.
const data = {}, views = {};
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
}
const byId = id => document.getElementById(id);
const svgns = "http://www.w3.org/2000/svg";
const view = byId("view"), svg = byId("svg"), scene = byId("scene");
let name = "forward", now = null, picked = null, hits = [], at = { x: 0, y: 0, k: 1 };

function make(tag, attributes = {}, text) {
  const made = document.createElementNS(svgns, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// --- the tree of a view, and which groups are open

class View {
  constructor(given) {
    this.items = [...given.groups, ...given.leaves];
    this.groups = given.groups.length;
    this.arrows = [...given.arrows.map(([a, b, shape, how]) => ({ a, b, shape, serving: how & 1, next: how & 2 })),
      ...given.starts.map(([a, b]) => ({ a, b, shape: "", serving: 0, starts: true }))];
    this.items.forEach((item, i) => { item.i = i; item.inside = []; });
    for (const item of this.items) if (item.up >= 0) this.items[item.up].inside.push(item.i);
    for (const item of this.items) { item.depth = 0; for (let up = item.up; up >= 0; up = this.items[up].up) item.depth += 1; }
    this.open = new Set(this.items.filter(item => item.look === "turn").map(item => item.i));
    this.deepest = Math.max(0, ...this.items.map(item => item.depth));
  }
  isGroup(i) { return i < this.groups; }
  closed(i) {  // what is shown of an item: itself, or the outermost closed group around it
    let shown = i;
    for (let up = this.items[i].up; up >= 0; up = this.items[up].up) if (!this.open.has(up)) shown = up;
    return shown;
  }
  shown() {
    const found = [];
    const visit = i => { found.push(i); if (this.isGroup(i) && this.open.has(i)) this.items[i].inside.forEach(visit); };
    this.items.filter(item => item.up < 0).forEach(item => visit(item.i));
    return found;
  }
  reveal(i) { for (let up = this.items[i].up; up >= 0; up = this.items[up].up) this.open.add(up); }
  level(depth) {
    this.open.clear();
    for (let i = 0; i < this.groups; i++)
      if (this.items[i].look === "turn" || this.items[i].depth < depth) this.open.add(i);
  }
}
const runs = i => now.items[i].runs || now.items[i].inside.some(runs);

// What was measured on a batch: which number of a box is looked at, and how it is said.
const SCALES = { spread: "spread", length: "length", zeros: "zeros", dead: "dead units", time: "time" };
let scaled = "";
const measure = item => scaled === "time" ? item.time : item.stats?.[scaled];
const share = x => `${(100 * x).toPrecision(3).replace(/\.?0+$/, "")} %`;
const say = (which, x) => which === "zeros" || which === "dead" ? share(x) : which === "time" ? (x >= 1000 ? `${(x / 1000).toPrecision(3)} ms` : `${x} µs`) : String(x);
const lines = item => scaled && measure(item) !== undefined ? [...item.text, `${SCALES[scaled]} ${say(scaled, measure(item))}`] : item.text;
function heat() {  // how far up the scale each box is that is shown, from 0 to 1: of lengths and spreads by their logarithm
  const found = [...placed.boxes].filter(([i, box]) => !box.group && measure(now.items[i]) !== undefined);
  const plain = ["zeros", "dead", "time"].includes(scaled), values = found.map(([i]) => measure(now.items[i]));
  const above = values.filter(x => x > 0), up = x => plain ? x : Math.log10(x);
  const low = plain ? 0 : up(Math.min(...above)), high = up(Math.max(...above));
  return new Map(found.map(([i], n) => [i, values[n] > 0 ? high > low ? (up(values[n]) - low) / (high - low) : 1 : 0]));
}

// --- drawing

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

function drawArrow(arrow) {
  const a = placed.boxes.get(arrow.from), b = placed.boxes.get(arrow.to);
  const sides = now.items[arrow.from].side + ">" + now.items[arrow.to].side;
  const kind = arrow.next ? "next" : arrow.starts ? "backward" : arrow.serving ? "serving" : sides === "forward>backward" ? "kept"
    : sides === "forward>forward" ? "forward" : sides === "forward>update" ? "kept" : sides.endsWith("update") ? "update" : "backward";
  const ends = arrow.points || [a, b, ...[a, b].map(box => ({ x: box.x + box.width, y: box.y + box.height }))];
  const x = ends.map(p => p.x), y = ends.map(p => p.y), wide = arrow.next ? 60 : 10;
  part("arrows", Math.min(...x) - wide, Math.min(...y) - wide, Math.max(...x) + wide, Math.max(...y) + wide, () => {
    const path = make("path", { class: "edge " + kind, d: arrow.points ? curve(arrow.points) : arrow.next ? around(a, b) : across(a, b, kind === "update"), "marker-end": `url(#head-${kind})` });
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

// --- moving

// While it is dragged the picture as it was drawn is moved, and drawn anew once it rests.
let dragged = [0, 0], resting = 0;
function pan(x, y) {
  fitted = false;
  dragged = [dragged[0] + x, dragged[1] + y];
  svg.style.willChange = "transform";
  svg.style.transform = `translate(${dragged[0]}px, ${dragged[1]}px)`;
  clearTimeout(resting);
  if (Math.abs(dragged[0]) > 0.4 * view.clientWidth || Math.abs(dragged[1]) > 0.4 * view.clientHeight) rest();
  else resting = setTimeout(rest, 150);
}
function rest() {
  clearTimeout(resting);
  at.x += dragged[0]; at.y += dragged[1];
  dragged = [0, 0];
  svg.style.transform = svg.style.willChange = "";
  place();
}

function place() {
  scene.setAttribute("transform", `translate(${at.x} ${at.y}) scale(${at.k})`);
  cull();
  overview();
}

// The whole in small, with what of it is on the screen, where that is not all.
const map = byId("map"), small = document.createElement("canvas");
let sketched = null;
function sketch() {
  const all = extent(), sharp = window.devicePixelRatio || 1, style = getComputedStyle(document.documentElement);
  const k = Math.min(150 / all.width, 110 / all.height);
  sketched = { ...all, k, sharp, ink: style.getPropertyValue("--pick") };
  map.width = small.width = Math.max(8, all.width * k) * sharp;
  map.height = small.height = Math.max(8, all.height * k) * sharp;
  map.style.width = `${map.width / sharp}px`;
  map.style.height = `${map.height / sharp}px`;
  const drawn = small.getContext("2d");
  drawn.scale(sharp * k, sharp * k);
  for (const box of [...placed.boxes.values()].sort((a, b) => b.group - a.group)) {
    drawn.fillStyle = style.getPropertyValue(box.group ? "--group-2" : "--operation-line");
    drawn.fillRect(box.x - all.x, box.y - all.y, Math.max(box.width, 1 / k), Math.max(box.height, 1 / k));
  }
}
function overview() {
  if (!sketched) return;
  const width = view.clientWidth, height = view.clientHeight, { x, y, k, sharp, ink } = sketched;
  map.hidden = sketched.width * at.k <= width && sketched.height * at.k <= height;
  if (map.hidden) return;
  const drawn = map.getContext("2d");
  drawn.setTransform(1, 0, 0, 1, 0, 0);
  drawn.clearRect(0, 0, map.width, map.height);
  drawn.drawImage(small, 0, 0);
  drawn.scale(sharp, sharp);
  drawn.strokeStyle = ink;
  drawn.lineWidth = 1.5;
  drawn.strokeRect((-at.x / at.k - x) * k, (-at.y / at.k - y) * k, width / at.k * k, height / at.k * k);
}
for (const on of ["pointerdown", "pointermove"]) map.addEventListener(on, e => {
  if (on === "pointermove" && !e.buttons) return;
  e.stopPropagation();
  const side = map.getBoundingClientRect(), { x, y, k } = sketched;
  rest();
  fitted = false;
  at.x = view.clientWidth / 2 - (x + (e.clientX - side.left) / k) * at.k;
  at.y = view.clientHeight / 2 - (y + (e.clientY - side.top) / k) * at.k;
  place();
});

function extent() {
  const list = [...placed.boxes.values()];
  const x = Math.min(...list.map(b => b.x)), y = Math.min(...list.map(b => b.y));
  const labels = placed.arrows.filter(arrow => arrow.label).map(arrow => arrow.label.x + 3.2 * arrow.shape.length);
  return { x, y, width: Math.max(...list.map(b => b.x + b.width), ...labels) - x, height: Math.max(...list.map(b => b.y + b.height)) - y };
}

const scale = all => Math.min(1.25, (view.clientWidth - 40) / all.width, (view.clientHeight - 60) / all.height);
let fitted = true;  // the whole is on the screen, and stays there while it is legible
function fit() {
  rest();
  fitted = true;
  const all = extent(), { width, height } = view.getBoundingClientRect();
  at.k = scale(all);
  at.x = (width - all.width * at.k) / 2 - all.x * at.k;
  at.y = Math.max(14, (height - 30 - all.height * at.k) / 2) - all.y * at.k;
  place();
}

function zoom(by, x, y) {
  rest();
  fitted = false;
  const k = Math.min(6, Math.max(0.03, at.k * by));
  at = { x: x - (x - at.x) * k / at.k, y: y - (y - at.y) * k / at.k, k };
  place();
}

function centre(i) {
  rest();
  fitted = false;
  const box = placed.boxes.get(i), { width, height } = view.getBoundingClientRect();
  at.k = Math.max(at.k, 0.8);
  at.x = width / 2 - (box.x + box.width / 2) * at.k;
  at.y = height / 2 - (box.y + Math.min(box.height, height / at.k) / 2) * at.k;
  place();
}

const grips = new Map();
let moved = 0;
view.addEventListener("wheel", e => {
  e.preventDefault();
  const side = view.getBoundingClientRect();
  zoom(Math.exp(-e.deltaY * (e.ctrlKey ? 0.01 : 0.0015)), e.clientX - side.left, e.clientY - side.top);
}, { passive: false });
view.addEventListener("pointerdown", e => { grips.set(e.pointerId, [e.clientX, e.clientY]); moved = 0; });
view.addEventListener("pointermove", e => {
  const before = grips.get(e.pointerId);
  if (!before) return;
  moved += Math.abs(e.clientX - before[0]) + Math.abs(e.clientY - before[1]);
  if (moved > 4 && !view.hasPointerCapture(e.pointerId)) { view.setPointerCapture(e.pointerId); view.classList.add("moving"); }
  if (grips.size === 2) {
    const other = [...grips].find(([id]) => id !== e.pointerId)[1], side = view.getBoundingClientRect();
    const far = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
    zoom(far([e.clientX, e.clientY]) / Math.max(1, far(before)), (e.clientX + other[0]) / 2 - side.left, (e.clientY + other[1]) / 2 - side.top);
  } else pan(e.clientX - before[0], e.clientY - before[1]);
  grips.set(e.pointerId, [e.clientX, e.clientY]);
});
for (const end of ["pointerup", "pointercancel"])
  view.addEventListener(end, e => { grips.delete(e.pointerId); view.classList.remove("moving"); rest(); });

// --- choosing, opening and closing

const home = byId("about").cloneNode(true);

function toggle(i) {
  const before = placed.boxes.get(now.closed(i));
  now.open.has(i) ? now.open.delete(i) : now.open.add(i);
  draw();
  const after = placed.boxes.get(now.closed(i));
  if (fitted && scale(extent()) > 0.6) fit();
  else if (before && after) { at.x += (before.x - after.x) * at.k; at.y += (before.y - after.y) * at.k; place(); }
  byId("depth").value = 0;
}

function pick(i, focus = false) {
  picked = i;
  about();
  mark();
  if (i === null) return;
  const line = byId("text").querySelector(".on");
  if (line) line.scrollIntoView({ block: "nearest" });
  link();
  if (focus) elementOf(now.closed(i))?.focus({ preventScroll: true });
}

function button(text, act) {
  const made = document.createElement("button");
  made.textContent = text;
  made.addEventListener("click", act);
  return made;
}

function about() {
  const panel = byId("about");
  if (picked === null) { panel.replaceChildren(...home.cloneNode(true).childNodes); return; }
  const item = now.items[picked], list = document.createElement("dl"), path = document.createElement("p");
  const head = document.createElement("h2");
  head.textContent = (now.isGroup(picked) ? item.title : item.text[0]);
  path.id = "path";
  path.append(button(data.title, () => pick(null)));
  const ups = [];
  for (let up = item.up; up >= 0; up = now.items[up].up) ups.unshift(up);
  for (const up of ups) path.append(" › ", button(now.items[up].title, () => pick(up)));
  const row = (term, ...parts) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = term; dd.append(...parts); list.append(dt, dd);
  };
  const more = item.text.slice(1).join(", ");
  if (more) row("is", more);
  const codes = (item.formula || []).map(formula => {
    const code = document.createElement("code");
    code.textContent = formula;
    return code;
  });
  if (codes.length) row("formula", ...codes);
  if (item.work) row("multiplies", `${item.work} times`);
  if (item.makes) row("makes", `${item.makes} numbers`);
  if (item.stats) {
    const { mean, spread, length, zeros, dead } = item.stats;
    row("values", `mean ${mean}, spread ${spread}, length ${length}, ${share(zeros)} zeros` + (dead === undefined ? "" : `, ${share(dead)} of the units zero in every row`));
  }
  if (item.time !== undefined) row("takes", say("time", item.time));
  const shown = now.closed(picked), ends = (which, other) => {
    const parts = placed.arrows.filter(arrow => arrow[which] === shown).flatMap(arrow => [document.createElement("br"),
      button(now.items[arrow[other]].text[0], () => pick(arrow[other])), arrow.shapes.length ? "  " + arrow.shapes.join(", ") : ""]);
    if (parts.length) row(which === "to" ? "from" : "to", ...parts.slice(1));
  };
  if (shown === picked) { ends("to", "from"); ends("from", "to"); }
  if (item.at && item.at.length) row(item.at.length > 1 ? "lines" : "line", item.at.join(", "));
  if (now.isGroup(picked) && item.look !== "turn") path.append("  ", button(now.open.has(picked) ? "close" : "open", () => { toggle(picked); about(); }));
  panel.replaceChildren(path, head, list);
}

function under(e) {  // the box at a place of the screen, where boxes are not elements
  const side = view.getBoundingClientRect(), x = (e.clientX - side.left - at.x) / at.k, y = (e.clientY - side.top - at.y) / at.k, more = 6 / at.k;
  const far = ([, box]) => Math.max(box.x - x, x - box.x - box.width, 0) + Math.max(box.y - y, y - box.y - box.height, 0);
  const [nearest] = [...placed.boxes].filter(([, box]) => !box.group).map(one => [far(one), one[0]]).sort((a, b) => a[0] - b[0]);
  return nearest && nearest[0] < more ? nearest[1] : null;
}
scene.addEventListener("click", e => {
  const g = e.target.closest("[data-i]");
  if (moved > 4) return;
  if (!g && afar) {
    const i = under(e);
    if (i !== null) { centre(i); pick(i, true); }
  }
  if (!g) return;
  const i = +g.dataset.i, box = placed.boxes.get(i);
  if (box.group && e.target.tagName !== "text") { pick(i, true); return; }
  if (now.isGroup(i) && now.items[i].look !== "turn") toggle(i);
  pick(i, true);
});
svg.addEventListener("click", e => { if (e.target === svg && moved <= 4) pick(null); });
scene.addEventListener("pointerover", e => {
  const g = e.target.closest("[data-i]"), lines = new Set(g ? now.items[+g.dataset.i].at || [] : []);
  for (const span of byId("text").children) span.classList.toggle("near", lines.has(+span.dataset.n));
});
scene.addEventListener("pointerout", () => { for (const span of byId("text").children) span.classList.remove("near"); });

// --- the text

function write(lines) {
  lines.forEach((line, n) => {
    const span = document.createElement("span");
    span.dataset.n = n + 1;
    span.textContent = line || " ";
    byId("text").append(span);
  });
}
function ofLine(n) {  // the shown boxes that a line made, and where a group is only that line, the group
  const found = new Set();
  for (const item of now.items) if ((item.at || []).includes(n) && item.look !== "turn") {
    const shown = now.closed(item.i);
    if (!placed.boxes.get(shown)?.group) found.add(shown);
  }
  return found;
}
byId("text").addEventListener("click", e => {
  const span = e.target.closest("[data-n]");
  if (!span) return;
  const n = +span.dataset.n, found = [...ofLine(n)];
  picked = null;
  hits = found;
  about();
  mark();
  span.classList.add("on");
  byId("found").textContent = found.length ? `line ${n}: ${found.length}` : `line ${n}: nothing here`;
  if (found.length) seen(found);
});
byId("text").addEventListener("pointerover", e => {
  const span = e.target.closest("[data-n]"), found = span ? ofLine(+span.dataset.n) : new Set();
  for (const g of scene.querySelectorAll("[data-i]")) g.classList.toggle("near", found.has(+g.dataset.i));
});
byId("text").addEventListener("pointerout", () => { for (const g of scene.querySelectorAll(".near")) g.classList.remove("near"); });

function seen(list) {  // moves there if none of these is on the screen
  const { width, height } = view.getBoundingClientRect();
  const visible = list.some(i => {
    const box = placed.boxes.get(now.closed(i)), x = box.x * at.k + at.x, y = box.y * at.k + at.y;
    return x > -20 && y > -20 && x < width - 40 && y < height - 40;
  });
  if (!visible) centre(now.closed(list[0]));
}

// --- search

let next = 0;
byId("search").addEventListener("input", e => {
  const words = e.target.value.trim().toLowerCase();
  hits = !words ? [] : now.items.filter(item => (item.text.join(" ") + " " + (item.title || "") + " " + (item.id || "") + " " + (item.tip || "")).toLowerCase().includes(words)).map(item => item.i);
  next = 0;
  byId("found").textContent = words ? `${hits.length} found` : "";
  mark();
  if (hits.length) seen(hits);
});
byId("search").addEventListener("keydown", e => {
  if (e.key === "Escape") { e.target.value = ""; hits = []; byId("found").textContent = ""; mark(); view.focus(); }
  if (e.key !== "Enter" || !hits.length) return;
  const i = hits[next++ % hits.length];
  now.reveal(i);
  draw();
  pick(i);
  centre(now.closed(i));
});

// --- keys: along the arrows, and sideways

function walk(key) {
  const shown = picked === null ? null : now.closed(picked);
  if (shown === null) { pick([...placed.boxes.keys()].find(i => !placed.boxes.get(i).group), true); return; }
  const from = placed.boxes.get(shown), mid = box => [box.x + box.width / 2, box.y + box.height / 2];
  const [x, y] = mid(from), up = now.items[shown].side === "backward" ? key === "ArrowDown" : key === "ArrowUp";
  let ends = [];
  if (key === "ArrowUp" || key === "ArrowDown")
    ends = placed.arrows.filter(arrow => (up ? arrow.to : arrow.from) === shown).map(arrow => up ? arrow.from : arrow.to);
  else
    ends = [...placed.boxes].filter(([i, box]) => !box.group && (key === "ArrowRight" ? mid(box)[0] > x + 1 : mid(box)[0] < x - 1) && Math.abs(mid(box)[1] - y) < 60).map(([i]) => i);
  const far = i => { const [a, b] = mid(placed.boxes.get(i)); return Math.hypot(a - x, b - y) + (now.items[i].side === now.items[shown].side ? 0 : 1e4); };
  if (ends.length) { const i = ends.sort((a, b) => far(a) - far(b))[0]; seen([i]); pick(i, true); }
}
document.addEventListener("keydown", e => {
  if (e.target.tagName === "INPUT") return;
  const { width, height } = view.getBoundingClientRect();
  const act = {
    "/": () => byId("search").focus(), "+": () => zoom(1.25, width / 2, height / 2), "-": () => zoom(0.8, width / 2, height / 2),
    "0": fit, Escape: () => { hits = []; byId("search").value = ""; byId("found").textContent = ""; pick(null); },
    ArrowUp: () => walk(e.key), ArrowDown: () => walk(e.key), ArrowLeft: () => walk(e.key), ArrowRight: () => walk(e.key),
    Enter: () => { if (picked !== null && now.isGroup(picked) && now.items[picked].look !== "turn") { toggle(picked); pick(picked, true); } },
  }[e.key];
  if (!act || e.ctrlKey || e.metaKey || e.altKey || (e.key === "Enter" && e.target.tagName === "BUTTON")) return;
  e.preventDefault();
  act();
});

// --- views, theme, links

let unrolled = false;  // repeated parts stand one by one
function show(which) {
  name = which;
  const base = which === "predict" ? "forward" : which, each = views[base + "/each"];
  now = unrolled && each || views[base];
  byId("unroll").hidden = !each;
  byId("unroll").setAttribute("aria-pressed", String(unrolled));
  picked = null;
  hits = [];
  byId("search").value = byId("found").textContent = "";
  for (const made of document.querySelectorAll(".views button")) made.setAttribute("aria-pressed", String(made.dataset.view === which));
  const depth = byId("depth");
  depth.max = now.deepest;
  depth.value = Math.min(data.depth, now.deepest);
  if (data.depth) now.level(data.depth);
  draw();
  about();
  begin();
  legend();
}
function begin() {  // with the whole, or where that would be specks, with what goes in
  if (scale(extent()) >= FAR || parts.length < MANY) { fit(); return; }
  const first = [...placed.boxes].filter(([, box]) => !box.group).sort(([, a], [, b]) => a.y - b.y)[0][0];
  centre(first);
  at.y = 40 - placed.boxes.get(first).y * at.k;
  place();
}

function legend() {
  const seen = new Set(now.items.map(item => item.look)), named = new Set();
  byId("legend").replaceChildren();
  for (const [look, text] of Object.entries(data.legend)) {
    if (!seen.has(look) || named.has(text)) continue;
    named.add(text);
    const span = document.createElement("span");
    span.textContent = text;
    const kind = { parameter: "layer", target: "target", serving: "serving" }[look] || look;
    span.style.background = `var(--${kind})`;
    span.style.borderColor = `var(--${kind === "target" ? "input" : kind}-line)`;
    if (look === "serving" || look === "target") span.style.borderStyle = "dashed";
    byId("legend").append(span);
  }
}

function link() {
  const item = picked === null ? null : now.items[picked];
  try { history.replaceState(null, "", "#" + name + (item && item.id ? "/" + encodeURIComponent(item.id) : "")); } catch { /* a page in a frame has no address */ }
}

function follow() {
  let [which, id] = ["", ""];
  try { [which, id] = decodeURIComponent(location.hash.slice(1)).split(/\/(.*)/s); } catch { return; }
  if (!views[which] && which !== "predict") return;
  if (which !== name || !now) show(which);
  const item = id && now.items.find(item => item.id === id);
  if (item) { now.reveal(item.i); draw(); pick(item.i); fit(); }
}
window.addEventListener("hashchange", follow);

const theme = dark => {
  document.documentElement.classList.toggle("dark", dark);
  byId("theme").setAttribute("aria-pressed", String(dark));
  if (now) { sketch(); overview(); }
};
theme(matchMedia("(prefers-color-scheme: dark)").matches);
byId("theme").addEventListener("click", () => theme(!document.documentElement.classList.contains("dark")));
byId("fit").addEventListener("click", fit);
byId("depth").addEventListener("input", e => { const picking = picked; now.level(+e.target.value); draw(); fit(); if (picking !== null) pick(picking); });
byId("scale").addEventListener("change", e => { const picking = picked; scaled = e.target.value; draw(); fit(); if (picking !== null) pick(picking); });
byId("unroll").addEventListener("click", () => { unrolled = !unrolled; show(name); });
async function start() {
  Object.assign(data, await unpacked(byId("data").textContent));
  for (const [key, given] of Object.entries(data.views)) views[key] = new View(given);
  write(data.lines);
  // `predict` is the forward picture, with what a prediction does not run dimmed.
  for (const which of [...Object.keys(views).filter(key => !key.includes("/")), "predict"]) {
    const made = button(which, () => { show(which); link(); });
    made.dataset.view = which;
    document.querySelector(".views").append(made);
  }
  if (data.measured !== null) {
    byId("by").hidden = false;
    byId("by").title = `on ${data.measured}`;
    for (const [value, text] of [["", "kind"], ...Object.entries(SCALES)]) byId("scale").append(new Option(text, value));
  }
  show(data.view);
  follow();
  new ResizeObserver(() => { if (picked === null) fit(); }).observe(view);
}
start();
