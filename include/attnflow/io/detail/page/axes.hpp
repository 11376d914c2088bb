/// \file
/// The program of the page: which axes are looked at, principal components, and limits in those axes.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_axes = R"js(
// ---- what is looked at: a basis, and which of its axes ---------------------------------------------
// A basis is k rows of dim numbers, or none for the coordinates themselves.
const bases = [{ name: 'coordinates', axes: names, rows: null, orthonormal: true }];
{
  const numbers = new Float64Array(bytesOf('bases'));
  let at = 0;
  for (const [name, axes] of view.bases) bases.push({ name, axes, rows: numbers.subarray(at, at += axes.length * dim), orthonormal: false });
  const count = Math.min(dim, 6);
  if (dim > 1 && n > 0) bases.push({ name: 'principal components', axes: Array.from({ length: count }, (_, k) => 'PC ' + (k + 1)), rows: undefined, orthonormal: true });
}
const rowsOf = basis => basis.rows === undefined ? basis.rows = principalComponents(basis.axes.length) : basis.rows;

// Eigenvalues and rows of eigenvectors of a symmetric matrix of k rows, by Jacobi's rotations, largest first.
function symmetricEigen(A, k) {
  const E = new Float64Array(k * k);
  for (let a = 0; a < k; ++a) E[a * k + a] = 1;
  for (let sweep = 0; sweep < 30; ++sweep) {
    let off = 0, trace = 0;
    for (let a = 0; a < k; ++a) { trace += A[a * k + a] ** 2; for (let b = 0; b < a; ++b) off += A[a * k + b] ** 2; }
    if (!(off > 1e-26 * trace)) break;
    for (let p = 0; p < k; ++p) for (let q = p + 1; q < k; ++q) {
      if (A[p * k + q] === 0) continue;
      const theta = (A[q * k + q] - A[p * k + p]) / (2 * A[p * k + q]);
      const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1)), c = 1 / Math.hypot(t, 1), s = t * c;
      for (let a = 0; a < k; ++a) { const u = A[a * k + p], v = A[a * k + q]; A[a * k + p] = c * u - s * v; A[a * k + q] = s * u + c * v; }
      for (let a = 0; a < k; ++a) {
        let u = A[p * k + a], v = A[q * k + a];
        A[p * k + a] = c * u - s * v; A[q * k + a] = s * u + c * v;
        u = E[p * k + a]; v = E[q * k + a];
        E[p * k + a] = c * u - s * v; E[q * k + a] = s * u + c * v;
      }
    }
  }
  const order = Array.from({ length: k }, (_, a) => a).sort((a, b) => A[b * k + b] - A[a * k + a]);
  return order.map(a => ({ value: A[a * k + a], vector: E.slice(a * k, a * k + k) }));
}
// The leading eigenvectors of the covariance of all tokens at all moments (of a sample of them, where they are many).
// In many dimensions first a subspace of some more directions is found by repeated multiplication.
function principalComponents(count) {
  const d = dim, most = clamp(Math.floor(2e8 / (d * d)), 200, 200000), stride = Math.max(1, Math.floor(m * n / most));
  const mean = new Float64Array(d), C = new Float64Array(d * d), y = new Float64Array(d);
  let found = 0, widest = 0;
  const each = act => { for (let k = 0; k < m * n; k += stride) { let sum = 0; for (let a = 0; a < d; ++a) sum += positions[k * d + a]; if (Number.isFinite(sum)) act(k * d); } };
  each(at => { ++found; for (let a = 0; a < d; ++a) mean[a] += positions[at + a]; });
  for (let a = 0; a < d; ++a) mean[a] /= found || 1;
  each(at => { for (let a = 0; a < d; ++a) widest = Math.max(widest, Math.abs(positions[at + a] - mean[a])); });
  each(at => {  // in units of the widest: nothing overflows
    for (let a = 0; a < d; ++a) y[a] = (positions[at + a] - mean[a]) / (widest || 1);
    for (let a = 0; a < d; ++a) for (let b = 0; b <= a; ++b) C[a * d + b] += y[a] * y[b];
  });
  for (let a = 0; a < d; ++a) for (let b = 0; b < a; ++b) C[b * d + a] = C[a * d + b];
  let vectors;
  if (d <= 64) vectors = symmetricEigen(C, d).map(e => e.vector);
  else {
    const k = 16;
    let Q = Array.from({ length: k }, (_, r) => Float64Array.from({ length: d }, (_, a) => Math.sin((a + 1) * (r + 1) * 1.7) + (a % k === r ? 1 : 0)));
    const times = V => V.map(v => { const w = new Float64Array(d); for (let a = 0; a < d; ++a) { let s = 0; for (let b = 0; b < d; ++b) s += C[a * d + b] * v[b]; w[a] = s; } return w; });
    const dot = (u, v) => { let s = 0; for (let a = 0; a < d; ++a) s += u[a] * v[a]; return s; };
    const orthonormal = V => {
      V.forEach((v, r) => {
        for (let pass = 0; pass < 2; ++pass) for (let q = 0; q < r; ++q) { const s = dot(v, V[q]); for (let a = 0; a < d; ++a) v[a] -= s * V[q][a]; }
        const size = Math.sqrt(dot(v, v)) || 1;
        for (let a = 0; a < d; ++a) v[a] /= size;
      });
      return V;
    };
    orthonormal(Q);
    for (let step = 0; step < 40; ++step) Q = orthonormal(times(Q));
    const CQ = times(Q), small = new Float64Array(k * k);
    for (let r = 0; r < k; ++r) for (let q = 0; q < k; ++q) small[r * k + q] = dot(Q[r], CQ[q]);
    vectors = symmetricEigen(small, k).map(e => { const v = new Float64Array(d); for (let r = 0; r < k; ++r) for (let a = 0; a < d; ++a) v[a] += e.vector[r] * Q[r][a]; return v; });
  }
  const rows = new Float64Array(count * d);
  for (let r = 0; r < count; ++r) {  // the largest entry is positive: the picture does not depend on chance
    let big = 0;
    for (let a = 1; a < d; ++a) if (Math.abs(vectors[r][a]) > Math.abs(vectors[r][big]) + 1e-12) big = a;
    for (let a = 0; a < d; ++a) rows[r * d + a] = vectors[r][a] * (vectors[r][big] < 0 ? -1 : 1);
  }
  return rows;
}

// What is drawn: plot is '2d', '3d' or 'time', with `size` coordinates, in `path` (m x n x size).
const look = { basis: 0, axes: [0, 1, 2], plot: dim === 1 ? 'time' : dim === 2 ? '2d' : '3d', size: Math.min(dim, 3) };
let path = positions, now = new Float64Array(0), axisNames = [];
let wholeBounds, startBounds, flats = [];
// A point (or a direction) of dim numbers in the axes looked at.
function looked(x, at = 0) {
  const basis = bases[look.basis], rows = rowsOf(basis);
  return look.axes.slice(0, look.size).map(axis => {
    if (!rows) return x[at + axis];
    let sum = 0;
    for (let b = 0; b < dim; ++b) sum += rows[axis * dim + b] * x[at + b];
    return sum;
  });
}
function setLook() {
  const basis = bases[look.basis], many = basis.axes.length;
  if (many < 3 && look.plot === '3d') look.plot = '2d';
  if (many < 2) look.plot = 'time';
  look.size = { time: 1, '2d': 2, '3d': 3 }[look.plot];
  for (let a = 0; a < look.size; ++a)  // the same axis twice would show a diagonal: the next free one instead
    while (!(look.axes[a] >= 0 && look.axes[a] < many) || look.axes.slice(0, a).includes(look.axes[a])) look.axes[a] = ((look.axes[a] || 0) + 1) % many;
  const rows = rowsOf(basis), size = look.size, shown = look.axes.slice(0, size);
  axisNames = shown.map(a => basis.axes[a]);
  if (!rows && size === dim && shown.every((axis, a) => axis === a)) path = positions;
  else {
    path = new positions.constructor(m * n * size);
    shown.forEach((axis, a) => {
      if (!rows) for (let k = axis, out = a; out < path.length; k += dim, out += size) path[out] = positions[k];
      else for (let k = 0, out = a; out < path.length; k += dim, out += size) {
        let sum = 0;
        for (let b = 0; b < dim; ++b) sum += rows[axis * dim + b] * positions[k + b];
        path[out] = sum;
      }
    });
  }
  now = new Float64Array(n * size);
  flats = givenFlats.map(lookedFlat).filter(f => f.directions.length < size);
  startBounds = boundsOf(path, size, 0, n * size);
  wholeBounds = boundsOf(path, size);
  const grown = { low: [...wholeBounds.low], high: [...wholeBounds.high] };
  for (const f of flats) if (!f.directions.length) f.point.forEach((v, a) => { grown.low[a] = Math.min(grown.low[a], v); grown.high[a] = Math.max(grown.high[a], v); });
  if (widthOf(grown) < 2 * widthOf(wholeBounds)) wholeBounds = grown;  // limits near the run are in the picture
}
// The box around the tokens at one moment does not shrink without end when all of them meet.
const boundsNow = () => boundsOf(now, look.size, 0, now.length, 1e-4 * widthOf(startBounds));

// ---- limits: points, lines, planes, … ----------------------------------------------------------------
const givenFlats = [];
{
  const numbers = new Float64Array(bytesOf('flats-data'));
  let at = 0;
  for (const [name, predicted, k] of view.flats) {
    givenFlats.push({ name, predicted, point: numbers.subarray(at, at + dim), directions: Array.from({ length: k }, (_, r) => numbers.subarray(at + (r + 1) * dim, at + (r + 2) * dim)) });
    at += (k + 1) * dim;
  }
}
// In the axes looked at, with orthonormal directions: what projects to nothing falls away.
function lookedFlat(flat) {
  const directions = [];
  for (const given of flat.directions) {
    const v = looked(given), size = Math.hypot(...given);
    for (const u of directions) { const s = u.reduce((sum, q, a) => sum + q * v[a], 0); v.forEach((_, a) => { v[a] -= s * u[a]; }); }
    const length = Math.hypot(...v);
    if (length > 1e-9 * size) directions.push(v.map(q => q / length));
  }
  return { name: flat.name, predicted: flat.predicted, point: looked(flat.point), directions };
}
// The part of the line p + s u in the box, as its two ends, or none.
function clippedLine(p, u, low, high) {
  let from = -Infinity, to = Infinity;
  for (let a = 0; a < p.length; ++a) {
    if (Math.abs(u[a]) < 1e-12) { if (p[a] < low[a] || p[a] > high[a]) return null; continue; }
    const s = (low[a] - p[a]) / u[a], t = (high[a] - p[a]) / u[a];
    from = Math.max(from, Math.min(s, t));
    to = Math.min(to, Math.max(s, t));
  }
  return from < to ? [from, to].map(s => p.map((q, a) => q + s * u[a])) : null;
}
// The polygon in which the plane p + span(u, v) meets the box in space.
function clippedPlane(p, [u, v], low, high) {
  const normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const height = q => normal.reduce((sum, c, a) => sum + c * (q[a] - p[a]), 0), corners = [];
  for (let a = 0; a < 3; ++a) for (let c = 0; c < 4; ++c) {  // where the twelve edges cross it
    const q = [0, 0, 0], b = (a + 1) % 3, e = (a + 2) % 3;
    q[a] = low[a]; q[b] = c & 1 ? high[b] : low[b]; q[e] = c & 2 ? high[e] : low[e];
    const h0 = height(q), slope = normal[a] * (high[a] - low[a]), s = -h0 / slope;
    if (slope !== 0 && s >= 0 && s <= 1) { q[a] += s * (high[a] - low[a]); corners.push(q); }
  }
  const middle = [0, 1, 2].map(a => corners.reduce((sum, q) => sum + q[a], 0) / (corners.length || 1));
  const along = (q, w) => w.reduce((sum, c, a) => sum + c * (q[a] - middle[a]), 0);
  return corners.sort((q, r) => Math.atan2(along(q, v), along(q, u)) - Math.atan2(along(r, v), along(r, u)));
}
)js";

}}}  // namespace attnflow::detail
