#!/usr/bin/env python3
"""Writes gelu_tables.h: approximations of g(t) = t * erfc(t / sqrt 2) / 2, so that GELU(x) = max(x, 0) - g(|x|).

Two forms: polynomials over segments, looked up by permutes (cubics over 32 for AVX-512, fifth powers over 8 for AVX2),
and t / (2 p(t)^16) with p of degree 7 (NEON; the form of Abramowitz and Stegun 7.1.28). Needs numpy and scipy. Prints
the errors in exact arithmetic on stderr.
"""
import sys

import numpy as np
from scipy.optimize import least_squares
from scipy.special import erfc

SEGMENTS = 32
RANGE = 5.22  # g(RANGE) = 4.7e-7: from here on g is taken as 0
SCALE = (SEGMENTS - 1.5) / RANGE
WIDE_SEGMENTS = 8
WIDE_SCALE = (WIDE_SEGMENTS - 1) / RANGE


def g(t):
    return 0.5 * t * erfc(t / np.sqrt(2))


def minimax(basis, y):
    """Coefficients with about the least maximal error, by reweighted least squares."""
    w = np.ones(len(y))
    best = (np.inf, None)
    for _ in range(300):
        r = np.sqrt(w)
        c, *_ = np.linalg.lstsq(basis * r[:, None], y * r, rcond=None)
        e = np.abs(basis @ c - y)
        if e.max() < best[0]:
            best = (e.max(), c)
        w *= e / e.mean() + 1e-3
        w /= w.mean()
    return best


def segments():
    """Cubics in d = t * SCALE - i for segment i; segment 0 is exact at 0 and the last one is 0."""
    table = np.zeros((SEGMENTS, 4))
    worst = 0.0
    for i in range(SEGMENTS - 1):
        lo, hi = (0.0 if i == 0 else -0.5), 0.5
        d = (lo + hi) / 2 + (hi - lo) / 2 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
        powers = [1, 2, 3] if i == 0 else [0, 1, 2, 3]
        err, c = minimax(np.stack([d**p for p in powers], 1), g((i + d) / SCALE))
        table[i, powers] = c
        worst = max(worst, err)
    print(f"segments: error {worst:.2e}, at the cut {g(RANGE):.2e}", file=sys.stderr)
    return table


def wide_segments(degree=5):
    """Polynomials in d = t * WIDE_SCALE - i for segment i; exact at 0, and 0 at RANGE, where d is 0 again."""
    table = np.zeros((WIDE_SEGMENTS, degree + 1))
    worst = 0.0
    for i in range(WIDE_SEGMENTS):
        lo, hi = (0.0 if i == 0 else -0.5), (0.0 if i == WIDE_SEGMENTS - 1 else 0.5)
        d = (lo + hi) / 2 + (hi - lo) / 2 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
        powers = list(range(0 if 0 < i < WIDE_SEGMENTS - 1 else 1, degree + 1))
        err, c = minimax(np.stack([d**p for p in powers], 1), g((i + d) / WIDE_SCALE))
        table[i, powers] = c
        worst = max(worst, err)
    print(f"wide segments: error {worst:.2e}, at the cut {g(RANGE):.2e}", file=sys.stderr)
    return table


def sixteenth_power(degree=7):
    t = np.linspace(0, 8, 4001)
    target = g(t)
    c = np.zeros(degree)
    c[:6] = [0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638]
    c /= np.sqrt(2) ** np.arange(1, degree + 1)
    w = np.ones_like(t)
    best = (np.inf, c)

    def residual(c):
        p = 1 + sum(c[i] * t ** (i + 1) for i in range(degree))
        return (0.5 * t / p**16 - target) * 1e6

    for _ in range(80):
        c = least_squares(lambda c: residual(c) * np.sqrt(w), c, method="lm", x_scale=np.abs(c) + 1e-5).x
        e = np.abs(residual(c)) * 1e-6
        if e.max() < best[0]:
            best = (e.max(), c)
        w *= e / e.mean() + 1e-2
        w /= w.mean()
    print(f"sixteenth power: error {best[0]:.2e}", file=sys.stderr)
    return best[1]


def row(values):
    """One array initialiser, six numbers a line."""
    text = [f"{np.float32(v):.9e}f" for v in values]
    lines = [", ".join(text[i : i + 6]) for i in range(0, len(text), 6)]
    return "{\n    " + ",\n    ".join(lines) + "}"


def main():
    table = segments()
    wide = wide_segments()
    power = sixteenth_power()
    print("/* Approximations of g(t) = t * erfc(t / sqrt 2) / 2. Written by gen_gelu_tables.py, which explains them. */")
    print("#ifndef EMB_KERNEL_GELU_TABLES_H\n#define EMB_KERNEL_GELU_TABLES_H\n")
    print(f"#define EMB_GELU_SCALE {np.float32(SCALE):.9e}f")
    print(f"#define EMB_GELU_LAST_SEGMENT {SEGMENTS - 1}\n")
    print("/* Cubic of segment i in rising powers: emb_gelu_segments[power][i]. */")
    print(f"static const float emb_gelu_segments[4][{SEGMENTS}] = {{")
    print(",\n".join(row(table[:, p]) for p in range(4)) + "};\n")
    print(f"#define EMB_GELU_WIDE_SCALE {np.float32(WIDE_SCALE):.9e}f")
    print(f"#define EMB_GELU_RANGE {RANGE}f\n")
    print("/* Polynomial of wide segment i in rising powers: emb_gelu_wide_segments[power][i]. */")
    print(f"static const float emb_gelu_wide_segments[{wide.shape[1]}][{WIDE_SEGMENTS}] = {{")
    print(",\n".join(row(wide[:, p]) for p in range(wide.shape[1])) + "};\n")
    print("/* p(t) - 1 in rising powers from 1: g(t) = t / (2 p(t)^16). */")
    print(f"static const float emb_gelu_power[{len(power)}] = {row(power)};\n")
    print("#endif")


main()
