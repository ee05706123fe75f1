"use strict";
// Where boxes stand. Each side of a picture (forward, backward, update) is a lane of its own, and what lies in an open group is
// laid out for itself. What is long is cut where all flows through one box: what lies between two cuts is laid out by dagre,
// what is alike once, and these pieces stand below each other. So a thousand layers take as long as what differs in them.
const SIDES = ["forward", "backward", "update"], ACROSS = 70, GAP = 30;
const WHOLE = 150;  // boxes of a lane that is laid out as one piece
const LAID = 600;  // boxes of a piece that dagre lays out: it recurses along chains
const FONT = "system-ui, 'Helvetica Neue', Arial, sans-serif";
const ruler = document.createElement("canvas").getContext("2d");

const wide = new Map();
function width(text, font) {
  const key = font + text;
  let found = wide.get(key);
  if (found === undefined) { ruler.font = `${font} ${FONT}`; found = ruler.measureText(text).width; wide.set(key, found); }
  return found;
}

function sized(item) {
  const text = lines(item);
  return { width: Math.max(46, Math.max(...text.map(line => width(line, "600 13px"))) + 22), height: 13 + 17 * text.length };
}

const laneOf = i => name === "update" ? "update" : now.items[i].side;  // the update is one flow, down

// --- pieces

// The boxes in an order in which what a box reads comes before it, and just before it where nothing else does.
function sorted(boxes, reads) {
  const seen = new Set(), order = [], read = new Set([...reads.values()].flat());
  for (const start of [...boxes.filter(i => !read.has(i)), ...boxes]) {
    const stack = seen.has(start) ? [] : [[start, 0]];  // a box, and how many of those that it reads were looked at
    seen.add(start);
    while (stack.length) {
      const top = stack[stack.length - 1], from = reads.get(top[0])[top[1]++];
      if (from === undefined) { order.push(top[0]); stack.pop(); }
      else if (!seen.has(from)) { seen.add(from); stack.push([from, 0]); }
    }
  }
  return order;
}

// The order in pieces, each with the one box before it that it reads of (`entry`) and the one that is read after it (`exit`).
function pieces(boxes, edges) {
  if (boxes.length <= WHOLE) return [{ own: boxes, entry: null, exit: null }];
  const reads = new Map(boxes.map(i => [i, []]));
  for (const { ends: [a, b] } of edges) reads.get(b).push(a);
  const order = sorted(boxes, reads), at = new Map(order.map((i, n) => [i, n])), last = order.map((_, n) => n);
  for (const { ends: [a, b] } of edges) {
    const [first, end] = [at.get(a), at.get(b)].sort((x, y) => x - y);
    last[first] = Math.max(last[first], end);
  }
  const made = [], live = new Map();  // how many are read later, and of one alone which
  let many = 0, sum = 0, from = 0, entry = null;
  for (let n = 0; n < order.length; n++) {
    for (const done of live.get(n) || []) { many -= 1; sum -= done; }
    if (last[n] > n) { many += 1; sum += n; live.has(last[n]) ? live.get(last[n]).push(n) : live.set(last[n], [n]); }
    if (many === 1 && sum >= from && n < order.length - 1) {
      made.push({ own: order.slice(from, n + 1), entry, exit: order[sum] });
      [from, entry] = [n + 1, order[sum]];
    }
  }
  made.push({ own: order.slice(from), entry, exit: null });
  return made;
}

// What a piece is by numbers of its own: pieces that are alike are laid out once.
function alike(piece, edges, sizes) {
  const boxes = piece.entry === null ? piece.own : [piece.entry, ...piece.own], number = new Map(boxes.map((i, n) => [i, n]));
  const flows = edges.map(edge => edge.ends.map(i => number.get(i)));
  const key = JSON.stringify([boxes.map(i => [sizes.get(i).width, sizes.get(i).height]), flows, edges.map(edge => edge.label.width || 0)]);
  return { boxes, number, flows, key, sizes: boxes.map(i => sizes.get(i)), labels: edges.map(edge => edge.label) };
}

function laidOut(piece) {
  try { if (piece.boxes.length <= LAID) return byDagre(piece); } catch { /* it recurses too deeply, or finds no way */ }
  return byRows(piece);
}

function byDagre({ sizes, flows, labels }) {
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 22, ranksep: GAP, ranker: sizes.length > 400 ? "longest-path" : "network-simplex" });
  graph.setDefaultEdgeLabel(() => ({}));
  sizes.forEach((size, n) => graph.setNode(String(n), { ...size }));
  flows.forEach(([a, b], n) => graph.setEdge(String(a), String(b), { ...labels[n] }, "e" + n));
  dagre.layout(graph);
  const boxes = sizes.map((_, n) => graph.node(String(n))), tall = new Map();
  for (const { y, height } of boxes) tall.set(y, Math.max(tall.get(y) || 0, height));
  // An arrow leaves and enters upright, and turns beyond the tallest box of the row: else it would cut those beside.
  const upright = (box, p, way) => {
    const x = Math.max(box.x - box.width / 2 + 6, Math.min(box.x + box.width / 2 - 6, p.x));
    return [{ x, y: box.y + way * box.height / 2 }, { x, y: box.y + way * (tall.get(box.y) / 2 + GAP / 4) }];
  };
  const edges = flows.map(([a, b], n) => {
    const edge = graph.edge(String(a), String(b), "e" + n), p = edge.points;
    return { ...edge, points: [...upright(boxes[a], p[0], 1), ...p.slice(1, -1), ...upright(boxes[b], p[p.length - 1], -1).reverse()] };
  });
  return { boxes, edges };
}

// Rows by how far a box is from what goes in, for a piece that is too long for dagre.
function byRows({ sizes, flows, labels }) {
  const reads = new Map(sizes.map((_, n) => [n, []])), rank = [], rows = [], made = [];
  for (const [a, b] of flows) reads.get(b).push(a);
  for (const n of sorted([...reads.keys()], reads)) {
    rank[n] = Math.max(0, ...reads.get(n).map(from => (rank[from] ?? -1) + 1));
    (rows[rank[n]] ||= []).push(n);
  }
  let y = 0, right = 0;
  for (const row of rows) {
    const middle = n => { const x = reads.get(n).map(from => made[from]?.x).filter(x => x !== undefined); return x.reduce((a, b) => a + b, 0) / (x.length || 1); };
    const order = row.map(n => [n, middle(n)]).sort((a, b) => a[1] - b[1]).map(([n]) => n), tall = Math.max(...row.map(n => sizes[n].height));
    let x = -order.reduce((sum, n) => sum + sizes[n].width + 22, -22) / 2;
    for (const n of order) {
      made[n] = { ...sizes[n], x: x + sizes[n].width / 2, y: y + tall / 2 };
      x += sizes[n].width + 22;
    }
    right = Math.max(right, x);
    y += tall + GAP + 13;
  }
  const edges = flows.map(([a, b], n) => {
    const from = made[a], to = made[b], out = right + 7 * (n % 20), far = Math.abs(rank[b] - rank[a]) > 1;
    const start = { x: from.x, y: from.y + from.height / 2 }, end = { x: to.x, y: to.y - to.height / 2 };
    const points = far ? [start, { x: out, y: start.y + 20 }, { x: out, y: end.y - 20 }, end] : [start, end];
    return { points, width: far ? 0 : labels[n].width, x: (start.x + end.x) / 2 + (labels[n].width || 0) / 2, y: (start.y + end.y) / 2 };
  });
  return { boxes: made, edges };
}

const known = new Map();

// Pieces below each other, what all flows through on one line. Points are middles of boxes.
function stacked(boxes, edges, sizes) {
  const cut = pieces(boxes, edges), of = new Map(), held = cut.map(() => []), placed = new Map();
  cut.forEach((piece, n) => piece.own.forEach(i => of.set(i, n)));
  for (const edge of edges) held[Math.max(...edge.ends.map(i => of.get(i)))].push(edge);
  let bottom = 0, spine = 0;
  cut.forEach((piece, n) => {
    const told = alike(piece, held[n], sizes), first = piece.entry === null ? 0 : 1;
    if (!known.has(told.key)) known.set(told.key, laidOut(told));
    const laid = known.get(told.key), exit = laid.boxes[told.number.get(piece.exit)], entry = laid.boxes[0];
    if (!first && exit) spine = exit.x;
    const right = first ? spine - (exit || entry).x : 0;
    const top = Math.min(...laid.boxes.slice(first).map(box => box.y - box.height / 2));
    const down = first ? bottom + GAP + (held[n].some(edge => edge.label.width) ? 13 : 0) - top : 0;
    const move = ({ x, y }) => ({ x: x + right, y: y + down });
    laid.boxes.forEach((box, k) => { if (k >= first) placed.set(told.boxes[k], { ...box, ...move(box) }); });
    held[n].forEach((edge, k) => {
      const { points, x, y, width } = laid.edges[k];
      edge.points = points.map(move);
      edge.middle = width ? move({ x, y }) : null;
      if (!first || told.flows[k][0] !== 0) return;
      const start = placed.get(piece.entry);  // which may stand elsewhere than in this piece
      edge.points[0] = { x: start.x + Math.max(6 - start.width / 2, Math.min(start.width / 2 - 6, points[0].x - entry.x)), y: start.y + start.height / 2 };
    });
    bottom = Math.max(bottom, ...piece.own.map(i => placed.get(i).y + placed.get(i).height / 2));
  });
  return placed;
}

// --- a lane: what lies in an open group is laid out for itself, and the group is then a box of that size

const PAD = 12, TITLE = 24;
function lane(side, shown, arrows) {
  const own = shown.filter(i => laneOf(i) === side), here = new Set(own), kids = new Map([[-1, []]]), inside = new Map([[-1, []]]);
  const up = i => here.has(now.items[i].up) ? now.items[i].up : -1, isOpen = i => now.isGroup(i) && now.open.has(i);
  for (const i of own) if (isOpen(i)) { kids.set(i, []); inside.set(i, []); }
  for (const i of own) kids.get(up(i)).push(i);
  const bundles = new Map(), around = i => { const found = [i]; while (i !== -1) found.push(i = up(i)); return found.reverse(); };
  for (const arrow of arrows) {
    if (!here.has(arrow.from) || !here.has(arrow.to) || arrow.next) continue;
    const inner = side === "backward" ? [arrow.to, arrow.from] : [arrow.from, arrow.to];  // derivatives run up
    const [a, b] = inner.map(around);
    let n = 0;
    while (a[n + 1] !== undefined && a[n + 1] === b[n + 1]) n += 1;
    if (a[n + 1] === undefined || b[n + 1] === undefined) continue;
    const label = arrow.shape ? { width: width(arrow.shape, "11px") + 8, height: 13, labelpos: "r" } : {};
    const key = a[n + 1] + ">" + b[n + 1], known = bundles.get(key);  // those of one group and one box go together, up to its border
    if (known) { known.parts.push({ inner, arrow }); if (label.width && !known.label.width) known.label = label; continue; }
    bundles.set(key, { ends: [a[n + 1], b[n + 1]], parts: [{ inner, arrow }], label });
    inside.get(a[n]).push(bundles.get(key));
  }
  const sizes = new Map(), within = new Map();
  const settle = level => {
    for (const i of kids.get(level)) {
      if (!isOpen(i)) { sizes.set(i, sized(now.items[i])); continue; }
      const all = settle(i), title = width(now.items[i].title, "600 12px") + 40;
      sizes.set(i, { width: Math.max(all.width + 2 * PAD, title), height: all.height + TITLE + PAD });
    }
    const laid = stacked(kids.get(level), inside.get(level), sizes), all = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
    const spread = (x, y, width = 0, height = 0) => {
      all.left = Math.min(all.left, x - width / 2); all.right = Math.max(all.right, x + width / 2);
      all.top = Math.min(all.top, y - height / 2); all.bottom = Math.max(all.bottom, y + height / 2);
    };
    for (const box of laid.values()) spread(box.x, box.y, box.width, box.height);
    for (const edge of inside.get(level)) {
      for (const p of edge.points) spread(p.x, p.y);
      if (edge.middle) spread(edge.middle.x, edge.middle.y, edge.label.width, 13);
    }
    if (!laid.size) Object.assign(all, { left: 0, top: 0, right: 0, bottom: 0 });
    const found = { laid, left: all.left, top: all.top, width: all.right - all.left, height: all.bottom - all.top };
    within.set(level, found);
    return found;
  };
  settle(-1);
  const boxes = new Map(), routes = new Map();
  const place = (level, x, y) => {  // its left upper corner
    const { laid, left, top } = within.get(level);
    for (const [i, box] of laid) {
      const own = { x: box.x - box.width / 2 - left + x, y: box.y - box.height / 2 - top + y, width: box.width, height: box.height, group: isOpen(i) };
      boxes.set(i, own);
      if (own.group) place(i, own.x + (own.width - within.get(i).width) / 2, own.y + TITLE);
    }
    const move = p => ({ x: p.x - left + x, y: p.y - top + y });
    for (const edge of inside.get(level)) edge.parts.forEach(({ inner, arrow }) => {
      const points = edge.points.map(move);
      if (inner[0] !== edge.ends[0]) points.splice(0, 1, ...leaving(inner[0], edge.ends[0], 1, boxes, kids, up));
      if (inner[1] !== edge.ends[1]) points.splice(-1, 1, ...leaving(inner[1], edge.ends[1], -1, boxes, kids, up).reverse());
      routes.set(arrow, { points, label: edge.middle && arrow === edge.parts.find(part => part.arrow.shape)?.arrow ? move(edge.middle) : null });
    });
  };
  place(-1, 0, 0);
  return { boxes, routes };
}

// The way from a box out of the groups around it: down (1) or up (-1), past what stands there.
function leaving(i, last, way, boxes, kids, up) {
  const edge = box => way > 0 ? box.y + box.height : box.y, from = boxes.get(i);
  let x = from.x + from.width / 2, points = [{ x, y: edge(from) }];
  for (let own = i, group = up(i); ; own = group, group = up(group)) {
    const box = boxes.get(group), y = points[points.length - 1].y;
    const stands = kids.get(group).some(k => { const b = boxes.get(k); return k !== own && b.x - 4 < x && x < b.x + b.width + 4 && way * (edge(b) - y) > 1; });
    if (stands) {
      x = x < box.x + box.width / 2 ? box.x + 6 : box.x + box.width - 6;
      points.push({ x, y: y + 10 * way }, { x, y: y + 40 * way });
    }
    points.push({ x, y: edge(box) });
    if (group === last) return points;
  }
}

// --- all lanes

function layout() {
  const shown = now.shown(), lifted = new Map();
  for (const arrow of now.arrows) {
    const from = now.closed(arrow.a), to = now.closed(arrow.b);
    if (from === to) continue;
    const key = from + ">" + to, known = lifted.get(key);
    if (known) { known.serving &&= arrow.serving; known.next &&= arrow.next; if (arrow.shape && !known.shapes.includes(arrow.shape)) known.shapes.push(arrow.shape); }
    else lifted.set(key, { key, from, to, serving: arrow.serving, next: arrow.next, starts: arrow.starts, shapes: arrow.shape ? [arrow.shape] : [] });
  }
  const arrows = [...lifted.values()];
  for (const arrow of arrows) arrow.shape = arrow.shapes.length > 1 ? arrow.shapes[0] + " …" : arrow.shapes[0] || "";
  const boxes = new Map();
  let left = 0;
  for (const side of SIDES) {
    if (!shown.some(i => laneOf(i) === side)) continue;
    const laid = lane(side, shown, arrows), down = side === "forward" ? 0 : beside(laid.boxes, boxes, side), aside = left;
    for (const [i, box] of laid.boxes) {
      boxes.set(i, { ...box, x: box.x + aside, y: box.y + down });
      left = Math.max(left, aside + box.x + box.width + ACROSS);
    }
    for (const [arrow, { points, label }] of laid.routes) {
      arrow.points = points.map(p => ({ x: p.x + aside, y: p.y + down }));
      if (side === "backward") arrow.points.reverse();
      if (label) arrow.label = { x: label.x + aside, y: label.y + down };
      arrow.side = side;
    }
  }
  return { boxes, arrows };
}

function beside(own, boxes, side) {  // a derivative stands beside what it derives, the update below both
  const tall = list => Math.max(0, ...list.map(box => box.y + box.height));
  if (side === "update") return boxes.size ? Math.max(0, (tall([...boxes.values()]) - tall([...own.values()])) / 2) : 0;
  const partner = new Map([...boxes].map(([i, box]) => [now.items[i].partner, box]).filter(([key]) => key));
  const moves = [...own].filter(([i]) => partner.has(now.items[i].partner))
    .map(([i, box]) => partner.get(now.items[i].partner).y - box.y);
  return moves.length ? moves.reduce((a, b) => a + b) / moves.length : 0;
}
