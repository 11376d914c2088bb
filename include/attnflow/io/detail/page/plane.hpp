/// \file
/// The program of the page: the picture of one coordinate against time, and of the plane.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_plane = R"js(
// ---- position against time -----------------------------------------------------------------------
const plot1 = { box: null, key: '', pale: document.createElement('canvas'), strong: document.createElement('canvas') };
function worldlines(px, py) {  // one path a colour; by distance, which changes, they are all of one
  const every = Math.max(1, Math.ceil(n / 3000)), stride = Math.max(1, Math.ceil(n * m / every / 300000)), lines = [];
  const far = v => clamp(py(v), -1e5, 1e5), add = (colour, tokens) => {
    const path = makePath();
    for (const i of tokens) {
      if (i % every) continue;
      let open = false;
      for (let k = 0; k < m; k = k === m - 1 ? m : Math.min(k + stride, m - 1)) {
        const v = path1(k, i);
        if (!Number.isFinite(v)) { open = false; continue; }
        if (open) path.lineTo(px(times[k]), far(v)); else path.moveTo(px(times[k]), far(v));
        open = true;
      }
    }
    lines.push([colour, path]);
  };
  if (state.colour === 'distance') add(theme.muted, paint.order); else eachColour((colour, shape, tokens) => add(colour, tokens));
  return lines;
}
const path1 = (k, i) => path[k * n + i];
function envelopeOf(px, far) {
  const upper = [], lower = [];
  for (let k = 0; k < m; ++k) {
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < n; ++i) { const v = path1(k, i); if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); } }
    if (low <= high) { upper.push([px(times[k]), far(high)]); lower.push([px(times[k]), far(low)]); }
  }
  return upper.concat(lower.reverse());
}
function drawTime() {
  const { ctx, w, h } = scene, size = fontSize(w);
  const bounds = shownBounds(), pad = 0.06 * (bounds.high[0] - bounds.low[0]);
  const yr = [bounds.low[0] - pad, bounds.high[0] + pad];
  const xr = m > 1 && times[m - 1] > times[0] ? [times[0], times[m - 1]] : [times[0] - 0.5, times[0] + 0.5];
  xr[0] -= 0.012 * (xr[1] - xr[0]);  // room for the marks of the first frame
  const box = plot1.box = plotBox(ctx, w, h, yr, size, true), r = radius(box.h);
  const px = t => box.x + (t - xr[0]) / (xr[1] - xr[0]) * box.w, py = v => box.y + box.h - (v - yr[0]) / (yr[1] - yr[0]) * box.h;
  plot1.timeAt = x => xr[0] + (x - box.x) / box.w * (xr[1] - xr[0]);
  drawAxes(ctx, box, xr, yr, 'time t', axisNames[0], size);
  const x = px(timeAt(state.frame));
  toScreen = p => [x, py(p[0])];

  const strokes = (target, alpha, width, lines) => {
    target.lineWidth = width;
    target.globalAlpha = alpha;
    target.lineJoin = 'round';
    for (const [colour, line] of lines) { target.strokeStyle = colour; target.stroke(line); }
    target.globalAlpha = 1;
  };
  const widths = [[n > 1000 ? 0.06 : 0.22, 1], [n > 1000 ? 0.2 : n > 300 ? 0.55 : 0.85, n > 100 ? 1.1 : 1.6]];
  const key = [w, h, scene.ratio, yr, box.x, paint.version * (state.colour !== 'distance'), look.basis, look.axes, root.dataset.theme].join();
  if (recording || key !== plot1.key) {  // the worldlines stay as they are until the range, the size or the colours change
    plot1.lines = worldlines(px, py);
    if (!recording) {
      plot1.key = key;
      plot1.envelope = null;
      [plot1.pale, plot1.strong].forEach((canvas, k) => {
        canvas.width = Math.round(w * scene.ratio);
        canvas.height = Math.round(h * scene.ratio);
        const target = canvas.getContext('2d');
        target.setTransform(scene.ratio, 0, 0, scene.ratio, 0, 0);
        strokes(target, ...widths[k], plot1.lines);
      });
    } else plot1.key = '';
    plot1.envelope = envelopeOf(px, v => clamp(py(v), -1e5, 1e5));
  }
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
    ctx.setLineDash([2, 4]);
    ctx.beginPath();
    for (const v of [startBounds.low[0], startBounds.high[0]]) { ctx.moveTo(px(times[0]), py(v)); ctx.lineTo(box.x + box.w, py(v)); }
    ctx.stroke();
    ctx.setLineDash([]);
  }
  if (state.flats) for (const flat of flats) {
    flatStyle(ctx, flat, 1.5);
    ctx.beginPath();
    ctx.moveTo(box.x, py(flat.point[0]));
    ctx.lineTo(box.x + box.w, py(flat.point[0]));
    ctx.stroke();
    ctx.setLineDash([]);
  }
  const layer = k => recording ? strokes(ctx, ...widths[k], plot1.lines) : ctx.drawImage(k ? plot1.strong : plot1.pale, 0, 0, w, h);
  layer(0);
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.x, box.y, Math.max(0, x - box.x), box.h);
  ctx.clip();
  layer(1);
  ctx.restore();
  for (const [i, width] of [[focus(), 2.5], [state.partner, 1.5]]) {
    if (i < 0) continue;
    ctx.strokeStyle = theme.fg;
    ctx.lineWidth = width;
    ctx.beginPath();
    for (let k = 0, open = false; k < m; ++k) {
      const v = path1(k, i);
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
  toScreen = p => [px(p[0]), py(p[1])];
  const r = radius(Math.min(box.w, box.h));
  drawAxes(ctx, box, xr, yr, axisNames[0], axisNames[1], size);
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.x, box.y, box.w, box.h);
  ctx.clip();
  if (onSphere && bases[look.basis].orthonormal) {
    ctx.strokeStyle = theme.line;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    ctx.arc(px(0), py(0), plot2.scale, 0, 2 * Math.PI);
    ctx.stroke();
  }
  for (let i = 0; i < n; ++i) { screenX[i] = px(now[2 * i]); screenY[i] = py(now[2 * i + 1]); }
  if (state.hull) {
    const x0 = new Float64Array(n), y0 = new Float64Array(n);
    for (let i = 0; i < n; ++i) { x0[i] = px(path[2 * i]); y0[i] = py(path[2 * i + 1]); }
    drawHulls(ctx, hull2(screenX, screenY), hull2(x0, y0));
  }
  if (state.flats) for (const flat of flats) {
    if (!flat.directions.length) continue;
    const ends = clippedLine(flat.point, flat.directions[0], [xr[0], yr[0]], [xr[1], yr[1]]);
    if (!ends) continue;
    flatStyle(ctx, flat, 1.6);
    ctx.beginPath();
    ends.forEach((p, k) => k ? ctx.lineTo(px(p[0]), py(p[1])) : ctx.moveTo(px(p[0]), py(p[1])));
    ctx.stroke();
    ctx.setLineDash([]);
  }
  drawTails(ctx, (f, i) => {
    const at = 2 * (f * n + i), x = px(path[at]), y = py(path[at + 1]);
    return Number.isFinite(x + y) ? [x, y] : null;
  }, Math.max(1, r / 3));
  drawAttentionOf(ctx, focus());
  drawMarks(ctx, r);
  drawRings(ctx, r);
  if (state.flats) for (const flat of flats) if (!flat.directions.length) drawDiamond(ctx, px(flat.point[0]), py(flat.point[1]), r + 6, flat.predicted);
  ctx.restore();
}
// The hull now, lightly filled, and the one at the start, dotted.
function drawHulls(ctx, current, start) {
  ctx.lineWidth = 1.5;
  if (start.length) {
    polygon(ctx, start);
    ctx.setLineDash([2, 4]);
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

)js";

}}}  // namespace attnflow::detail
