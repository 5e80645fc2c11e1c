"""How are log, log2 and log1p computed?

x = 2^k m with m between sqrt(1/2) and sqrt(2); log x = k ln 2 + log(1 + f) with f = m - 1, and log(1 + f) is f plus f^2
times a minimax polynomial (tests/math/minimax.py). Nothing cancels: for k = 0 the result is the polynomial's alone, and
k ln 2 is at least twice as large as what is added to it.
"""

from __future__ import annotations

import math

from ...core.dtypes import float32, float64
from .exponential import LN2, LOG2E
from .number import Number, fma, polynomial

# (log(1 + f) - f) / f^2 for sqrt(1/2) <= 1 + f <= sqrt(2)
LOG1P = {
    float32: (-0.49999988079071045, 0.33333325386047363, -0.2500160038471222, 0.20002003014087677,
              -0.16608759760856628, 0.14181117713451385, -0.13244633376598358, 0.12909333407878876,
              -0.07624112814664841),
}
# (log((1 + s) / (1 - s)) / s - 2) / s^2 as a polynomial of s^2, for s = f / (2 + f): a division saves f64 many terms
ATANH = (0.6666666666666734, 0.39999999999416497, 0.28571428742081934, 0.22222198597875434, 0.18183563295075028,
         0.1531407191181506, 0.14795777049961348)
# log2(1 + f) / f, the first coefficient in two parts
LOG2 = {
    float32: (1.4426950216293335, (1.920024317314528e-08, -0.7213473320007324, 0.4808982014656067,
                                   -0.36069798469543457, 0.288570761680603, -0.23959267139434814, 0.2045232504606247,
                                   -0.19116851687431335, 0.18669724464416504, -0.11035874485969543)),
}
LOG2E_LOW = 2.0355273740931033e-17  # log2(e) = LOG2E + LOG2E_LOW
SQRT_HALF = {float32: 0x3F3504F3, float64: 0x3FE6A09E667F3BCD}  # the bits of sqrt(1/2)


def _exponent_field(bits: Number, x: Number) -> Number:
    """The bits of x with an exponent field that changes at sqrt(1/2) 2^k rather than at 2^k."""
    return bits + (x.format.bits_of(0) - SQRT_HALF[x.dtype])


def _exponent(field: Number, x: Number, bias: Number) -> Number:
    """The exponent field as a float, plus `bias`: a float that also brings in infinities and NaN."""
    f = x.format
    if f.dtype == float32:
        return (field >> f.mantissa).to(float32) + bias
    place = field.as_integer(f.unsigned) >> f.mantissa
    return (place | f.bits_of(f.mantissa)).as_float() + bias


def _bias(x: Number, adjust: float = 0.0) -> float:
    """What `_exponent` has to add to give the exponent, and `adjust`."""
    f = x.format
    return adjust - f.bias - (0.0 if f.dtype == float32 else 2.0 ** f.mantissa)


def split(x: Number) -> tuple[Number, Number]:
    """k and f with x = 2^k (1 + f). k is -inf for 0, NaN for negative numbers, inf and NaN for those."""
    f = x.format
    is_small = x < f.tiny
    scaled = is_small.select(x * 2.0 ** f.digits, x)
    field = _exponent_field(scaled.bits(), x)
    m = ((field & ((1 << f.mantissa) - 1)) + SQRT_HALF[x.dtype]).as_float()
    outside = x.equals(0.0).select(-math.inf, x.of(math.nan))
    bias = is_small.select((x > 0.0).select(_bias(x, -f.digits), outside), x.of(_bias(x)))
    return _exponent(field, x, (x < math.inf).select(bias, x)), m - 1.0


def _log_of_parts(k: Number, f: Number, f_low: Number | None = None) -> Number:
    """k ln 2 + log(1 + f + f_low)."""
    high, low = LN2[f.dtype]
    rest = k * low if f_low is None else fma(k, low, f_low)
    if f.dtype == float64:
        half_square = 0.5 * f * f
        return fma(k, high, f - (half_square - (rest + _after_square(f, half_square))))
    return fma(k, high, f + fma(f * f, polynomial(f, LOG1P[f.dtype]), rest))


def _after_square(f: Number, half_square: Number) -> Number:
    """log(1 + f) - f + f^2 / 2 = s (f^2 / 2 + R(s^2)) for s = f / (2 + f) (Tang 1990, FDLIBM)."""
    s = f / (f + 2.0)
    z = s * s
    return s * fma(z, polynomial(z, ATANH), half_square)


def log(x: Number) -> Number:
    return _log_of_parts(*split(x))


def log2(x: Number) -> Number:
    k, f = split(x)
    if x.dtype == float64:
        half_square = 0.5 * f * f
        high = f - half_square  # log(1 + f) = high + low
        low = ((f - high) - half_square) + _after_square(f, half_square)
        product = high * LOG2E
        error = fma(high, LOG2E, -product)
        product_low = error + fma(low, LOG2E, high * LOG2E_LOW)
        total = k + product
        return (k.abs() < math.inf).select(total + (((k - total) + product) + product_low), k)
    first, others = LOG2[x.dtype]
    return k + fma(f, first, f * polynomial(f, others))


def log1p(x: Number) -> Number:
    return log_of_sum(x)


def log_of_sum(x: Number, x_low: Number | None = None, twos: Number | None = None) -> Number:
    """log(1 + x + x_low) + twos log(2), for x_low within an ulp of x.

    k comes from the rounded 1 + x, but f = 2^-k x + (2^-k - 1) from x itself, with its rounding error.
    """
    f = x.format
    u = x + 1.0
    field = _exponent_field(u.bits(), x)
    # 4 * 2^-k is normal for the largest k, where 2^-k is not
    exponents = field & (f.bits_of(f.bias + 1))
    scale = (2 * f.bits_of(0) + (2 << f.mantissa) - exponents).as_float()
    outside = u.equals(0.0).select(-math.inf, x.of(math.nan))
    bias = (u > 0.0).select(_bias(x), outside)
    k = _exponent(field, x, bias if twos is None else bias + twos)
    quarter = x * 0.25
    rest = fma(scale, 0.25, -1.0)
    high = fma(quarter, scale, rest)
    low = fma(quarter, scale, rest - high)
    if x_low is not None:
        low = fma(x_low * 0.25, scale, low)
    result = _log_of_parts(k, high, low)
    result = (x.abs() < 2.0 ** -f.digits).select(x, result)
    return (x < math.inf).select(result, x)
