/// \file
/// The program of the page, last part: the words around the pictures, and the start.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_start = R"js(
// ---- the words around the pictures ---------------------------------------------------------------
function option(value, text) { const o = document.createElement('option'); o.value = value; o.textContent = text; return o; }
function fill() {
  byId('title').textContent = view.title;
  byId('note').textContent = view.note;
  byId('note').hidden = !view.note;
  byId('flats-option').hidden = !givenFlats.length;
  byId('heat-figure').hidden = !hasAttention;
  byId('histogram-figure').hidden = n < 2;
  byId('sort-option').hidden = !labelled;
  byId('head').hidden = view.heads.length < 2 || attention.length > 0;
  view.heads.forEach((name, k) => byId('head').append(option(k, name || 'head ' + (k + 1))));
  byId('heat-note').hidden = !sampled;
  byId('heat-note').textContent = 'sample of ' + Math.min(mostShown, n) + ' of ' + n + ' tokens; rows over all keys';
  byId('colour').options[0].textContent = labelled ? 'cluster' : 'nothing';
  byId('colour').options[2].disabled = !view.leaders.length;
  byId('tails').value = state.tails;
  bases.forEach((basis, k) => byId('basis').append(option(k, basis.name)));
  const table = byId('parameters');
  table.hidden = !view.parameters.length;
  for (const [name, value] of view.parameters) {
    const row = table.tBodies[0].insertRow(), head = document.createElement('th');
    head.textContent = name;
    head.scope = 'row';
    row.append(head);
    row.insertCell().textContent = value;
  }
  byId('page').classList.toggle('aside', hasAttention || charts.length > 0 || view.parameters.length > 0 || n > 1);
}
// What belongs to the basis and the plot.
function fillLook() {
  const basis = bases[look.basis], many = basis.axes.length;
  canvas.className = { time: 'dim1', '2d': 'dim2', '3d': 'dim3' }[look.plot];
  canvas.setAttribute('aria-label', n + (n === 1 ? ' token: ' : ' tokens: ') + axisNames.join(', ') + (look.plot === 'time' ? ' against time' : '') + '; arrow keys turn or move the picture, plus and minus zoom');
  byId('plot').value = look.plot;
  byId('plot').options[0].disabled = many < 2;
  byId('plot').options[1].disabled = many < 3;
  byId('basis').value = look.basis;
  byId('basis-option').hidden = bases.length < 2;
  ['x', 'y', 'z'].forEach((axis, a) => {
    const list = byId('axis-' + axis);
    list.textContent = '';
    basis.axes.forEach((name, k) => list.append(option(k, name)));
    list.value = look.axes[a];
    byId('axis-' + axis + '-option').hidden = a >= look.size || many < 2;
  });
  byId('tails-option').hidden = look.plot === 'time';
  byId('turn-option').hidden = look.plot !== '3d';
  byId('reset').hidden = look.plot === 'time';
  fillKeys();
}
function fillLegend() {
  const legend = byId('legend'), most = 14;
  legend.textContent = '';
  const add = (mark, ...texts) => { const item = document.createElement('span'); item.append(mark, ...texts); legend.append(item); };
  const sign = (className, text = '', colour = '') => { const i = document.createElement('i'); i.className = className; i.textContent = text; i.style.color = colour; return i; };
  if (state.colour === 'cluster' && labelled) {
    const sizes = new Map();
    for (const l of view.clusters) sizes.set(l, (sizes.get(l) || 0) + 1);
    for (const label of labels.slice(0, most)) add(sign('', glyphs[shapeOf(label)], colourOf(label)), (label < 0 ? 'no cluster' : 'cluster ' + label) + ' (' + sizes.get(label) + (sizes.get(label) === 1 ? ' token)' : ' tokens)'));
    if (labels.length > most) add('', 'and ' + (labels.length - most) + ' clusters more');
  } else if (state.colour === 'cluster') add(sign('', glyphs[0], colourOf(0)), n === 1 ? '1 token' : n + ' tokens');
  else {
    const bar = sign('bar');
    bar.style.background = 'linear-gradient(to right,' + theme.scale.filter((_, k) => k % 9 === 0).join() + ')';
    if (state.colour === 'token') add('token ' + (n ? idOf(0) : 0), bar, String(n ? idOf(n - 1) : 0));
    else add('distance to the nearest ' + (leaderStride > 1 ? 'of ' + measured.length + ' of ' + view.leaders.length + ' leaders' : 'leader') + ': \u2264 ' + shortText(paint.near), bar, shortText(paint.far) + ' (log)');
  }
  if (view.leaders.length) add(sign('ring'), view.leaders.length === 1 ? 'leader' : 'leaders');
  if (state.hull) {
    const now = sign('line');
    now.style.borderColor = theme.accent;
    if (look.plot === 'time') now.className = 'band';
    add(now, look.plot === 'time' ? 'range' : 'convex hull');
    add(sign('line dotted'), (look.plot === 'time' ? 'range' : 'hull') + ' at t = ' + valueText(times[0]));
  }
  if (state.flats) {
    const said = new Set(), kinds = new Map();  // a name of both kinds needs a word more
    for (const f of flats) kinds.set(f.name, (kinds.get(f.name) || 0) | (f.predicted ? 1 : 2));
    for (const f of flats) {
      const point = f.directions.length === 0 && look.plot !== 'time', key = f.name + '|' + f.predicted + point;
      if (said.has(key) || said.size > 11) continue;
      said.add(key);
      add(sign((point ? 'diamond' : 'line flat') + (f.predicted ? ' dashed' : '')), (f.name && kinds.get(f.name) === 3 ? f.name + ', ' : f.name) + (!f.name || kinds.get(f.name) === 3 ? f.predicted ? 'predicted' : 'found' : ''));
    }
  }
}

// ---- the start -----------------------------------------------------------------------------------
// #frame=K and #t=T show that moment and wait; fit, tails, colour, theme, plot, basis, x, y and z may follow, as in
// #frame=3&fit=current&plot=2d&basis=1&x=0&y=2. A basis and an axis are told by number or by name.
function obeyHash() {
  const hash = new URLSearchParams(location.hash.slice(1)), place = (list, text) => list.includes(text) ? list.indexOf(text) : /^\d+$/.test(text) && Number(text) < list.length ? Number(text) : -1;
  if (['light', 'dark'].includes(hash.get('theme'))) setTheme(hash.get('theme'));
  if (['all', 'current'].includes(hash.get('fit'))) choose('fit', hash.get('fit'));
  if (['off', 'short', 'full'].includes(hash.get('tails'))) choose('tails', hash.get('tails'));
  const colour = hash.get('colour');
  if (['cluster', 'token'].includes(colour) || (colour === 'distance' && view.leaders.length)) choose('colour', colour);
  const change = {}, basis = hash.has('basis') ? place(bases.map(b => b.name), hash.get('basis')) : -1;
  if (['2d', '3d', 'time'].includes(hash.get('plot'))) change.plot = hash.get('plot');
  if (basis >= 0) { change.basis = basis; change.axes = [0, 1, 2]; }
  const axes = [...(change.axes || look.axes)], known = bases[basis >= 0 ? basis : look.basis].axes;
  ['x', 'y', 'z'].forEach((axis, a) => { const k = hash.has(axis) ? place(known, hash.get(axis)) : -1; if (k >= 0) { axes[a] = k; change.axes = axes; } });
  if (Object.keys(change).length) lookAt(change);
  if (hash.has('frame')) seek(Math.round(Number(hash.get('frame'))));
  else if (hash.has('t')) seek(frameAt(Number(hash.get('t'))));
  else return false;
  return true;
}
setLook();
const darkness = matchMedia('(prefers-color-scheme: dark)');
darkness.addEventListener('change', e => setTheme(e.matches ? 'dark' : 'light'));
setTheme(darkness.matches ? 'dark' : 'light');
fill();
fillLook();
fillLegend();
// A run that grows a lot starts with the frame filled at any time, or its beginning would be a dot.
if (look.plot !== 'time' && widthOf(wholeBounds) > 20 * widthOf(startBounds)) choose('fit', 'current');
const told = obeyHash();
addEventListener('hashchange', obeyHash);
const sizes = new ResizeObserver(() => draw(performance.now()));  // at once: a stretched picture is never shown
for (const element of [byId('page'), canvas, heat.canvas, histogram.canvas]) sizes.observe(element);
addEventListener('scroll', () => { if (!byId('tip').hidden) showTip(); }, true);
// For programs that look at the page: what is shown, and where.
window.attnflow = {
  state, look, n, dim, times, frameTimes,
  screen: i => [screenX[i], screenY[i]],                 // of token i, in CSS pixels within #scene
  attention: (i, j) => hasAttention && i in screenX && j in screenX ? rowNow(i)[j] : NaN,
  project: point => toScreen(looked(point)),
  svg: svgText,
};
if (!told && !still) setPlaying(true);
draw(performance.now());
)js";

}}}  // namespace attnflow::detail
