/// \file
/// The program of the page: the picture as a drawing (SVG) and as an image (PNG).
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_export = R"js(
// ---- the picture as a drawing ------------------------------------------------------------------------
// A context that writes down what is drawn into it. It knows what the scene uses of a canvas: whole circles, paths,
// rectangles, text, moving and turning of text, and clipping to the last rectangle (an inner svg element, which needs no
// name). Tokens become elements of class token with their number in data-i; labels of axes tell value and place.
let recording = false;
const makePath = () => recording ? new PathText() : new Path2D();
const short = v => String(Math.round(v * 100) / 100);
class PathText {
  constructor() { this.text = ''; }
  moveTo(x, y) { this.add('M', x, y); }
  lineTo(x, y) { this.add('L', x, y); }
  add(letter, x, y) { if (Number.isFinite(x + y)) this.text += letter + short(x) + ' ' + short(y); }
  arc(x, y, r) { this.text += `M${short(x + r)} ${short(y)}A${short(r)} ${short(r)} 0 1 1 ${short(x - r)} ${short(y)}A${short(r)} ${short(r)} 0 1 1 ${short(x + r)} ${short(y)}Z`; }
  rect(x, y, w, h) { this.last = [x, y, w, h]; this.text += `M${short(x)} ${short(y)}h${short(w)}v${short(h)}h${short(-w)}Z`; }
  closePath() { this.text += 'Z'; }
}
const escaped = text => String(text).replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '').replace(/[&<>\x22\x27]/g, c => '&#' + c.charCodeAt(0) + ';');
function svgContext(w, h) {
  const out = [], saved = [], ruler = scene.canvas.getContext('2d');
  let now = { fillStyle: '#000000', strokeStyle: '#000000', lineWidth: 1, globalAlpha: 1, font: '', textAlign: 'left', textBaseline: 'alphabetic', dash: [], move: '', open: 0 };
  const write = (name, attributes, text) => {
    let line = '<' + name;
    for (const key of Object.keys(attributes)) if (attributes[key] !== '') line += ` ${key}="${escaped(attributes[key])}"`;
    out.push(line + (text === undefined ? '/>' : '>' + escaped(text) + '</' + name + '>'));
  };
  const alpha = () => now.globalAlpha < 1 ? short(now.globalAlpha) : '';
  const pen = () => ({ fill: 'none', stroke: now.strokeStyle, 'stroke-width': short(now.lineWidth), 'stroke-opacity': alpha(), 'stroke-dasharray': now.dash.join(' '), 'stroke-linejoin': 'round' });
  let path = new PathText();
  const ctx = {
    about: null,
    save() { saved.push(now); now = { ...now, open: 0 }; },  // `open`: clippings since the last save
    restore() { for (let k = 0; k < now.open; ++k) out.push('</svg>'); now = saved.pop(); },
    beginPath() { path = new PathText(); },
    moveTo: (x, y) => path.moveTo(x, y), lineTo: (x, y) => path.lineTo(x, y), arc: (x, y, r) => path.arc(x, y, r),
    rect: (x, y, width, height) => path.rect(x, y, width, height), closePath: () => path.closePath(),
    clip() {
      const [x, y, width, height] = path.last.map(short);
      out.push(`<svg x="${x}" y="${y}" width="${width}" height="${height}" viewBox="${x} ${y} ${Math.max(width, 0.01)} ${Math.max(height, 0.01)}" overflow="hidden">`);
      ++now.open;
    },
    stroke(p = path) { if (p.text) write('path', { d: p.text, ...pen() }); },
    fill(p = path) { if (p.text) write('path', { d: p.text, fill: now.fillStyle, 'fill-opacity': alpha() }); },
    strokeRect(x, y, width, height) { write('rect', { x: short(x), y: short(y), width: short(width), height: short(height), ...pen() }); },
    fillRect(x, y, width, height) { write('rect', { x: short(x), y: short(y), width: short(width), height: short(height), fill: now.fillStyle }); },
    setLineDash(dash) { now.dash = dash; },
    translate(x, y) { now.move += `translate(${short(x)} ${short(y)})`; },
    rotate(angle) { now.move += `rotate(${short(angle * 180 / Math.PI)})`; },
    measureText(text) { ruler.font = now.font; return ruler.measureText(text); },
    fillText(text, x, y) {
      const [weight, size] = now.font.split(' '), pixels = parseFloat(size), down = { top: 0.8, middle: 0.35, bottom: -0.2 }[now.textBaseline] || 0;
      write('text', { ...this.about, x: short(x), y: short(y + down * pixels), 'font-size': pixels, 'font-weight': weight === '400' ? '' : weight,
        'text-anchor': { center: 'middle', right: 'end' }[now.textAlign] || '', fill: now.fillStyle, transform: now.move }, text);
      this.about = null;
    },
    token(i, shape, r, colour, opacity) {
      const x = screenX[i], y = screenY[i], common = { class: 'token', 'data-i': idOf(i) };
      if (!Number.isFinite(x + y)) return;
      const paint = { fill: colour, 'fill-opacity': opacity < 1 ? short(opacity) : '' };
      if (shape === 0) { write('circle', { ...common, cx: short(x), cy: short(y), r: short(r), ...paint }); return; }
      const mark = new PathText();
      addMark(mark, shape, x, y, r);
      write('path', { ...common, 'data-x': short(x), 'data-y': short(y), d: mark.text, ...paint });
    },
    text() {
      const title = view.title || 'tokens', face = family.replace(/\x22/g, '\'');
      return `<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="${document.querySelector('svg').namespaceURI}" width="${short(w)}" height="${short(h)}" viewBox="0 0 ${short(w)} ${short(h)}" font-family="${escaped(face)}" role="img">\n` +
        `<title>${escaped(title)}</title>\n<desc>${escaped('t = ' + timeAt(state.frame) + ', ' + n + ' tokens')}</desc>\n<rect width="100%" height="100%" fill="${theme.bg}"/>\n` + out.join('\n') + '\n</svg>\n';
    },
  };
  for (const key of ['fillStyle', 'strokeStyle', 'lineWidth', 'globalAlpha', 'font', 'textAlign', 'textBaseline'])
    Object.defineProperty(ctx, key, { get: () => now[key], set: v => { now[key] = v; } });
  return ctx;
}
const drawScene = () => ({ time: drawTime, '2d': drawPlane, '3d': drawSpace })[look.plot]();
// Draws the scene elsewhere, and once more where it belongs, since places on the screen are taken from the last picture.
function drawElsewhere(ctx, ratio, act) {
  if (!scene.begin()) return null;
  between(path, state.frame, now);
  repaint();
  const own = { ctx: scene.ctx, ratio: scene.ratio };
  let result = null;
  try {
    Object.assign(scene, { ctx, ratio });
    drawScene();
    sayIfEmpty();
    result = act();
  } finally {
    recording = false;
    Object.assign(scene, own);
    plot1.key = startHull.key = '';
  }
  draw(performance.now());
  return result;
}
function svgText() {
  scene.begin();
  const ctx = svgContext(scene.w, scene.h);
  recording = true;
  return drawElsewhere(ctx, 1, () => ctx.text());
}
function pngCanvas() {  // at twice the size on the screen
  scene.begin();
  const canvas = document.createElement('canvas'), ctx = canvas.getContext('2d');
  canvas.width = Math.round(2 * scene.w);
  canvas.height = Math.round(2 * scene.h);
  ctx.setTransform(2, 0, 0, 2, 0, 0);
  ctx.fillStyle = theme.bg;
  ctx.fillRect(0, 0, scene.w, scene.h);
  ctx.lineJoin = 'round';
  return drawElsewhere(ctx, 2, () => canvas);
}
function download(blob, ending) {
  const link = document.createElement('a'), name = (view.title || 'tokens').replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '').slice(0, 60) || 'tokens';
  link.href = URL.createObjectURL(blob);
  link.download = name + '-t=' + Number(timeAt(state.frame).toPrecision(6)) + '.' + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
const saveSvg = () => download(new Blob([svgText()], { type: 'image/svg+xml' }), 'svg');
const savePng = () => pngCanvas().toBlob(blob => download(blob, 'png'), 'image/png');
)js";

}}}  // namespace attnflow::detail
