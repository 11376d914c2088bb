"""Reads an exported view: which token is where, and from the labels of the ticks what that place means."""

import re
import xml.etree.ElementTree as ElementTree

SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
NUMBER = re.compile(r"^(-?\d+(?:\.\d+)?)?(?:·?(-?)10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?$")


def number_of(text):
    """The number that a label shows, such as −2.5 or 3·10⁻⁷; None if it shows none."""
    match = NUMBER.match(text.strip().replace("\N{MINUS SIGN}", "-"))
    if not match or not text.strip():
        return None
    value = float(match[1]) if match[1] else float(match[2] + "1")
    return value * 10 ** int(match[3].translate(SUPERSCRIPTS)) if match[3] else value


def line_fit(pairs):
    """(a, b, r): y = a + b x by least squares, and its largest residual."""
    n = len(pairs)
    mx, my = sum(x for x, _ in pairs) / n, sum(y for _, y in pairs) / n
    b = sum((x - mx) * (y - my) for x, y in pairs) / sum((x - mx) ** 2 for x, _ in pairs)
    a = my - b * mx
    return a, b, max(abs(a + b * x - y) for x, y in pairs)


class Picture:
    """An SVG text. Raises ElementTree.ParseError unless it is well-formed."""

    def __init__(self, text):
        self.root = ElementTree.fromstring(text)
        self.tokens, self.fills, self.texts, self.segments, self.dashed = {}, {}, [], [], []
        self._walk(self.root, (1, 0, 0, 1, 0, 0), {})

    @property
    def size(self):
        return tuple(float(self.root.get(key).removesuffix("px")) for key in ("width", "height"))

    def _walk(self, element, matrix, inherited):
        style = dict(inherited)
        for key in ("fill", "stroke", "text-anchor", "stroke-dasharray", "dominant-baseline"):
            if element.get(key) is not None:
                style[key] = element.get(key)
        for part in (element.get("style") or "").split(";"):
            if ":" in part:
                key, value = part.split(":", 1)
                style[key.strip()] = value.strip()
        matrix = self._transformed(matrix, element.get("transform") or "")
        tag = element.tag.rsplit("}", 1)[-1]
        if tag in ("defs", "clipPath"):
            return
        points = self._points(tag, element, matrix)
        if element.get("class") == "token":
            i = int(element.get("data-i"))
            if i in self.tokens:
                raise AssertionError(f"token {i} is drawn twice")
            xs, ys = [p[0] for line in points for p in line], [p[1] for line in points for p in line]
            self.tokens[i] = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
            self.fills[i] = style.get("fill")
        elif tag == "text":
            text = "".join(element.itertext())
            x, y = self._apply(matrix, float(element.get("x") or 0), float(element.get("y") or 0))
            self.texts.append((text, x, y, style.get("text-anchor", "start")))
        else:
            dashed = style.get("stroke-dasharray", "none") not in ("none", "")
            for line in points:
                if dashed:
                    self.dashed.append(line)
                self.segments += [(p, q) for p, q in zip(line, line[1:])]
        for child in element:
            self._walk(child, matrix, style)

    @staticmethod
    def _apply(m, x, y):
        return m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5]

    @staticmethod
    def _transformed(m, text):
        from math import cos, radians, sin
        for name, inside in re.findall(r"(\w+)\(([^)]*)\)", text):
            v = [float(s) for s in re.split(r"[\s,]+", inside.strip())]
            if name == "translate":
                t = [1, 0, 0, 1, v[0], v[1] if len(v) > 1 else 0]
            elif name == "scale":
                t = [v[0], 0, 0, v[-1], 0, 0]
            elif name == "rotate":
                c, s = cos(radians(v[0])), sin(radians(v[0]))
                t = [c, s, -s, c, 0, 0]
                if len(v) == 3:
                    t[4:] = [v[1] - c * v[1] + s * v[2], v[2] - s * v[1] - c * v[2]]
            elif name == "matrix":
                t = v
            else:
                raise AssertionError("unknown transform " + name)
            m = (m[0] * t[0] + m[2] * t[1], m[1] * t[0] + m[3] * t[1], m[0] * t[2] + m[2] * t[3],
                 m[1] * t[2] + m[3] * t[3], m[0] * t[4] + m[2] * t[5] + m[4], m[1] * t[4] + m[3] * t[5] + m[5])
        return m

    def _points(self, tag, element, matrix):
        """The corners of a shape, line by line; of a circle its four outermost points."""
        def get(*names):
            return [float(element.get(name) or 0) for name in names]
        if tag in ("circle", "ellipse"):
            cx, cy = get("cx", "cy")
            rx, ry = get("r", "r") if tag == "circle" else get("rx", "ry")
            lines = [[(cx - rx, cy), (cx, cy - ry), (cx + rx, cy), (cx, cy + ry)]]
        elif tag == "rect" and "%" not in element.get("width"):  # else it is the background
            x, y, w, h = get("x", "y", "width", "height")
            lines = [[(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)]]
        elif tag == "line":
            x1, y1, x2, y2 = get("x1", "y1", "x2", "y2")
            lines = [[(x1, y1), (x2, y2)]]
        elif tag in ("polyline", "polygon"):
            v = [float(s) for s in re.split(r"[\s,]+", element.get("points").strip())]
            lines = [list(zip(v[::2], v[1::2]))]
        elif tag == "path":
            lines = self._path(element.get("d"))
        else:
            return []
        return [[self._apply(matrix, x, y) for x, y in line] for line in lines]

    @staticmethod
    def _path(d):
        lines, at = [], (0.0, 0.0)
        for command, inside in re.findall(r"([MmLlHhVvAaZzCcQq])([^MmLlHhVvAaZzCcQq]*)", d):
            v = [float(s) for s in re.findall(r"-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", inside)]
            relative = command.islower()
            kind = command.upper()
            if kind == "Z":
                lines[-1].append(lines[-1][0])
                continue
            width = {"M": 2, "L": 2, "H": 1, "V": 1, "A": 7, "C": 6, "Q": 4}[kind]
            for k in range(0, len(v), width):
                part = v[k:k + width]
                x, y = (part[0], 0) if kind == "H" else (0, part[0]) if kind == "V" else part[-2:]
                if relative:
                    x, y = x + at[0], y + at[1]
                elif kind == "H":
                    y = at[1]
                elif kind == "V":
                    x = at[0]
                at = (x, y)
                if kind == "M" and k == 0:
                    lines.append([])
                lines[-1].append(at)
        return lines

    def axes(self):
        """The maps from data to pixels along x and along y as (offset, pixels per unit), from tick labels alone.

        Labels along x stand under each other's neighbour: at one height, centred over their tick. Labels along y end
        at one x; how far their line of writing is below the tick is read off from the grid.
        """
        labels = [(number_of(text), x, y, anchor) for text, x, y, anchor in self.texts]
        labels = [label for label in labels if label[0] is not None]
        rows, columns = {}, {}
        for value, x, y, anchor in labels:
            if anchor == "middle":
                rows.setdefault(round(y), []).append((value, x))
            elif anchor == "end":
                columns.setdefault(round(x), []).append((value, y))
        row, column = max(rows.values(), key=len, default=[]), max(columns.values(), key=len, default=[])
        if len(row) < 2 or len(column) < 2:
            raise AssertionError(f"too few tick labels: {len(row)} along x, {len(column)} along y")
        ax, bx, rx = line_fit(row)
        ay, by, ry = line_fit(column)
        if max(rx, ry) > 0.1:
            raise AssertionError(f"tick labels are off their places by {rx:.2f} and {ry:.2f} pixels")
        level = sorted({round(p[1], 2) for p, q in self.segments
                        if abs(p[1] - q[1]) < 1e-6 and abs(p[0] - q[0]) > 100})
        def fits(shift):
            return all(any(abs(y + shift - line) < 0.1 for line in level) for _, y in column)
        shift = next((s for s in (line - column[0][1] for line in level) if abs(s) < 12 and fits(s)), None)
        if shift is None:
            raise AssertionError("tick labels along y are not at the lines of the grid")
        upright = {round(p[0], 2) for p, q in self.segments if abs(p[0] - q[0]) < 1e-6 and abs(p[1] - q[1]) > 100}
        for _, x in row:
            if min(abs(line - x) for line in upright) > 0.1:
                raise AssertionError("a tick label along x without a line of the grid")
        return (ax, bx), (ay + shift, by)
