/// \file
/// The program of the page: the attention matrix of a moment, and what is computed in slices between frames.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_attention = R"js(
// ---- the attention matrix P of a stored moment -------------------------------------------------------
// Row i: softmax over j of s_ij = e^scale <x_i, F x_j> - slope |i - j|, or e^s_ij / n. What counts are differences of
// scores, so differences of tokens are taken first: g = F^T x_i, then s_ij - s_ik = e^scale <g, x_j - x_k> - ..., which
// neither overflows nor cancels where all tokens are far out. 0 times infinity is 0. A row that may attend to nothing is 0.
function scaled(v, factor, logarithm) {
  if (v === 0) return 0;
  return factor > 0 && factor < Infinity ? factor * v : Math.sign(v) * Math.exp(logarithm + Math.log(Math.abs(v)));
}
const query = new Float64Array(dim);
function rowOf(head, k, i, out) {
  if (attention.length) { for (let j = 0, at = (k * n + i) * n; j < n; ++j) out[j] = attention[at + j]; return out; }
  const form = (head * m + k) * dim * dim, start = k * n * dim, at = start + i * dim;
  const logarithm = scales.length ? scales[head * m + k] : 0, factor = Math.exp(logarithm), slope = view.slope;
  const last = view.mask === 'none' ? n - 1 : view.mask === 'causal' ? i : i - 1;
  for (let b = 0; b < dim; ++b) {
    let sum = 0;
    for (let a = 0; a < dim; ++a) { const x = positions[at + a], f = forms[form + a * dim + b]; if (x !== 0 && f !== 0) sum += x * f; }
    query[b] = sum;
  }
  out.fill(0);
  if (view.law === 'unnormalized') {
    for (let j = 0; j <= last; ++j) {
      let sum = 0;
      for (let b = 0; b < dim; ++b) sum += query[b] * positions[start + j * dim + b];
      out[j] = Math.exp(scaled(sum, factor, logarithm) - slope * Math.abs(i - j)) / n;
    }
    return out;
  }
  const ahead = (j, best) => {
    let sum = 0;
    for (let b = 0, p = start + j * dim, q = start + best * dim; b < dim; ++b) sum += query[b] * (positions[p + b] - positions[q + b]);
    return scaled(sum, factor, logarithm) - (slope ? slope * (Math.abs(i - j) - Math.abs(i - best)) : 0);
  };
  let best = 0, total = 0;
  for (let j = 1; j <= last; ++j) if (ahead(j, best) > 0) best = j;
  for (let j = 0; j <= last; ++j) total += out[j] = Math.exp(ahead(j, best));
  for (let j = 0; j <= last; ++j) out[j] /= total;
  return out;
}
const nearestMoment = () => Math.round(state.frame);
function attentionAt(k) {  // is there a P at this moment?
  if (!hasAttention || n === 0) return false;
  const size = dim * dim, at = (state.head * m + k) * size;
  for (let q = 0; !attention.length && q < size; ++q) if (!Number.isFinite(forms[at + q])) return false;
  for (let q = k * n * dim; !attention.length && q < (k + 1) * n * dim; ++q) if (!Number.isFinite(positions[q])) return false;  // scores with it are unknown
  return true;
}
// One exact row at the nearest moment, kept until another is asked for.
const single = { key: '', row: new Float64Array(hasAttention ? n : 0) };
function rowNow(i) {
  const k = nearestMoment(), key = [k, state.head, i].join();
  if (key !== single.key) {
    if (attentionAt(k)) rowOf(state.head, k, i, single.row); else single.row.fill(NaN);
    single.key = key;
  }
  return single.row;
}

// ---- what takes longer than a frame is done in slices ------------------------------------------------
// `wanted` names what is to be computed now; `make` is a generator that yields after each slice. What has begun is
// finished while the run plays (or it would never be seen), and begun anew when the reader jumps elsewhere.
function evenly(count, from) { return Array.from({ length: Math.min(count, from) }, (_, k) => Math.floor(k * from / Math.min(count, from))); }
const tasks = [];
function task(wanted, make) { const t = { wanted, make, done: '', key: '', running: null }; tasks.push(t); return t; }
function work(until) {  // true if something is left to do
  let left = false;
  for (const t of tasks) {
    const wanted = t.wanted();
    if (t.running && t.key !== wanted && !state.playing) t.running = null;
    if (!t.running && t.done !== wanted) { t.key = wanted; t.running = t.make(); }
    while (t.running && performance.now() < until)
      if (t.running.next().done) { t.running = null; t.done = t.key; }
    left = left || t.done !== wanted;
  }
  return left;
}

// The matrix shown: all of it up to 1000 tokens, else the rows and columns of a sample; rows are normalised over all keys.
const sampled = n > 1000, mostShown = 128;
const byCluster = i => [labelOf(i) < 0 ? 1 : 0, labelOf(i)];
const matrix = { rows: [], values: new Float64Array(0), image: null, most: 1, moment: -1, there: false, version: 0 };
let mostStored = 0;
for (let k = 0; k < attention.length; ++k) if (attention[k] > mostStored && attention[k] < Infinity) mostStored = attention[k];
const matrixTask = task(() => hasAttention ? [nearestMoment(), state.head, state.sort, root.dataset.theme].join() : '', function* () {
  const k = nearestMoment(), head = state.head, there = attentionAt(k), rows = sampled ? evenly(mostShown, n) : evenly(n, n);
  if (state.sort) rows.sort((a, b) => byCluster(a)[0] - byCluster(b)[0] || byCluster(a)[1] - byCluster(b)[1] || a - b);
  const size = rows.length, values = new Float64Array(size * size), full = new Float64Array(n), image = new ImageData(Math.max(1, size), Math.max(1, size));
  let most = 0;
  if (there) for (let r = 0; r < size; ++r) {
    rowOf(head, k, rows[r], full);
    for (let c = 0; c < size; ++c) { const v = full[rows[c]]; values[r * size + c] = v; if (v > most && v < Infinity) most = v; }
    yield;
  }
  const power = 10 ** Math.floor(Math.log10(most || 1));  // a round number that does not flicker from moment to moment
  most = mostStored || (view.law === 'softmax' ? Math.min(1, power * ([1, 2, 5].find(q => q * power >= most) || 10)) : power * ([1, 2, 5].find(q => q * power >= most) || 10));
  const shades = Uint32Array.from(theme.ramp, ([r, g, b]) => (255 << 24 | b << 16 | g << 8 | r) >>> 0), pixels = new Uint32Array(image.data.buffer);
  if (there) for (let r = 0; r < size; ++r) {
    for (let c = 0; c < size; ++c) { const v = values[r * size + c]; if (!Number.isNaN(v)) pixels[r * size + c] = shades[Math.round(255 * Math.sqrt(clamp(v / most, 0, 1)))]; }
    if (r % 8 === 7) yield;
  }
  Object.assign(matrix, { rows, values, image, most, moment: k, there, version: matrix.version + 1 });
});

// Inner products of all pairs up to 1000 tokens, else of a sample.
const products = { low: 0, high: 1, bars: [], pairs: 0, version: 0 };
const productSample = n > 1000 ? evenly(400, n) : evenly(n, n);
const productTask = task(() => n > 1 ? String(nearestMoment()) : '', function* () {
  const start = nearestMoment() * n * dim, all = productSample, values = new Float64Array(all.length * (all.length - 1) / 2);
  let pairs = 0, low = Infinity, high = -Infinity;
  for (let r = 0; r < all.length; ++r) {
    const at = start + all[r] * dim;
    for (let q = 0; q < r; ++q) {
      let sum = 0;
      for (let b = 0, other = start + all[q] * dim; b < dim; ++b) sum += positions[at + b] * positions[other + b];
      if (!Number.isFinite(sum)) continue;
      values[pairs++] = sum;
      if (sum < low) low = sum;
      if (sum > high) high = sum;
    }
    yield;
  }
  if (onSphere) { low = -1; high = 1; }
  if (!(low <= high)) { low = 0; high = 1; }
  const scale = Math.max(Math.abs(low), Math.abs(high));
  if (high - low < 1e-6 * scale || high === low) { low -= 0.05 * scale || 0.5; high += 0.05 * scale || 0.5; }
  const bars = new Array(40).fill(0);
  for (let p = 0; p < pairs; ++p) { ++bars[clamp(Math.floor((values[p] - low) / (high - low) * 40), 0, 39)]; if (p % 50000 === 49999) yield; }
  Object.assign(products, { low, high, bars, pairs, version: products.version + 1 });
});
)js";

}}}  // namespace attnflow::detail
