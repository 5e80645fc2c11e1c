"""How is x^y computed?  As e^(y log |x|), the logarithm and the product as unevaluated sums of two floats.

The error of log |x| is multiplied by up to y log |x| = 2^10, so log |x| needs about twelve more bits than the format
has (the method of FDLIBM's e_pow.c; Muller et al., Handbook of Floating-Point Arithmetic, for sums of two floats).
"""

from __future__ import annotations

import math

from ...core.dtypes import float32, float64
from .exponential import LN2, RANGE, exp_with_error
from .logarithm import split
from .number import Number, fma, polynomial, scale

TWO_THIRDS = {float32: (0.6666666865348816, -1.9868215517249155e-08),
              float64: (0.6666666666666666, 3.700743415417188e-17)}
# ((log((1 + s) / (1 - s)) / s - 2) / s^2 - 2/3) / s^2 as a polynomial of s^2
ATANH = {
    float32: (0.4000000059604645, 0.28571292757987976, 0.22233310341835022, 0.1778731495141983, 0.2092902958393097),
    float64: (0.3999999999999998, 0.28571428571444085, 0.22222222217697649, 0.18181818857619295, 0.15384557404539748,
              0.13336306053796262, 0.11674911917811687, 0.11989100069604666),
}


def pow(x: Number, y: Number) -> Number:
    """x to the power y by the rules of IEEE 754-2019, section 9.2."""
    a = x.abs()
    high, low = _log_with_error(a)
    product = y * high
    product_low = fma(y, low, fma(y, high, -product))
    lower, upper = RANGE[x.dtype]
    inside = (product > lower) & (product < upper)
    p, _, n = exp_with_error(product.maximum(lower).minimum(upper), inside.select(product_low, 0.0))
    result = scale(p, n)
    half = y * 0.5
    is_integer = y.trunc().equals(y)
    is_odd = is_integer & half.trunc().differs(half)
    negative = x.bits() < 0
    sign = (negative & is_odd).select(x.of(x.format.sign_mask, x.format.integer), 0)
    result = (result.bits() | sign).as_float()
    undefined = (x < 0.0) & (a < math.inf) & ~is_integer
    result = (undefined | x.is_nan() | y.is_nan()).select(math.nan, result)
    is_one = y.equals(0.0) | x.equals(1.0) | (a.equals(1.0) & y.abs().equals(math.inf))
    return is_one.select(1.0, result)


def _log_with_error(a: Number) -> tuple[Number, Number]:
    """log(a) as a sum of two floats, the second one small; a >= 0. (-inf, 0) for 0, (inf, 0) for inf."""
    k, f = split(a)
    # log(1 + f) = 2 atanh(s) for s = f / (f + 2), with the error of s
    d = f + 2.0
    d_low = f - (d - 2.0)
    inverse = 1.0 / d
    s = f * inverse
    s_low = (fma(-s, d, f) - s * d_low) * inverse
    # 2 atanh(s) = 2 s + s z (2/3 + z Q(z)) for z = s^2
    z = s * s
    z_low = fma(s, s, -z) + 2.0 * s * s_low
    third, third_low = TWO_THIRDS[a.dtype]
    rest = z * polynomial(z, ATANH[a.dtype])
    c = third + rest
    c_low = ((third - c) + rest) + third_low
    cube = s * z
    cube_low = fma(s, z, -cube) + fma(s, z_low, s_low * z)
    t = cube * c
    t_low = fma(cube, c, -t) + fma(cube, c_low, cube_low * c)
    twice = s + s
    v = twice + t
    v_low = ((twice - v) + t) + (s_low + s_low + t_low)
    ln2, ln2_low = LN2[a.dtype]
    whole = k * ln2
    total = whole + v
    total_low = ((whole - total) + v) + fma(k, ln2_low, v_low)
    total_low = (total.abs() < math.inf).select(total_low, 0.0)
    return total, total_low
