/// \file
/// The program of the page: colours, marks, canvases and the axes of a plot.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_drawing = R"js(
// ---- colours and marks ---------------------------------------------------------------------------
// Okabe and Ito's palette: distinct for colour-blind eyes too. After seven clusters the shape changes.
const palettes = {
  light: ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#f0e442'],
  dark: ['#56b4e9', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#0072b2', '#f0e442'],
};
const viridis = [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137], [53, 183, 121], [110, 206, 88], [181, 222, 43], [253, 231, 37]];
const ramps = {
  light: [[255, 255, 255], [198, 219, 239], [86, 180, 233], [0, 114, 178], [8, 36, 84]],
  dark: [[20, 25, 31], [12, 68, 110], [0, 114, 178], [86, 180, 233], [255, 250, 205]],
};
const glyphs = ['\u25cf', '\u25a0', '\u25b2', '\u25c6'];
const theme = {};
const mixed = (colours, s) => {  // the colour at s, 0 to 1
  const at = clamp(s, 0, 1) * (colours.length - 1), i = Math.min(Math.floor(at), colours.length - 2);
  return [0, 1, 2].map(c => Math.round(colours[i][c] + (at - i) * (colours[i + 1][c] - colours[i][c])));
};
const rgb = c => '#' + c.map(v => v.toString(16).padStart(2, '0')).join('');
const channels = hex => [1, 3, 5].map(k => parseInt(hex.slice(k, k + 2), 16));
function readTheme() {
  const style = getComputedStyle(root);
  for (const name of ['bg', 'panel', 'fg', 'muted', 'line', 'grid', 'accent']) theme[name] = style.getPropertyValue('--' + name).trim();
  theme.palette = palettes[root.dataset.theme];
  theme.ramp = Array.from({ length: 256 }, (_, k) => mixed(ramps[root.dataset.theme], k / 255));
  // 64 shades of viridis, without the end that the background swallows.
  theme.scale = Array.from({ length: 64 }, (_, k) => rgb(mixed(viridis, root.dataset.theme === 'dark' ? 0.18 + 0.82 * k / 63 : 0.93 * k / 63)));
}
const labelled = view.clusters.length === n && n > 0;
const labelOf = i => labelled ? view.clusters[i] : 0;
const colourOf = label => label < 0 ? theme.muted : theme.palette[label % theme.palette.length];
const shapeOf = label => label < 0 ? 0 : Math.floor(label / 7) % glyphs.length;
const labels = labelled ? [...new Set(view.clusters)].sort((a, b) => (a < 0) - (b < 0) || a - b) : n ? [0] : [];

// The colour of each token: `key` is its place in `colours` and `shapes`; tokens of one key stand together in `order`,
// from start[key] on.
const paint = { mode: '', key: new Uint16Array(n), colours: [], shapes: [], order: new Uint32Array(n), start: [], far: 1, near: 1e-6 };
const leaderStride = Math.max(1, Math.ceil(n * view.leaders.length * dim / 4e6)), measured = view.leaders.filter((_, k) => k % leaderStride === 0);
const live = { frame: -1, data: new Float64Array(0) };  // all dim coordinates now, for the distances
function distanceTo(data, offset, i) {
  let best = Infinity;
  for (const j of measured) {
    let square = 0;
    for (let a = 0; a < dim; ++a) square += (data[offset + i * dim + a] - data[offset + j * dim + a]) ** 2;
    if (square < best) best = square;
  }
  return Math.sqrt(best);
}
function distanceRange() {  // of some tokens at some moments: the scale stays as it is while the run plays
  const found = [];
  for (const k of evenly(12, m)) for (const i of evenly(300, n)) {
    const d = distanceTo(positions, k * n * dim, i);
    if (d > 0 && d < Infinity) found.push(d);
  }
  found.sort((a, b) => a - b);
  const far = found.length ? found[found.length - 1] : 0, near = found.length ? found[Math.floor(0.02 * found.length)] : 0;
  paint.far = far > 0 ? 10 ** Math.ceil(Math.log10(far) - 1e-9) : 1;
  paint.near = clamp(10 ** Math.floor(Math.log10(Math.min(near, 0.1 * paint.far) || 1e-300)), 1e-8 * paint.far, 0.1 * paint.far);
}
function repaint() {
  const mode = state.colour + root.dataset.theme;
  if (paint.mode === mode && (state.colour !== 'distance' || live.frame === state.frame)) return;
  paint.mode = mode;
  if (state.colour === 'cluster') {
    const kinds = Array.from({ length: 29 }, (_, k) => k < 28 ? k : -1);  // seven colours, four shapes, and no cluster
    paint.colours = kinds.map(colourOf);
    paint.shapes = kinds.map(shapeOf);
    for (let i = 0; i < n; ++i) paint.key[i] = labelOf(i) < 0 ? 28 : labelOf(i) % 28;
  } else {
    paint.colours = theme.scale;
    paint.shapes = theme.scale.map(() => 0);
    if (state.colour === 'token') for (let i = 0; i < n; ++i) paint.key[i] = n > 1 ? Math.floor(i / n * 64) : 0;
    else {
      if (live.data.length === 0) { live.data = new Float64Array(n * dim); distanceRange(); }
      live.frame = state.frame;
      between(positions, state.frame, live.data);
      const low = Math.log(paint.near), span = Math.log(paint.far) - low;
      for (let i = 0; i < n; ++i) { const d = distanceTo(live.data, 0, i); paint.key[i] = d > paint.near ? Math.min(63, Math.floor(64 * (Math.log(d) - low) / span)) : 0; }
    }
  }
  const start = paint.start = new Array(paint.colours.length + 1).fill(0);
  for (let i = 0; i < n; ++i) ++start[paint.key[i] + 1];
  for (let c = 0; c < paint.colours.length; ++c) start[c + 1] += start[c];
  const next = start.slice();
  for (let i = 0; i < n; ++i) paint.order[next[paint.key[i]]++] = i;
  paint.version = (paint.version || 0) + 1;
}
// Calls act(colour, shape, tokens) for each colour that is there.
function eachColour(act) {
  paint.colours.forEach((colour, c) => { if (paint.start[c + 1] > paint.start[c]) act(colour, paint.shapes[c], paint.order.subarray(paint.start[c], paint.start[c + 1])); });
}

function addMark(path, shape, x, y, r) {
  if (shape === 0) { path.moveTo(x + r, y); path.arc(x, y, r, 0, 2 * Math.PI); }
  else if (shape === 1) path.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
  else {
    const corners = shape === 2 ? [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]] : [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]];
    corners.forEach(([u, v], k) => k ? path.lineTo(x + u * r, y + v * r) : path.moveTo(x + u * r, y + v * r));
    path.closePath();
  }
}
function polygon(ctx, points, closed = true) {
  ctx.beginPath();
  points.forEach(([x, y], k) => k ? ctx.lineTo(x, y) : ctx.moveTo(x, y));
  if (closed) ctx.closePath();
}

// A canvas in CSS pixels, crisp at any density.
function surface(canvas) {
  const ctx = canvas.getContext('2d'), s = { canvas, ctx, w: 0, h: 0, ratio: 1 };
  s.begin = () => {
    const box = canvas.getBoundingClientRect(), ratio = s.ratio = window.devicePixelRatio || 1;
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
// Grid, tick labels and axis names of a plane plot. kind 'whole': vertical values are whole numbers; 'log': they are
// logarithms to base ten. Labels tell a drawing program what they stand for: see svgContext().
function drawAxes(ctx, box, xr, yr, xName, yName, size, kind = '') {
  setFont(ctx, size);
  const widest = t => Math.max(...t.at.map(v => ctx.measureText(tickText(v, t.step)).width));
  const most = Math.max(box.w / 95, Math.min(4, box.w / 50));
  let xt = ticks(xr[0], xr[1], most);
  for (let count = most; count > 1 && widest(xt) + 14 > box.w * xt.step / (xr[1] - xr[0]); count /= 1.5) xt = ticks(xr[0], xr[1], count / 1.5);
  const yt = ticks(yr[0], yr[1], box.h / yEvery(box.h)), yText = v => kind === 'log' ? '10' + superscript(Math.round(v)) : tickText(v, yt.step);
  if (kind) yt.at = yt.at.filter(v => Math.abs(v - Math.round(v)) < 1e-9);
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
  const within = v => Math.min(px(v), box.x + box.w + 15 - ctx.measureText(tickText(v, xt.step)).width / 2);  // long labels end inside
  for (const v of xt.at) { ctx.about = { class: 'tick', 'data-axis': 'x', 'data-value': v, 'data-at': px(v) }; put(ctx, tickText(v, xt.step), within(v), box.y + box.h + 6, 'center', 'top'); }
  for (const v of yt.at) { ctx.about = { class: 'tick', 'data-axis': 'y', 'data-value': v, 'data-at': py(v) }; put(ctx, yText(v), box.x - 6, py(v), 'right', 'middle'); }
  ctx.fillStyle = theme.fg;
  setFont(ctx, size + 1, 600);
  if (xName) put(ctx, xName, box.x + box.w / 2, box.y + box.h + 10 + size, 'center', 'top');
  if (yName) putUp(ctx, yName, box.x - 14 - widestLabel(ctx, yt, size), box.y + box.h / 2, 'bottom');
}
function putUp(ctx, text, x, y, baseline) {
  ctx.save();
  ctx.translate(x, y);
  ctx.rotate(-Math.PI / 2);
  put(ctx, text, 0, 0, 'center', baseline);
  ctx.restore();
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
)js";

}}}  // namespace attnflow::detail
