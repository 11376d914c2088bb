/// \file
/// The elements of the page that write_html() fills.
#pragma once

#include <attnflow/detail/abi.hpp>

#include <string_view>

namespace attnflow { inline namespace ATTNFLOW_ABI { namespace detail {

inline constexpr std::string_view page_markup = R"html(
<div id="page">
<header><h1 id="title"></h1><p id="note" hidden></p></header>
<div id="main">
  <div id="stage"><canvas id="scene" role="img" tabindex="0"></canvas></div>
  <div id="transport">
    <button id="play" class="icon" title="play or pause (space)" aria-label="play or pause"><svg viewBox="0 0 16 16"><path id="play-shape" d="M3 1l11 7-11 7z"/></svg></button>
    <button id="back" class="icon" title="one frame back (left arrow)" aria-label="one frame back"><svg viewBox="0 0 16 16"><path d="M2 2h3v12H2zM14 2v12L6 8z"/></svg></button>
    <button id="forth" class="icon" title="one frame forth (right arrow)" aria-label="one frame forth"><svg viewBox="0 0 16 16"><path d="M11 2h3v12h-3zM2 2v12l8-6z"/></svg></button>
    <button id="loop" class="icon" aria-pressed="false" title="loop (L)" aria-label="loop"><svg viewBox="0 0 16 16"><path d="M4 4h7V1l5 4-5 4V6H4v3H2V6a2 2 0 0 1 2-2zM12 12H5v3L0 11l5-4v3h7V7h2v3a2 2 0 0 1-2 2z"/></svg></button>
    <select id="speed" title="speed (+ and -)" aria-label="speed"><option value="0.125">&#8539;&times;</option><option value="0.25">&frac14;&times;</option><option value="0.5">&frac12;&times;</option><option value="1" selected>1&times;</option><option value="2">2&times;</option><option value="4">4&times;</option><option value="8">8&times;</option></select>
    <input id="scrub" type="range" min="0" step="any" value="0" aria-label="time">
    <span id="clock"></span>
  </div>
  <div id="options">
    <label>plot <select id="plot"><option value="2d">2-D</option><option value="3d">3-D</option><option value="time">against time</option></select></label>
    <label id="basis-option">basis <select id="basis"></select></label>
    <label id="axis-x-option">x <select id="axis-x"></select></label>
    <label id="axis-y-option">y <select id="axis-y"></select></label>
    <label id="axis-z-option">z <select id="axis-z"></select></label>
    <label>colour by <select id="colour"><option value="cluster">cluster</option><option value="token">token</option><option value="distance">distance to leader</option></select></label>
    <label>fit <select id="fit"><option value="all">whole run</option><option value="current">current frame</option></select></label>
    <label id="tails-option">tails <select id="tails"><option value="off">off</option><option value="short" selected>short</option><option value="full">from the start</option></select></label>
    <label id="hull-option"><input id="hull" type="checkbox" checked> <span>convex hull</span></label>
    <label id="flats-option"><input id="flats" type="checkbox" checked> <span>limits</span></label>
    <label id="turn-option"><input id="turn" type="checkbox" checked> turn while playing</label>
    <button id="reset" title="reset the view (R)">reset</button>
    <button id="theme" title="light or dark (D)" aria-label="light or dark">&#9680;</button>
    <button id="export-svg" title="save this view as a drawing (S)" aria-label="save SVG">&darr; SVG</button>
    <button id="export-png" title="save this view as an image (P)" aria-label="save PNG">&darr; PNG</button>
  </div>
  <div id="legend"></div>
  <details><summary>keys and pointer</summary><div id="keys"></div></details>
</div>
<aside>
  <figure id="heat-figure"><figcaption><span>attention P</span><select id="head" aria-label="head"></select><label id="sort-option"><input id="sort" type="checkbox"> sort by cluster</label></figcaption><p id="heat-note" hidden></p><canvas id="heat" role="img" tabindex="0" aria-label="heat map of the attention matrix"></canvas></figure>
  <div id="charts"></div>
  <figure id="histogram-figure"><figcaption><span>inner products &#10216;x<sub>i</sub>, x<sub>j</sub>&#10217;</span><output id="histogram-note"></output></figcaption><canvas id="histogram" class="chart" role="img" aria-label="histogram of the inner products of the tokens"></canvas></figure>
  <table id="parameters"><caption>parameters</caption><tbody></tbody></table>
</aside>
</div>
<div id="tip" role="status" hidden></div>
)html";

}}}  // namespace attnflow::detail
