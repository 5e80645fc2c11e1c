"""Where do the coefficients of lower/math come from?  Remez' exchange in high precision, rounded one after the other.

`minimax` finds the polynomial with the smallest largest weighted error (Remez 1934, on a grid of Chebyshev points).
`rounded` rounds the coefficient of the lowest power to the format, corrects the others for it by least squares, and so
on, so that later coefficients make good for the rounding of earlier ones (compare Muller, Elementary Functions, section
4.5).
"""

from __future__ import annotations

from typing import Callable, Sequence

import mpmath
import numpy as np
from mpmath import mp, mpf

DIGITS = 50


def minimax(function: Callable, powers: Sequence[int], low, high, weight: Callable = lambda x: 1, density: int = 24):
    """Coefficients c, one for each power, with the smallest max |sum c x^p - function(x)| * weight(x) on [low, high];
    and that error."""
    with mp.workdps(DIGITS):
        count = len(powers)
        low, high = mpf(low), mpf(high)
        total = density * (count + 1)
        angles = [mpmath.pi * (mpf(i) + mpf(1) / 2) / total for i in range(total)]
        points = [(low + high) / 2 - (high - low) / 2 * mpmath.cos(angle) for angle in angles]
        points = [p for p in points if p != 0 or 0 in powers]
        weights = [mpf(weight(p)) for p in points]
        values = [mpf(function(p)) for p in points]
        rows = [[p ** k for k in powers] for p in points]
        heavy = [n for n, w in enumerate(weights) if w > max(weights) / 1000]
        chosen = [heavy[int((i + 0.5) * len(heavy) / (count + 1))] for i in range(count + 1)]
        for _ in range(40):
            matrix = mpmath.matrix(count + 1, count + 1)
            right = mpmath.matrix(count + 1, 1)
            for i, n in enumerate(chosen):
                for j in range(count):
                    matrix[i, j] = rows[n][j] * weights[n]
                matrix[i, count] = (-1) ** i
                right[i] = values[n] * weights[n]
            solution = mpmath.lu_solve(matrix, right)
            coefficients, level = list(solution[:count]), abs(solution[count])
            errors = [(mpmath.fdot(row, coefficients) - v) * w for row, v, w in zip(rows, values, weights)]
            worst = max(abs(e) for e in errors)
            if worst <= level * mpf("1.0005"):
                break
            chosen = _exchange(errors, count + 1)
        return coefficients, worst


def _exchange(errors, count: int) -> list[int]:
    """The places of `count` extremes of alternating sign, the largest one among them."""
    runs: list[int] = []
    for n, e in enumerate(errors):
        if runs and (errors[runs[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[runs[-1]]):
                runs[-1] = n
        else:
            runs.append(n)
    while len(runs) > count:
        if len(runs) == count + 1:
            runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
        else:
            weakest = min(range(len(runs) - 1), key=lambda i: max(abs(errors[runs[i]]), abs(errors[runs[i + 1]])))
            del runs[weakest:weakest + 2]
    return runs


def rounded(function: Callable, powers: Sequence[int], low, high, weight: Callable = lambda x: 1, dtype=np.float32,
            fixed=(), split: bool = False):
    """Like `minimax`, with coefficients of `dtype` (as Python floats); `fixed` gives those of the first powers. `split`
    gives the first coefficient as a sum of two: it stands as the first two of the result."""
    fixed, powers = list(fixed), list(powers)
    with mp.workdps(DIGITS):
        known = lambda x: sum(mpf(c) * x ** p for c, p in zip(fixed, powers))  # noqa: E731
        exact, _ = minimax(lambda x: mpf(function(x)) - known(x), powers[len(fixed):], low, high, weight)
        places = np.linspace(float(low), float(high), 400)
        weights = np.array([float(weight(mpf(x))) for x in places])
        columns = np.array([weights * places ** p for p in powers[len(fixed):]]).T
        found = []
        for n in range(len(exact)):
            found.append(float(nearest(exact[n], dtype)))
            if n == 0 and split:
                found[0] += mpf(float(nearest(exact[0] - found[0], dtype)))
            if n + 1 < len(exact):
                change = np.linalg.lstsq(columns[:, n + 1:], float(mpf(exact[n]) - found[n]) * columns[:, n],
                                         rcond=None)[0]
                exact[n + 1:] = [c + mpf(d) for c, d in zip(exact[n + 1:], change)]
        error = largest_error(function, powers, [*fixed, *found], low, high, weight)
        if split:
            head = float(nearest(found[0], dtype))
            found[:1] = [head, float(nearest(found[0] - head, dtype))]
    return [*fixed, *found], error


def nearest(value, dtype):
    """An mpmath number in a NumPy float dtype, rounded once."""
    with mp.workdps(DIGITS):
        if dtype == np.float64:
            return np.float64(float(value))
        with mp.workprec(24):
            return np.float32(float(+value))


def largest_error(function, powers, coefficients, low, high, weight=lambda x: 1, points: int = 500):
    """The largest weighted error of a polynomial on [low, high]."""
    with mp.workdps(DIGITS):
        low, high = mpf(low), mpf(high)
        places = [low + (high - low) * (mpf(i) + mpf(1) / 2) / points for i in range(points)]
        return max(abs((sum(mpf(c) * x ** p for c, p in zip(coefficients, powers)) - function(x)) * weight(x))
                   for x in places if x)
