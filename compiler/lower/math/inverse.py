"""How are the inverse trigonometric and hyperbolic functions computed?"""

from __future__ import annotations

import math

from ...core.dtypes import float32, float64
from .logarithm import log_of_sum
from .number import Number, fma, polynomial

# pi / 2 = high + low
HALF_PI = {float32: (1.5707963705062866, -4.371138828673793e-08), float64: (1.5707963267948966, 6.123233995736766e-17)}
# (atan(t) / t - 1) / t^2 as a polynomial of t^2 on |t| <= 1
ATAN = {
    float32: (-0.33333298563957214, 0.1999853551387787, -0.14264124631881714, 0.10951637476682663,
              -0.08401979506015778, 0.05793406441807747, -0.031155653297901154, 0.010903216898441315,
              -0.001791169517673552),
    float64: (-0.3333333333333307, 0.19999999999951665, -0.1428571428258164, 0.11111111007139098,
              -0.09090907004199154, 0.0769227984785572, -0.06666404099261074, 0.05880527954745921,
              -0.052535188651059266, 0.047223225907919095, -0.04219178790928868, 0.0366418933772969,
              -0.029903818381639028, 0.02198479788843518, -0.013900508135392136, 0.007196469763047954,
              -0.002884904175913094, 0.0008313181479733434, -0.0001521604040966751, 1.3225066990088344e-05),
}
# (asin(s) / s - 1) / s^2 as a polynomial of s^2 on |s| <= 1 / 2
ASIN = {
    float32: (0.16666753590106964, 0.07495249062776566, 0.045476946979761124, 0.02414482831954956,
              0.042228858917951584),
    float64: (0.1666666666666676, 0.07499999999970779, 0.044642857174689674, 0.030381942702274196,
              0.022372215178596923, 0.017351608092551644, 0.0139808722936364, 0.011398456336099823,
              0.01078296551978552, 0.0036956348416939794, 0.021734820344635673, -0.021039306195890926,
              0.03265466681583674),
}


def _odd(x: Number, z: Number, coefficients) -> Number:
    """x + x z polynomial(z) for z = x^2."""
    return fma(x * z, polynomial(z, coefficients), x)


def asin(x: Number) -> Number:
    """Beyond 1/2, pi/2 - 2 asin(s) for s = sqrt((1 - |x|) / 2), in which the rounding error of s counts."""
    a = x.abs()
    near = a <= 0.5
    z = near.select(x * x, fma(a, -0.5, 0.5))
    s = near.select(a, z.sqrt())
    rest = s * z * polynomial(z, ASIN[x.dtype])
    s_low = fma(-s, s, z) / (s + s)
    s_low = (s > 0.0).select(s_low, 0.0)
    high, low = HALF_PI[x.dtype]
    first = fma(s, -2.0, high)
    first_low = fma(s, -2.0, high - first) + low
    far = first + fma(rest + s_low, -2.0, first_low)
    return near.select(s + rest, far).with_sign_of(x)


def acos(x: Number) -> Number:
    """pi/2 - asin(x) near 0; 2 asin(sqrt((1 - x) / 2)) near 1, which keeps its digits; pi minus that near -1."""
    a = x.abs()
    near = a <= 0.5
    z = near.select(x * x, fma(a, -0.5, 0.5))
    p = _odd(near.select(x, z.sqrt()), z, ASIN[x.dtype])
    high, low = HALF_PI[x.dtype]
    twice = p + p
    beyond = (x < 0.0).select((2.0 * high - twice) + 2.0 * low, twice)
    return near.select((high - p) + low, beyond)


def atan(x: Number) -> Number:
    """Beyond 1, pi/2 - atan(1 / |x|)."""
    a = x.abs()
    t = a.minimum(1.0) / a.maximum(1.0)
    p = _odd(t, t * t, ATAN[x.dtype])
    high, low = HALF_PI[x.dtype]
    return (a > 1.0).select((high - p) + low, p).with_sign_of(x)


def atan2(y: Number, x: Number) -> Number:
    """The angle of the point (x, y): atan of the smaller over the larger coordinate, mirrored into its octant."""
    ax, ay = x.abs(), y.abs()
    swapped = ay > ax
    small, large = swapped.select(ax, ay), swapped.select(ay, ax)
    t = small.equals(large).select((large > 0.0).select(1.0, large), small / large)  # 0 / 0 is 0, inf / inf is 1
    p = _odd(t, t * t, ATAN[x.dtype])
    high, low = HALF_PI[x.dtype]
    p = swapped.select((high - p) + low, p)
    p = (x.bits() < 0).select((2.0 * high - p) + 2.0 * low, p)
    p = x.is_nan().select(x, p)
    return y.is_nan().select(y, p.with_sign_of(y))


def asinh(x: Number) -> Number:
    """log(1 + a + a^2 / (1 + sqrt(1 + a^2))) for a = |x|, with the sign of x; log(2a) for a whose square overflows."""
    a = x.abs()
    is_huge = a > 2.0 ** (x.format.digits + 2)
    b = is_huge.select(1.0, a)
    square = b * b
    rest = square / ((square + 1.0).sqrt() + 1.0)
    v = b + rest
    v_low = (b - v) + rest
    return _log_or_log_of_twice(is_huge, a, v, v_low).with_sign_of(x)


def acosh(x: Number) -> Number:
    """log(1 + t + sqrt(t^2 + 2t)) for t = x - 1, the root with its error; log(2x) for x whose square overflows."""
    is_huge = x > 2.0 ** (x.format.digits + 2)
    t = is_huge.select(1.0, x - 1.0)
    square = fma(t, t, t + t)
    square_low = fma(t, t, (t + t) - square)
    root = square.sqrt()
    root_low = (fma(-root, root, square) + square_low) / (root + root)
    root_low = (root > 0.0).select(root_low, root)
    v = t + root
    v_low = ((root - v) + t) + root_low
    return (x < 1.0).select(math.nan, _log_or_log_of_twice(is_huge, x, v, v_low))


def _log_or_log_of_twice(is_huge: Number, x: Number, v: Number, v_low: Number) -> Number:
    """log(2 x) where x is huge, else log(1 + v + v_low)."""
    return log_of_sum(is_huge.select(x, v), is_huge.select(0.0, v_low), is_huge.select(1.0, x.of(0.0)))


def atanh(x: Number) -> Number:
    """log(1 + 2a / (1 - a)) / 2 for a = |x|, the quotient with its error."""
    a = x.abs()
    d = 1.0 - a
    d_low = (1.0 - d) - a
    v = (a + a) / d
    v_low = (fma(-v, d, a + a) - v * d_low) / d
    return (log_of_sum(v, v_low) * 0.5).with_sign_of(x)
