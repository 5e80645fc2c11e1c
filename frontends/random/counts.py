"""How are counts drawn, of the Poisson and the binomial distribution?

Where the mean is below 10, by inversion: the probabilities of 0, 1, 2 ... are taken away from a uniform number until it
is used up. Else by transformed rejection with squeeze, PTRS and BTRS:

W. Hörmann, "The transformed rejection method for generating Poisson random variables", Insurance: Mathematics and
Economics 12 (1993); "The generation of binomial random variates", Journal of Statistical Computation and Simulation 46
(1993). The names are the papers'.

All is computed in float64, whose rounding (a 1e-16th of a probability; for means of 1e9 a 1e-7th) is the only error.
"""

from __future__ import annotations

import math

import numpy as np

from ...compiler.core.dtypes import DType, as_dtype, bool_, float32, float64, int32, int64
from ..array.control import while_loop
from ..array.creation import zeros
from ..array.elementwise import (abs, divide, equal, exp, floor, isfinite, less, less_equal, log, log1p, logical_and,
                                 logical_not, logical_or, maximum, minimum, negative, sqrt, subtract, where)
from ..array.operands import Array, as_operand, cast
from ..array.reduction import all, any
from ..array.searching import take
from ..array.tracer import dtype_error
from .continuous import floating_dtype, positive_unit, shape_with
from .keys import as_key, fold_in, split

INVERTED = 10.0  # means below are drawn by inversion, which takes as many steps
MOST_STEPS = 120  # of it: a count of mean 10 is larger with a probability of 1e-87
LARGEST_MEAN = 2.0 ** 66  # more than every integer dtype holds


def poisson(key, lam, shape=None, dtype=int32) -> Array:
    """Counts of events whose mean number is `lam` >= 0: lam^k exp(-lam) / k!, as integers.

    Counts that `dtype` can't hold are its largest number. -1 (the largest number where it is unsigned) where `lam` is
    negative or NaN.
    """
    dtype = as_dtype(dtype)
    if not dtype.is_integer:
        raise dtype_error(f"counts of the Poisson distribution have an integer dtype, not {dtype.name}")
    shape = shape_with(shape, lam)
    mean = as_operand(lam, float64)
    is_valid = less_equal(0.0, mean)
    mean = minimum(where(is_valid, mean, 0.0), LARGEST_MEAN)
    first, second = split(as_key(key))
    small, large = where(less(mean, INVERTED), mean, 0.0), maximum(mean, INVERTED)
    counts = where(less(mean, INVERTED),
                   _inverted(first, shape, exp(negative(small)), lambda k: divide(small, k)),
                   _rejected(second, shape, logical_not(less(mean, INVERTED)), _ptrs(large)))
    return where(is_valid, _as_integers(counts, dtype), as_operand(-1 if dtype.minimum < 0 else dtype.maximum, dtype))


def binomial(key, n, p, shape=None, dtype=float32) -> Array:
    """How many of `n` trials succeed that do with probability `p` each, as whole numbers of a floating `dtype`.

    `n` is rounded down. NaN where it is negative or not finite, or where `p` is not in [0, 1].
    """
    dtype = floating_dtype(dtype)
    shape = shape_with(shape, n, p)
    n, p = floor(as_operand(n, float64)), as_operand(p, float64)
    is_valid = logical_and(logical_and(less_equal(0.0, n), isfinite(n)),
                           logical_and(less_equal(0.0, p), less_equal(p, 1.0)))
    n, p = where(is_valid, n, 0.0), where(is_valid, p, 0.0)
    rarer = minimum(p, subtract(1.0, p))  # of success and failure
    is_small = less(n * rarer, INVERTED)
    first, second = split(as_key(key))
    odds = divide(rarer, 1.0 - rarer)
    none = exp(where(is_small, n, 0.0) * log1p(negative(rarer)))
    counts = where(is_small,
                   _inverted(first, shape, none, lambda k: divide(maximum(n - k + 1.0, 0.0) * odds, k)),
                   _rejected(second, shape, logical_not(is_small),
                             _btrs(where(is_small, 4 * INVERTED, n), where(is_small, 0.5, rarer))))
    counts = where(less(0.5, p), n - counts, counts)
    return cast(where(is_valid, counts, math.nan), dtype)


def _as_integers(counts: Array, dtype: DType) -> Array:
    largest = float(dtype.maximum)
    if int(largest) > dtype.maximum:
        largest = math.nextafter(largest, 0.0)
    return where(less(largest, counts), as_operand(dtype.maximum, dtype), cast(minimum(counts, largest), dtype))


# ---- inversion -------------------------------------------------------------------------------------------------------
def _inverted(key: Array, shape: tuple, none: Array, ratio) -> Array:
    """Counts whose probability of 0 is `none`, and of k by ratio(k) that of k - 1."""
    def goes_on(carry):
        number, _, rest, probability = carry
        return logical_and(less(number, MOST_STEPS), any(less(probability, rest)))

    def step(carry):
        number, counts, rest, probability = carry
        is_larger = less(probability, rest)
        counts = where(is_larger, counts + 1.0, counts)
        following = probability * ratio(maximum(counts, 1.0))
        return (number + 1, counts, where(is_larger, rest - probability, rest),
                where(is_larger, following, probability))
    start = zeros(shape, float64)
    return while_loop(goes_on, step, (np.int32(0), start, positive_unit(key, shape, float64), start + none))[1]


# ---- transformed rejection -------------------------------------------------------------------------------------------
def _rejected(key: Array, shape: tuple, is_wanted: Array, attempt) -> Array:
    """Counts where they are wanted: `attempt(u, v)` of uniform numbers gives some, and which to accept. All are drawn
    until the last one is accepted; six of seven are at once."""
    def goes_on(carry):
        return logical_not(all(carry[2]))

    def step(carry):
        number, counts, accepted = carry
        first, second = split(fold_in(key, number))
        found, is_accepted = attempt(positive_unit(first, shape, float64) - 0.5, positive_unit(second, shape, float64))
        taken = logical_and(is_accepted, logical_not(accepted))
        return number + 1, where(taken, found, counts), logical_or(accepted, taken)
    settled = logical_or(zeros(shape, bool_), logical_not(is_wanted))
    return while_loop(goes_on, step, (np.int32(0), zeros(shape, float64), settled))[1]


def _ptrs(mean: Array):
    """An attempt at Poisson counts of a mean of 10 or more."""
    b = sqrt(mean) * 2.53 + 0.931
    a = b * 0.02483 - 0.059
    squeeze = subtract(0.9277, divide(3.6224, b - 2.0))
    inverse_alpha = divide(1.1328, b - 3.4) + 1.1239

    def attempt(u, v):
        us = maximum(subtract(0.5, abs(u)), 2.0 ** -55)  # 0 where u is rounded to an end
        k = floor((divide(a * 2.0, us) + b) * u + mean + 0.43)
        at = maximum(k, 0.0)
        # log(mean^k exp(-mean) / k!), in which the large terms cancel before they are rounded
        over = at + 1.0 - mean
        density = (negative(at * log1p(divide(over, mean))) + over - log(at + 1.0) * 0.5 - 0.5 * math.log(2 * math.pi)
                   - _stirling_tail(at))
        height = log(v * divide(inverse_alpha, divide(a, us * us) + b))
        inside = logical_and(less_equal(0.07, us), less_equal(v, squeeze))
        return k, logical_or(inside, logical_and(less_equal(0.0, k), less_equal(height, density)))
    return attempt


def _btrs(n: Array, p: Array):
    """An attempt at binomial counts where n p is 10 or more, and p at most 1/2."""
    q = subtract(1.0, p)
    deviation = sqrt(n * p * q)
    b = deviation * 2.53 + 1.15
    a = b * 0.0248 + p * 0.01 - 0.0873
    center = n * p + 0.5
    squeeze = subtract(0.92, divide(4.2, b))
    alpha = (divide(5.1, b) + 2.83) * deviation
    mode = floor((n + 1.0) * p)
    odds = divide(p, q)
    at_mode = ((mode + 0.5) * log(divide(mode + 1.0, odds * (n - mode + 1.0))) + _stirling_tail(mode)
               + _stirling_tail(n - mode))

    def attempt(u, v):
        us = maximum(subtract(0.5, abs(u)), 2.0 ** -55)
        k = floor((divide(a * 2.0, us) + b) * u + center)
        at = minimum(maximum(k, 0.0), n)
        # log of the probability of k over that of the mode
        density = (at_mode + (n + 1.0) * log(divide(n - mode + 1.0, n - at + 1.0))
                   + (at + 0.5) * log(divide(odds * (n - at + 1.0), at + 1.0)) - _stirling_tail(at)
                   - _stirling_tail(n - at))
        height = log(v * divide(alpha, divide(a, us * us) + b))
        inside = logical_and(less_equal(0.07, us), less_equal(v, squeeze))
        return k, logical_or(inside, logical_and(equal(at, k), less_equal(height, density)))
    return attempt


def _tail(k: int) -> float:
    """log(k!) - ((k + 1/2) log(k + 1) - (k + 1) + log(2 pi) / 2): what Stirling's formula leaves."""
    return math.lgamma(k + 1) - (k + 0.5) * math.log(k + 1) + (k + 1) - 0.5 * math.log(2 * math.pi)


_TAILS = np.array([_tail(k) for k in range(10)])


def _stirling_tail(k: Array) -> Array:
    """`_tail` of whole numbers k >= 0: a table, and from 10 on four terms of the asymptotic series, right to 1e-12."""
    x = k + 1.0
    square = x * x
    series = divide(subtract(1 / 12, divide(subtract(1 / 360, divide(subtract(1 / 1260, divide(1 / 1680, square)),
                                                                     square)), square)), x)
    return where(less(k, 10.0), take(_TAILS, cast(minimum(k, 9.0), int64)), series)
