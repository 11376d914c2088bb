/// \file
/// The program of the page: pointers, and what is said about what they point at.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_pointers = R"js(
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
  if (look.plot === 'time' && nearest(...place(e, canvas)) < 0) seek(frameAt(plot1.timeAt(place(e, canvas)[0])));
});
canvas.addEventListener('pointermove', e => {
  const p = place(e, canvas), before = pointers.get(e.pointerId);
  if (!before) { const i = nearest(...p); if (i !== state.hover || state.partner >= 0) { state.hover = i; state.partner = -1; heat.cell = null; invalidate(); } return; }
  const dx = p[0] - before[0], dy = p[1] - before[1];
  moved += Math.abs(dx) + Math.abs(dy);
  pointers.set(e.pointerId, p);
  if (moved < 3) return;
  canvas.classList.add('held');
  state.hover = -1;
  if (pointers.size === 2) {
    const other = [...pointers.entries()].find(([id]) => id !== e.pointerId)[1];
    if (look.plot !== 'time') zoomBy(Math.hypot(p[0] - other[0], p[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), null);
  } else if (look.plot === 'time') seek(frameAt(plot1.timeAt(p[0])));
  else if (look.plot === '2d' || e.shiftKey || e.buttons === 4) state.pan = [state.pan[0] + dx, state.pan[1] + dy];
  else { state.yaw += 0.008 * dx; state.pitch = clamp(state.pitch + 0.008 * dy, -1.5, 1.5); if (state.turn) tick('turn', false); }
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
canvas.addEventListener('wheel', e => { if (look.plot === 'time') return; e.preventDefault(); zoomBy(Math.exp(-clamp(e.deltaY, -200, 200) * 0.002), look.plot === '2d' ? place(e, canvas) : null); }, { passive: false });
for (const c of charts) {
  const go = e => seek(frameAt(c.timeAt(place(e, c.canvas)[0])));
  c.canvas.addEventListener('pointerdown', e => { c.canvas.setPointerCapture(e.pointerId); go(e); });
  c.canvas.addEventListener('pointermove', e => { if (e.buttons) go(e); });
}
function pointAtCell(cell) {
  heat.cell = cell;
  state.hover = cell ? matrix.rows[cell[0]] : -1;
  state.partner = cell ? matrix.rows[cell[1]] : -1;
  invalidate();
}
function goInHeat(down, right) {
  const last = matrix.rows.length - 1, [r, c] = heat.cell || [-down, -right];
  if (last >= 0 && matrix.there) pointAtCell([clamp(r + down, 0, last), clamp(c + right, 0, last)]);
}
const leaveHeat = () => pointAtCell(null);
heat.canvas.addEventListener('pointermove', e => pointAtCell(cellAt(...place(e, heat.canvas))));
heat.canvas.addEventListener('pointerdown', e => pointAtCell(cellAt(...place(e, heat.canvas))));  // a finger does not hover
heat.canvas.addEventListener('pointerleave', e => { if (e.pointerType === 'mouse') leaveHeat(); });
heat.canvas.addEventListener('blur', leaveHeat);

// What is said about the token, or about the cell of P, that is pointed at.
function showTip() {
  const tip = byId('tip'), i = focus(), stage = canvas.getBoundingClientRect(), cell = heat.cell && matrix.there && matrix.rows.length > Math.max(...heat.cell) ? heat.cell : null;
  let x, y, text;
  tip.hidden = !(cell || (i >= 0 && Number.isFinite(screenX[i] + screenY[i])));
  if (tip.hidden) return;
  if (cell) {
    const count = matrix.rows.length, value = matrix.values[cell[0] * count + cell[1]], box = heat.box, at = heat.canvas.getBoundingClientRect();
    text = 'i = ' + idOf(matrix.rows[cell[0]]) + ', j = ' + idOf(matrix.rows[cell[1]]) + '\nP\u1d62\u2c7c = ' + valueText(value);
    x = at.left + box.x + (cell[1] + 0.5) / count * box.side;
    y = at.top + box.y + (cell[0] + 0.5) / count * box.side;
    Object.assign(tip.dataset, { i: idOf(matrix.rows[cell[0]]), j: idOf(matrix.rows[cell[1]]), p: value });
  } else {
    const own = k => ownCoordinate(i, k);
    text = 'token ' + idOf(i) + (labelled && view.clusters[i] >= 0 ? ', cluster ' + view.clusters[i] : '') + (leaderMarks.has(i) ? ', leader' : '');
    if (look.basis) axisNames.forEach((name, a) => { text += '\n' + name + ' = ' + valueText(now[i * look.size + a]); });
    for (let a = 0; a < Math.min(dim, 6); ++a) text += '\n' + names[a] + ' = ' + valueText(own(a));
    if (dim > 6) text += '\n\u2026 (' + dim + ' coordinates)';
    if (hasAttention) {
      const row = rowNow(i);
      let j = 0;
      for (let k = 1; k < n; ++k) if (row[k] > row[j]) j = k;
      if (Number.isFinite(row[j])) text += row[j] > 0 ? '\nmost attention: ' + valueText(row[j]) + ' to ' + (j === i ? 'itself' : 'token ' + idOf(j)) : '\nattends to nothing';
    }
    x = stage.left + screenX[i];
    y = stage.top + screenY[i];
    for (const name of ['i', 'j', 'p']) delete tip.dataset[name];
  }
  if (tip.textContent !== text) tip.textContent = text;
  const w = tip.offsetWidth, h = tip.offsetHeight, wide = root.clientWidth, high = innerHeight;
  tip.style.left = clamp(x + 14 + w > wide ? x - w - 14 : x + 14, 2, Math.max(2, wide - w - 2)) + 'px';
  tip.style.top = clamp(y - h - 10, 2, Math.max(2, high - h - 2)) + 'px';
}
function ownCoordinate(i, a) {
  const k = Math.floor(state.frame), u = state.frame - k, at = (k * n + i) * dim + a;
  return u === 0 ? positions[at] : (1 - u) * positions[at] + u * positions[at + n * dim];
}
)js";

}}}  // namespace attnflow::detail
