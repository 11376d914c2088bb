/// \file
/// The program of the page: what is shown, tails, rings, the marks of the tokens and of limits.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_marks = R"js(
// ---- what is shown -------------------------------------------------------------------------------
const state = {
  frame: 0, playing: false, loop: false, speed: 1, fit: 'all', tails: n > 5000 ? 'off' : 'short', hull: true, flats: true, turn: true,
  sort: false, colour: 'cluster', head: 0, hover: -1, partner: -1, pinned: -1, zoom: 1, pan: [0, 0], yaw: 0.7, pitch: 0.42,
};
const screenX = new Float64Array(n), screenY = new Float64Array(n);
const focus = () => state.hover >= 0 ? state.hover : state.pinned;
const radius = scale => clamp(9.2 - 2.3 * Math.log10(Math.max(n, 1)), 1.5, 7) * clamp(scale / 620, 0.75, 1.5);
const scene = surface(byId('scene'));
const shownBounds = () => state.fit === 'all' ? wholeBounds : boundsNow();
const fontSize = w => Math.round(clamp(w / 80, 12, 16));
const tailStart = () => state.tails === 'full' ? 0 : Math.max(0, state.frame - Math.max(3, 0.12 * m));
const leaderMarks = new Set(view.leaders);
let toScreen = () => [NaN, NaN];  // of `size` coordinates: set by the last picture

// Lines of the tokens from `from` to now through project(frame, token) -> [x, y]; one path a colour. Where the tokens
// are many, a part of them leaves a tail.
function drawTails(ctx, project, width) {
  if (state.tails === 'off' || m < 2) return;
  const first = Math.floor(tailStart()), last = Math.floor(state.frame), bands = state.tails === 'full' ? 1 : 4, most = recording ? 60000 : 12000;
  const stride = Math.max(1, Math.ceil((last - first) / 40), Math.min(Math.ceil((last - first) / 8), Math.ceil(n * (last - first) / most)));
  const every = Math.max(1, Math.ceil(n * (last - first) / stride / most));
  ctx.lineWidth = width;
  for (let band = 0; band < bands; ++band) {  // newer bands are stronger
    const [from, to] = [band, band + 1].map(b => Math.round(first + (last - first) * b / bands));
    ctx.globalAlpha = bands === 1 ? 0.35 : 0.1 + 0.4 * (band + 1) / bands;
    eachColour((colour, shape, tokens) => {
      ctx.strokeStyle = colour;
      ctx.beginPath();
      for (const i of tokens) {
        if (i % every) continue;
        let open = false;
        const add = p => { if (p && open) ctx.lineTo(p[0], p[1]); else if (p) ctx.moveTo(p[0], p[1]); open = p !== null; };
        for (let f = from; f < to; f += stride) add(project(f, i));
        add(project(to, i));
        if (band === bands - 1) add(Number.isFinite(screenX[i] + screenY[i]) ? [screenX[i], screenY[i]] : null);
      }
      ctx.stroke();
    });
  }
  ctx.globalAlpha = 1;
}
// From the token in focus to those it attends to, as strongly as it does.
function drawAttentionOf(ctx, i) {
  if (!hasAttention || i < 0 || !Number.isFinite(screenX[i])) return;
  const row = rowNow(i);
  let most = 0;
  for (let j = 0; j < n; ++j) if (row[j] > most) most = row[j];
  ctx.strokeStyle = theme.fg;
  for (let j = 0, drawn = 0; j < n && drawn < 2000; ++j) {
    const share = row[j] / most;
    if (!(share > 0.02) || !Number.isFinite(screenX[j])) continue;
    ++drawn;
    ctx.globalAlpha = 0.1 + 0.65 * share;
    ctx.lineWidth = 0.5 + 2.5 * share;
    ctx.beginPath();
    ctx.moveTo(screenX[i], screenY[i]);
    ctx.lineTo(screenX[j], screenY[j]);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}
// Leaders, the token in focus and, when the heat map is pointed at, the token that it attends to (dashed).
function drawRings(ctx, r) {
  const ring = (i, more) => { if (Number.isFinite(screenX[i] + screenY[i])) { ctx.moveTo(screenX[i] + r + more, screenY[i]); ctx.arc(screenX[i], screenY[i], r + more, 0, 2 * Math.PI); } };
  ctx.strokeStyle = theme.fg;
  ctx.lineWidth = 2;
  ctx.beginPath();
  for (const i of view.leaders) ring(i, 4);
  ctx.stroke();
  ctx.strokeStyle = theme.accent;
  ctx.lineWidth = 3;
  for (const [i, dash, more] of [[focus(), [], 3], [state.partner, [4, 3], 7]]) {
    if (i < 0) continue;
    ctx.setLineDash(dash);
    ctx.beginPath();
    ring(i, more);
    ctx.stroke();
  }
  ctx.setLineDash([]);
}

// ---- the tokens' marks -------------------------------------------------------------------------------
// Up to 1500 as paths; more are written as pixels into a picture of their own, far ones first. A drawing gets elements.
const dots = { canvas: document.createElement('canvas'), image: null, pixels: null, dirty: null };
dots.ctx = dots.canvas.getContext('2d', { willReadFrequently: true });
const depthOf = new Float64Array(n), farFirst = Uint32Array.from({ length: n }, (_, i) => i), depthCount = new Uint32Array(257);
const faded = depth => clamp(0.82 - 0.3 * depth, 0.4, 1);  // far tokens are paler
const nearer = depth => (eye / Math.max(0.2, eye + depth)) ** 1.5;  // and smaller
function sortByDepth() {  // 256 layers by counting
  depthCount.fill(0);
  const layer = i => { const d = depthOf[i]; return d > -2 ? d < 2 ? 255 - Math.floor((d + 2) * 64) & 255 : 0 : 255; };
  for (let i = 0; i < n; ++i) ++depthCount[layer(i) + 1];
  for (let k = 0; k < 256; ++k) depthCount[k + 1] += depthCount[k];
  for (let i = 0; i < n; ++i) farFirst[depthCount[layer(i)]++] = i;
}
function drawMarks(ctx, r, deep = false) {
  if (deep) { if (n > 1000) sortByDepth(); else farFirst.sort((a, b) => depthOf[b] - depthOf[a]); }
  if (recording) { for (const i of deep ? farFirst : paint.order) ctx.token(i, paint.shapes[paint.key[i]], r * (deep ? nearer(depthOf[i]) : 1), paint.colours[paint.key[i]], deep ? faded(depthOf[i]) : 1); return; }
  if (n > 1500) { drawDots(ctx, r, deep); return; }
  if (!deep) {
    eachColour((colour, shape, tokens) => {
      const path = new Path2D();
      for (const i of tokens) if (Number.isFinite(screenX[i])) addMark(path, shape, screenX[i], screenY[i], r);
      if (r > 2) { ctx.strokeStyle = theme.bg; ctx.lineWidth = 2; ctx.stroke(path); }  // a rim, under all of them
      ctx.fillStyle = colour;
      ctx.fill(path);
    });
    return;
  }
  ctx.strokeStyle = theme.bg;
  ctx.lineWidth = 1;
  for (const i of farFirst) {
    if (!Number.isFinite(screenX[i])) continue;
    ctx.beginPath();
    addMark(ctx, paint.shapes[paint.key[i]], screenX[i], screenY[i], r * nearer(depthOf[i]));
    ctx.globalAlpha = faded(depthOf[i]);
    ctx.fillStyle = paint.colours[paint.key[i]];
    ctx.fill();
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}
function drawDots(ctx, r, deep) {
  const ratio = scene.ratio, width = Math.max(1, Math.round(scene.w * ratio)), height = Math.max(1, Math.round(scene.h * ratio));
  if (dots.canvas.width !== width || dots.canvas.height !== height || !dots.image) {
    dots.canvas.width = width; dots.canvas.height = height;
    dots.image = new ImageData(width, height);
    dots.pixels = new Uint32Array(dots.image.data.buffer);
    dots.dirty = null;
  }
  const { pixels } = dots;
  if (dots.dirty) for (let y = dots.dirty[1]; y < dots.dirty[3]; ++y) pixels.fill(0, y * width + dots.dirty[0], y * width + dots.dirty[2]);
  const levels = deep ? 8 : 1, background = channels(theme.bg), shades = new Uint32Array(paint.colours.length * levels), discs = [];
  paint.colours.forEach((colour, c) => {
    const own = channels(colour);
    for (let q = 0; q < levels; ++q) {
      const a = deep ? faded(-1.5 + 3 * (q + 0.5) / levels) : 1, [red, green, blue] = own.map((v, e) => Math.round(a * v + (1 - a) * background[e]));
      shades[c * levels + q] = (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
    }
  });
  for (let q = 0; q < levels; ++q) {  // a disc as the half-widths of its rows
    const R = Math.max(0.8, r * ratio * (deep ? nearer(-1.5 + 3 * (q + 0.5) / levels) : 1)), rows = Math.floor(R);
    discs.push(Int32Array.from({ length: 2 * rows + 1 }, (_, k) => Math.floor(Math.sqrt(Math.max(0, R * R - (k - rows) ** 2)))));
  }
  let x0 = width, y0 = height, x1 = 0, y1 = 0;
  const order = deep ? farFirst : paint.order;
  for (let k = 0; k < n; ++k) {
    const i = order[k], x = Math.round(screenX[i] * ratio - 0.5), y = Math.round(screenY[i] * ratio - 0.5);
    const level = deep ? clamp(Math.floor((depthOf[i] + 1.5) / 3 * levels), 0, levels - 1) : 0, disc = discs[level], rows = (disc.length - 1) / 2;
    if (!(x >= rows && x < width - rows && y >= rows && y < height - rows)) continue;  // also what is not finite
    const shade = shades[paint.key[i] * levels + level];
    for (let q = 0; q < disc.length; ++q) {
      const at = (y + q - rows) * width + x, half = disc[q];
      for (let p = at - half; p <= at + half; ++p) pixels[p] = shade;
    }
    if (x - rows < x0) x0 = x - rows;
    if (x + rows >= x1) x1 = x + rows + 1;
    if (y - rows < y0) y0 = y - rows;
    if (y + rows >= y1) y1 = y + rows + 1;
  }
  if (x1 <= x0) { dots.dirty = null; return; }
  const old = dots.dirty || [x0, y0, x1, y1], left = Math.min(old[0], x0), top = Math.min(old[1], y0);
  dots.ctx.putImageData(dots.image, 0, 0, left, top, Math.max(old[2], x1) - left, Math.max(old[3], y1) - top);
  dots.dirty = [x0, y0, x1, y1];
  ctx.drawImage(dots.canvas, x0, y0, x1 - x0, y1 - y0, x0 / ratio, y0 / ratio, (x1 - x0) / ratio, (y1 - y0) / ratio);
}

// ---- limits drawn: predicted ones dashed, found ones solid --------------------------------------------
function flatStyle(ctx, flat, width) {
  ctx.strokeStyle = theme.fg;
  ctx.lineWidth = width;
  ctx.setLineDash(flat.predicted ? [7, 5] : []);
}
function drawDiamond(ctx, x, y, r, predicted) {
  if (!Number.isFinite(x + y)) return;
  polygon(ctx, [[x, y - r], [x + r, y], [x, y + r], [x - r, y]]);
  ctx.strokeStyle = theme.fg;
  ctx.lineWidth = 1.6;
  ctx.setLineDash(predicted ? [3, 2.2] : []);
  ctx.stroke();
  ctx.setLineDash([]);
}
)js";

}}}  // namespace attnflow::detail
