"use strict";
// What a page holds and shows of it: its views as trees, which groups are open, and what was measured.
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
