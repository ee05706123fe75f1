"use strict";
// What a reader does on the page: boxes chosen and opened, the text beside, search, keys, views and links.

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
