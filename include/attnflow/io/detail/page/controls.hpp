/// \file
/// The program of the page: playing, buttons and keys.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_controls = R"js(
// ---- drawing and playing -------------------------------------------------------------------------
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
const seconds = clamp(m / 25, 6, 20);  // of a whole run at speed 1
const frameTimes = [];                 // of the script, in milliseconds, of the last 300 frames
let pending = 0, last = 0, held = 0;
function invalidate() { pending = pending || requestAnimationFrame(draw); }
function draw(stamp) {
  const began = performance.now();
  cancelAnimationFrame(pending);
  pending = 0;
  if (state.playing) {
    const passed = clamp((stamp - last) / 1000, 0, 0.1);
    last = stamp;
    if (look.plot === '3d' && state.turn && !still) state.yaw += 0.18 * passed;
    state.frame = Math.min(m - 1, state.frame + passed * state.speed * (m - 1) / seconds);
    if (state.frame >= m - 1) {
      if (!state.loop) setPlaying(false);
      else if ((held += passed) > 1) { state.frame = 0; held = 0; }  // a look at the end, then again
    } else held = 0;
  }
  between(path, state.frame, now);
  repaint();
  if (scene.begin()) { drawScene(); sayIfEmpty(); }
  const left = work(Math.max(began + 8, performance.now() + 1));
  drawHeat();
  drawCharts();
  drawHistogram();
  const t = timeAt(state.frame), span = times[m - 1] - times[0] || Math.abs(times[0]) || 1;
  byId('scrub').value = state.frame;
  byId('scrub').setAttribute('aria-valuetext', 't = ' + valueText(t));
  byId('clock').innerHTML = '<b>t = ' + tickText(t, span / 1000) + '</b> <span>frame ' + Math.round(state.frame) + ' of ' + (m - 1) + '</span>';
  showTip();
  root.dataset.state = 'ready';
  root.dataset.busy = left;
  frameTimes.push(performance.now() - began);
  if (frameTimes.length > 300) frameTimes.shift();
  if (state.playing) invalidate();
  else if (left) background = background || requestAnimationFrame(workOn);
}
// While nothing moves, what is computed in slices goes on without the picture being drawn again.
let background = 0;
function workOn() {
  background = 0;
  if (pending) return;  // the next picture goes on with it
  const began = performance.now(), left = work(began + 10);
  drawHeat();
  drawHistogram();
  root.dataset.busy = left;
  if (left) background = requestAnimationFrame(workOn);
  else showTip();
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
function resetView() { Object.assign(state, { zoom: 1, pan: [0, 0], yaw: 0.7, pitch: 0.42, pinned: -1, hover: -1, partner: -1 }); invalidate(); }
function setTheme(name) { root.dataset.theme = name; readTheme(); repaint(); fillLegend(); invalidate(); }
function setLoop(on) { state.loop = on; byId('loop').setAttribute('aria-pressed', on); }
function choose(id, value) { byId(id).value = value; state[id] = value; if (id === 'colour') { repaint(); fillLegend(); } invalidate(); }
function tick(id, on) { byId(id).checked = on; state[id] = on; fillLegend(); invalidate(); }
function changeSpeed(by) {
  const list = byId('speed');
  list.selectedIndex = clamp(list.selectedIndex + by, 0, list.options.length - 1);
  state.speed = Number(list.value);
}
// Another basis, other axes or another kind of plot.
function lookAt(change) {
  Object.assign(look, change);
  setLook();
  startHull.key = plot1.key = facets.key = '';
  state.pan = [0, 0];
  state.zoom = 1;
  fillLook();
  fillLegend();
  invalidate();
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
byId('export-svg').onclick = saveSvg;
byId('export-png').onclick = savePng;
byId('head').onchange = e => choose('head', Number(e.target.value));
byId('basis').onchange = e => lookAt({ basis: Number(e.target.value), axes: [0, 1, 2] });
byId('plot').onchange = e => lookAt({ plot: e.target.value });
['x', 'y', 'z'].forEach((axis, a) => {
  byId('axis-' + axis).onchange = e => {
    const axes = [...look.axes], chosen = Number(e.target.value), other = axes.slice(0, look.size).indexOf(chosen);
    if (other >= 0) axes[other] = axes[a];  // two axes change places
    axes[a] = chosen;
    lookAt({ axes });
  };
});
for (const id of ['fit', 'tails', 'colour']) byId(id).onchange = e => choose(id, e.target.value);
for (const id of ['hull', 'flats', 'turn', 'sort']) byId(id).onchange = e => tick(id, e.target.checked);
// After a click the keys belong to the page again, not to the button.
document.addEventListener('pointerup', () => setTimeout(() => { const a = document.activeElement; if (a && a.tagName !== 'SELECT') a.blur(); }));
document.addEventListener('change', e => { if (e.target.tagName === 'SELECT') e.target.blur(); });
const nextOption = id => { const list = byId(id).options; for (let k = 1; k <= list.length; ++k) { const o = list[(byId(id).selectedIndex + k) % list.length]; if (!o.disabled && !o.hidden) return o.value; } return byId(id).value; };
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
  x: () => tick('flats', !state.flats),
  t: () => choose('tails', { off: 'short', short: 'full', full: 'off' }[state.tails]),
  c: () => choose('colour', nextOption('colour')),
  v: () => lookAt({ plot: nextOption('plot') }),
  r: resetView,
  d: () => byId('theme').click(),
  s: saveSvg,
  p: savePng,
};
// While the picture has the focus the arrows turn or move it; in the heat map they go from cell to cell.
function turnBy(right, up) {
  if (look.plot === '3d') { state.yaw += 0.1 * right; state.pitch = clamp(state.pitch + 0.1 * up, -1.5, 1.5); tick('turn', false); }
  else if (look.plot === '2d') state.pan = [state.pan[0] - 30 * right, state.pan[1] + 30 * up];
  invalidate();
}
const ofScene = { ArrowLeft: () => turnBy(-1, 0), ArrowRight: () => turnBy(1, 0), ArrowUp: () => turnBy(0, 1), ArrowDown: () => turnBy(0, -1), '+': () => zoomBy(1.2, null), '=': () => zoomBy(1.2, null), '-': () => zoomBy(1 / 1.2, null) };
const ofHeat = { ArrowLeft: () => goInHeat(0, -1), ArrowRight: () => goInHeat(0, 1), ArrowUp: () => goInHeat(-1, 0), ArrowDown: () => goInHeat(1, 0), Escape: () => leaveHeat() };
addEventListener('keydown', e => {
  const key = e.key.length === 1 ? e.key.toLowerCase() : e.key, target = e.target;
  const own = target === scene.canvas && look.plot !== 'time' ? ofScene : target === heat.canvas ? ofHeat : keys, act = own[key] || keys[key];
  if (e.ctrlKey || e.metaKey || e.altKey || !act || target.tagName === 'SELECT') return;
  if (key === ' ' && (target.tagName === 'BUTTON' || target.type === 'checkbox')) return;
  e.preventDefault();
  act(e);
});
function fillKeys() {
  byId('keys').innerHTML = [['space', 'play'], ['\u2190 \u2192', 'step'], ['home end', 'start, end'], ['+ \u2212', 'speed'], ['L', 'loop'],
    ['F', 'fit'], ['H', 'hull'], ...(givenFlats.length ? [['X', 'limits']] : []), ...(dim > 1 ? [['T', 'tails'], ['V', 'plot'], ['R', 'reset']] : []), ['C', 'colour'], ['D', 'dark'], ['S P', 'save'],
    ['', { time: 'drag: move through time', '2d': 'drag: move, wheel: zoom', '3d': 'drag: turn, wheel: zoom, shift-drag: move' }[look.plot]],
    ['', hasAttention && dim > 1 ? 'point at a token: whom it attends to' : 'point at a token: its values'],
  ].map(([key, text]) => '<span>' + (key && key.split(' ').map(k => '<kbd>' + k + '</kbd>').join(' ') + ' ') + text + '</span>').join('');
}
)js";

}}}  // namespace attnflow::detail
