"""What a page must show, computed from the numbers beside it: attention, coordinates, distances."""

import json
import math
from fractions import Fraction


class Numbers:
    """The view that make_pages wrote beside a page: m moments of n tokens in d dimensions."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.__dict__.update(json.load(file))
        self.m = len(self.times)

    def token(self, k, i):
        at = (k * self.n + i) * self.d
        return self.positions[at:at + self.d]

    def is_finite(self, k, i):
        return all(v is not None for v in self.token(k, i))

    def row(self, k, i, head=0):
        """Row i of P at moment k: s_ij = e^scale <x_i, F x_j> - slope |i - j|, then softmax or e^s / n.

        Inner products and their differences are exact (fractions); only then they are scaled, by logarithms.
        """
        if self.attention:
            at = (k * self.n + i) * self.n
            return self.attention[at:at + self.n]
        d, h = self.d, self.heads[head]
        form = [Fraction(f) for f in h["forms"][k * d * d:(k + 1) * d * d]]
        log_scale = h["log_scales"][k] if h["log_scales"] else 0

        def scaled(product):
            if product == 0:
                return 0.0
            size = log_scale + math.log(abs(product.numerator)) - math.log(product.denominator)
            return math.copysign(math.exp(min(size, 700)), product)

        x = [Fraction(v) for v in self.token(k, i)]
        g = [sum(x[a] * form[a * d + b] for a in range(d)) for b in range(d)]
        last = {"none": self.n - 1, "causal": i, "strict-causal": i - 1}[self.mask]
        products = [sum(g[b] * Fraction(y) for b, y in enumerate(self.token(k, j))) for j in range(last + 1)]
        if self.law == "unnormalized":
            row = [math.exp(scaled(p) - self.slope * abs(i - j)) / self.n for j, p in enumerate(products)]
        else:
            most = max(products, default=0)
            scores = [scaled(p - most) - self.slope * abs(i - j) for j, p in enumerate(products)]
            most = max(scores, default=0)
            row = [math.exp(s - most) for s in scores]
            total = math.fsum(row)
            row = [w / total for w in row]
        return row + [0.0] * (self.n - last - 1)

    def in_axes(self, k, i, axes, rows=None):
        """Coordinates `axes` of token i, or of what `rows` (k x d) make of it."""
        x = self.token(k, i)
        if rows is None:
            return [x[a] for a in axes]
        return [math.fsum(rows[a * self.d + c] * x[c] for c in range(self.d)) for a in axes]

    def distance_to_leader(self, k, i):
        return min(math.dist(self.token(k, i), self.token(k, j)) for j in self.leaders)

    def principal_components(self, count):
        """Rows: eigenvectors of the covariance of all tokens at all moments, by power iteration and deflation."""
        d = self.d
        points = [self.token(k, i) for k in range(self.m) for i in range(self.n)]
        mean = [math.fsum(p[a] for p in points) / len(points) for a in range(d)]
        C = [[math.fsum((p[a] - mean[a]) * (p[b] - mean[b]) for p in points) for b in range(d)] for a in range(d)]
        rows = []
        for r in range(count):
            v = [1 / (a + 1 + r) for a in range(d)]
            for _ in range(3000):
                w = [math.fsum(C[a][b] * v[b] for b in range(d)) for a in range(d)]
                value = math.sqrt(math.fsum(c * c for c in w))
                v = [c / value for c in w]
            rows += v
            C = [[C[a][b] - value * v[a] * v[b] for b in range(d)] for a in range(d)]
        return rows
