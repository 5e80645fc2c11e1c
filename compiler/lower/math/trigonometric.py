"""How are sin, cos and tan computed, for arguments of any size?

x = n pi/2 + r with |r| <= pi/4. For large x the product x 2/pi needs the bits of 2/pi around x's last place only:
higher ones give whole turns, lower ones nothing that shows (Payne and Hanek, Radian reduction for trigonometric
functions, 1983). Those bits are picked from constants by selects and one shift, and multiplied in integers. All lanes
do the same work.
"""

from __future__ import annotations

import math

from ...core.dtypes import float32, float64, int32, int64, uint64
from .inverse import HALF_PI
from .number import Number, fma, polynomial

# (sin(r) / r - 1) / r^2 and (cos(r) - 1 + r^2 / 2) / r^4 as polynomials of r^2 on |r| <= pi / 4
SIN = {
    float32: (-0.1666666716337204, 0.008333372883498669, -0.00019850445096381009, 2.807283181027742e-06),
    float64: (-0.1666666666666663, 0.008333333333321908, -0.0001984126982944405, 2.7557313575565424e-06,
                -2.5050741054025585e-08, 1.5895859471447114e-10),
}
COS = {
    float32: (0.04166664555668831, -0.0013887310633435845, 2.443255107209552e-05),
    float64: (0.041666666666666595, -0.001388888888887334, 2.4801587288999003e-05, -2.7557314215642553e-07,
                2.0875705139781168e-09, -1.135873271197735e-11),
}
# 2 / pi = 0.101000101111... in binary: its first 1280 bits
TWO_OVER_PI_BITS = 1280
TWO_OVER_PI = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424dd2e006492eea09d1921cfe1deb1cb129"
    "a73ee88235f52ebb4484e99c7026b45f7e413991d639835339f49c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf"
    "27cb09b74f463f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6babf0cfbc209af4361d", 16)


def sin(x: Number) -> Number:
    n, r, r_low = _reduce(x)
    s, c = _sine(r, r_low), _cosine(r, r_low)
    result = (n & 1).equals(1).select(c[0] + c[1], s[0] + s[1])
    result = (n & 2).equals(2).select(-result, result)
    return (result.bits() ^ (x.bits() & x.format.sign_mask)).as_float()


def cos(x: Number) -> Number:
    n, r, r_low = _reduce(x)
    s, c = _sine(r, r_low), _cosine(r, r_low)
    result = (n & 1).equals(1).select(s[0] + s[1], c[0] + c[1])
    return ((n + 1) & 2).equals(2).select(-result, result)


def tan(x: Number) -> Number:
    """sin / cos or -cos / sin, with the rounding errors of both and of the quotient."""
    n, r, r_low = _reduce(x)
    s, c = (_normalized(*p) for p in (_sine(r, r_low), _cosine(r, r_low)))
    is_odd = (n & 1).equals(1)
    top, top_low = is_odd.select(c[0], s[0]), is_odd.select(c[1], s[1])
    bottom, bottom_low = is_odd.select(-s[0], c[0]), is_odd.select(-s[1], c[1])
    inverse = 1.0 / bottom
    quotient = top * inverse
    missing = fma(-quotient, bottom, top) + (top_low - quotient * bottom_low)
    result = fma(missing, inverse, quotient)
    result = (quotient.abs() < math.inf).select(result, quotient)
    return (result.bits() ^ (x.bits() & x.format.sign_mask)).as_float()


def _normalized(high: Number, low: Number) -> tuple[Number, Number]:
    total = high + low
    return total, (high - total) + low


def _sine(r: Number, r_low: Number) -> tuple[Number, Number]:
    """sin(r + r_low) as a large and a small part."""
    z = r * r
    return r, fma(r * z, polynomial(z, SIN[r.dtype]), fma(r_low * z, -0.5, r_low))


def _cosine(r: Number, r_low: Number) -> tuple[Number, Number]:
    z = r * r
    first = fma(z, -0.5, 1.0)
    return first, fma(z, -0.5, 1.0 - first) + fma(z * z, polynomial(z, COS[r.dtype]), -(r * r_low))


def _reduce(x: Number) -> tuple[Number, Number, Number]:
    """n modulo 4 (an integer), r and r_low with |x| = n pi/2 + r + r_low; NaN for infinities and NaN."""
    a = x.abs()
    n, r, r_low = _reduce_32(a) if x.dtype == float32 else _reduce_64(a)
    is_small = a < math.pi / 4
    r = (a < math.inf).select(is_small.select(a, r), math.nan)
    return is_small.select(n.of(0), n), r, is_small.select(0.0, r_low)


def _window(start: int, width: int, zeros: int) -> int:
    """`width` bits of 2/pi from place `start` on, where `zeros` bits of 0 stand before the first one."""
    return TWO_OVER_PI >> (TWO_OVER_PI_BITS + zeros - start - width) & ((1 << width) - 1)


def _multiply_by_half_pi(high: Number, low: Number) -> tuple[Number, Number]:
    """(high + low) pi/2 as a sum of two floats."""
    half_pi, half_pi_low = HALF_PI[high.dtype]
    product = high * half_pi
    rest = fma(high, half_pi, -product) + fma(high, half_pi_low, low * half_pi)
    return _normalized(product, rest)


def _reduce_32(a: Number) -> tuple[Number, Number, Number]:
    """|x| = m 2^k with a 24-bit m; m times 96 bits of 2^k 2/pi, of which the first two count quarter turns."""
    bits = a.bits()
    m = ((bits & 0x7FFFFF) | 0x800000).to(uint64)
    place = ((bits >> 23) - 126).maximum(0).minimum(128)  # 0 for pi/4 <= |x| < 1

    def pick(values):
        chosen = m.of(values[0])
        for word, value in enumerate(values[1:], 1):
            chosen = (place >= 32 * word).select(m.of(value), chosen)
        return chosen
    first = pick([_window(32 * word, 64, 26) for word in range(4)])
    second = pick([_window(32 * word + 64, 64, 26) for word in range(4)])
    shift = place.to(uint64) - pick([32 * word for word in range(4)])
    top = (first << shift) | (second >> (m.of(64) - shift))
    bottom = (second << shift) >> 32
    product = m * top + ((m * bottom) >> 32)  # in units of 2^-62 quarter turns, modulo 4
    n = ((product + (1 << 61)) >> 62).to(int32)
    high = ((product >> 30).to(int32) & ~0xFF).to(float32)  # the fraction's first 24 bits, signed
    middle = ((product >> 14).to(int32) & 0xFFFFFF).to(float32)
    low = (product.to(int32) & 0x3FFF).to(float32)
    # The high part may be one unit below 0 and the rest near one unit: their sum cancels, and is exact.
    fraction, rest = _normalized(high * 2.0 ** -32, middle * 2.0 ** -48)
    return n, *_multiply_by_half_pi(fraction, fma(low, 2.0 ** -62, rest))


def _reduce_64(a: Number) -> tuple[Number, Number, Number]:
    """|x| = m 2^k with a 53-bit m; m times 192 bits of 2^k 2/pi, of which the first two count quarter turns."""
    bits = a.bits().as_integer(uint64)
    mask = 0xFFFFFFFF
    m = (bits & ((1 << 52) - 1)) | (1 << 52)
    m_low, m_high = m & mask, m >> 32
    place = ((bits >> 52).as_integer(int64) - 1022).maximum(0).minimum(1024).as_integer(uint64)
    words = [m.of(_window(64 * word, 64, 55)) for word in range(19)]
    index = (place >> 6).minimum(15)
    for bit, count in ((8, 11), (4, 7), (2, 5), (1, 4)):
        is_set = (index & bit).differs(0)
        words = [is_set.select(words[i + bit], words[i]) for i in range(count)]
    shift = place - (index << 6)
    first, second, third = (((words[i] << shift) | (words[i + 1] >> (m.of(64) - shift))) for i in range(3))
    # the upper 128 bits of m * (first 2^128 + second 2^64 + third), modulo 2^192
    lower, lower_high = _multiply_wide(m_low, m_high, second)
    carry = _multiply_wide(m_low, m_high, third)[1]
    low_word = lower + carry
    high_word = m * first + lower_high + (low_word < carry).select(m.of(1), 0)
    n = ((high_word + (1 << 61)) >> 62).as_integer(int64)
    parts = (((high_word >> 30) & mask) ^ 0x80000000, ((high_word << 2) & mask) | (low_word >> 62),
             (low_word >> 30) & mask, (low_word << 2) & mask)
    t = [((p | a.format.bits_of(52)).as_float() - (2.0 ** 52 + (2.0 ** 31 if i == 0 else 0))) * 2.0 ** (-32 * (i + 1))
         for i, p in enumerate(parts)]
    high, rest = _normalized(t[0], t[1])
    return n, *_multiply_by_half_pi(high, rest + (t[2] + t[3]))


def _multiply_wide(m_low: Number, m_high: Number, word: Number) -> tuple[Number, Number]:
    """The low and the high 64 bits of (m_high 2^32 + m_low) * word."""
    word_low, word_high = word & 0xFFFFFFFF, word >> 32
    low, middle = m_low * word_low, m_low * word_high
    other, high = m_high * word_low, m_high * word_high
    middle = middle + (low >> 32)
    other = other + (middle & 0xFFFFFFFF)
    return (other << 32) | (low & 0xFFFFFFFF), high + (middle >> 32) + (other >> 32)
