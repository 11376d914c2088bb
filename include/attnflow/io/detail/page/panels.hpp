/// \file
/// The program of the page: the heat map of P, the series and the histogram.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_panels = R"js(
// ---- beside the scene: the attention matrix ------------------------------------------------------
const heat = surface(byId('heat')), tile = document.createElement('canvas');
heat.cell = null;  // [i, j] pointed at, as places in the picture
function drawHeat() {
  if (!hasAttention) return;
  const key = [matrix.version, focus(), state.partner, root.dataset.theme, heat.canvas.clientWidth, heat.canvas.clientHeight, window.devicePixelRatio].join();
  if (key === heat.key) return;
  if (!heat.begin()) return;
  heat.key = key;
  const { ctx, w, h } = heat, size = 12, count = matrix.rows.length;
  setFont(ctx, size);
  const left = 27 + Math.max(14, count ? ctx.measureText(String(idOf(matrix.rows[count - 1]))).width : 0), top = 40, side = Math.max(20, Math.min(w - left - 8, h - top - 42));
  heat.box = { x: left, y: top, side };
  if (heat.tile !== matrix.version && count > 0) {
    heat.tile = matrix.version;
    tile.width = tile.height = count;
    tile.getContext('2d').putImageData(matrix.image, 0, 0);
    heat.place = new Map(matrix.rows.map((token, k) => [token, k]));
  }
  if (!matrix.there) { setFont(ctx, 14); ctx.fillStyle = theme.muted; put(ctx, !matrix.version ? 'computing \u2026' : n ? 'no P at this moment' : 'no tokens', left + side / 2, top + side / 2, 'center', 'middle'); }
  else { ctx.imageSmoothingEnabled = side < count; ctx.drawImage(tile, left, top, side, side); }
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.strokeRect(left - 0.5, top - 0.5, side + 1, side + 1);
  if (!count) return;
  const cell = side / count, where = i => heat.place.has(i) ? heat.place.get(i) : -1;
  ctx.fillStyle = theme.fg;  // leaders: a wedge over their column
  for (const j of view.leaders) {
    const x = left + (where(j) + 0.5) * cell;
    if (where(j) < 0) continue;
    ctx.beginPath();
    ctx.moveTo(x, top - 1); ctx.lineTo(x - 4, top - 8); ctx.lineTo(x + 4, top - 8);
    ctx.fill();
  }
  const i = focus();
  ctx.strokeStyle = theme.accent;
  if (i >= 0 && where(i) >= 0) { ctx.lineWidth = 2; ctx.strokeRect(left, top + where(i) * cell, side, cell); }
  if (i >= 0 && where(i) >= 0 && where(state.partner) >= 0) { ctx.lineWidth = 3; ctx.strokeRect(left + where(state.partner) * cell - 1, top + where(i) * cell - 1, cell + 2, cell + 2); }
  setFont(ctx, size);
  ctx.fillStyle = theme.muted;
  if (!state.sort) {
    const t = ticks(0, count - 1, clamp(side / 60, 2, 6)).at.filter(Number.isInteger);
    let before = -Infinity;
    for (const v of t) {
      const text = String(idOf(matrix.rows[v])), x = left + (v + 0.5) * cell, half = ctx.measureText(text).width / 2;
      if (x - half > before + 4) { put(ctx, text, x, top - 10, 'center', 'bottom'); before = x + half; }
      put(ctx, text, left - 5, top + (v + 0.5) * cell, 'right', 'middle');
    }
  } else matrix.rows.forEach((token, k) => {  // a bar in the clusters' colours
    ctx.fillStyle = colourOf(labelOf(token));
    ctx.fillRect(left - 9, top + k * cell, 6, cell + 0.5);
    ctx.fillRect(left + k * cell, top - 16, cell + 0.5, 6);
  });
  ctx.fillStyle = theme.fg;
  setFont(ctx, size, 600);
  put(ctx, 'key j', left + side / 2, top - 24, 'center', 'bottom');
  putUp(ctx, 'query i', 11, top + side / 2, 'middle');
  const barY = top + side + 14, barHeight = 9;  // the scale: square roots, so that small weights show
  for (let k = 0; k < side; ++k) { ctx.fillStyle = rgb(theme.ramp[Math.round(255 * k / side)]); ctx.fillRect(left + k, barY, 1.5, barHeight); }
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.strokeRect(left - 0.5, barY - 0.5, side + 1, barHeight + 1);
  ctx.fillStyle = theme.muted;
  setFont(ctx, size);
  let taken = -Infinity;
  for (const [share, align] of [[0, 'left'], [0.25, 'center'], [0.5, 'center'], [1, 'right']]) {
    const text = shortText(share ** 2 * matrix.most), width = ctx.measureText(text).width, x = left + share * side, from = x - { left: 0, center: width / 2, right: width }[align];
    if (from < taken + 6) continue;
    taken = from + width;
    put(ctx, text, x, barY + barHeight + 5, align, 'top');
  }
}
// The cell at a place of the heat map, as [i, j, P_ij] of tokens.
function cellAt(x, y) {
  const box = heat.box, count = matrix.rows.length;
  if (!box || !matrix.there) return null;
  const r = Math.floor((y - box.y) / box.side * count), c = Math.floor((x - box.x) / box.side * count);
  return r >= 0 && r < count && c >= 0 && c < count ? [r, c] : null;
}

// ---- the series ------------------------------------------------------------------------------------
// The curve is drawn once for each size, range and theme, and the cursor over it at every frame.
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
  const given = series.subarray(k * m, (k + 1) * m);
  let low = Infinity, high = -Infinity, steps = true, least = Infinity;
  for (const v of given) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); steps = steps && Number.isInteger(v); least = Math.min(least, v); }
  const log = least > 0 && high > 1000 * least;  // positive, and over more than three decades
  const values = log ? given.map(Math.log10) : given;
  if (log) { low = Math.log10(low); high = Math.log10(high); steps = false; }
  if (low > high) { low = 0; high = 1; steps = false; }
  if (steps && low > 0 && low < high / 2) low = 0;
  if (high - low < 1e-9 * Math.abs(high) || high === low) { low -= Math.abs(low) * 0.05 || 0.5; high += Math.abs(high) * 0.05 || 0.5; }
  return { surface: surface(canvas), canvas, value, given, values, steps, log, low, high, still: document.createElement('canvas'), key: '' };
});
const spanOfTime = () => m > 1 && times[m - 1] > times[0] ? [times[0], times[m - 1]] : [times[0] - 0.5, times[0] + 0.5];
function drawCharts() {
  for (const c of charts) {
    const a = Math.floor(state.frame), u = state.frame - a;
    const height = u === 0 || c.steps ? c.values[a] : (1 - u) * c.values[a] + u * c.values[a + 1];
    const text = Number.isFinite(height) ? valueText(c.log ? 10 ** height : height) : '\u2013';
    if (c.value.textContent !== text) c.value.textContent = text;
    const s = c.surface;
    if (!s.begin()) continue;
    const { ctx, w, h } = s, size = 11, pad = 0.08 * (c.high - c.low), yr = [c.low - pad, c.high + pad], xr = spanOfTime();
    const box = { x: 54, y: 14, w: Math.max(10, w - 70), h: Math.max(10, h - 37) }, px = t => box.x + (t - xr[0]) / (xr[1] - xr[0]) * box.w;
    const py = v => box.y + box.h - (v - yr[0]) / (yr[1] - yr[0]) * box.h;
    c.timeAt = x => xr[0] + (x - box.x) / box.w * (xr[1] - xr[0]);
    const key = [w, h, s.ratio, root.dataset.theme].join();
    if (key !== c.key) {
      c.key = key;
      c.still.width = s.canvas.width;
      c.still.height = s.canvas.height;
      const pen = c.still.getContext('2d');
      pen.setTransform(s.ratio, 0, 0, s.ratio, 0, 0);
      drawAxes(pen, box, xr, yr, '', '', size, c.steps ? 'whole' : c.log ? 'log' : '');
      pen.fillStyle = theme.fg;
      setFont(pen, size + 1, 600);
      put(pen, 't', box.x + box.w + 5, box.y + box.h, 'left', 'middle');
      pen.strokeStyle = pen.fillStyle = theme.accent;
      pen.lineWidth = 1.8;
      pen.lineJoin = 'round';
      pen.beginPath();
      for (let k = 0, open = false; k < m; ++k) {
        if (!Number.isFinite(c.values[k])) { open = false; continue; }
        if (!open) {
          pen.moveTo(px(times[k]), py(c.values[k]));
          if (!(k + 1 < m && Number.isFinite(c.values[k + 1]))) pen.fillRect(px(times[k]) - 1.5, py(c.values[k]) - 1.5, 3, 3);  // alone between gaps
        } else { if (c.steps) pen.lineTo(px(times[k]), py(c.values[k - 1])); pen.lineTo(px(times[k]), py(c.values[k])); }
        open = true;
      }
      pen.stroke();
    }
    ctx.drawImage(c.still, 0, 0, w, h);
    const x = px(timeAt(state.frame));
    ctx.strokeStyle = theme.fg;
    ctx.lineWidth = 1.2;
    ctx.beginPath();
    ctx.moveTo(x, box.y);
    ctx.lineTo(x, box.y + box.h);
    ctx.stroke();
    if (Number.isFinite(height)) { ctx.fillStyle = theme.fg; ctx.beginPath(); ctx.arc(x, py(height), 3.5, 0, 2 * Math.PI); ctx.fill(); }
  }
}

// ---- the histogram of inner products -------------------------------------------------------------
const histogram = surface(byId('histogram'));
function drawHistogram() {
  const canvas = histogram.canvas, key = [products.version, root.dataset.theme, canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio].join();
  if (n < 2 || products.version === 0 || key === histogram.key || !histogram.begin()) return;
  histogram.key = key;
  const { ctx, w, h } = histogram, { low, high, bars } = products, pad = 0.02 * (high - low), top = Math.max(1, ...bars);
  const box = { x: 54, y: 14, w: Math.max(10, w - 70), h: Math.max(10, h - 37) };
  drawAxes(ctx, box, [low - pad, high + pad], [0, 1.06 * top], '', '', 11, 'whole');
  const px = v => box.x + (v - low + pad) / (high - low + 2 * pad) * box.w;
  ctx.fillStyle = theme.accent;
  bars.forEach((count, k) => {
    if (!count) return;
    const x = px(low + k / bars.length * (high - low)), tall = Math.max(1, count / (1.06 * top) * box.h);
    ctx.fillRect(x + 0.25, box.y + box.h - tall, px(low + (k + 1) / bars.length * (high - low)) - x - 0.5, tall);
  });
  byId('histogram-note').textContent = (n > productSample.length ? 'pairs of a sample of ' + productSample.length + ' of ' + n + ' tokens' : products.pairs + (products.pairs === 1 ? ' pair' : ' pairs'));
}
)js";

}}}  // namespace attnflow::detail
