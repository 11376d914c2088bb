/// \file
/// The program of the page, first part: the data, and numbers as text.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_model = R"js(
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
const series = new Float64Array(bytesOf('series'));  // series.length / m rows of m
const boxes = new Float64Array(bytesOf('boxes'));    // m x dim x (lowest, width), or empty
const positions = positionsOf(bytesOf('positions'));     // m x n x dim
const attention = new Float32Array(bytesOf('attention'));  // m x n x n, or empty
const forms = new Float64Array(bytesOf('forms'));          // heads x m x dim x dim
const scales = new Float64Array(bytesOf('scales'));        // heads x m, logarithms
const hasAttention = attention.length > 0 || view.heads.length > 0;
const subscript = k => String(k).replace(/\d/g, c => String.fromCharCode(0x2080 + Number(c)));
const names = view.axes.length ? view.axes : Array.from({ length: dim }, (_, a) => 'x' + subscript(a + 1));
const idOf = i => view.ids.length ? view.ids[i] : i;  // the token's number in the run

// 16-bit integers are parts of each moment's box; 65535 stands for what is not finite.
function positionsOf(bytes) {
  if (view.numbers === 'float64') return new Float64Array(bytes);
  if (view.numbers === 'float32') return new Float32Array(bytes);
  const raw = new Uint16Array(bytes), out = new Float32Array(raw.length);
  for (let k = 0, at = 0; k < m; ++k) for (let i = 0; i < n; ++i) for (let a = 0; a < dim; ++a, ++at) {
    const box = 2 * (k * dim + a);
    out[at] = raw[at] === 65535 ? NaN : boxes[box] + boxes[box + 1] * (raw[at] / 65534);
  }
  return out;
}

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

// Widths below this part of the place are rounding: of a float, of 16 bits of a box, of a double.
const resolution = view.numbers === 'float64' ? 1e-13 : 2e-6;
// The smallest box around the finite points of `size` coordinates, at least `least` wide and not empty in any direction.
function boundsOf(data, size, from = 0, to = data.length, least = 0) {
  const low = Array(size).fill(Infinity), high = Array(size).fill(-Infinity);
  for (let a = 0; a < size; ++a) {
    let l = Infinity, h = -Infinity;
    for (let k = from + a; k < to; k += size) {
      const v = data[k];
      if (v < l && v > -Infinity) l = v;
      if (v > h && v < Infinity) h = v;
    }
    low[a] = l; high[a] = h;
  }
  let widest = 0;
  for (let a = 0; a < size; ++a) {
    if (low[a] > high[a]) { low[a] = 0; high[a] = 0; }
    widest = Math.max(widest, high[a] - low[a]);
  }
  for (let a = 0; a < size; ++a) {
    const far = Math.max(Math.abs(low[a]), Math.abs(high[a]));
    const width = Math.max(least, widest > 0 ? Math.max(resolution * far, size === 3 ? 0.1 * widest : 0) : least || 0.5 * far || 1);
    if (high[a] - low[a] < width) { const c = (low[a] + high[a]) / 2; low[a] = c - width / 2; high[a] = c + width / 2; }
  }
  return { low, high };
}
const widthOf = b => Math.max(...b.high.map((h, a) => h - b.low[a]));

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
// Two digits, without zeros at the end.
function shortText(v) {
  const text = Math.abs(v) >= 1e5 || Math.abs(v) < 1e-3 ? scientific(v, 1).replace('.0', '') : String(Number(v.toPrecision(2)));
  return v === 0 ? '0' : text.replace('1\u00b710', '10').replace('-', '\u2212');
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
)js";

}}}  // namespace attnflow::detail
