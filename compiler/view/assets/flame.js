"use strict";
// A flame graph of the tree that Python wrote (compiler/reports/profile.py): what lies below a box is what it is made of.
const { tree, lines } = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);
const svg = byId("flame"), HEIGHT = 21, ruler = document.createElement("canvas").getContext("2d");
ruler.font = "12px system-ui, 'Helvetica Neue', Arial, sans-serif";
const all = [];

function number(branch, up, side) {
  const i = all.length, own = side || (["forward", "backward", "update", "predict"].includes(branch.name) ? branch.name : branch.name === "between nodes" ? "between" : null);
  all.push({ ...branch, i, up, depth: up < 0 ? 0 : all[up].depth + 1, side: own || "between", kids: [] });
  if (up >= 0) all[up].kids.push(i);
  for (const inner of branch.inside) number(inner, i, up < 0 ? null : own);
}
number(tree, -1, null);

let root = 0, by = "us", words = "";

function make(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function fitting(text, width) {
  if (ruler.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 0 && ruler.measureText(text.slice(0, end) + "…").width > width) end -= 1;
  return end > 1 ? text.slice(0, end) + "…" : "";
}

const weight = i => Math.max(all[i][by], all[i].kids.reduce((sum, kid) => sum + weight(kid), 0));
const time = us => us >= 1e4 ? `${(us / 1000).toFixed(1)} ms` : `${us.toFixed(1)} µs`;
const told = i => {
  const { name, us, bytes, nodes } = all[i];
  return `${name}: ${time(us)}, ${(100 * us / (tree.us || 1)).toFixed(1)} %, ${nodes} nodes, ${bytes.toLocaleString("en")} bytes made`;
};

function draw() {
  const width = svg.clientWidth || 1200, above = [];
  for (let up = all[root].up; up >= 0; up = all[up].up) above.unshift(up);
  const boxes = above.map((i, row) => [i, 0, width, row]);
  const place = (i, x, wide, row) => {
    boxes.push([i, x, wide, row]);
    const whole = weight(i) || 1;
    for (const kid of all[i].kids) {
      const part = wide * weight(kid) / whole;
      if (part >= 0.7) place(kid, x, part, row + 1);
      x += part;
    }
  };
  place(root, 0, width, above.length);
  const rows = Math.max(...boxes.map(box => box[3])) + 1;
  svg.setAttribute("viewBox", `0 0 ${width} ${rows * HEIGHT}`);
  svg.setAttribute("height", rows * HEIGHT);
  svg.replaceChildren(...boxes.map(([i, x, wide, row]) => {
    const { name, side } = all[i], hit = words && name.toLowerCase().includes(words);
    const g = make("g", { "data-i": i, class: side + (hit ? " hit" : ""), role: "treeitem", tabindex: 0, "aria-label": told(i), "aria-level": row + 1 });
    g.append(make("rect", { x, y: row * HEIGHT, width: Math.max(0.5, wide), height: HEIGHT - 1, rx: 2 }));
    const text = make("text", { x: x + 4, y: row * HEIGHT + 14 });
    text.textContent = wide > 24 ? fitting(name, wide - 8) : "";
    g.append(text);
    return g;
  }));
}

function tell(i) {
  byId("told").textContent = told(i);
  const [file, line] = all[i].name.split(":"), text = lines[file];
  byId("line").textContent = text && text[line - 1] !== undefined ? `${file}:${line}\n${text[line - 1].trim()}` : "";
}

const of = e => { const g = e.target.closest("[data-i]"); return g ? +g.dataset.i : null; };
svg.addEventListener("click", e => { const i = of(e); if (i !== null) { root = i; draw(); tell(i); } });
svg.addEventListener("pointerover", e => { const i = of(e); if (i !== null) tell(i); });
svg.addEventListener("focusin", e => { const i = of(e); if (i !== null) tell(i); });
svg.addEventListener("keydown", e => {
  const i = of(e);
  if (i === null || e.key !== "Enter") return;
  root = i;
  draw();
  svg.querySelector(`[data-i="${i}"]`).focus();
});
byId("whole").addEventListener("click", () => { root = 0; draw(); });
byId("by").addEventListener("change", e => { by = e.target.value; draw(); });
byId("find").addEventListener("input", e => { words = e.target.value.trim().toLowerCase(); draw(); });
draw();
window.addEventListener("resize", draw);
