/// \file
/// The program of the page: the picture of three coordinates in a box to turn.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_space = R"js(
// ---- three dimensions: a box to turn -------------------------------------------------------------
const eye = 5;  // distance of the eye, in half-widths of the box
function projector(bounds) {
  const { w, h } = scene, half = [0, 1, 2].map(a => (bounds.high[a] - bounds.low[a]) / 2 * 1.06);
  const centre = [0, 1, 2].map(a => (bounds.low[a] + bounds.high[a]) / 2), unit = Math.max(...half);
  const cp = Math.cos(state.pitch), sp = Math.sin(state.pitch);
  const at = (x, y, z, cy, sy) => {  // [right, up, depth] in half-widths; depth from -1 (near) to 1 (far) or so
    const u = (x - centre[0]) / unit, v = (y - centre[1]) / unit, t = (z - centre[2]) / unit;
    const away = sy * u + cy * v, depth = away * cp - t * sp, f = eye / Math.max(0.2, eye + depth);
    return [(cy * u - sy * v) * f, (t * cp + away * sp) * f, depth];
  };
  let side = 0, top = 0, bottom = 0;  // what the box reaches at any yaw, so that it turns without pulsing
  for (let k = 0; k < 16; ++k) for (let c = 0; c < 8; ++c) {
    const q = at(...[1, 2, 4].map((bit, a) => centre[a] + (c & bit ? 1 : -1) * half[a]), Math.cos(k * Math.PI / 8), Math.sin(k * Math.PI / 8));
    side = Math.max(side, q[0]); top = Math.max(top, q[1]); bottom = Math.min(bottom, q[1]);
  }
  const fits = Math.max(20, Math.min((w - 110) / 2 / side, (h - 70) / (top - bottom))), scale = fits * state.zoom;
  const ox = w / 2 + state.pan[0], oy = h / 2 + (top + bottom) / 2 * scale + state.pan[1];
  const cy = Math.cos(state.yaw), sy = Math.sin(state.yaw);
  const project = (x, y, z) => { const q = at(x, y, z, cy, sy); return [ox + q[0] * scale, oy - q[1] * scale, q[2]]; };
  // The same for n points in a row, without a list for each.
  const projectAll = (data, outX, outY, outDepth) => {
    const [c0, c1, c2] = centre;
    for (let i = 0, k = 0; i < n; ++i, k += 3) {
      const u = (data[k] - c0) / unit, v = (data[k + 1] - c1) / unit, t = (data[k + 2] - c2) / unit;
      const away = sy * u + cy * v, depth = away * cp - t * sp, f = eye / Math.max(0.2, eye + depth) * scale;
      outX[i] = ox + (cy * u - sy * v) * f;
      outY[i] = oy - (t * cp + away * sp) * f;
      if (outDepth) outDepth[i] = depth;
    }
  };
  return { project, projectAll, centre, half, scale };
}
function someTicks(low, high, count) {  // two at least
  let t = ticks(low, high, count);
  for (; t.at.length < 2 && count < 12; count *= 1.4) t = ticks(low, high, count);
  return t;
}
function drawBox(ctx, { project, centre, half, scale }, size) {
  const corner = signs => signs.map((s, a) => centre[a] + s * half[a]);
  // A face is at the back if its outside looks away from the eye: seen from within, then.
  const middle = project(...centre), faceIsBack = (axis, sign) => {
    const b = (axis + 1) % 3, c = (axis + 2) % 3;
    const points = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([p, q]) => {
      const s = [0, 0, 0];
      s[axis] = sign; s[b] = p; s[c] = q;
      return project(...corner(s));
    });
    let area = 0;
    points.forEach((p, k) => { const q = points[(k + 1) % 4]; area += p[0] * q[1] - p[1] * q[0]; });
    return area * sign > 0;
  };
  const back = [0, 1, 2].map(a => ({ [-1]: faceIsBack(a, -1), 1: faceIsBack(a, 1) }));
  const axisTicks = [0, 1, 2].map(a => someTicks(centre[a] - half[a], centre[a] + half[a], clamp(half[a] / Math.max(...half) * scale / 34, 2, 7)));
  const segment = (p, q) => { ctx.moveTo(p[0], p[1]); ctx.lineTo(q[0], q[1]); };
  ctx.lineWidth = 1;
  for (let a = 0; a < 3; ++a) for (const sign of [-1, 1]) {
    if (!back[a][sign]) continue;
    const fixed = centre[a] + sign * half[a];
    ctx.strokeStyle = theme.grid;
    ctx.beginPath();
    for (const [along, across] of [[(a + 1) % 3, (a + 2) % 3], [(a + 2) % 3, (a + 1) % 3]])
      for (const v of axisTicks[along].at) {
        const p = [0, 0, 0], q = [0, 0, 0];
        p[a] = q[a] = fixed; p[along] = q[along] = v;
        p[across] = centre[across] - half[across]; q[across] = centre[across] + half[across];
        segment(project(...p), project(...q));
      }
    ctx.stroke();
    ctx.strokeStyle = theme.line;
    polygon(ctx, [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([u, v]) => {
      const s = [0, 0, 0];
      s[a] = sign; s[(a + 1) % 3] = u; s[(a + 2) % 3] = v;
      return project(...corner(s));
    }));
    ctx.stroke();
  }
  // Each axis is labelled along an edge of the outline: where a front face meets a back face.
  for (let a = 0; a < 3; ++a) {
    const b = (a + 1) % 3, c = (a + 2) % 3, ends = [];
    for (const sb of [-1, 1]) for (const sc of [-1, 1]) {
      if (back[b][sb] === back[c][sc]) continue;
      const s = [0, 0, 0];
      s[a] = -1; s[b] = sb; s[c] = sc;
      const p = project(...corner(s));
      s[a] = 1;
      const q = project(...corner(s));
      ends.push({ sb, sc, p, q, rank: a === 2 ? -(p[0] + q[0]) : p[1] + q[1] });
    }
    if (!ends.length) continue;
    const edge = ends.reduce((best, e) => e.rank > best.rank ? e : best);
    let nx = edge.q[1] - edge.p[1], ny = edge.p[0] - edge.q[0];
    const length = Math.hypot(nx, ny);
    if (length < 24) continue;  // seen end on
    const side = Math.sign(nx * ((edge.p[0] + edge.q[0]) / 2 - middle[0]) + ny * ((edge.p[1] + edge.q[1]) / 2 - middle[1])) || 1;
    nx *= side / length; ny *= side / length;
    ctx.strokeStyle = theme.muted;
    ctx.lineWidth = 1.5;
    ctx.beginPath();
    segment(edge.p, edge.q);
    ctx.stroke();
    setFont(ctx, size);
    ctx.fillStyle = theme.muted;
    let reach = 0, previous = null;
    for (const v of axisTicks[a].at) {
      const at = [0, 0, 0];
      at[a] = v; at[b] = centre[b] + edge.sb * half[b]; at[c] = centre[c] + edge.sc * half[c];
      const p = project(...at), text = tickText(v, axisTicks[a].step), width = ctx.measureText(text).width;
      const off = 7 + Math.abs(nx) * width / 2 + Math.abs(ny) * size / 2;
      reach = Math.max(reach, off + Math.abs(nx) * width / 2 + Math.abs(ny) * size / 2);
      const x = p[0] + nx * off, y = p[1] + ny * off;
      if (previous && Math.abs(x - previous[0]) < (width + previous[2]) / 2 + 5 && Math.abs(y - previous[1]) < size + 2) continue;
      previous = [x, y, width];
      put(ctx, text, x, y, 'center', 'middle');
    }
    setFont(ctx, size + 1, 600);
    ctx.fillStyle = theme.fg;
    const width = ctx.measureText(axisNames[a]).width, off = reach + 4 + Math.abs(nx) * width / 2 + Math.abs(ny) * size / 2;
    put(ctx, axisNames[a], (edge.p[0] + edge.q[0]) / 2 + nx * off, (edge.p[1] + edge.q[1]) / 2 + ny * off, 'center', 'middle');
  }
}
const startHull = { key: '', x: new Float64Array(n), y: new Float64Array(n), hull: [] };
const facets = { key: '', faces: [], cost: 0 };
function drawSpace() {
  const { ctx, w, h } = scene, size = fontSize(w), r = radius(Math.min(w, h));
  const p = projector(shownBounds()), { project } = p;
  toScreen = q => project(...q).slice(0, 2);
  drawBox(ctx, p, size);
  if (onSphere && bases[look.basis].orthonormal) drawGraticule(ctx, project);
  p.projectAll(now, screenX, screenY, depthOf);
  if (state.hull) {
    // The outline of the hull in space is the hull of the outline's points.
    const key = [look.basis, look.axes, state.yaw, state.pitch, p.scale, state.pan, w, h, p.centre].join();
    if (key !== startHull.key) {
      startHull.key = key;
      p.projectAll(path, startHull.x, startHull.y, null);
      startHull.hull = hull2(startHull.x, startHull.y);
    }
    drawHulls(ctx, hull2(screenX, screenY), startHull.hull);
    if (n <= 600) drawFacets(ctx);
  }
  if (state.flats) for (const flat of flats) drawFlat(ctx, flat, p);
  drawTails(ctx, (f, i) => {
    const at = 3 * (f * n + i), q = project(path[at], path[at + 1], path[at + 2]);
    return Number.isFinite(q[0] + q[1]) ? q : null;
  }, Math.max(1, r / 3));
  drawAttentionOf(ctx, focus());
  drawMarks(ctx, r, true);
  drawRings(ctx, r);
  if (state.flats) for (const flat of flats) if (!flat.directions.length) { const q = project(...flat.point); drawDiamond(ctx, q[0], q[1], r + 6, flat.predicted); }
}
// A line or a plane, as far as the box reaches.
function drawFlat(ctx, flat, { project, centre, half }) {
  if (!flat.directions.length) return;
  const low = centre.map((c, a) => c - half[a]), high = centre.map((c, a) => c + half[a]);
  const plane = flat.directions.length === 2, corners = plane ? clippedPlane(flat.point, flat.directions, low, high) : clippedLine(flat.point, flat.directions[0], low, high);
  if (!corners || corners.length < 2) return;
  polygon(ctx, corners.map(q => project(...q)), plane);  // a line is not drawn back: that would fill the gaps of its dashes
  if (plane) {
    ctx.fillStyle = theme.fg;
    ctx.globalAlpha = 0.06;
    ctx.fill();
    ctx.globalAlpha = 1;
  }
  flatStyle(ctx, flat, plane ? 1.2 : 1.8);
  ctx.stroke();
  ctx.setLineDash([]);
}
// The edges of the hull in space. Where it takes long to find, it waits for the run to pause.
function drawFacets(ctx) {
  const key = [state.frame, look.basis, look.axes].join();
  if (key !== facets.key) {
    if (state.playing && facets.cost > 4) return;
    const before = performance.now();
    facets.key = key;
    facets.faces = hull3(now);
    facets.cost = performance.now() - before;
  }
  const edges = new Map(), { faces } = facets;
  for (const f of faces) for (let e = 0; e < 3; ++e) {
    const u = f.v[e], v = f.v[(e + 1) % 3], key = Math.min(u, v) * n + Math.max(u, v);
    if (edges.has(key)) edges.get(key).push(f); else edges.set(key, [f]);
  }
  ctx.strokeStyle = theme.accent;
  ctx.lineWidth = 1;
  ctx.globalAlpha = 0.3;
  ctx.beginPath();
  for (const [key, sides] of edges) {  // an edge inside a flat face is not one
    if (sides.length === 2 && sides[0].unit.reduce((s, q, k) => s + q * sides[1].unit[k], 0) > 0.9999) continue;
    const u = Math.floor(key / n), v = key % n;
    ctx.moveTo(screenX[u], screenY[u]);
    ctx.lineTo(screenX[v], screenY[v]);
  }
  ctx.stroke();
  ctx.globalAlpha = 1;
}
function drawGraticule(ctx, project) {
  ctx.strokeStyle = theme.line;
  ctx.lineWidth = 1;
  ctx.globalAlpha = 0.7;
  ctx.beginPath();
  const curve = point => { for (let k = 0; k <= 72; ++k) { const q = project(...point(k * Math.PI / 36)); if (k) ctx.lineTo(q[0], q[1]); else ctx.moveTo(q[0], q[1]); } };
  for (let k = 0; k < 6; ++k) { const c = Math.cos(k * Math.PI / 6), s = Math.sin(k * Math.PI / 6); curve(a => [c * Math.cos(a), s * Math.cos(a), Math.sin(a)]); }
  for (let k = -2; k <= 2; ++k) { const c = Math.cos(k * Math.PI / 6), s = Math.sin(k * Math.PI / 6); curve(a => [c * Math.cos(a), c * Math.sin(a), s]); }
  ctx.stroke();
  ctx.globalAlpha = 1;
}
)js";

}}}  // namespace attnflow::detail
