/// \file
/// The page that write_html() fills: its style, its markup and its program. Plain text; the program
/// reads the values that write_html() put into the elements #view, #times, #series, #positions and
/// #attention, and says so in data-state and data-error of the root element.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow::inline ATTNFLOW_ABI::detail {

inline constexpr std::string_view page_style = R"css(
:root {
  --bg: #ffffff; --panel: #f5f7f9; --fg: #1a1f25; --muted: #56616d; --line: #c9d0d8; --grid: #e8ecf0;
  --accent: #0072b2; --on-accent: #ffffff;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
:root[data-theme=dark] {
  --bg: #0f1318; --panel: #181e25; --fg: #e9edf2; --muted: #a3afbc; --line: #3a4653; --grid: #232b34;
  --accent: #56b4e9; --on-accent: #0f1318; color-scheme: dark;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); }
[hidden] { display: none !important; }
#page { display: grid; gap: 12px 20px; padding: 14px 18px 18px; grid-template-columns: minmax(0, 1fr); }
header h1 { font-size: clamp(1.1rem, 0.9rem + 0.9vw, 1.7rem); line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
header p { margin: 4px 0 0; color: var(--muted); overflow-wrap: anywhere; }
#main { display: flex; flex-direction: column; gap: 10px; min-width: 0; }
#stage { position: relative; height: min(100vw, 72vh); min-height: 300px; border: 1px solid var(--line);
  border-radius: 8px; overflow: hidden; }
canvas { display: block; width: 100%; }
#scene { height: 100%; }
#scene.dim1 { cursor: col-resize; touch-action: pan-y; }
#scene.dim2 { cursor: grab; touch-action: pan-y; }
#scene.dim3 { cursor: grab; touch-action: none; }
#scene.held { cursor: grabbing; }
#tip { position: absolute; pointer-events: none; padding: 4px 8px; border-radius: 5px; background: var(--fg);
  color: var(--bg); font-size: 0.8rem; line-height: 1.35; white-space: pre; font-variant-numeric: tabular-nums; z-index: 2; }
#transport { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
#scrub { flex: 1 1 140px; min-width: 0; accent-color: var(--accent); height: 28px; margin: 0 4px; }
#clock { font-variant-numeric: tabular-nums; white-space: nowrap; min-width: 14em; }
#clock b { font-weight: 650; }
#clock span { color: var(--muted); }
button, select { font: inherit; font-size: 0.9rem; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; height: 34px; padding: 0 10px; cursor: pointer; }
button:hover, select:hover { border-color: var(--accent); }
button:focus-visible, select:focus-visible, input:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
button svg { width: 16px; height: 16px; display: block; fill: currentColor; }
button.icon { padding: 0 9px; }
button[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
#play { background: var(--accent); border-color: var(--accent); color: var(--on-accent); padding: 0 14px; }
#options, #legend, #keys { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 16px; font-size: 0.88rem; }
#options label { display: inline-flex; align-items: center; gap: 6px; cursor: pointer; }
#options select, #options button { height: 30px; }
#options input { accent-color: var(--accent); margin: 0; width: 16px; height: 16px; }
#legend span { display: inline-flex; align-items: center; gap: 5px; }
#legend i { font-style: normal; width: 1em; text-align: center; }
#legend i.line { width: 22px; height: 0; border-top: 2px solid var(--muted); }
#legend i.dashed { border-top-style: dashed; }
#legend i.ring { width: 13px; height: 13px; border: 2px solid var(--fg); border-radius: 50%; }
#keys { color: var(--muted); font-size: 0.78rem; gap: 4px 12px; }
kbd { font: inherit; font-size: 0.92em; border: 1px solid var(--line); border-bottom-width: 2px; border-radius: 4px;
  padding: 0 5px; color: var(--fg); background: var(--panel); }
aside { display: flex; flex-direction: column; gap: 14px; min-width: 0; }
figure { margin: 0; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 10px; font-size: 0.88rem; font-weight: 600; }
figcaption label { font-weight: 400; display: inline-flex; gap: 5px; align-items: center; cursor: pointer; }
figcaption output { font-variant-numeric: tabular-nums; font-weight: 400; }
#heat { aspect-ratio: 1 / 1.1; max-width: 520px; margin: 4px auto 0; }
.chart { height: 112px; margin-top: 2px; cursor: col-resize; touch-action: pan-y; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; }
caption { text-align: left; font-weight: 600; font-size: 0.88rem; padding-bottom: 3px; }
th, td { text-align: left; vertical-align: top; padding: 3px 0; border-top: 1px solid var(--grid); overflow-wrap: anywhere; }
th { font-weight: 400; color: var(--muted); width: 42%; padding-right: 10px; }
@media (min-width: 900px) {
  #page { padding: 18px 26px; height: 100vh; min-height: 620px; grid-template-rows: auto minmax(0, 1fr); }
  #page.aside { grid-template-columns: minmax(0, 1fr) clamp(300px, 25vw, 480px); }
  header { grid-column: 1 / -1; }
  #stage { height: auto; flex: 1 1 0; }
  aside { overflow-y: auto; padding-right: 6px; }
}
@media (min-width: 1700px) { :root { font-size: 17px; } .chart { height: 140px; } }
@media (max-width: 500px) {
  #page { padding: 10px 10px 16px; }
  #scrub { flex-basis: 100%; order: 1; margin: 0; }
  #clock { order: 2; min-width: 0; }
}
)css";

inline constexpr std::string_view page_markup = R"html(
<div id="page">
<header><h1 id="title"></h1><p id="note" hidden></p></header>
<div id="main">
  <div id="stage"><canvas id="scene" role="img"></canvas><div id="tip" hidden></div></div>
  <div id="transport">
    <button id="play" class="icon" title="play or pause (space)" aria-label="play or pause"><svg viewBox="0 0 16 16"><path id="play-shape" d="M3 1l11 7-11 7z"/></svg></button>
    <button id="back" class="icon" title="one frame back (left arrow)" aria-label="one frame back"><svg viewBox="0 0 16 16"><path d="M2 2h3v12H2zM14 2v12L6 8z"/></svg></button>
    <button id="forth" class="icon" title="one frame forth (right arrow)" aria-label="one frame forth"><svg viewBox="0 0 16 16"><path d="M11 2h3v12h-3zM2 2v12l8-6z"/></svg></button>
    <button id="loop" class="icon" aria-pressed="false" title="loop (L)" aria-label="loop"><svg viewBox="0 0 16 16"><path d="M4 4h7V1l5 4-5 4V6H4v3H2V6a2 2 0 0 1 2-2zM12 12H5v3L0 11l5-4v3h7V7h2v3a2 2 0 0 1-2 2z"/></svg></button>
    <select id="speed" title="speed (+ and -)" aria-label="speed"><option value="0.125">&#8539;&times;</option><option value="0.25">&frac14;&times;</option><option value="0.5">&frac12;&times;</option><option value="1" selected>1&times;</option><option value="2">2&times;</option><option value="4">4&times;</option><option value="8">8&times;</option></select>
    <input id="scrub" type="range" min="0" step="any" value="0" aria-label="time">
    <span id="clock"></span>
  </div>
  <div id="options">
    <label>fit <select id="fit"><option value="all">whole run</option><option value="current">current frame</option></select></label>
    <label id="tails-option">tails <select id="tails"><option value="off">off</option><option value="short" selected>short</option><option value="full">from the start</option></select></label>
    <label id="hull-option"><input id="hull" type="checkbox" checked> <span>convex hull</span></label>
    <label id="turn-option"><input id="turn" type="checkbox" checked> turn while playing</label>
    <button id="reset" title="reset the view (R)">reset view</button>
    <button id="theme" title="light or dark (D)">light / dark</button>
  </div>
  <div id="legend"></div>
  <div id="keys"></div>
</div>
<aside>
  <figure id="heat-figure"><figcaption><span>attention P</span><label id="sort-option"><input id="sort" type="checkbox"> sort by cluster</label></figcaption><canvas id="heat" role="img" aria-label="heat map of the attention matrix"></canvas></figure>
  <div id="charts"></div>
  <table id="parameters"><caption>parameters</caption><tbody></tbody></table>
</aside>
</div>
)html";

/// Data, numbers as text, hulls: what knows nothing of the screen.
inline constexpr std::string_view page_script_model = R"js(
'use strict';
const byId = id => document.getElementById(id);
const root = document.documentElement;
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

// ---- the data ------------------------------------------------------------------------------------
function bytesOf(id) {
  const element = byId(id), text = atob(element.textContent), bytes = new Uint8Array(text.length);
  for (let k = 0; k < text.length; ++k) bytes[k] = text.charCodeAt(k);
  element.remove();
  return bytes.buffer;
}
const view = JSON.parse(byId('view').textContent);
const n = view.tokens, dim = view.dim;
const times = new Float64Array(bytesOf('times')), m = times.length;
const series = new Float64Array(bytesOf('series'));        // series.length / m rows of m
const positions = new Float32Array(bytesOf('positions'));  // m x n x dim
const attention = new Float32Array(bytesOf('attention'));  // m x n x n, or empty
const hasAttention = attention.length > 0;
const names = view.axes.length ? view.axes : ['x\u2081', 'x\u2082', 'x\u2083'].slice(0, dim);

// Values between two frames are interpolated linearly; whole frames are exact.
function between(data, frame, out) {
  const size = out.length, a = Math.floor(frame), u = frame - a, at = a * size;
  if (u === 0) { for (let k = 0; k < size; ++k) out[k] = data[at + k]; return; }
  for (let k = 0; k < size; ++k) out[k] = (1 - u) * data[at + k] + u * data[at + size + k];
}
function timeAt(frame) {
  const a = Math.floor(frame), u = frame - a;
  return u === 0 ? times[a] : (1 - u) * times[a] + u * times[a + 1];
}
function frameAt(time) {
  if (!(time > times[0])) return 0;
  if (time >= times[m - 1]) return m - 1;
  let low = 0, high = m - 1;
  while (high - low > 1) { const mid = (low + high) >> 1; if (times[mid] <= time) low = mid; else high = mid; }
  return low + (time - times[low]) / (times[high] - times[low]);
}

// The smallest box around the finite coordinates, at least `least` wide and not empty in any direction.
function boundsOf(data, from = 0, to = data.length, least = 0) {
  const low = Array(dim).fill(Infinity), high = Array(dim).fill(-Infinity);
  for (let k = from, axis = 0; k < to; ++k) {
    const v = data[k];
    if (Number.isFinite(v)) { if (v < low[axis]) low[axis] = v; if (v > high[axis]) high[axis] = v; }
    if (++axis === dim) axis = 0;
  }
  let widest = 0;
  for (let a = 0; a < dim; ++a) {
    if (low[a] > high[a]) { low[a] = 0; high[a] = 0; }
    widest = Math.max(widest, high[a] - low[a]);
  }
  for (let a = 0; a < dim; ++a) {
    const size = Math.max(Math.abs(low[a]), Math.abs(high[a]));  // a float resolves 1e-7 of it
    const width = Math.max(least, widest > 0 ? Math.max(2e-6 * size, dim === 3 ? 0.1 * widest : 0) : least || 0.5 * size || 1);
    if (high[a] - low[a] < width) { const c = (low[a] + high[a]) / 2; low[a] = c - width / 2; high[a] = c + width / 2; }
  }
  return { low, high };
}
const wholeBounds = boundsOf(positions);
const startBounds = boundsOf(positions, 0, n * dim);
const widthOf = b => Math.max(...b.high.map((h, a) => h - b.low[a]));
// The box around the tokens at one moment does not shrink without end when all of them meet.
const boundsNow = now => boundsOf(now, 0, now.length, 1e-4 * widthOf(startBounds));

// A run on the unit sphere gets the sphere as a guide.
const onSphere = dim > 1 && n > 0 && (() => {
  const stride = Math.max(1, Math.floor(m * n / 5000));
  for (let k = 0; k < m * n; k += stride) {
    let square = 0;
    for (let a = 0; a < dim; ++a) square += positions[k * dim + a] ** 2;
    if (!(Math.abs(square - 1) < 1e-3)) return false;
  }
  return true;
})();

// ---- numbers as text -----------------------------------------------------------------------------
const superscript = k => String(k).replace('-', '\u207b').replace(/\d/g, c => '\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079'[c]);
function scientific(v, digits) {
  const [mantissa, exponent] = v.toExponential(clamp(digits, 0, 8)).split('e');
  return (mantissa === '1' ? '' : mantissa === '-1' ? '-' : mantissa + '\u00b7') + '10' + superscript(Number(exponent));
}
const order = v => Math.floor(Math.log10(Math.abs(v)) + 1e-9);
function tickText(v, step) {
  if (Math.abs(v) < step / 1e6) return '0';
  const text = Math.abs(v) >= 1e5 || (step < 1e-5 && Math.abs(v) < 1e-3) ? scientific(v, order(v) - order(step)) : v.toFixed(Math.max(0, -order(step)));
  return text.replace('-', '\u2212');
}
function valueText(v) {
  if (!Number.isFinite(v)) return 'not finite';
  if (v === 0) return '0';
  const text = Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? scientific(v, 3) : String(Number(v.toPrecision(5)));
  return text.replace('-', '\u2212');
}
// At most `count` or so round numbers in [low, high].
function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  if (!(raw > 0) || !Number.isFinite(raw)) return { step: 1, at: [low] };
  const power = 10 ** Math.floor(Math.log10(raw)), step = power * [1, 2, 5, 10].find(k => k * power >= 0.999 * raw);
  const first = Math.ceil(low / step - 1e-9), at = [];
  for (let k = 0; k < 40 && (first + k) * step <= high + 1e-9 * step; ++k) at.push((first + k) * step);
  return { step, at };
}

// ---- convex hulls --------------------------------------------------------------------------------
// Corners of the hull of the points (x[k], y[k]), counterclockwise.
function hull2(x, y) {
  const index = [];
  for (let k = 0; k < x.length; ++k) if (Number.isFinite(x[k]) && Number.isFinite(y[k])) index.push(k);
  index.sort((a, b) => x[a] - x[b] || y[a] - y[b]);
  const turn = (a, b, c) => (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]);
  const chain = [];
  for (const pass of [index, index.slice().reverse()]) {
    const start = chain.length;
    for (const k of pass) {
      while (chain.length >= start + 2 && turn(chain[chain.length - 2], chain[chain.length - 1], k) <= 0) chain.pop();
      chain.push(k);
    }
    chain.pop();
  }
  return chain.map(k => [x[k], y[k]]);
}

// Triangles of the hull of n points in space (x, y, z in a row), grown point by point; empty when flat.
// Points within eps of a face count as inside.
function hull3(p) {
  const count = p.length / 3, finite = [];
  for (let k = 0; k < count; ++k) if (Number.isFinite(p[3 * k] + p[3 * k + 1] + p[3 * k + 2])) finite.push(k);
  if (finite.length < 4) return [];
  const minus = (a, b) => [p[3 * a] - p[3 * b], p[3 * a + 1] - p[3 * b + 1], p[3 * a + 2] - p[3 * b + 2]];
  const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
  const farthest = measure => finite.reduce((best, k) => { const s = measure(k); return s > best[1] ? [k, s] : best; }, [-1, -1]);
  const a = finite[0], [b, far] = farthest(k => dot(minus(k, a), minus(k, a)));
  const eps = 1e-5 * Math.sqrt(far);
  if (!(eps > 0)) return [];
  const [c, area] = farthest(k => { const s = cross(minus(b, a), minus(k, a)); return dot(s, s); });
  if (Math.sqrt(area) <= eps * Math.sqrt(far)) return [];
  const normal = cross(minus(b, a), minus(c, a)), length = Math.sqrt(area);
  const [d, height] = farthest(k => Math.abs(dot(normal, minus(k, a))) / length);
  if (height <= eps) return [];
  const inside = [0, 1, 2].map(i => (p[3 * a + i] + p[3 * b + i] + p[3 * c + i] + p[3 * d + i]) / 4);
  const face = (u, v, w) => {
    const s = cross(minus(v, u), minus(w, u)), size = Math.hypot(...s) || 1, unit = s.map(q => q / size);
    const offset = unit[0] * p[3 * u] + unit[1] * p[3 * u + 1] + unit[2] * p[3 * u + 2];
    return dot(unit, inside) > offset ? { v: [u, w, v], unit: unit.map(q => -q), offset: -offset } : { v: [u, v, w], unit, offset };
  };
  let faces = [face(a, b, c), face(a, b, d), face(a, c, d), face(b, c, d)];
  for (const k of finite) {
    const seen = [], kept = [], point = [p[3 * k], p[3 * k + 1], p[3 * k + 2]];
    for (const f of faces) (dot(f.unit, point) - f.offset > eps ? seen : kept).push(f);
    if (!seen.length) continue;
    const edges = new Set();
    for (const f of seen) for (let e = 0; e < 3; ++e) edges.add(f.v[e] * count + f.v[(e + 1) % 3]);
    for (const key of edges) {
      const u = Math.floor(key / count), v = key % count;
      if (!edges.has(v * count + u)) kept.push(face(u, v, k));
    }
    faces = kept;
  }
  return faces;
}
)js";

/// The pictures: axes, the three scenes, heat map and charts.
inline constexpr std::string_view page_script_drawing = R"js(
// ---- colours and marks ---------------------------------------------------------------------------
// Okabe and Ito's palette: distinct for colour-blind eyes too. After seven clusters the shape changes.
const palettes = {
  light: ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#f0e442'],
  dark: ['#56b4e9', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#0072b2', '#f0e442'],
};
const ramps = {
  light: [[255, 255, 255], [198, 219, 239], [86, 180, 233], [0, 114, 178], [8, 36, 84]],
  dark: [[20, 25, 31], [12, 68, 110], [0, 114, 178], [86, 180, 233], [255, 250, 205]],
};
const glyphs = ['\u25cf', '\u25a0', '\u25b2', '\u25c6'];
const theme = {};
function readTheme() {
  const style = getComputedStyle(root);
  for (const name of ['bg', 'panel', 'fg', 'muted', 'line', 'grid', 'accent']) theme[name] = style.getPropertyValue('--' + name).trim();
  theme.palette = palettes[root.dataset.theme];
  const ramp = ramps[root.dataset.theme];
  theme.ramp = Array.from({ length: 256 }, (_, k) => {
    const s = k / 255 * (ramp.length - 1), i = Math.min(Math.floor(s), ramp.length - 2);
    return [0, 1, 2].map(c => Math.round(ramp[i][c] + (s - i) * (ramp[i + 1][c] - ramp[i][c])));
  });
}
const labelled = view.clusters.length === n && n > 0;
const labelOf = i => labelled ? view.clusters[i] : 0;
const colourOf = label => label < 0 ? theme.muted : theme.palette[label % theme.palette.length];
const shapeOf = label => label < 0 ? 0 : Math.floor(label / 7) % glyphs.length;
const groups = new Map();  // label -> tokens
for (let i = 0; i < n; ++i) { const l = labelOf(i); if (!groups.has(l)) groups.set(l, []); groups.get(l).push(i); }
const labels = [...groups.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b);

function addMark(path, shape, x, y, r) {
  if (shape === 0) { path.moveTo(x + r, y); path.arc(x, y, r, 0, 2 * Math.PI); }
  else if (shape === 1) path.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
  else {
    const corners = shape === 2 ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]] : [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]];
    corners.forEach(([u, v], k) => k ? path.lineTo(x + u * r, y + v * r) : path.moveTo(x + u * r, y + v * r));
    path.closePath();
  }
}
function polygon(ctx, points) {
  ctx.beginPath();
  points.forEach(([x, y], k) => k ? ctx.lineTo(x, y) : ctx.moveTo(x, y));
  ctx.closePath();
}

// A canvas in CSS pixels, crisp at any density.
function surface(canvas) {
  const ctx = canvas.getContext('2d'), s = { canvas, ctx, w: 0, h: 0 };
  s.begin = () => {
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    s.w = box.width; s.h = box.height;
    const w = Math.round(s.w * ratio), h = Math.round(s.h * ratio);
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, s.w, s.h);
    ctx.lineJoin = 'round';
    return s.w > 1 && s.h > 1;
  };
  return s;
}
const family = getComputedStyle(document.body).fontFamily;
function setFont(ctx, size, weight = 400) { ctx.font = weight + ' ' + size + 'px ' + family; }
function put(ctx, text, x, y, align, baseline) {
  ctx.textAlign = align;
  ctx.textBaseline = baseline;
  ctx.fillText(text, x, y);
}

const yEvery = h => h < 150 ? 26 : 52;  // pixels from one vertical tick to the next, at least
// Grid, tick labels and axis names of a plane plot; `whole`: its values are whole numbers.
function drawAxes(ctx, box, xr, yr, xName, yName, size, whole = false) {
  setFont(ctx, size);
  const widest = t => Math.max(...t.at.map(v => ctx.measureText(tickText(v, t.step)).width));
  const most = Math.max(box.w / 95, Math.min(4, box.w / 50));
  let xt = ticks(xr[0], xr[1], most);
  for (let count = most; count > 1 && widest(xt) + 14 > box.w * xt.step / (xr[1] - xr[0]); count /= 1.5) xt = ticks(xr[0], xr[1], count / 1.5);
  const yt = ticks(yr[0], yr[1], box.h / yEvery(box.h));
  if (whole) yt.at = yt.at.filter(v => Math.abs(v - Math.round(v)) < 1e-9);
  const px = v => box.x + (v - xr[0]) / (xr[1] - xr[0]) * box.w, py = v => box.y + box.h - (v - yr[0]) / (yr[1] - yr[0]) * box.h;
  ctx.strokeStyle = theme.grid;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const v of xt.at) { ctx.moveTo(px(v), box.y); ctx.lineTo(px(v), box.y + box.h); }
  for (const v of yt.at) { ctx.moveTo(box.x, py(v)); ctx.lineTo(box.x + box.w, py(v)); }
  ctx.stroke();
  ctx.strokeStyle = theme.line;
  ctx.strokeRect(box.x, box.y, box.w, box.h);
  ctx.fillStyle = theme.muted;
  for (const v of xt.at) put(ctx, tickText(v, xt.step), px(v), box.y + box.h + 6, 'center', 'top');
  for (const v of yt.at) put(ctx, tickText(v, yt.step), box.x - 6, py(v), 'right', 'middle');
  ctx.fillStyle = theme.fg;
  setFont(ctx, size + 1, 600);
  if (size < 12) put(ctx, 't', box.x + box.w + 5, box.y + box.h, 'left', 'middle');
  if (xName) put(ctx, xName, box.x + box.w / 2, box.y + box.h + 10 + size, 'center', 'top');
  if (yName) {
    ctx.save();
    ctx.translate(box.x - 14 - widestLabel(ctx, yt, size), box.y + box.h / 2);
    ctx.rotate(-Math.PI / 2);
    put(ctx, yName, 0, 0, 'center', 'bottom');
    ctx.restore();
  }
}
function widestLabel(ctx, t, size) {
  const before = ctx.font;
  setFont(ctx, size);
  const width = Math.max(0, ...t.at.map(v => ctx.measureText(tickText(v, t.step)).width));
  ctx.font = before;
  return width;
}
// The inside of a plot whose vertical range is yr: what the labels leave.
function plotBox(ctx, w, h, yr, size, named) {
  const left = named ? widestLabel(ctx, ticks(yr[0], yr[1], h / 52), size) + size + 22 : 54;
  const bottom = size + 12 + (named ? size + 8 : 0), right = 16, top = 14;
  return { x: left, y: top, w: Math.max(10, w - left - right), h: Math.max(10, h - top - bottom) };
}

// ---- what is shown -------------------------------------------------------------------------------
const state = {
  frame: 0, playing: false, loop: false, speed: 1, fit: 'all', tails: 'short', hull: true, turn: true, sort: false,
  hover: -1, pinned: -1, zoom: 1, pan: [0, 0], yaw: 0.7, pitch: 0.42,
};
const now = new Float64Array(n * dim);        // the positions at state.frame
const weights = new Float64Array(hasAttention ? n * n : 0);
const screenX = new Float64Array(n), screenY = new Float64Array(n);
const focus = () => state.hover >= 0 ? state.hover : state.pinned;
const radius = scale => clamp(9.2 - 2.3 * Math.log10(Math.max(n, 1)), 1.5, 7) * clamp(scale / 620, 0.75, 1.5);
const scene = surface(byId('scene'));
const shownBounds = () => state.fit === 'all' ? wholeBounds : boundsNow(now);
const fontSize = w => Math.round(clamp(w / 80, 12, 16));
const tailStart = () => state.tails === 'full' ? 0 : Math.max(0, state.frame - Math.max(3, 0.12 * m));

// Lines of the tokens from `from` to now through project(frame, token) -> [x, y]; one path a group.
function drawTails(ctx, project, width) {
  if (state.tails === 'off' || m < 2) return;
  const first = Math.floor(tailStart()), last = Math.floor(state.frame), bands = state.tails === 'full' ? 1 : 4;
  const stride = Math.max(1, Math.ceil(n * (last - first) / 60000));
  ctx.lineWidth = width;
  for (let band = 0; band < bands; ++band) {  // newer bands are stronger
    const [from, to] = [band, band + 1].map(b => Math.round(first + (last - first) * b / bands));
    ctx.globalAlpha = bands === 1 ? 0.35 : 0.1 + 0.4 * (band + 1) / bands;
    for (const label of labels) {
      ctx.strokeStyle = colourOf(label);
      ctx.beginPath();
      for (const i of groups.get(label)) {
        let open = false;
        const add = p => { if (p && open) ctx.lineTo(p[0], p[1]); else if (p) ctx.moveTo(p[0], p[1]); open = p !== null; };
        for (let f = from; f < to; f += stride) add(project(f, i));
        add(project(to, i));
        if (band === bands - 1) add(Number.isFinite(screenX[i] + screenY[i]) ? [screenX[i], screenY[i]] : null);
      }
      ctx.stroke();
    }
  }
  ctx.globalAlpha = 1;
}
// From the token in focus to those it attends to, as strongly as it does.
function drawAttentionOf(ctx, i) {
  if (!hasAttention || i < 0 || !Number.isFinite(screenX[i])) return;
  let most = 0;
  for (let j = 0; j < n; ++j) most = Math.max(most, weights[i * n + j]);
  ctx.strokeStyle = theme.fg;
  for (let j = 0; j < n; ++j) {
    const share = weights[i * n + j] / most;
    if (!(share > 0.02) || !Number.isFinite(screenX[j])) continue;
    ctx.globalAlpha = 0.1 + 0.65 * share;
    ctx.lineWidth = 0.5 + 2.5 * share;
    ctx.beginPath();
    ctx.moveTo(screenX[i], screenY[i]);
    ctx.lineTo(screenX[j], screenY[j]);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}
function drawRings(ctx, r) {
  ctx.strokeStyle = theme.fg;
  ctx.lineWidth = 2;
  ctx.beginPath();
  for (const i of view.leaders) if (Number.isFinite(screenX[i])) { ctx.moveTo(screenX[i] + r + 4, screenY[i]); ctx.arc(screenX[i], screenY[i], r + 4, 0, 2 * Math.PI); }
  ctx.stroke();
  const i = focus();
  if (i >= 0 && Number.isFinite(screenX[i])) {
    ctx.lineWidth = 3;
    ctx.strokeStyle = theme.accent;
    ctx.beginPath();
    ctx.arc(screenX[i], screenY[i], r + 3, 0, 2 * Math.PI);
    ctx.stroke();
  }
}
function drawMarks(ctx, r) {
  for (const label of labels) {
    const path = new Path2D(), shape = n > 5000 ? 1 : shapeOf(label);
    for (const i of groups.get(label)) if (Number.isFinite(screenX[i])) addMark(path, shape, screenX[i], screenY[i], r);
    if (r > 2) { ctx.strokeStyle = theme.bg; ctx.lineWidth = 2; ctx.stroke(path); }  // a rim, under all of them
    ctx.fillStyle = colourOf(label);
    ctx.fill(path);
  }
}

// ---- one dimension: position against time --------------------------------------------------------
const plot1 = { box: null, key: '', lines: new Map(), envelope: null };
function drawLine() {
  const { ctx, w, h } = scene, size = fontSize(w);
  const bounds = shownBounds(), pad = 0.06 * (bounds.high[0] - bounds.low[0]);
  const yr = [bounds.low[0] - pad, bounds.high[0] + pad];
  const xr = m > 1 && times[m - 1] > times[0] ? [times[0], times[m - 1]] : [times[0] - 0.5, times[0] + 0.5];
  xr[0] -= 0.012 * (xr[1] - xr[0]);  // room for the marks of the first frame
  const box = plot1.box = plotBox(ctx, w, h, yr, size, true), r = radius(box.h);
  const px = t => box.x + (t - xr[0]) / (xr[1] - xr[0]) * box.w, py = v => box.y + box.h - (v - yr[0]) / (yr[1] - yr[0]) * box.h;
  plot1.timeAt = x => xr[0] + (x - box.x) / box.w * (xr[1] - xr[0]);
  drawAxes(ctx, box, xr, yr, 'time t', names[0], size);

  const key = [w, h, yr, box.x].join();
  if (key !== plot1.key) {  // the worldlines stay as they are until the range or the size changes
    plot1.key = key;
    plot1.lines.clear();
    const every = Math.max(1, Math.ceil(n / 3000)), stride = Math.max(1, Math.ceil(n * m / every / 300000));
    const far = v => clamp(py(v), -1e5, 1e5);
    for (const label of labels) {
      const path = new Path2D();
      for (const i of groups.get(label)) {
        if (i % every) continue;
        let open = false;
        for (let k = 0; k < m; k = k === m - 1 ? m : Math.min(k + stride, m - 1)) {
          const v = positions[k * n + i];
          if (!Number.isFinite(v)) { open = false; continue; }
          if (open) path.lineTo(px(times[k]), far(v)); else path.moveTo(px(times[k]), far(v));
          open = true;
        }
      }
      plot1.lines.set(label, path);
    }
    const upper = [], lower = [];
    for (let k = 0; k < m; ++k) {
      let low = Infinity, high = -Infinity;
      for (let i = 0; i < n; ++i) { const v = positions[k * n + i]; if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); } }
      if (low <= high) { upper.push([px(times[k]), far(high)]); lower.push([px(times[k]), far(low)]); }
    }
    plot1.envelope = upper.concat(lower.reverse());
  }
  const x = px(timeAt(state.frame));
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.x, box.y, box.w, box.h);
  ctx.clip();
  if (state.hull && plot1.envelope.length) {
    polygon(ctx, plot1.envelope);
    ctx.fillStyle = theme.accent;
    ctx.globalAlpha = 0.07;
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.strokeStyle = theme.muted;
    ctx.lineWidth = 1.2;
    ctx.setLineDash([6, 5]);
    ctx.beginPath();
    for (const v of [startBounds.low[0], startBounds.high[0]]) { ctx.moveTo(px(times[0]), py(v)); ctx.lineTo(box.x + box.w, py(v)); }
    ctx.stroke();
    ctx.setLineDash([]);
  }
  const stroke = (alpha, width) => {
    ctx.lineWidth = width;
    ctx.globalAlpha = alpha;
    for (const label of labels) { ctx.strokeStyle = colourOf(label); ctx.stroke(plot1.lines.get(label)); }
    ctx.globalAlpha = 1;
  };
  stroke(0.22, 1);
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.x, box.y, x - box.x, box.h);
  ctx.clip();
  stroke(n > 300 ? 0.55 : 0.85, n > 100 ? 1.1 : 1.6);
  ctx.restore();
  const i = focus();
  if (i >= 0) {
    ctx.strokeStyle = theme.fg;
    ctx.lineWidth = 2.5;
    ctx.beginPath();
    for (let k = 0, open = false; k < m; ++k) {
      const v = positions[k * n + i];
      if (!Number.isFinite(v)) { open = false; continue; }
      if (open) ctx.lineTo(px(times[k]), py(v)); else ctx.moveTo(px(times[k]), py(v));
      open = true;
    }
    ctx.stroke();
  }
  ctx.restore();
  ctx.strokeStyle = theme.fg;
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  ctx.moveTo(x, box.y);
  ctx.lineTo(x, box.y + box.h);
  ctx.stroke();
  for (let k = 0; k < n; ++k) {
    const y = py(now[k]);
    screenX[k] = y >= box.y - r && y <= box.y + box.h + r ? x : NaN;
    screenY[k] = y;
  }
  drawMarks(ctx, r);
  drawRings(ctx, r);
}

// ---- two dimensions: the plane -------------------------------------------------------------------
const plot2 = { scale: 1 };
function drawPlane() {
  const { ctx, w, h } = scene, size = fontSize(w);
  const bounds = shownBounds();
  const centre = [0, 1].map(a => (bounds.low[a] + bounds.high[a]) / 2);
  const span = [0, 1].map(a => (bounds.high[a] - bounds.low[a]) * 1.14);
  let box = { x: 60, y: 14, w: w - 76, h: h - 60 }, xr, yr;
  for (let pass = 0; pass < 2; ++pass) {  // the labels' width depends on the range, and the range on it
    plot2.scale = Math.min(box.w / (span[0] || span[1]), box.h / (span[1] || span[0])) * state.zoom;
    xr = [-1, 1].map(s => centre[0] - state.pan[0] / plot2.scale + s * box.w / plot2.scale / 2);
    yr = [-1, 1].map(s => centre[1] + state.pan[1] / plot2.scale + s * box.h / plot2.scale / 2);
    if (pass === 0) box = plotBox(ctx, w, h, yr, size, true);
  }
  const px = v => box.x + (v - xr[0]) * plot2.scale, py = v => box.y + box.h - (v - yr[0]) * plot2.scale;
  const r = radius(Math.min(box.w, box.h));
  drawAxes(ctx, box, xr, yr, names[0], names[1], size);
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.x, box.y, box.w, box.h);
  ctx.clip();
  if (onSphere) {
    ctx.strokeStyle = theme.line;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.arc(px(0), py(0), plot2.scale, 0, 2 * Math.PI);
    ctx.stroke();
  }
  for (let i = 0; i < n; ++i) { screenX[i] = px(now[2 * i]); screenY[i] = py(now[2 * i + 1]); }
  if (state.hull) {
    const x0 = [], y0 = [];
    for (let i = 0; i < n; ++i) { x0.push(px(positions[2 * i])); y0.push(py(positions[2 * i + 1])); }
    drawHulls(ctx, hull2(screenX, screenY), hull2(x0, y0));
  }
  drawTails(ctx, (f, i) => {
    const at = 2 * (f * n + i), x = px(positions[at]), y = py(positions[at + 1]);
    return Number.isFinite(x + y) ? [x, y] : null;
  }, Math.max(1, r / 3));
  drawAttentionOf(ctx, focus());
  drawMarks(ctx, r);
  drawRings(ctx, r);
  ctx.restore();
}
// The hull now, lightly filled, and the one at the start, dashed.
function drawHulls(ctx, current, start) {
  ctx.lineWidth = 1.5;
  if (start.length) {
    polygon(ctx, start);
    ctx.setLineDash([6, 5]);
    ctx.strokeStyle = theme.muted;
    ctx.stroke();
    ctx.setLineDash([]);
  }
  if (current.length) {
    polygon(ctx, current);
    ctx.fillStyle = theme.accent;
    ctx.globalAlpha = 0.1;
    ctx.fill();
    ctx.globalAlpha = 0.9;
    ctx.strokeStyle = theme.accent;
    ctx.stroke();
    ctx.globalAlpha = 1;
  }
}

// ---- three dimensions: a box to turn -------------------------------------------------------------
const eye = 5;  // distance of the eye, in half-widths of the box
function projector(bounds) {
  const { w, h } = scene, half = [0, 1, 2].map(a => (bounds.high[a] - bounds.low[a]) / 2 * 1.06);
  const centre = [0, 1, 2].map(a => (bounds.low[a] + bounds.high[a]) / 2), unit = Math.max(...half);
  const at = (x, y, z, yaw) => {  // [right, up, depth] in half-widths; depth from -1 (near) to 1 (far) or so
    const u = (x - centre[0]) / unit, v = (y - centre[1]) / unit, t = (z - centre[2]) / unit;
    const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(state.pitch), sp = Math.sin(state.pitch);
    const away = sy * u + cy * v, depth = away * cp - t * sp, f = eye / Math.max(0.2, eye + depth);
    return [(cy * u - sy * v) * f, (t * cp + away * sp) * f, depth];
  };
  let side = 0, top = 0, bottom = 0;  // what the box reaches at any yaw, so that it turns without pulsing
  for (let k = 0; k < 16; ++k) for (let c = 0; c < 8; ++c) {
    const q = at(...[1, 2, 4].map((bit, a) => centre[a] + (c & bit ? 1 : -1) * half[a]), k * Math.PI / 8);
    side = Math.max(side, q[0]); top = Math.max(top, q[1]); bottom = Math.min(bottom, q[1]);
  }
  const fits = Math.max(20, Math.min((w - 110) / 2 / side, (h - 70) / (top - bottom))), scale = fits * state.zoom;
  const ox = w / 2 + state.pan[0], oy = h / 2 + (top + bottom) / 2 * scale + state.pan[1];
  const project = (x, y, z) => { const q = at(x, y, z, state.yaw); return [ox + q[0] * scale, oy - q[1] * scale, q[2]]; };
  return { project, centre, half, scale };
}
function drawBox(ctx, { project, centre, half, scale }, size) {
  const corner = signs => signs.map((s, a) => centre[a] + s * half[a]);
  // A face is at the back if its outside looks away from the eye: seen from within, then.
  const middle = project(...centre), faceIsBack = (axis, sign) => {
    const b = (axis + 1) % 3, c = (axis + 2) % 3;
    const points = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([p, q]) => {
      const s = [0, 0, 0];
      s[axis] = sign; s[b] = p; s[c] = q;
      return project(...corner(s));
    });
    let area = 0;
    points.forEach((p, k) => { const q = points[(k + 1) % 4]; area += p[0] * q[1] - p[1] * q[0]; });
    return area * sign > 0;
  };
  const back = [0, 1, 2].map(a => ({ [-1]: faceIsBack(a, -1), 1: faceIsBack(a, 1) }));
  const axisTicks = [0, 1, 2].map(a => ticks(centre[a] - half[a], centre[a] + half[a], clamp(half[a] / Math.max(...half) * scale / 34, 2, 7)));
  const segment = (p, q) => { ctx.moveTo(p[0], p[1]); ctx.lineTo(q[0], q[1]); };
  ctx.lineWidth = 1;
  for (let a = 0; a < 3; ++a) for (const sign of [-1, 1]) {
    if (!back[a][sign]) continue;
    const fixed = centre[a] + sign * half[a];
    ctx.strokeStyle = theme.grid;
    ctx.beginPath();
    for (const [along, across] of [[(a + 1) % 3, (a + 2) % 3], [(a + 2) % 3, (a + 1) % 3]])
      for (const v of axisTicks[along].at) {
        const p = [0, 0, 0], q = [0, 0, 0];
        p[a] = q[a] = fixed; p[along] = q[along] = v;
        p[across] = centre[across] - half[across]; q[across] = centre[across] + half[across];
        segment(project(...p), project(...q));
      }
    ctx.stroke();
    ctx.strokeStyle = theme.line;
    polygon(ctx, [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([u, v]) => {
      const s = [0, 0, 0];
      s[a] = sign; s[(a + 1) % 3] = u; s[(a + 2) % 3] = v;
      return project(...corner(s));
    }));
    ctx.stroke();
  }
  // Each axis is labelled along an edge of the outline: where a front face meets a back face.
  for (let a = 0; a < 3; ++a) {
    const b = (a + 1) % 3, c = (a + 2) % 3, ends = [];
    for (const sb of [-1, 1]) for (const sc of [-1, 1]) {
      if (back[b][sb] === back[c][sc]) continue;
      const s = [0, 0, 0];
      s[a] = -1; s[b] = sb; s[c] = sc;
      const p = project(...corner(s));
      s[a] = 1;
      const q = project(...corner(s));
      ends.push({ sb, sc, p, q, rank: a === 2 ? -(p[0] + q[0]) : p[1] + q[1] });
    }
    if (!ends.length) continue;
    const edge = ends.reduce((best, e) => e.rank > best.rank ? e : best);
    let nx = edge.q[1] - edge.p[1], ny = edge.p[0] - edge.q[0];
    const length = Math.hypot(nx, ny);
    if (length < 24) continue;  // seen end on
    const side = Math.sign(nx * ((edge.p[0] + edge.q[0]) / 2 - middle[0]) + ny * ((edge.p[1] + edge.q[1]) / 2 - middle[1])) || 1;
    nx *= side / length; ny *= side / length;
    ctx.strokeStyle = theme.muted;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    segment(edge.p, edge.q);
    ctx.stroke();
    setFont(ctx, size);
    ctx.fillStyle = theme.muted;
    let reach = 0, previous = null;
    for (const v of axisTicks[a].at) {
      const at = [0, 0, 0];
      at[a] = v; at[b] = centre[b] + edge.sb * half[b]; at[c] = centre[c] + edge.sc * half[c];
      const p = project(...at), text = tickText(v, axisTicks[a].step), width = ctx.measureText(text).width;
      const off = 7 + Math.abs(nx) * width / 2 + Math.abs(ny) * size / 2;
      reach = Math.max(reach, off + Math.abs(nx) * width / 2 + Math.abs(ny) * size / 2);
      const x = p[0] + nx * off, y = p[1] + ny * off;
      if (previous && Math.abs(x - previous[0]) < (width + previous[2]) / 2 + 5 && Math.abs(y - previous[1]) < size + 2) continue;
      previous = [x, y, width];
      put(ctx, text, x, y, 'center', 'middle');
    }
    setFont(ctx, size + 1, 600);
    ctx.fillStyle = theme.fg;
    const width = ctx.measureText(names[a]).width, off = reach + 4 + Math.abs(nx) * width / 2 + Math.abs(ny) * size / 2;
    put(ctx, names[a], (edge.p[0] + edge.q[0]) / 2 + nx * off, (edge.p[1] + edge.q[1]) / 2 + ny * off, 'center', 'middle');
  }
}
const depthOf = new Float64Array(n);
const drawingOrder = Array.from({ length: n }, (_, i) => i);
function drawSpace() {
  const { ctx, w, h } = scene, size = fontSize(w), r = radius(Math.min(w, h));
  const p = projector(shownBounds()), { project } = p;
  drawBox(ctx, p, size);
  if (onSphere) drawGraticule(ctx, project);
  for (let i = 0; i < n; ++i) [screenX[i], screenY[i], depthOf[i]] = project(now[3 * i], now[3 * i + 1], now[3 * i + 2]);
  if (state.hull) {
    const x0 = [], y0 = [];  // the outline of the hull in space is the hull of the outline's points
    for (let i = 0; i < n; ++i) { const q = project(positions[3 * i], positions[3 * i + 1], positions[3 * i + 2]); x0.push(q[0]); y0.push(q[1]); }
    drawHulls(ctx, hull2(screenX, screenY), hull2(x0, y0));
    if (n <= 600) drawFacets(ctx, hull3(now));
  }
  drawTails(ctx, (f, i) => {
    const at = 3 * (f * n + i), q = project(positions[at], positions[at + 1], positions[at + 2]);
    return Number.isFinite(q[0] + q[1]) ? q : null;
  }, Math.max(1, r / 3));
  drawAttentionOf(ctx, focus());
  if (n > 5000) { drawMarks(ctx, r); drawRings(ctx, r); return; }
  drawingOrder.sort((a, b) => depthOf[b] - depthOf[a]);
  const leaders = new Set(view.leaders);
  for (const i of drawingOrder) {  // far tokens are smaller and paler
    if (!Number.isFinite(screenX[i])) continue;
    const label = labelOf(i), scale = eye / (eye + depthOf[i]), size3 = r * scale ** 1.5, path = new Path2D();
    addMark(path, shapeOf(label), screenX[i], screenY[i], size3);
    ctx.globalAlpha = clamp(0.82 - 0.3 * depthOf[i], 0.4, 1);
    ctx.fillStyle = colourOf(label);
    ctx.fill(path);
    ctx.strokeStyle = theme.bg;
    ctx.lineWidth = 1;
    ctx.stroke(path);
    if (leaders.has(i) || i === focus()) {
      ctx.globalAlpha = 1;
      ctx.strokeStyle = i === focus() ? theme.accent : theme.fg;
      ctx.lineWidth = i === focus() ? 3 : 2;
      ctx.beginPath();
      ctx.arc(screenX[i], screenY[i], size3 + 4, 0, 2 * Math.PI);
      ctx.stroke();
    }
  }
  ctx.globalAlpha = 1;
}
function drawFacets(ctx, faces) {
  const edges = new Map();
  for (const f of faces) for (let e = 0; e < 3; ++e) {
    const u = f.v[e], v = f.v[(e + 1) % 3], key = Math.min(u, v) * n + Math.max(u, v);
    if (edges.has(key)) edges.get(key).push(f); else edges.set(key, [f]);
  }
  ctx.strokeStyle = theme.accent;
  ctx.lineWidth = 1;
  ctx.globalAlpha = 0.3;
  ctx.beginPath();
  for (const [key, sides] of edges) {  // an edge inside a flat face is not one
    if (sides.length === 2 && sides[0].unit.reduce((s, q, k) => s + q * sides[1].unit[k], 0) > 0.9999) continue;
    const u = Math.floor(key / n), v = key % n;
    ctx.moveTo(screenX[u], screenY[u]);
    ctx.lineTo(screenX[v], screenY[v]);
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
}
function drawGraticule(ctx, project) {
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.globalAlpha = 0.7;
  ctx.beginPath();
  const curve = point => { for (let k = 0; k <= 72; ++k) { const q = project(...point(k * Math.PI / 36)); if (k) ctx.lineTo(q[0], q[1]); else ctx.moveTo(q[0], q[1]); } };
  for (let k = 0; k < 6; ++k) { const c = Math.cos(k * Math.PI / 6), s = Math.sin(k * Math.PI / 6); curve(a => [c * Math.cos(a), s * Math.cos(a), Math.sin(a)]); }
  for (let k = -2; k <= 2; ++k) { const c = Math.cos(k * Math.PI / 6), s = Math.sin(k * Math.PI / 6); curve(a => [c * Math.cos(a), c * Math.sin(a), s]); }
  ctx.stroke();
  ctx.globalAlpha = 1;
}

// ---- beside the scene: the attention matrix and the series ---------------------------------------
const heat = surface(byId('heat')), tile = document.createElement('canvas');
const byCluster = Array.from({ length: n }, (_, i) => i).sort((a, b) => (labelOf(a) < 0) - (labelOf(b) < 0) || labelOf(a) - labelOf(b) || a - b);
const orderOf = () => state.sort ? byCluster : null;
let mostAttention = 0;
for (let k = 0; k < attention.length; ++k) if (Number.isFinite(attention[k]) && attention[k] > mostAttention) mostAttention = attention[k];
mostAttention = mostAttention || 1;
function drawHeat() {
  if (!hasAttention || !heat.begin()) return;
  const { ctx, w, h } = heat, size = 12, order = orderOf();
  const left = 44, top = 40, side = Math.max(20, Math.min(w - left - 8, h - top - 42));
  heat.box = { x: left, y: top, side };
  tile.width = tile.height = n;
  const image = new ImageData(n, n);
  for (let i = 0; i < n; ++i) for (let j = 0; j < n; ++j) {
    const v = weights[(order ? order[i] : i) * n + (order ? order[j] : j)], at = 4 * (i * n + j);
    if (!Number.isFinite(v)) continue;
    const [red, green, blue] = theme.ramp[Math.round(255 * Math.sqrt(clamp(v / mostAttention, 0, 1)))];
    image.data[at] = red; image.data[at + 1] = green; image.data[at + 2] = blue; image.data[at + 3] = 255;
  }
  tile.getContext('2d').putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = side < n;
  ctx.drawImage(tile, left, top, side, side);
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.strokeRect(left - 0.5, top - 0.5, side + 1, side + 1);
  const cell = side / n, where = i => order ? order.indexOf(i) : i;
  ctx.fillStyle = theme.fg;  // leaders: a wedge over their column
  for (const j of view.leaders) {
    const x = left + (where(j) + 0.5) * cell;
    ctx.beginPath();
    ctx.moveTo(x, top - 1); ctx.lineTo(x - 4, top - 8); ctx.lineTo(x + 4, top - 8);
    ctx.fill();
  }
  const i = focus();
  if (i >= 0) { ctx.strokeStyle = theme.fg; ctx.lineWidth = 2; ctx.strokeRect(left, top + where(i) * cell, side, cell); }
  setFont(ctx, size);
  ctx.fillStyle = theme.muted;
  if (!order) {
    const t = ticks(0, n - 1, clamp(side / 45, 2, 6)).at.filter(Number.isInteger);
    for (const v of t) {
      put(ctx, String(v), left + (v + 0.5) * cell, top - 10, 'center', 'bottom');
      put(ctx, String(v), left - 5, top + (v + 0.5) * cell, 'right', 'middle');
    }
  } else {  // a bar in the clusters' colours
    order.forEach((i, k) => {
      ctx.fillStyle = colourOf(labelOf(i));
      ctx.fillRect(left - 9, top + k * cell, 6, cell + 0.5);
      ctx.fillRect(left + k * cell, top - 16, cell + 0.5, 6);
    });
  }
  ctx.fillStyle = theme.fg;
  setFont(ctx, size, 600);
  put(ctx, 'key j', left + side / 2, top - 24, 'center', 'bottom');
  ctx.save();
  ctx.translate(14, top + side / 2);
  ctx.rotate(-Math.PI / 2);
  put(ctx, 'query i', 0, 0, 'center', 'middle');
  ctx.restore();
  const barY = top + side + 14, barHeight = 9;  // the scale: square roots, so that small weights show
  for (let k = 0; k < side; ++k) { const [red, green, blue] = theme.ramp[Math.round(255 * k / side)]; ctx.fillStyle = `rgb(${red},${green},${blue})`; ctx.fillRect(left + k, barY, 1.5, barHeight); }
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.strokeRect(left - 0.5, barY - 0.5, side + 1, barHeight + 1);
  ctx.fillStyle = theme.muted;
  setFont(ctx, size);
  for (const [share, align] of [[0, 'left'], [0.25, 'center'], [0.5, 'center'], [1, 'right']])
    put(ctx, share ? valueText(Number((share ** 2 * mostAttention).toPrecision(2))) : '0', left + share * side, barY + barHeight + 5, align, 'top');
}

const charts = view.series.map((name, k) => {
  const figure = document.createElement('figure'), caption = document.createElement('figcaption');
  const title = document.createElement('span'), value = document.createElement('output'), canvas = document.createElement('canvas');
  title.textContent = name;
  canvas.className = 'chart';
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', name + ' against time');
  caption.append(title, value);
  figure.append(caption, canvas);
  byId('charts').append(figure);
  const values = series.subarray(k * m, (k + 1) * m), finite = Array.from(values).filter(Number.isFinite);
  let low = Infinity, high = -Infinity;
  for (const v of finite) { low = Math.min(low, v); high = Math.max(high, v); }
  if (low > high) { low = 0; high = 1; }
  const steps = finite.length > 0 && finite.every(Number.isInteger);
  if (steps && low > 0 && low < high / 2) low = 0;
  if (high - low < 1e-9 * Math.abs(high) || high === low) { low -= Math.abs(low) * 0.05 || 0.5; high += Math.abs(high) * 0.05 || 0.5; }
  return { surface: surface(canvas), canvas, value, values, steps, low, high };
});
function drawCharts() {
  for (const c of charts) {
    const a = Math.floor(state.frame), u = state.frame - a;
    const value = u === 0 || c.steps ? c.values[a] : (1 - u) * c.values[a] + u * c.values[a + 1];
    c.value.textContent = valueText(value);
    const s = c.surface;
    if (!s.begin()) continue;
    const { ctx, w, h } = s, size = 11, pad = 0.08 * (c.high - c.low), yr = [c.low - pad, c.high + pad];
    const xr = m > 1 && times[m - 1] > times[0] ? [times[0], times[m - 1]] : [times[0] - 0.5, times[0] + 0.5];
    const box = plotBox(ctx, w, h, yr, size, false), px = t => box.x + (t - xr[0]) / (xr[1] - xr[0]) * box.w;
    const py = v => box.y + box.h - (v - yr[0]) / (yr[1] - yr[0]) * box.h;
    c.timeAt = x => xr[0] + (x - box.x) / box.w * (xr[1] - xr[0]);
    drawAxes(ctx, box, xr, yr, '', '', size, c.steps);
    ctx.strokeStyle = theme.accent;
    ctx.lineWidth = 1.8;
    ctx.beginPath();
    for (let k = 0, open = false; k < m; ++k) {
      if (!Number.isFinite(c.values[k])) { open = false; continue; }
      if (!open) ctx.moveTo(px(times[k]), py(c.values[k]));
      else { if (c.steps) ctx.lineTo(px(times[k]), py(c.values[k - 1])); ctx.lineTo(px(times[k]), py(c.values[k])); }
      open = true;
    }
    ctx.stroke();
    const x = px(timeAt(state.frame));
    ctx.strokeStyle = theme.fg;
    ctx.lineWidth = 1.2;
    ctx.beginPath();
    ctx.moveTo(x, box.y);
    ctx.lineTo(x, box.y + box.h);
    ctx.stroke();
    if (Number.isFinite(value)) { ctx.fillStyle = theme.fg; ctx.beginPath(); ctx.arc(x, py(value), 3.5, 0, 2 * Math.PI); ctx.fill(); }
  }
}
)js";

/// Playing, keys, pointers; last the first draw.
inline constexpr std::string_view page_script_controls = R"js(
// ---- drawing and playing -------------------------------------------------------------------------
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
const seconds = clamp(m / 25, 6, 20);  // of a whole run at speed 1
let pending = 0, last = 0, held = 0;
const drawScene = [null, drawLine, drawPlane, drawSpace][dim];
function invalidate() { pending = pending || requestAnimationFrame(draw); }
function draw(stamp) {
  cancelAnimationFrame(pending);
  pending = 0;
  if (state.playing) {
    const passed = clamp((stamp - last) / 1000, 0, 0.1);
    last = stamp;
    if (dim === 3 && state.turn && !still) state.yaw += 0.18 * passed;
    state.frame = Math.min(m - 1, state.frame + passed * state.speed * (m - 1) / seconds);
    if (state.frame >= m - 1) {
      if (!state.loop) setPlaying(false);
      else if ((held += passed) > 1) { state.frame = 0; held = 0; }  // a look at the end, then again
    } else held = 0;
  }
  between(positions, state.frame, now);
  if (hasAttention) between(attention, state.frame, weights);
  if (scene.begin()) { drawScene(); sayIfEmpty(); }
  drawHeat();
  drawCharts();
  const t = timeAt(state.frame), span = times[m - 1] - times[0] || Math.abs(times[0]) || 1;
  byId('scrub').value = state.frame;
  byId('scrub').setAttribute('aria-valuetext', 't = ' + valueText(t));
  byId('clock').innerHTML = '<b>t = ' + tickText(t, span / 1000) + '</b> <span>frame ' + Math.round(state.frame) + ' of ' + (m - 1) + '</span>';
  showTip();
  root.dataset.state = 'ready';
  if (state.playing) invalidate();
}
function sayIfEmpty() {
  if (n > 0 && now.some(Number.isFinite)) return;
  setFont(scene.ctx, 15);
  scene.ctx.fillStyle = theme.fg;
  put(scene.ctx, n > 0 ? 'no coordinate is finite at this time' : 'no tokens', scene.w / 2, scene.h / 2, 'center', 'middle');
}
function setPlaying(on) {
  state.playing = on && m > 1;
  if (state.playing && state.frame >= m - 1) state.frame = 0;
  last = performance.now();
  held = 0;
  byId('play-shape').setAttribute('d', state.playing ? 'M3 1h4v14H3zM10 1h4v14h-4z' : 'M3 1l11 7-11 7z');
  invalidate();
}
function seek(frame) {
  if (state.playing) setPlaying(false);
  state.frame = Number.isFinite(frame) ? clamp(frame, 0, m - 1) : 0;
  invalidate();
}
const step = by => seek(by > 0 ? Math.floor(state.frame + 1e-9) + by : Math.ceil(state.frame - 1e-9) + by);
function resetView() { Object.assign(state, { zoom: 1, pan: [0, 0], yaw: 0.7, pitch: 0.42, pinned: -1, hover: -1 }); invalidate(); }
function setTheme(name) { root.dataset.theme = name; readTheme(); fillLegend(); invalidate(); }
function setLoop(on) { state.loop = on; byId('loop').setAttribute('aria-pressed', on); }
function choose(id, value) { byId(id).value = value; state[id] = value; invalidate(); }
function tick(id, on) { byId(id).checked = on; state[id] = on; fillLegend(); invalidate(); }
function changeSpeed(by) {
  const list = byId('speed');
  list.selectedIndex = clamp(list.selectedIndex + by, 0, list.options.length - 1);
  state.speed = Number(list.value);
}

// ---- buttons and keys ----------------------------------------------------------------------------
byId('scrub').max = m - 1;
byId('scrub').oninput = e => seek(Number(e.target.value));
byId('play').onclick = () => setPlaying(!state.playing);
byId('back').onclick = () => step(-1);
byId('forth').onclick = () => step(1);
byId('loop').onclick = () => setLoop(!state.loop);
byId('speed').onchange = () => changeSpeed(0);
byId('reset').onclick = resetView;
byId('theme').onclick = () => setTheme(root.dataset.theme === 'dark' ? 'light' : 'dark');
for (const id of ['fit', 'tails']) byId(id).onchange = e => choose(id, e.target.value);
for (const id of ['hull', 'turn', 'sort']) byId(id).onchange = e => tick(id, e.target.checked);
// After a click the keys belong to the page again, not to the button.
document.addEventListener('pointerup', () => setTimeout(() => { const a = document.activeElement; if (a && a.tagName !== 'SELECT') a.blur(); }));
document.addEventListener('change', e => { if (e.target.tagName === 'SELECT') e.target.blur(); });
const keys = {
  ' ': () => setPlaying(!state.playing),
  ArrowLeft: e => step(e.shiftKey ? -10 : -1),
  ArrowRight: e => step(e.shiftKey ? 10 : 1),
  Home: () => seek(0),
  End: () => seek(m - 1),
  '+': () => changeSpeed(1), '=': () => changeSpeed(1), '-': () => changeSpeed(-1),
  l: () => setLoop(!state.loop),
  f: () => choose('fit', state.fit === 'all' ? 'current' : 'all'),
  h: () => tick('hull', !state.hull),
  t: () => choose('tails', { off: 'short', short: 'full', full: 'off' }[state.tails]),
  r: resetView,
  d: () => byId('theme').click(),
};
addEventListener('keydown', e => {
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key, target = e.target;
  if (e.ctrlKey || e.metaKey || e.altKey || !keys[key] || target.tagName === 'SELECT') return;
  if (key === ' ' && (target.tagName === 'BUTTON' || target.type === 'checkbox')) return;
  e.preventDefault();
  keys[key](e);
});
byId('keys').innerHTML = [['space', 'play'], ['\u2190 \u2192', 'step'], ['home end', 'start, end'], ['+ \u2212', 'speed'], ['L', 'loop'],
  ['F', 'fit'], ['H', 'hull'], ...(dim > 1 ? [['T', 'tails'], ['R', 'reset']] : []), ['D', 'dark'],
  ['', dim === 1 ? 'drag: move through time' : dim === 2 ? 'drag: move, wheel: zoom' : 'drag: turn, wheel: zoom, shift-drag: move'],
  ['', hasAttention && dim > 1 ? 'point at a token: whom it attends to' : 'point at a token: its values'],
].map(([key, text]) => '<span>' + (key && key.split(' ').map(k => '<kbd>' + k + '</kbd>').join(' ') + ' ') + text + '</span>').join('');

// ---- pointers ------------------------------------------------------------------------------------
const canvas = scene.canvas, pointers = new Map();
const place = (e, element) => { const box = element.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; };
let moved = 0;
function nearest(x, y) {
  let best = -1, distance = 14 ** 2;
  for (let i = 0; i < n; ++i) {
    const d = (screenX[i] - x) ** 2 + (screenY[i] - y) ** 2;
    if (d < distance) { distance = d; best = i; }
  }
  return best;
}
canvas.addEventListener('pointerdown', e => {
  pointers.set(e.pointerId, place(e, canvas));
  moved = 0;
  try { canvas.setPointerCapture(e.pointerId); } catch { /* the pointer is gone already */ }
  if (dim === 1 && nearest(...place(e, canvas)) < 0) seek(frameAt(plot1.timeAt(place(e, canvas)[0])));
});
canvas.addEventListener('pointermove', e => {
  const p = place(e, canvas), before = pointers.get(e.pointerId);
  if (!before) { const i = nearest(...p); if (i !== state.hover) { state.hover = i; invalidate(); } return; }
  const dx = p[0] - before[0], dy = p[1] - before[1];
  moved += Math.abs(dx) + Math.abs(dy);
  pointers.set(e.pointerId, p);
  if (moved < 3) return;
  canvas.classList.add('held');
  state.hover = -1;
  if (pointers.size === 2) {
    const other = [...pointers.entries()].find(([id]) => id !== e.pointerId)[1];
    zoomBy(Math.hypot(p[0] - other[0], p[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), null);
  } else if (dim === 1) seek(frameAt(plot1.timeAt(p[0])));
  else if (dim === 2 || e.shiftKey || e.buttons === 4) state.pan = [state.pan[0] + dx, state.pan[1] + dy];
  else { state.yaw += 0.008 * dx; state.pitch = clamp(state.pitch + 0.008 * dy, -1.5, 1.5); tick('turn', false); }
  invalidate();
});
function released(e) {
  if (!pointers.delete(e.pointerId)) return;
  canvas.classList.remove('held');
  if (e.type === 'pointerup' && moved < 3) { const i = nearest(...place(e, canvas)); state.pinned = i === state.pinned ? -1 : i; invalidate(); }
}
canvas.addEventListener('pointerup', released);
canvas.addEventListener('pointercancel', released);
canvas.addEventListener('pointerleave', () => { if (state.hover >= 0) { state.hover = -1; invalidate(); } });
canvas.addEventListener('dblclick', resetView);
function zoomBy(factor, at) {
  const zoom = clamp(state.zoom * factor, 0.2, 1e4), ratio = zoom / state.zoom;
  const centre = [scene.w / 2, scene.h / 2], about = at || centre;
  state.pan = [0, 1].map(a => about[a] - centre[a] - (about[a] - centre[a] - state.pan[a]) * ratio);
  state.zoom = zoom;
  invalidate();
}
if (dim > 1) canvas.addEventListener('wheel', e => { e.preventDefault(); zoomBy(Math.exp(-clamp(e.deltaY, -200, 200) * 0.002), dim === 2 ? place(e, canvas) : null); }, { passive: false });
for (const c of charts) {
  const go = e => seek(frameAt(c.timeAt(place(e, c.canvas)[0])));
  c.canvas.addEventListener('pointerdown', e => { c.canvas.setPointerCapture(e.pointerId); go(e); });
  c.canvas.addEventListener('pointermove', e => { if (e.buttons) go(e); });
}
heat.canvas.addEventListener('pointermove', e => {
  const [x, y] = place(e, heat.canvas), box = heat.box, order = orderOf();
  if (!box) return;
  const i = Math.floor((y - box.y) / box.side * n), j = Math.floor((x - box.x) / box.side * n), inside = i >= 0 && i < n && j >= 0 && j < n;
  state.hover = inside ? (order ? order[i] : i) : -1;
  heat.canvas.title = inside ? `token ${state.hover} attends to token ${order ? order[j] : j}` : '';
  invalidate();
});
heat.canvas.addEventListener('pointerleave', () => { state.hover = -1; invalidate(); });
function showTip() {
  const i = focus(), tip = byId('tip');
  tip.hidden = !(i >= 0 && Number.isFinite(screenX[i]));
  if (tip.hidden) return;
  let text = 'token ' + i + (labelled && view.clusters[i] >= 0 ? ', cluster ' + view.clusters[i] : '') + (view.leaders.includes(i) ? ', leader' : '');
  for (let a = 0; a < dim; ++a) text += '\n' + names[a] + ' = ' + valueText(now[i * dim + a]);
  if (hasAttention) {
    let j = 0;
    for (let k = 1; k < n; ++k) if (weights[i * n + k] > weights[i * n + j]) j = k;
    text += '\nmost attention: ' + valueText(weights[i * n + j]) + ' to ' + (j === i ? 'itself' : 'token ' + j);
  }
  tip.textContent = text;
  const w = tip.offsetWidth, h = tip.offsetHeight;
  tip.style.left = clamp(screenX[i] + 14 + w > scene.w ? screenX[i] - w - 14 : screenX[i] + 14, 2, Math.max(2, scene.w - w - 2)) + 'px';
  tip.style.top = clamp(screenY[i] - h - 10, 2, Math.max(2, scene.h - h - 2)) + 'px';
}

// ---- the words around the pictures ---------------------------------------------------------------
function fill() {
  byId('title').textContent = view.title;
  byId('note').textContent = view.note;
  byId('note').hidden = !view.note;
  canvas.className = 'dim' + dim;
  canvas.setAttribute('aria-label', n + ' tokens in ' + dim + (dim > 1 ? ' dimensions' : ' dimension against time'));
  byId('tails-option').hidden = dim === 1;
  byId('turn-option').hidden = dim !== 3;
  byId('reset').hidden = dim === 1;
  byId('heat-figure').hidden = !hasAttention;
  byId('sort-option').hidden = !labelled;
  const table = byId('parameters');
  table.hidden = !view.parameters.length;
  for (const [name, value] of view.parameters) {
    const row = table.tBodies[0].insertRow(), head = document.createElement('th');
    head.textContent = name;
    head.scope = 'row';
    row.append(head);
    row.insertCell().textContent = value;
  }
  byId('page').classList.toggle('aside', hasAttention || charts.length > 0 || view.parameters.length > 0);
}
function fillLegend() {
  const legend = byId('legend'), most = 14;
  legend.textContent = '';
  const add = (mark, text) => { const item = document.createElement('span'); item.append(mark, text); legend.append(item); };
  const sign = (className, text = '', colour = '') => { const i = document.createElement('i'); i.className = className; i.textContent = text; i.style.color = colour; return i; };
  if (labelled) for (const label of labels.slice(0, most)) {
    const size = groups.get(label).length, text = (label < 0 ? 'no cluster' : 'cluster ' + label) + ' (' + size + (size === 1 ? ' token)' : ' tokens)');
    add(sign('', glyphs[shapeOf(label)], colourOf(label)), text);
  }
  if (labelled && labels.length > most) add('', 'and ' + (labels.length - most) + ' clusters more');
  if (!labelled) add(sign('', glyphs[0], colourOf(0)), n === 1 ? '1 token' : n + ' tokens');
  if (view.leaders.length) add(sign('ring'), view.leaders.length === 1 ? 'leader' : 'leaders');
  if (state.hull) { const now = sign('line'); now.style.borderColor = theme.accent; add(now, 'convex hull'); }
  if (state.hull) add(sign('line dashed'), 'hull at t = ' + valueText(times[0]));
}

// ---- the start -----------------------------------------------------------------------------------
// #frame=K and #t=T show that moment and wait; fit, tails and theme may follow, as in #frame=3&fit=current.
function obeyHash() {
  const hash = new URLSearchParams(location.hash.slice(1));
  if (['light', 'dark'].includes(hash.get('theme'))) setTheme(hash.get('theme'));
  if (['all', 'current'].includes(hash.get('fit'))) choose('fit', hash.get('fit'));
  if (['off', 'short', 'full'].includes(hash.get('tails'))) choose('tails', hash.get('tails'));
  if (hash.has('frame')) seek(Math.round(Number(hash.get('frame'))));
  else if (hash.has('t')) seek(frameAt(Number(hash.get('t'))));
  else return false;
  return true;
}
const darkness = matchMedia('(prefers-color-scheme: dark)');
darkness.addEventListener('change', e => setTheme(e.matches ? 'dark' : 'light'));
setTheme(darkness.matches ? 'dark' : 'light');
fill();
// A run that grows a lot starts with the frame filled at any time, or its beginning would be a dot.
if (dim > 1 && widthOf(wholeBounds) > 20 * widthOf(startBounds)) choose('fit', 'current');
const told = obeyHash();
addEventListener('hashchange', obeyHash);
const sizes = new ResizeObserver(() => draw(performance.now()));  // at once: a stretched picture is never shown
for (const element of [byId('page'), canvas, heat.canvas]) sizes.observe(element);
if (!told && !still) setPlaying(true);
draw(performance.now());
)js";

}  // namespace attnflow::inline ATTNFLOW_ABI::detail
