"""What NumPy and, if importable, PyTorch take for the same drift: one thread, JSON in the form of Google Benchmark.

    python3 peers.py > peers.json

`full` holds the n × n matrix (n up to 4096), `blocked` 64 queries at a time. A time is the median of the rounds, in
which the forms of one size take turns. Ratios to the operator are not taken in turns with it: good to a third.
"""

import json
import os
import statistics
import sys
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # read at import

import numpy as np  # noqa: E402

try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    torch = None

SIZES = [(40, 80), (128, 128), (1024, 2), (1024, 3), (1024, 16), (2048, 128), (4096, 2), (4096, 3), (4096, 64)]
BLOCK = 64


def softmax_numpy(scores):
    """Rows of `scores` to weights, in place."""
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def numpy_full(x, q, k, v):
    return softmax_numpy((x @ q.T) @ (x @ k.T).T) @ (x @ v.T)


def numpy_blocked(x, q, k, v):
    keys, values, out = (x @ k.T).T, x @ v.T, np.empty_like(x)
    for begin in range(0, len(x), BLOCK):
        out[begin : begin + BLOCK] = softmax_numpy((x[begin : begin + BLOCK] @ q.T) @ keys) @ values
    return out


def torch_full(x, q, k, v):
    return torch.softmax((x @ q.T) @ (x @ k.T).T, dim=1) @ (x @ v.T)


def torch_blocked(x, q, k, v):
    keys, values, out = (x @ k.T).T, x @ v.T, torch.empty_like(x)
    for begin in range(0, len(x), BLOCK):
        out[begin : begin + BLOCK] = torch.softmax((x[begin : begin + BLOCK] @ q.T) @ keys, dim=1) @ values
    return out


def time_by_turns(forms, seconds):
    """The median time of one call of each form; rounds for about `seconds`, at least three."""
    calls, times, total = {}, {name: [] for name in forms}, 0
    for name, form in forms.items():
        form()
        start = time.perf_counter()
        form()
        once = time.perf_counter() - start
        calls[name] = max(1, int(2e-3 / once))
        total += once * calls[name]
    for _ in range(max(3, min(25, int(seconds / total)))):
        for name, form in forms.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                form()
            times[name].append((time.perf_counter() - start) / calls[name])
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    rows = []
    for scalar in ("double", "float"):
        kind = np.float64 if scalar == "double" else np.float32
        for n, d in SIZES:
            rng = np.random.default_rng(1)
            x = rng.uniform(-1, 1, (n, d)).astype(kind)
            weights = [(rng.standard_normal((d, d)) / np.sqrt(d)).astype(kind) for _ in "qkv"]
            forms = {
                "NumPy full": lambda: numpy_full(x, *weights),
                "NumPy blocked": lambda: numpy_blocked(x, *weights),
            }
            if torch is not None:
                tx, tweights = torch.from_numpy(x), [torch.from_numpy(w) for w in weights]
                forms["PyTorch full"] = lambda: torch_full(tx, *tweights)
                forms["PyTorch blocked"] = lambda: torch_blocked(tx, *tweights)
            results = [np.asarray(form()) for form in forms.values()]
            tolerance = 1e3 * np.finfo(kind).eps * np.abs(results[0]).max()
            if any(np.abs(result - results[0]).max() > tolerance for result in results):
                sys.exit(f"peers.py: the forms disagree at n = {n}, d = {d}, {scalar}")
            for name, seconds in time_by_turns(forms, 1.0).items():
                rows.append({
                    "name": f"peer/{name}/{scalar}/n:{n}/d:{d}", "run_type": "iteration", "iterations": 1,
                    "peer": name, "scalar": scalar, "n": n, "d": d, "threads": 1,
                    "real_time": seconds * 1e6, "time_unit": "us", "ns_per_pair": seconds / n**2 * 1e9,
                })  # fmt: skip
    context = {"NumPy": np.__version__}
    if torch is not None:
        context["PyTorch"] = torch.__version__
    json.dump({"context": context, "benchmarks": rows}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
