"""How are the floating-point remainders computed, exactly, however far the operands are apart?

x = a 2^d b's unit: the remainder of a 2^d by m, for significands a and m as integers, is found by long division, CHUNK
bits of the quotient at a time. Each step r 2^CHUNK - q m is exact by fma, for q is at most one half and a little away
from the quotient and so the difference fits the format. Lanes that need fewer steps keep what they have.
"""

from __future__ import annotations

import math

from ...core.dtypes import float32, float64
from .number import Number, fma

CHUNK = {float32: 21, float64: 50}


def rem(x: Number, y: Number) -> Number:
    """The remainder with the sign of x, as C's fmod."""
    f, chunk = x.format, CHUNK[x.dtype]
    a, b = x.abs(), y.abs()
    a_digits, a_exponent = _split(a)
    m, b_exponent = _split(b)
    distance = (a_exponent - b_exponent).maximum(0)
    steps = (distance * (65536 // chunk + 1)) >> 16  # distance // chunk, exact for distances below 2^12
    first = distance - steps * chunk
    inverse = 1.0 / m
    r = _step(a_digits * _power(first, x), m, inverse)
    largest = (2 * f.bias + 2 * f.mantissa) // chunk
    for step in range(largest):
        r = (steps > step).select(_step(r * 2.0 ** chunk, m, inverse), r)
    r = (r < 0.0).select(r + m, r)
    half = b_exponent >> 1
    result = r * _power(half, x) * _power(b_exponent - half, x)
    result = (a < b).select(a, result).with_sign_of(x)
    undefined = x.is_nan() | y.is_nan() | a.equals(math.inf) | b.equals(0.0)
    return undefined.select(math.nan, result)


def mod(x: Number, y: Number) -> Number:
    """The remainder with the sign of y, as Python's %: fmod, plus y where the signs differ."""
    r = rem(x, y)
    differ = (r.bits() ^ y.bits()) < 0
    moved = differ.select(r + y, r)
    return r.equals(0.0).select(r.copysign(y), moved)


def _split(a: Number) -> tuple[Number, Number]:
    """The significand of a as a float that is an integer of all the format's digits, and the exponent of its unit."""
    f = a.format
    is_small = a < f.tiny
    bits = is_small.select(a * 2.0 ** f.digits, a).bits()
    digits = ((bits & ((1 << f.mantissa) - 1)) | f.bits_of(f.mantissa)).as_float()
    unit = -f.bias - f.mantissa
    return digits, (bits >> f.mantissa) + is_small.select(bits.of(unit - f.digits), unit)


def _power(exponent: Number, like: Number) -> Number:
    """2^exponent for exponents of normal numbers."""
    f = like.format
    return ((exponent + f.bias) << f.mantissa).as_float()


def _step(r: Number, m: Number, inverse: Number) -> Number:
    """r modulo m, between about -m/2 and m/2."""
    return fma((r * inverse).round(), -m, r)
