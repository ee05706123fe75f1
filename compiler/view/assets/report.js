"use strict";
// The curves that Python wrote (compiler/reports/page.py), drawn by uPlot.
const { charts } = JSON.parse(document.getElementById("data").textContent);
const style = getComputedStyle(document.documentElement);
const dark = matchMedia("(prefers-color-scheme: dark)");

function show(value) {
  if (value === null || value === undefined) return "–";
  const text = Number(value).toPrecision(5);
  return text.includes("e") ? text : String(Number(text));
}

function marked(marks) {  // upright lines where something happened: the best epoch
  return { hooks: { draw: [u => {
    for (const mark of marks) {
      const x = Math.round(u.valToPos(mark.x, "x", true));
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      u.ctx.save();
      u.ctx.strokeStyle = u.ctx.fillStyle = mark.colour;
      u.ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
      u.ctx.beginPath();
      u.ctx.moveTo(x, u.bbox.top);
      u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
      u.ctx.stroke();
      u.ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      const right = x + 90 * devicePixelRatio < u.bbox.left + u.bbox.width;
      u.ctx.textAlign = right ? "left" : "right";
      u.ctx.fillText(mark.text, x + (right ? 4 : -4) * devicePixelRatio, u.bbox.top + 11 * devicePixelRatio);
      u.ctx.restore();
    }
  }] } };
}

const WHOLE = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].flatMap(k => [k, 2 * k, 5 * k]);  // between epochs or updates on the axis

function draw(place, chart) {
  const ink = dark.matches ? "#b4bcc5" : "#4a5159", grid = dark.matches ? "#2b333b" : "#e3e8ed";
  const axis = label => ({ label, stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, labelSize: 18, labelFont: "12px system-ui, sans-serif", font: "11px system-ui, sans-serif", size: label ? 34 : 58 });
  const plot = new uPlot({
    width: place.clientWidth, height: 260,
    cursor: { sync: { key: chart.x }, drag: { x: true, y: false } },
    scales: { x: { time: false }, y: chart.log ? { distr: 3 } : {} },
    axes: [{ ...axis(chart.x), ...(chart.points.every(Number.isInteger) ? { incrs: WHOLE } : {}) }, { ...axis(""), values: (u, all) => all.map(v => v === null ? "" : show(v)) }],
    legend: { live: true },
    series: [{ label: chart.x, value: (u, v) => show(v) }, ...chart.series.map(one => ({
      label: one.label, stroke: one.colour, width: 1.8, dash: one.dash ? [6, 4] : undefined, spanGaps: true,
      points: { show: chart.points.length < 30, size: 5 }, value: (u, v) => show(v),
    }))],
    plugins: [marked(chart.marks)],
  }, [chart.points, ...chart.series.map(one => one.values)], place);
  new ResizeObserver(() => {
    if (Math.abs(plot.width - place.clientWidth) > 1) plot.setSize({ width: place.clientWidth, height: 260 });
  }).observe(place);
  return plot;
}

let drawn = [];
function all() {
  for (const plot of drawn) plot.destroy();
  drawn = charts.map((chart, i) => draw(document.getElementById(`chart-${i}`), chart));
}
all();
dark.addEventListener("change", all);
