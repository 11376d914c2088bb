/// \file
/// The style of the page that write_html() fills: light and dark, wide and narrow.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_style = R"css(
:root {
  --bg: #ffffff; --panel: #f5f7f9; --fg: #1a1f25; --muted: #56616d; --line: #c9d0d8; --grid: #e8ecf0;
  --accent: #0072b2; --on-accent: #ffffff;
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
:root[data-theme=dark] {
  --bg: #0f1318; --panel: #181e25; --fg: #e9edf2; --muted: #a3afbc; --line: #3a4653; --grid: #232b34;
  --accent: #56b4e9; --on-accent: #0f1318; color-scheme: dark;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); }
[hidden] { display: none !important; }
#page { display: grid; gap: 12px 20px; padding: 14px 18px 18px; grid-template-columns: minmax(0, 1fr); }
header h1 { font-size: clamp(1.1rem, 0.9rem + 0.9vw, 1.7rem); line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
header p { margin: 4px 0 0; color: var(--muted); overflow-wrap: anywhere; }
#main { display: flex; flex-direction: column; gap: 10px; min-width: 0; }
#stage { position: relative; height: min(100vw, 72vh); min-height: 300px; border: 1px solid var(--line);
  border-radius: 8px; overflow: hidden; }
canvas { display: block; width: 100%; }
#scene { height: 100%; }
#scene.dim1 { cursor: col-resize; touch-action: pan-y; }
#scene.dim2 { cursor: grab; touch-action: pan-y; }
#scene.dim3 { cursor: grab; touch-action: none; }
#scene.held { cursor: grabbing; }
#tip { position: fixed; left: 0; top: 0; pointer-events: none; padding: 4px 8px; border-radius: 5px; background: var(--fg);
  color: var(--bg); font-size: 0.8rem; line-height: 1.35; white-space: pre; font-variant-numeric: tabular-nums; z-index: 2; max-width: 22em; }
#transport { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; }
#scrub { flex: 1 1 140px; min-width: 0; accent-color: var(--accent); height: 28px; margin: 0 4px; }
#clock { font-variant-numeric: tabular-nums; white-space: nowrap; min-width: 14em; }
#clock b { font-weight: 650; }
#clock span { color: var(--muted); }
button, select { font: inherit; font-size: 0.9rem; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; height: 34px; padding: 0 10px; cursor: pointer; }
button:hover, select:hover { border-color: var(--accent); }
button:focus-visible, select:focus-visible, input:focus-visible, canvas:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
canvas:focus-visible { outline-offset: -2px; }
button:disabled, select:disabled, option:disabled { opacity: 0.5; cursor: default; }
button svg { width: 16px; height: 16px; display: block; fill: currentColor; }
button.icon { padding: 0 9px; }
button[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
#play { background: var(--accent); border-color: var(--accent); color: var(--on-accent); padding: 0 14px; }
#options, #legend, #keys { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; font-size: 0.88rem; }
details { font-size: 0.8rem; color: var(--muted); }
summary { cursor: pointer; width: max-content; }
#keys { padding-top: 5px; }
#options label { display: inline-flex; align-items: center; gap: 6px; cursor: pointer; }
#options select, #options button { height: 30px; }
#options input { accent-color: var(--accent); margin: 0; width: 16px; height: 16px; }
#legend span { display: inline-flex; align-items: center; gap: 5px; }
#legend i { font-style: normal; width: 1em; text-align: center; }
#legend i.line { width: 22px; height: 0; border-top: 2px solid var(--muted); }
#legend i.dashed { border-top-style: dashed; }
#legend i.dotted { border-top-style: dotted; }
#legend i.flat { border-color: var(--fg); }
#legend i.band { width: 22px; height: 11px; background: var(--accent); opacity: 0.3; }
#options select { max-width: 13em; padding: 0 4px; }
#legend i.bar { width: 110px; height: 10px; border: 1px solid var(--line); }
#legend i.diamond { width: 10px; height: 10px; border: 1.6px solid var(--fg); transform: rotate(45deg); margin: 0 3px; }
#legend i.diamond.dashed { border-style: dashed; }
#legend i.ring { width: 13px; height: 13px; border: 2px solid var(--fg); border-radius: 50%; }
#keys { color: var(--muted); font-size: 0.78rem; gap: 4px 12px; }
kbd { font: inherit; font-size: 0.92em; border: 1px solid var(--line); border-bottom-width: 2px; border-radius: 4px;
  padding: 0 5px; color: var(--fg); background: var(--panel); }
aside { display: flex; flex-direction: column; gap: 14px; min-width: 0; }
figure { margin: 0; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 10px; font-size: 0.88rem; font-weight: 600; }
figcaption label { font-weight: 400; display: inline-flex; gap: 5px; align-items: center; cursor: pointer; }
figcaption output { font-variant-numeric: tabular-nums; font-weight: 400; }
#heat { aspect-ratio: 1 / 1.1; max-width: 520px; margin: 4px auto 0; cursor: crosshair; }
#heat-note { color: var(--muted); font-size: 0.8rem; margin: 0; }
figcaption select { height: 26px; font-size: 0.85rem; max-width: 11em; }
.chart { height: 112px; margin-top: 2px; cursor: col-resize; touch-action: pan-y; }
table { border-collapse: collapse; width: 100%; font-size: 0.85rem; }
caption { text-align: left; font-weight: 600; font-size: 0.88rem; padding-bottom: 3px; }
th, td { text-align: left; vertical-align: top; padding: 3px 0; border-top: 1px solid var(--grid); overflow-wrap: anywhere; }
th { font-weight: 400; color: var(--muted); width: 42%; padding-right: 10px; }
@media (min-width: 900px) {
  #page { padding: 18px 26px; height: 100vh; min-height: 620px; grid-template-rows: auto minmax(0, 1fr); }
  #page.aside { grid-template-columns: minmax(0, 1fr) clamp(300px, 25vw, 480px); }
  header { grid-column: 1 / -1; }
  #stage { height: auto; flex: 1 1 0; }
  aside { overflow-y: auto; min-height: 0; padding-right: 6px; }
}
@media (min-width: 1700px) { :root { font-size: 17px; } .chart { height: 140px; } }
@media (max-width: 500px) {
  #page { padding: 10px 10px 16px; }
  #scrub { flex-basis: 100%; order: 1; margin: 0; }
  #clock { order: 2; min-width: 0; }
}
)css";

}}}  // namespace attnflow::detail
