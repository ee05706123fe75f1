"use strict";
// Moving over the picture: dragging, zooming, what fits, and the whole in small.

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
  const list = [...placed.boxes.values()], labels = placed.arrows.filter(arrow => arrow.label);
  const x = Math.min(...list.map(b => b.x), ...labels.map(({ label, shape }) => label.x - 3.2 * shape.length));
  const right = Math.max(...list.map(b => b.x + b.width), ...labels.map(({ label, shape }) => label.x + 3.2 * shape.length));
  const y = Math.min(...list.map(b => b.y));
  return { x, y, width: right - x, height: Math.max(...list.map(b => b.y + b.height)) - y };
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
