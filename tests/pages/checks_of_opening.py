"""Pages open without an error, a request or a scroll bar, and can be read and reached."""

from pages import check, need, SMALL, WIDTHS


@check
def every_page_opens_at_every_width(pages):
    """From file://, with no error, no request, nothing wider than the window, and its data as they are."""
    for width in WIDTHS:
        for name in SMALL:
            words = f"{name} at {width}:"
            pages.open(name, "frame=0", width)
            pages.fine(words)
            pages.shot(f"{name}_{width}")
            page, inside = pages.run("return [document.documentElement.scrollWidth, innerWidth]")
            need(page <= inside, words, f"{page} pixels wide")
            outside = pages.run(
                "return [...document.querySelectorAll('body *')].filter(e => {"
                "  const b = e.getBoundingClientRect();"
                "  return e.getClientRects().length > 0 && !e.closest('svg') &&"
                "    (b.right > innerWidth + 0.5 || b.left < -0.5);"
                "}).map(e => e.tagName + ' ' + e.id + ' ' + e.className);")
            need(not outside, words, "outside of the window:", outside[:5])
            numbers = pages.numbers(name)
            found = pages.run("const a = window.attnflow; return [a.n, a.dim, Array.from(a.times)]")
            need(found == [numbers.n, numbers.d, numbers.times], words, "n, d or the times are", found)
            need(pages.run("return document.getElementById('title').textContent") == numbers.title, words, "title")


@check
def files_are_small(pages):
    """A page with next to no data is the page's own code: under 100 kB. The largest is at most 64 MB."""
    sizes = {file.stem: file.stat().st_size for file in pages.folder.glob("*.html")}
    need(sizes["none"] < 100_000, "the page's own code has", sizes["none"], "bytes")
    need(max(sizes.values()) <= 64_000_000, "sizes:", sizes)


# Texts with less contrast than 4.5 [WCAG 2.1, 1.4.3], or too small.
HARD_TO_READ = """
const parts = colour => colour.match(/[\\d.]+/g).map(Number);
const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const luminance = colour => {
  const [r, g, b] = parts(colour).map(v => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = element => {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor, p = parts(colour);
    if (p.length < 4 || p[3] > 0.5) return colour;
  }
  return 'rgb(255, 255, 255)';
};
const bad = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; node = walker.nextNode();) {
  const e = node.parentElement, text = node.textContent.trim();
  if (!text || !e.getClientRects().length || e.closest('#legend i, script, option')) continue;
  const style = getComputedStyle(e), size = parseFloat(style.fontSize);
  const [dark, light] = [luminance(style.color), luminance(behind(e))].sort((a, b) => a - b);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < 4.5 || size < 10.5) bad.push(text + ' ' + ratio.toFixed(2) + ' ' + size + 'px');
}
return bad;
"""


@check
def texts_can_be_read(pages):
    """At every width, light and dark: at least 10.5 pixels, and a contrast of 4.5 with what is behind them."""
    for width in WIDTHS:
        for theme in ("light", "dark"):
            for name in ("plane", "ten"):
                pages.open(name, "frame=5&theme=" + theme, width)
                pages.shot(f"{name}_{width}_{theme}")
                bad = pages.run(HARD_TO_READ)
                need(not bad, f"{name} at {width}, {theme}:", bad[:5])


@check
def controls_have_names_and_take_the_focus(pages):
    """Everything to press or choose has a name for a screen reader, and Tab gets there."""
    pages.open("plane", "frame=5", 1280)
    nameless = pages.run(
        "return [...document.querySelectorAll('button, select, input, canvas')].filter(e => e.getClientRects().length &&"
        "  !(e.ariaLabel || e.title || (e.labels && e.labels.length) || (e.tagName === 'BUTTON' && e.textContent.trim()))"
        ").map(e => e.tagName + ' ' + e.id)")
    need(not nameless, "without a name:", nameless)
    wanted = set(pages.run("return [...document.querySelectorAll('button, select, input')].filter("
                           "e => e.getClientRects().length && !e.disabled).map(e => e.id)"))
    reached = set()
    for _ in range(2 * len(wanted) + 10):
        pages.browser.press("Tab")
        reached.add(pages.run("return document.activeElement.id"))
        if wanted <= reached:
            break
    need(wanted <= reached, "Tab does not reach", sorted(wanted - reached))
