"""What is drawn, against the numbers: positions, limits, axes and colours."""

import math
import re

import picture
from pages import check, close, need, places_agree, WIDTHS


@check
def plane_positions(pages):
    """In 2-D each token is where the tick labels say, within half a pixel: fitted, zoomed, moved, at any width."""
    numbers = pages.numbers("plane")

    def agree(words):
        drawn = pages.picture()
        (ax, bx), (ay, by) = drawn.axes()
        close(bx, -by, 1e-3 * bx, words, "one unit along x, in pixels,")
        frame = round(pages.frame())
        wanted = {i: (ax + bx * x, ay + by * y)
                  for i in range(numbers.n) for x, y in [numbers.in_axes(frame, i, (0, 1))]}
        size = drawn.size
        visible = {i: p for i, p in wanted.items() if 70 < p[0] < size[0] - 20 and 20 < p[1] < size[1] - 70}
        need(len(visible) >= 5, words, "only", len(visible), "tokens in the picture")
        places_agree(drawn.tokens, visible, words)
        screens = pages.screens()
        for i in visible:
            need(math.dist(screens[i], drawn.tokens[i]) < 0.05, words, f"canvas and export part at token {i}")
        return drawn

    for width in WIDTHS:
        for frame in (0, 17, 60):
            pages.open("plane", f"frame={frame}", width)
            box = pages.box("scene")
            drawn = agree(f"frame {frame} at {width}:")
            need(len(drawn.tokens) == numbers.n, len(drawn.tokens), "tokens in the export")
            close(drawn.size[0], box["w"], 1, "width of the export")
            close(drawn.size[1], box["h"], 1, "height of the export")
    pages.open("far", "frame=0")
    across = [x for x, _ in pages.picture().tokens.values()]
    need(max(across) - min(across) > 50, "tokens a unit apart, 1e8 away, are one dot")
    pages.open("plane", "frame=17&fit=current")
    agree("current frame:")
    pages.open("plane", "frame=17")
    box = pages.box("scene")
    before = agree("before zooming:").axes()[0][1]
    pages.browser.wheel(box["x"] + box["w"] / 2, box["y"] + box["h"] / 2, -200)
    pages.browser.frames(3)
    zoomed = agree("zoomed:").axes()[0][1]
    need(zoomed > 1.1 * before, "the wheel zooms by", zoomed / before)
    pages.browser.drag((box["x"] + 300, box["y"] + 200), (box["x"] + 360, box["y"] + 230))
    pages.browser.frames(3)
    agree("moved:")
    pages.browser.click("reset")
    pages.browser.frames(3)
    close(agree("reset:").axes()[0][1], before, 1e-6 * before, "after reset one unit, in pixels,")
    pages.fine("positions:")


@check
def canvas_shows_the_tokens(pages):
    """What is on the screen is what was exported: at each token's place the canvas has the token's colour."""
    for theme in ("light", "dark"):
        pages.open("plane", "frame=0&tails=off&theme=" + theme)
        drawn = pages.picture()
        found = pages.pixels("scene", [drawn.tokens[i] for i in sorted(drawn.tokens)])
        same = 0
        for i, pixel in zip(sorted(drawn.tokens), found):
            fill = re.fullmatch(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", drawn.fills[i])
            need(fill, "token", i, "has the fill", drawn.fills[i])
            same += all(abs(int(part, 16) - value) < 12 for part, value in zip(fill.groups(), pixel))
        need(same >= 0.9 * len(found), theme, "only", same, "tokens have their colour")  # some may be covered


@check
def line_positions(pages):
    """In 1-D tokens are at (t, x), and the limits are horizontal lines at their height."""
    numbers = pages.numbers("line")
    for width in WIDTHS:
        for frame in (0, 9, 40):
            pages.open("line", f"frame={frame}", width)
            drawn = pages.picture()
            (ax, bx), (ay, by) = drawn.axes()
            places_agree(drawn.tokens, {i: (ax + bx * numbers.times[frame], ay + by * numbers.token(frame, i)[0])
                                        for i in range(numbers.n)}, f"frame {frame} at {width}:")
    level = [(p, q) for p, q in drawn.segments if abs(p[1] - q[1]) < 0.02 and abs(p[0] - q[0]) > 5]
    for flat in numbers.flats:
        y = ay + by * flat["point"][0]
        need(any(abs(p[1] - y) < 0.5 for p, _ in level), "no line at the height of", flat["name"])


def camera(pairs):
    """The 3 x 4 matrix M with (u, v, 1) ~ M (x, y, z, 1) for pairs of (x, y, z) and (u, v): linear least squares,
    M's last entry 1, by the normal equations of numbers of order one. Right-handed axes must stay so."""
    count = len(pairs)
    centre = [sum(p[a] for p, _ in pairs) / count for a in range(3)]
    width = max(abs(p[a] - centre[a]) for p, _ in pairs for a in range(3))
    middle = [sum(q[a] for _, q in pairs) / count for a in range(2)]
    extent = max(abs(q[a] - middle[a]) for _, q in pairs for a in range(2))
    rows, right = [], []
    for p, q in pairs:
        x = [(p[a] - centre[a]) / width for a in range(3)] + [1]
        for a in range(2):
            u = (q[a] - middle[a]) / extent
            rows.append([0.0] * (4 * a) + x + [0.0] * (4 * (1 - a)) + [-u * c for c in x[:3]])
            right.append(u)
    size = 11
    A = [[math.fsum(r[i] * r[j] for r in rows) for j in range(size)] +
         [math.fsum(r[i] * b for r, b in zip(rows, right))] for i in range(size)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(A[k][i]))
        A[i], A[pivot] = A[pivot], A[i]
        for k in range(size):
            if k != i:
                factor = A[k][i] / A[i][i]
                A[k] = [u - factor * v for u, v in zip(A[k], A[i])]
    m = [A[i][size] / A[i][i] for i in range(size)] + [1]

    def project(point):
        x = [(point[a] - centre[a]) / width for a in range(3)] + [1]
        u, v, w = (math.fsum(m[4 * r + k] * x[k] for k in range(4)) for r in range(3))
        return middle[0] + extent * u / w, middle[1] + extent * v / w

    a, b, c = (m[4 * r:4 * r + 3] for r in range(3))  # right, down and away, up to scale
    turn = sum(a[k] * (b[(k + 1) % 3] * c[(k + 2) % 3] - b[(k + 2) % 3] * c[(k + 1) % 3]) for k in range(3))
    need(turn > 0, "space is seen as in a mirror")
    return project


@check
def space_positions(pages):
    """In 3-D the tokens are seen through one camera, whatever it is, within half a pixel; the tick labels beside the
    box are where that camera sees its edges; a drag turns the view, the wheel zooms."""
    numbers = pages.numbers("space")

    def agree(words, frame):
        drawn = pages.picture()
        need(len(drawn.tokens) == numbers.n, words, len(drawn.tokens), "tokens in the export")
        view = camera([(numbers.token(frame, i), drawn.tokens[i]) for i in range(numbers.n)])
        places_agree(drawn.tokens, {i: view(numbers.token(frame, i)) for i in range(numbers.n)}, words)
        screens = pages.screens()
        places_agree(dict(enumerate(screens)), drawn.tokens, words, "canvas against export:")
        for i in range(3):  # the page's own projection is of any point, not only of tokens
            place = pages.run("return window.attnflow.project(arguments[0])", numbers.token(frame, i))
            need(math.dist(place[:2], drawn.tokens[i]) < 0.05, words, "project() of token", i)
        return drawn, view

    for width in WIDTHS:
        pages.open("space", "frame=0", width)
        drawn, view = agree(f"at {width}:", 0)
        # Labels come axis by axis, each axis ended by its name. Along an axis they are at equal offsets from the
        # places where the camera sees the ticks, on one of the four edges of the box.
        labels, groups = [], []
        for text, x, y, _ in drawn.texts:
            value = picture.number_of(text)
            if value is not None:
                labels.append((value, x, y))
            elif text.startswith("x") and labels:
                groups.append((text, labels))
                labels = []
        need(len(groups) >= 2, f"at {width}: labels of", len(groups), "axes")
        low = [min(numbers.token(k, i)[a] for k in range(numbers.m) for i in range(numbers.n)) for a in range(3)]
        high = [max(numbers.token(k, i)[a] for k in range(numbers.m) for i in range(numbers.n)) for a in range(3)]
        for name, ticks in groups:
            axis = "₁₂₃".index(name[-1])
            if len(ticks) < 2:
                continue
            errors = []
            for corner in range(4):
                edge = [0, 0, 0]
                for bit, a in enumerate(a for a in range(3) if a != axis):
                    edge[a] = (high if corner >> bit & 1 else low)[a]
                offsets = []
                for value, x, y in ticks:
                    edge[axis] = value
                    u, v = view(edge)
                    offsets.append((x - u, y - v))
                errors.append(max(max(o[a] for o in offsets) - min(o[a] for o in offsets) for a in range(2)))
            # The edges are some per cent outside of the data, and labels of different lengths are set apart.
            need(min(errors) < 14, f"at {width}: tick labels of {name} part from the axis by", min(errors), "pixels")
    agree_first = drawn.tokens
    box = pages.show("scene")
    pages.browser.drag((box["x"] + 200, box["y"] + 200), (box["x"] + 320, box["y"] + 240))
    pages.browser.frames(3)
    turned, _ = agree("turned:", 0)
    need(max(math.dist(turned.tokens[i], agree_first[i]) for i in turned.tokens) > 20, "a drag does not turn")
    spread = lambda p: max(math.dist(p.tokens[0], q) for q in p.tokens.values())  # noqa: E731
    pages.browser.wheel(box["x"] + box["w"] / 2, box["y"] + box["h"] / 2, -150)
    pages.browser.frames(3)
    zoomed = pages.picture()
    need(spread(zoomed) > 1.1 * spread(turned), "the wheel zooms by", spread(zoomed) / spread(turned))
    pages.browser.click("reset")
    pages.browser.frames(3)
    reset = pages.picture()
    places_agree(reset.tokens, agree_first, "reset:")
    pages.fine("space:")


@check
def limits_are_drawn(pages):
    """Predicted ones are dashed, found ones are not; the line of the plane page is where its equation says."""
    numbers = pages.numbers("plane")
    pages.open("plane", "frame=0&fit=all")
    pages.tick("hull", False)
    pages.tick("flats", True)
    drawn = pages.picture()
    (ax, bx), (ay, by) = drawn.axes()
    flat = next(f for f in numbers.flats if f["name"] == "line")
    (px, py), (ux, uy) = flat["point"], flat["directions"]

    def off(point):  # in pixels from the line
        x, y = (point[0] - ax) / bx, (point[1] - ay) / by
        return abs((x - px) * uy - (y - py) * ux) / math.hypot(ux, uy) * bx

    on = [line for line in drawn.dashed if len(line) == 2 and max(map(off, line)) < 0.5]
    need(on, "no dashed line where the predicted one is")
    need(math.dist(*on[0]) > 100, "the predicted line is only", math.dist(*on[0]), "pixels long")
    legend = pages.run("return document.getElementById('legend').textContent")
    for flat in numbers.flats:
        need(flat["name"] in legend, flat["name"], "is not in the legend:", legend)
    before = len(drawn.dashed)
    pages.tick("flats", False)
    need(len(pages.picture().dashed) < before, "#flats does not hide them")
    pages.open("space", "frame=0")
    pages.tick("hull", False)
    pages.tick("flats", True)
    with_limits = pages.picture()
    space = pages.numbers("space")
    view = camera([(space.token(0, i), with_limits.tokens[i]) for i in range(space.n)])
    flat = next(f for f in space.flats if f["name"] == "limit line")
    (u, v), (s, t) = view(flat["point"]), view([p + q for p, q in zip(flat["point"], flat["directions"])])
    off = lambda p: abs((p[0] - u) * (t - v) - (p[1] - v) * (s - u)) / math.dist((u, v), (s, t))  # noqa: E731
    # From one end to the other and not back: the dashes of the way back would fill the gaps.
    on = [line for line in with_limits.dashed
          if len(line) == 2 and math.dist(*line) > 50 and max(map(off, line)) < 0.5]
    need(on, "no dashed line where the predicted one is in space")
    need(any(len(line) > 3 for line in with_limits.dashed), "no dashed outline of the predicted plane")
    pages.tick("flats", False)
    without = pages.picture()
    need(len(without.segments) < len(with_limits.segments), "#flats does not hide them in space")
    need(not without.dashed, "something is dashed without limits and hull")


@check
def axes_of_ten_dimensions(pages):
    """Coordinates, a basis of the view and principal components: tokens are where the chosen axes put them."""
    numbers = pages.numbers("ten")
    pages.open("ten", "frame=10")
    pages.choose("plot", "2d")
    options = pages.run("return [...document.getElementById('basis').options].map(o => o.textContent.trim())")
    need(len(options) == 3, "bases:", options)
    kinds = {"coordinates": None, "eigenvectors": numbers.bases[0], "principal": numbers.principal_components(2)}
    for kind, rows in kinds.items():
        name = next((o for o in options if kind in o.lower()), None)
        need(name, "no basis of", kind, "among", options)
        pages.choose("basis", name)
        axes = {"coordinates": (4, 7), "eigenvectors": (3, 1), "principal": (0, 1)}[kind]
        pages.option_of_axis("axis-x", axes[0])
        pages.option_of_axis("axis-y", axes[1])
        drawn = pages.picture()
        (ax, bx), (ay, by) = drawn.axes()
        need(len(drawn.tokens) == numbers.n, kind, len(drawn.tokens), "tokens drawn")
        places = {i: ((drawn.tokens[i][0] - ax) / bx, (drawn.tokens[i][1] - ay) / by) for i in drawn.tokens}
        for c in range(2):
            wanted = [numbers.in_axes(10, i, axes, rows)[c] for i in range(numbers.n)]
            found = [places[i][c] for i in range(numbers.n)]
            shift = 0
            if kind == "principal":  # of either sign, and about the mean or not
                sign = 1 if sum((f - found[0]) * (w - wanted[0]) for f, w in zip(found, wanted)) > 0 else -1
                wanted = [sign * w for w in wanted]
                shift = sum(f - w for f, w in zip(found, wanted)) / numbers.n
            worst = max(abs(f - w - shift) for f, w in zip(found, wanted)) * bx
            need(worst < 0.5, kind, "axis", axes[c], "is off by", worst, "pixels")
    pages.choose("basis", next(o for o in options if "coordinates" in o.lower()))
    pages.choose("plot", "time")
    pages.option_of_axis("axis-x", 6)
    drawn = pages.picture()
    (ax, bx), (ay, by) = drawn.axes()
    places_agree(drawn.tokens, {i: (ax + bx * numbers.times[10], ay + by * numbers.token(10, i)[6])
                                for i in range(numbers.n)}, "against time:")
    pages.choose("plot", "3d")
    for k, axis in enumerate("xyz"):
        pages.option_of_axis("axis-" + axis, (9, 2, 5)[k])
    drawn = pages.picture()
    view = camera([(numbers.in_axes(10, i, (9, 2, 5)), drawn.tokens[i]) for i in range(numbers.n)])
    places_agree(drawn.tokens, {i: view(numbers.in_axes(10, i, (9, 2, 5))) for i in range(numbers.n)}, "in space:")
    pages.open("ten", "frame=3&plot=2d&x=2&y=5&colour=token")  # a link that says it all
    drawn = pages.picture()
    (ax, bx), (ay, by) = drawn.axes()
    places_agree(drawn.tokens, {i: (ax + bx * x, ay + by * y) for i in range(numbers.n)
                                for x, y in [numbers.in_axes(3, i, (2, 5))]}, "by the address:")
    need(len(set(drawn.fills.values())) >= 20, "by the address: colours of tokens")
    pages.fine("axes:")


@check
def colours(pages):
    """By cluster one colour each, by token many; by distance to the nearest leader the lightness follows it."""
    numbers = pages.numbers("plane")
    pages.open("plane", "frame=8")

    def lightness(fill):
        match = re.fullmatch(r"#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})", fill)
        if match:
            rgb = [int(part, 16) for part in match.groups()]
        else:  # rgb(1, 2, 3)
            rgb = [float(v) for v in re.findall(r"[\d.]+", fill)[:3]]
        return sum(w * (v / 255) ** 2.2 for w, v in zip((0.2126, 0.7152, 0.0722), rgb))

    pages.choose("colour", "cluster")
    fills = pages.picture().fills
    for i in range(numbers.n):
        for j in range(i):
            need((fills[i] == fills[j]) == (numbers.clusters[i] == numbers.clusters[j]), "colours of tokens", i, j)
    pages.choose("colour", "token")
    different = len(set(pages.picture().fills.values()))
    need(different >= 20, "by token: only", different, "colours")
    pages.choose("colour", "distance")
    fills = pages.picture().fills
    by_distance = sorted((numbers.distance_to_leader(8, i), lightness(fills[i])) for i in range(numbers.n))
    apart = [(d, s) for d, s in by_distance if d > 0]
    shades = [s for _, s in apart]
    rising = shades[-1] > shades[0]
    need(abs(shades[-1] - shades[0]) > 0.15, "by distance: from", shades[0], "to", shades[-1])
    for a, b in zip(shades, shades[1:]):
        need(b >= a - 0.03 if rising else b <= a + 0.03, "by distance: lightness goes from", a, "to", b)
    pages.shot("plane_by_distance")
    pages.fine("colours:")
