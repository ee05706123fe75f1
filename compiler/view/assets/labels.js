"use strict";
// Where shapes stand beside their arrows: where the layout made room, or at the nearest place along the arrow where they touch
// no box, no arrow and no other shape; if there is none, where they touch least.
const CELL = 64, STEP = 6;  // of the grid that finds what is near; between the points that stand for a line
const ALONG = [0.5, 0.44, 0.56, 0.37, 0.63, 0.3, 0.7, 0.23, 0.77, 0.16, 0.84, 0.1, 0.9], APART = [4, -4, 9, -9];

// Points of a path of M, L, Q and C, so near to each other that they stand for the line.
function traced(d) {
  const found = [];
  for (const [, kind, numbers] of d.matchAll(/([MLQC])([^MLQC]*)/g)) {
    const given = numbers.match(/-?[\d.]+(e-?\d+)?/g).map(Number), ends = kind === "M" ? [] : [found[found.length - 1]];
    for (let n = 0; n < given.length; n += 2) ends.push({ x: given[n], y: given[n + 1] });
    let long = 0;
    for (let n = 1; n < ends.length; n++) long += Math.hypot(ends[n].x - ends[n - 1].x, ends[n].y - ends[n - 1].y);
    for (let n = 1, steps = Math.ceil(long / STEP) || 1; n <= steps; n++) {
      let rest = ends;
      while (rest.length > 1) rest = rest.slice(1).map((q, k) => ({ x: rest[k].x + (q.x - rest[k].x) * n / steps, y: rest[k].y + (q.y - rest[k].y) * n / steps }));
      found.push(rest[0]);
    }
  }
  return found;
}

function labelled({ boxes, arrows }) {
  const cells = new Map();
  const near = (x, y, w, h, each) => {
    for (let i = Math.floor(x / CELL); i <= (x + w) / CELL; i++) for (let j = Math.floor(y / CELL); j <= (y + h) / CELL; j++) each(i * 1e6 + j);
  };
  const put = (x, y, w, h, weight) => near(x, y, w, h, cell => {
    if (!cells.has(cell)) cells.set(cell, []);
    cells.get(cell).push([x, y, w, h, weight]);
  });
  const touched = (x, y, w, h) => {
    let sum = 0;
    near(x, y, w, h, cell => {
      for (const one of cells.get(cell) || []) if (x < one[0] + one[2] && one[0] < x + w && y < one[1] + one[3] && one[1] < y + h) sum += one[4];
    });
    return sum;
  };
  for (const [i, { x, y, width: w, height: h, group }] of boxes) {
    if (!group) put(x, y, w, h, 50);
    else for (const side of [[x, y, w, 1], [x, y + h, w, 1], [x, y, 1, h], [x + w, y, 1, h]]) put(...side, 5);
    if (group) put(x, y, width(now.items[i].title, "600 12px") + 24, 20, 20);
  }
  const lines = new Map(arrows.map(arrow => [arrow, traced(arrow.d)]));
  for (const [{ kind }, points] of lines) for (const { x, y } of points) put(x - 1, y - 1, 2, 2, kind === "kept" ? 0.2 : 1);
  for (const arrow of arrows) {
    if (!arrow.label) continue;
    const points = lines.get(arrow), w = width(arrow.shape, "11px") + 2, h = 13, places = [arrow.label];
    for (const at of ALONG) {
      const n = Math.round(at * (points.length - 1)), { x, y } = points[n], from = points[n - 1] || points[n], to = points[n + 1] || points[n];
      const long = Math.hypot(to.x - from.x, to.y - from.y) || 1, right = (to.y - from.y) / long, down = (from.x - to.x) / long;
      for (const gap of APART) {  // to the right of the line, or with -: so far off that it clears the tangent
        const off = Math.sign(gap) * (Math.abs(right) * w / 2 + Math.abs(down) * h / 2) + gap;
        places.push({ x: x + right * off, y: y + down * off });
      }
    }
    let least = Infinity;
    for (const { x, y } of places) {
      const sum = touched(x - w / 2, y - h / 2, w, h);
      if (sum < least) { least = sum; arrow.label = { x, y }; }
      if (!sum) break;
    }
    put(arrow.label.x - w / 2, arrow.label.y - h / 2, w, h, 20);
  }
}
