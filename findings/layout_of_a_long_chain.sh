#!/usr/bin/env bash
# @dagrejs/dagre 3.1.3: a chain of 100 nodes is laid out, one of 2,000 ends in "Maximum call stack size exceeded".
set -euo pipefail
place="$(mktemp -d)"; trap 'rm -rf "$place"' EXIT
cd "$place"
npm install --silent --no-fund --no-audit @dagrejs/dagre@3.1.3 >/dev/null
cat > chain.cjs <<'JS'
const dagre = require("@dagrejs/dagre");
const outcome = (length) => {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({});
  graph.setDefaultEdgeLabel(() => ({}));
  for (let i = 0; i < length; i++) {
    graph.setNode(String(i), { width: 40, height: 20 });
    if (i) graph.setEdge(String(i - 1), String(i));
  }
  try {
    dagre.layout(graph);
    return "laid out";
  } catch (problem) {
    return `${problem.name}: ${problem.message}`;
  }
};
const seen = [100, 2000].map((length) => [length, outcome(length)]);
for (const [length, said] of seen) console.log(`${length} nodes in a row: ${said}`);
const right = seen[0][1] === "laid out" && seen[1][1].startsWith("RangeError");
process.exit(right ? 0 : 1);
JS
node chain.cjs
