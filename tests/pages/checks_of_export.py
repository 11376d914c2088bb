"""Export, themes, panels, and numbers that are not finite."""

import re
import struct
import time

import picture
from pages import check, close, need, SMALL


@check
def export_to_files(pages):
    """The buttons give a well-formed SVG, equal to the view, and a PNG of twice the size of the scene."""
    pages.open("plane", "frame=17")
    box = pages.box("scene")
    numbers = pages.numbers("plane")

    def exported(identifier, suffix):
        pages.show(identifier)
        before = set(pages.browser.downloads.iterdir())
        pages.browser.click(identifier)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            new = [file for file in set(pages.browser.downloads.iterdir()) - before
                   if file.suffix == suffix and file.stat().st_size]
            if new:
                return new[0]
            time.sleep(0.05)
        raise AssertionError(f"#{identifier} gives no {suffix} file, but {list(pages.browser.downloads.iterdir())}")

    file = exported("export-svg", ".svg")
    text = file.read_text(encoding="utf-8")
    drawn = picture.Picture(text)
    need(drawn.root.tag == "{http://www.w3.org/2000/svg}svg", "the root is", drawn.root.tag)
    need(sorted(drawn.tokens) == list(range(numbers.n)), "tokens of the file:", sorted(drawn.tokens))
    need(not re.search(r"(href|src)\s*=|NaN|Infinity|undefined", text), "the file refers to others, or holds NaN")
    png = exported("export-png", ".png").read_bytes()
    need(png[:8] == b"\x89PNG\r\n\x1a\n", "not a PNG file")
    width, height = struct.unpack(">II", png[16:24])
    close(width, 2 * box["w"], 2, "width of the PNG")
    close(height, 2 * box["h"], 2, "height of the PNG")
    for name in SMALL:  # whatever the view
        pages.open(name, "frame=1")
        drawn = pages.picture()
        if name != "sample":
            data = pages.numbers(name)
            finite = [i for i in range(data.n) if data.is_finite(min(1, data.m - 1), i)]
            need(sorted(drawn.tokens) == finite, name, "tokens drawn:", len(drawn.tokens), "of", len(finite))
    pages.fine("export:")


@check
def what_is_not_finite(pages):
    """Tokens that are not finite are not drawn, the others are; a moment with none has no P, and plays on."""
    numbers = pages.numbers("holes")
    for frame in (0, 3, 4, 8):
        pages.open("holes", f"frame={frame}")
        drawn = pages.picture()
        finite = [i for i in range(numbers.n) if numbers.is_finite(frame, i)]
        need(sorted(drawn.tokens) == finite, f"frame {frame}: drawn are", sorted(drawn.tokens), "expected", finite)
        if not finite:
            need(pages.run("return Number.isNaN(window.attnflow.attention(0, 0))"), f"frame {frame}: a P of nothing")
    pages.open("holes")
    pages.choose("speed", "8")
    need(pages.browser.wait("!window.attnflow.state.playing", 30), "does not play to the end")
    pages.fine("holes:")


@check
def themes_and_motion(pages):
    """Light and dark follow the system, or the button; who wants no motion gets none until asked for."""
    theme = "return document.documentElement.dataset.theme"
    brightness = ("const c = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);"
                  "return c[0] + c[1] + c[2];")
    try:
        for name in ("light", "dark"):
            pages.browser.prefer(prefers_color_scheme=name)
            pages.open("plane", "frame=3")
            need(pages.run(theme) == name, "the system's", name, "gives", pages.run(theme))
            need((pages.run(brightness) < 200) == (name == "dark"), name, "has the brightness", pages.run(brightness))
            pages.browser.click("theme")
            pages.browser.frames(2)
            need(pages.run(theme) != name, "the button leaves", name)
        pages.browser.prefer(prefers_reduced_motion="reduce")
        pages.open("plane")
        need(not pages.run("return window.attnflow.state.playing"), "plays although motion is not wanted")
        need(pages.frame() == 0, "starts at", pages.frame())
    finally:
        pages.browser.prefer()


@check
def panels(pages):
    """A chart for each series, and a histogram of inner products, all drawn; a click on a chart sets the time."""
    pages.open("line", "frame=4")
    need(pages.run("return document.querySelectorAll('#charts canvas').length") == 2, "two charts expected")
    text = pages.run("return document.getElementById('charts').innerText")
    need("clusters" in text and "distance to the limit" in text, "names of the charts:", text)
    blank = ("const c = arguments[0]; const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
             "for (let k = 3; k < d.length; k += 4) if (d[k]) return false; return true;")
    for selector in ("#charts canvas:first-of-type", "#histogram"):
        need(not pages.run(blank.replace("arguments[0]", f"document.querySelector('{selector}')")), selector, "is blank")
    pages.run("document.querySelector('#charts canvas').scrollIntoView({ block: 'center' })")
    pages.browser.frames(2)
    box = pages.run("const b = document.querySelector('#charts canvas').getBoundingClientRect();"
                    "return [b.x, b.y, b.width, b.height]")
    pages.browser.drag((box[0] + 0.4 * box[2], box[1] + box[3] / 2), (box[0] + 0.6 * box[2], box[1] + box[3] / 2))
    pages.browser.frames(2)
    need(10 < pages.frame() < 35, "a drag on the chart to its middle gives frame", pages.frame())
    pages.fine("panels:")
