"""The heat map and what the pointer reads in it, against the formula of P."""

import re

import picture
from pages import check, close, need


def tip_numbers(text):
    """(i, j, P) of what the tip over the heat map says, or None."""
    i, j = (re.search(rf"\b{letter}\s*=\s*(\d+)", text) for letter in "ij")
    weight = re.search(r"P[^=]*=\s*([-\d.·⁻⁰¹²³⁴⁵⁶⁷⁸⁹\u2212]+)", text)
    if not (i and j and weight):
        return None
    return int(i[1]), int(j[1]), picture.number_of(weight[1])


def hover(pages, count):
    """What the tip says at a lattice of places over the heat map: [(x, y, i, j, P)], x and y within its canvas."""
    box = pages.show("heat")
    found = []
    for r in range(count):
        for c in range(count):
            x, y = box["w"] * (0.16 + 0.8 * c / (count - 1)), box["h"] * (0.14 + 0.7 * r / (count - 1))
            pages.browser.point(box["x"] + x, box["y"] + y)
            pages.browser.frames(2)
            text = pages.run("const t = document.getElementById('tip'); return t.hidden ? '' : t.textContent")
            told = tip_numbers(text)
            if told:
                found.append((x, y) + told)
    return found


@check
def hover_reads_the_right_weight(pages):
    """P(i, j) under the pointer, for every law, mask and head, against the formula; rows down, columns to the right."""
    cases = [("plane", 0, 0), ("plane", 37, 0), ("plane", 37, 1), ("causal", 9, 0), ("far", 0, 0), ("far", 1, 0),
             ("far", 3, 0), ("given", 4, 0)]
    for name, frame, head in cases:
        numbers = pages.numbers(name)
        pages.open(name, f"frame={frame}")
        if head:
            pages.choose("head", str(head))
        words = f"{name} at frame {frame}, head {head}:"
        need(pages.browser.wait("Number.isFinite(window.attnflow.attention(0, 0))", 5), words, "P never came")
        rows = [numbers.row(frame, i, head) for i in range(numbers.n)]
        largest = max(map(max, rows))
        matrix = pages.run("const a = window.attnflow; return Array.from({ length: a.n }, (_, i) =>"
                           " Array.from({ length: a.n }, (_, j) => a.attention(i, j)))")
        for i in range(numbers.n):
            for j in range(numbers.n):  # data of single precision where P itself is given
                close(matrix[i][j], rows[i][j], (1e-6 if numbers.attention else 1e-9) * max(largest, 1),
                      words, f"P({i}, {j})")
        found = hover(pages, 5)
        need(len(found) >= 16, words, "the tip spoke at only", len(found), "of 25 places")
        for x, y, i, j, weight in found:
            close(weight, rows[i][j], 5e-4 * rows[i][j] + 1e-12, words, f"the tip at P({i}, {j})")
        for place, index, along in ((0, 3, "columns to the right"), (1, 2, "rows down")):
            offset, slope, residual = picture.line_fit([(row[place], row[index]) for row in found])
            need(slope > 0 and residual < 1.01, words, f"{along}: indices are off by {residual:.2f}")
        pages.fine(words)
    pages.browser.point(5, 5)
    pages.shot("given_heat")


@check
def heat_map_shows_the_weights(pages):
    """Colours of the heat map follow P: the darker of two entries on a light page is the larger one."""
    numbers = pages.numbers("given")
    pages.open("given", "frame=4&theme=light")
    found = hover(pages, 8)
    pages.browser.point(5, 5)
    pages.browser.frames(3)
    pixels = pages.pixels("heat", [[x, y] for x, y, *_ in found])
    weights = [(numbers.row(4, i)[j], sum(w * v for w, v in zip((0.3, 0.6, 0.1), p[:3])))
               for (_, _, i, j, _), p in zip(found, pixels)]
    weights.sort()
    for (small, light), (large, dark) in zip(weights, weights[1:]):
        need(dark <= light + 3, "P =", small, "has lightness", light, "and", large, "has", dark)
    need(weights[0][1] - weights[-1][1] > 30, "the colours span only", weights[0][1] - weights[-1][1])


@check
def sample_of_many(pages):
    """Beyond 1000 tokens the page shows a sample of P, says so, and each entry is normalised over all tokens."""
    numbers = pages.numbers("sample")
    pages.open("sample", "frame=2")
    body = pages.run("return document.querySelector('aside').innerText")
    need(re.search(r"128 of 2[\s\u2009\u202f,]?500", body), "the page does not say what sample it shows:", body[:200])
    found = hover(pages, 5)
    need(len(found) >= 16, "the tip spoke at only", len(found), "of 25 places")
    for _, _, i, j, weight in found:
        close(weight, numbers.row(2, i)[j], 5e-4 * numbers.row(2, i)[j] + 1e-12, f"P({i}, {j})")
    need(len({i for _, _, i, _, _ in found}) > 3, "rows of the sample")
    pages.shot("sample_heat")
    pages.fine("sample:")
