/// \file
/// The program of the page: convex hulls in the plane and in space.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_hulls = R"js(
// ---- convex hulls --------------------------------------------------------------------------------
// Only points beyond the octagon of the extreme ones in eight directions can be corners of a hull in the plane; where
// those are still many (a circle of points), the highest and lowest of each of 4000 columns tell it to a quarter of a pixel.
function outer(x, y) {
  const count = x.length, best = Array(8).fill(-Infinity), who = Array(8).fill(-1);
  const measures = [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]];
  for (let k = 0; k < count; ++k) {
    const u = x[k], v = y[k], s = u + v, d = v - u;
    if (!Number.isFinite(s)) continue;
    if (u > best[0]) { best[0] = u; who[0] = k; }
    if (s > best[1]) { best[1] = s; who[1] = k; }
    if (v > best[2]) { best[2] = v; who[2] = k; }
    if (d > best[3]) { best[3] = d; who[3] = k; }
    if (-u > best[4]) { best[4] = -u; who[4] = k; }
    if (-s > best[5]) { best[5] = -s; who[5] = k; }
    if (-v > best[6]) { best[6] = -v; who[6] = k; }
    if (-d > best[7]) { best[7] = -d; who[7] = k; }
  }
  if (who[0] < 0) return [];
  const sides = [];
  for (let e = 0; e < measures.length; ++e) {
    const a = who[e], b = who[(e + 1) % 8];
    if (x[a] !== x[b] || y[a] !== y[b]) sides.push([x[a], y[a], x[b] - x[a], y[b] - y[a]]);
  }
  let kept = [];
  for (let k = 0; k < count; ++k) {
    const u = x[k], v = y[k];
    if (!Number.isFinite(u + v)) continue;
    let inside = sides.length > 2;
    for (let e = 0; inside && e < sides.length; ++e) { const s = sides[e]; inside = s[2] * (v - s[1]) - s[3] * (u - s[0]) > 0; }
    if (!inside) kept.push(k);
  }
  if (kept.length > 2000) {
    const left = -best[4], columns = 4000, width = (best[0] - left) / columns || 1, top = new Int32Array(columns + 1).fill(-1), bottom = top.slice();
    for (const k of kept) {
      const c = Math.floor((x[k] - left) / width);
      if (top[c] < 0 || y[k] > y[top[c]]) top[c] = k;
      if (bottom[c] < 0 || y[k] < y[bottom[c]]) bottom[c] = k;
    }
    kept = [...new Set([...who, ...top, ...bottom])].filter(k => k >= 0);
  }
  return kept;
}
// Corners of the hull of the points (x[k], y[k]), counterclockwise.
function hull2(x, y) {
  const index = outer(x, y);
  index.sort((a, b) => x[a] - x[b] || y[a] - y[b]);
  const turn = (a, b, c) => (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]);
  const chain = [];
  for (const pass of [index, index.slice().reverse()]) {
    const start = chain.length;
    for (const k of pass) {
      while (chain.length >= start + 2 && turn(chain[chain.length - 2], chain[chain.length - 1], k) <= 0) chain.pop();
      chain.push(k);
    }
    chain.pop();
  }
  return chain.map(k => [x[k], y[k]]);
}

// Triangles of the hull of n points in space (x, y, z in a row), grown point by point; empty when flat.
// Points within eps of a face count as inside.
function hull3(p) {
  const count = p.length / 3, finite = [];
  for (let k = 0; k < count; ++k) if (Number.isFinite(p[3 * k] + p[3 * k + 1] + p[3 * k + 2])) finite.push(k);
  if (finite.length < 4) return [];
  const minus = (a, b) => [p[3 * a] - p[3 * b], p[3 * a + 1] - p[3 * b + 1], p[3 * a + 2] - p[3 * b + 2]];
  const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
  const farthest = measure => finite.reduce((best, k) => { const s = measure(k); return s > best[1] ? [k, s] : best; }, [-1, -1]);
  const a = finite[0], [b, far] = farthest(k => dot(minus(k, a), minus(k, a)));
  const eps = 1e-5 * Math.sqrt(far);
  if (!(eps > 0)) return [];
  const [c, area] = farthest(k => { const s = cross(minus(b, a), minus(k, a)); return dot(s, s); });
  if (Math.sqrt(area) <= eps * Math.sqrt(far)) return [];
  const normal = cross(minus(b, a), minus(c, a)), length = Math.sqrt(area);
  const [d, height] = farthest(k => Math.abs(dot(normal, minus(k, a))) / length);
  if (height <= eps) return [];
  const inside = [0, 1, 2].map(i => (p[3 * a + i] + p[3 * b + i] + p[3 * c + i] + p[3 * d + i]) / 4);
  const face = (u, v, w) => {
    const s = cross(minus(v, u), minus(w, u)), size = Math.hypot(...s) || 1, unit = s.map(q => q / size);
    const offset = unit[0] * p[3 * u] + unit[1] * p[3 * u + 1] + unit[2] * p[3 * u + 2];
    return dot(unit, inside) > offset ? { v: [u, w, v], unit: unit.map(q => -q), offset: -offset } : { v: [u, v, w], unit, offset };
  };
  let faces = [face(a, b, c), face(a, b, d), face(a, c, d), face(b, c, d)];
  for (const k of finite) {
    const seen = [], kept = [], point = [p[3 * k], p[3 * k + 1], p[3 * k + 2]];
    for (const f of faces) (dot(f.unit, point) - f.offset > eps ? seen : kept).push(f);
    if (!seen.length) continue;
    const edges = new Set();
    for (const f of seen) for (let e = 0; e < 3; ++e) edges.add(f.v[e] * count + f.v[(e + 1) % 3]);
    for (const key of edges) {
      const u = Math.floor(key / count), v = key % count;
      if (!edges.has(v * count + u)) kept.push(face(u, v, k));
    }
    faces = kept;
  }
  return faces;
}
)js";

}}}  // namespace attnflow::detail
