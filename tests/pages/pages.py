"""What the checks of pages have in common: a page open in the browser, and what to demand of it."""

import math
import pathlib
import time
import urllib.parse

import expected
import picture

WIDTHS = {375: 740, 1280: 800, 1920: 1080}  # and the heights
SMALL = ["line", "plane", "causal", "far", "given", "space", "ten", "holes", "one token", "none", "sample"]
CHECKS = []


def check(function):
    """Adds a function of one argument, Pages, to what page_test.py runs."""
    CHECKS.append(function)
    return function


def need(condition, *words):
    if not condition:
        raise AssertionError(" ".join(str(word) for word in words))


def close(found, wanted, tolerance, *words):
    need(abs(found - wanted) <= tolerance, *words, f"is {found}, expected {wanted} up to {tolerance}")


def places_agree(drawn, wanted, *words):
    """Within half a pixel, for every token."""
    for i, place in wanted.items():
        need(i in drawn, *words, f"token {i} is not drawn")
        need(math.dist(drawn[i], place) <= 0.5, *words, f"token {i} is at {drawn[i]}, expected {place}")


class Pages:
    """The browser, with what the checks do again and again."""

    def __init__(self, browser, folder, screenshots):
        self.browser, self.folder, self.screenshots = browser, pathlib.Path(folder).resolve(), screenshots
        self.run = browser.run

    def numbers(self, name):
        return expected.Numbers(self.folder / (name + ".json"))

    def open(self, name, fragment="", width=1280, wait=30):
        """Opens a page and waits for its first picture; #frame=0 by `fragment` keeps it still."""
        self.browser.resize(width, WIDTHS[width])
        path = urllib.parse.quote(str(self.folder / (name + ".html")))
        self.browser.open("file://" + path + ("#" + fragment if fragment else ""))
        if not self.browser.wait("document.documentElement.dataset.state === 'ready'", wait):
            raise AssertionError(f"{name} was never ready: {'; '.join(self.complaints()[:3])}")
        self.browser.frames(3)

    def complaints(self):
        """What must not be: errors, and requests other than for the page itself."""
        asked = [url for url in self.browser.requests() if not url.startswith(("file:", "data:", "blob:"))]
        error = self.run("return document.documentElement.dataset.error || ''")
        return self.browser.console() + asked + ([error] if error else [])

    def fine(self, *words):
        complaints = self.complaints()
        need(not complaints, *words, "the browser says:", "; ".join(complaints[:3]))

    def box(self, identifier):
        return self.run("const b = document.getElementById(arguments[0]).getBoundingClientRect();"
                        "return { x: b.x, y: b.y, w: b.width, h: b.height };", identifier)

    def shown(self, identifier):
        return self.run("const e = document.getElementById(arguments[0]);"
                        "return Boolean(e) && e.getClientRects().length > 0;", identifier)

    def show(self, identifier):
        self.run("document.getElementById(arguments[0]).scrollIntoView({ block: 'center' })", identifier)
        self.browser.frames(2)
        return self.box(identifier)

    def choose(self, identifier, value):
        """Chooses an option of a select by its value, or by its text."""
        done = self.run(
            "const s = document.getElementById(arguments[0]), o = [...s.options].find("
            "  o => o.value === String(arguments[1]) || o.textContent.trim() === String(arguments[1]));"
            "if (!o) return [...s.options].map(o => o.value + ' (' + o.textContent.trim() + ')').join(', ');"
            "s.value = o.value; s.dispatchEvent(new Event('input', { bubbles: true }));"
            "s.dispatchEvent(new Event('change', { bubbles: true })); return true;", identifier, value)
        need(done is True, f"#{identifier} has no option {value}, only", done)
        self.browser.frames(2)

    def option_of_axis(self, identifier, k):
        """The k-th axis of a basis, whatever its name."""
        self.run("const s = document.getElementById(arguments[0]); s.selectedIndex = arguments[1];"
                 "s.dispatchEvent(new Event('input', { bubbles: true }));"
                 "s.dispatchEvent(new Event('change', { bubbles: true }));", identifier, k)
        self.browser.frames(2)

    def tick(self, identifier, on):
        if self.run("return document.getElementById(arguments[0]).checked", identifier) != on:
            self.show(identifier)
            self.browser.click(identifier)
        self.browser.frames(2)

    def pixels(self, canvas, places):
        """What the canvas shows at places in CSS pixels: [red, green, blue, opacity] of each."""
        return self.run(
            "const c = document.getElementById(arguments[0]), g = c.getContext('2d'), s = c.width / c.clientWidth;"
            "return arguments[1].map(([x, y]) => Array.from("
            "  g.getImageData(Math.round(x * s), Math.round(y * s), 1, 1).data));", canvas, places)

    def picture(self):
        return picture.Picture(self.run("return window.attnflow.svg()"))

    def frame(self):
        return self.run("return window.attnflow.state.frame")

    def scrub_to(self, value):
        self.run("const s = document.getElementById('scrub'); s.value = arguments[0];"
                 "s.dispatchEvent(new Event('input', { bubbles: true }));", value)
        self.browser.frames(2)

    def screens(self):
        """Where the page says that its tokens are."""
        return self.run("return Array.from({ length: window.attnflow.n }, (_, i) => window.attnflow.screen(i))")

    def shot(self, name):
        if self.screenshots:
            pathlib.Path(self.screenshots).mkdir(parents=True, exist_ok=True)
            self.browser.screenshot(pathlib.Path(self.screenshots, name.replace(" ", "_") + ".png"))
