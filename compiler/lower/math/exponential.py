"""How are exp, exp2, expm1, sigmoid, tanh, sinh and cosh computed?

All of them write x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite, Software Manual for the Elementary Functions,
1980): n falls out of the low bits of x log2(e) + 1.5 * 2^23, ln 2 is subtracted in two parts by fma, e^r is a minimax
polynomial (tests/math/minimax.py finds the coefficients), which is scaled by 2^n.
"""

from __future__ import annotations

from ...core.dtypes import float32, float64
from .number import Number, fma, polynomial, scale

LOG2E = 1.4426950408889634
# ln 2 = high + low; the high part is short, so that n * high is exact for every n that occurs.
LN2 = {float32: (0.693145751953125, 1.428606765330187e-06), float64: (0.6931471803691238, 1.9082149292705877e-10)}
# (e^r - 1 - r) / r^2 on |r| <= 0.3476
EXPM1 = {
    float32: (0.5, 0.16666516661643982, 0.04166645184159279, 0.00836914125829935, 0.0013935875613242388),
    float64: (0.5000000000000013, 0.166666666666667, 0.041666666666510414, 0.008333333333307168,
              0.0013888888948374936, 0.0001984126991749745, 2.4801488485518527e-05, 2.7557216190595425e-06,
              2.763181715998599e-07, 2.5117895981689805e-08),
}


def _reduce(x: Number) -> tuple[Number, Number]:
    """(r, n) where x = n ln 2 + r."""
    high, low = LN2[x.dtype]
    shifter = x.format.magic
    n = fma(x, LOG2E, shifter) - shifter
    return fma(n, -low, fma(n, -high, x)), n


def _exp_of_reduced(r: Number) -> Number:
    """e^r for |r| <= ln 2 / 2."""
    return fma(r, fma(r, polynomial(r, EXPM1[r.dtype]), 1.0), 1.0)


def scale_by_bits(p: Number, n: Number) -> Number:
    """p * 2^n for p near 1 and any n at which the result is finite or just beyond, where no instruction does it.

    Two factors of about 2^(n/2), put together from n's bits, reach over the whole range, denormal numbers included, and
    round once.
    """
    f = p.format
    bits = (n + (f.magic + 2 * f.bias)).bits().as_integer(f.unsigned)
    half = bits >> 1
    return p * (half << f.mantissa).as_float() * ((bits - half) << f.mantissa).as_float()


# Beyond these e^x is 0 or infinite
RANGE = {float32: (-104.0, 89.0), float64: (-746.0, 710.0)}


def exp(x: Number) -> Number:
    low, high = RANGE[x.dtype]
    r, n = _reduce(x.maximum(low).minimum(high))
    return scale(_exp_of_reduced(r), n)


# (2^r - 1) / r on |r| <= 1/2
EXP2 = {
    float32: (0.6931471824645996, 0.24022650718688965, 0.055503614246845245, 0.009618082083761692,
              0.0013389867963269353, 0.0001545390550745651),
    float64: (0.6931471805599453, 0.24022650695910133, 0.05550410866482304, 0.009618129107593187,
              0.001333355814612877, 0.00015403530458385064, 1.5252734077127376e-05, 1.3215434617026608e-06,
              1.0177967113611784e-07, 7.0739012457282236e-09, 4.4685219861537435e-10),
}


def exp_with_error(x: Number, x_low: Number) -> tuple[Number, Number, Number]:
    """(p, p_low, n) where e^(x + x_low) = (p + p_low) 2^n, for x within the range of `exp` and a small x_low."""
    high, low = LN2[x.dtype]
    shifter = x.format.magic
    n = fma(x, LOG2E, shifter) - shifter
    first, second = fma(n, -high, x), fma(n, -low, x_low)
    r = first + second
    r_low = (first - r) + second
    rest = fma(r * r, polynomial(r, EXPM1[x.dtype]), fma(r, r_low, r_low))
    p = 1.0 + (r + rest)
    return p, ((1.0 - p) + r) + rest, n


def exp2(x: Number) -> Number:
    f = x.format
    x = x.maximum(-f.bias - f.digits - 2.0).minimum(f.bias + 2.0)
    n = (x + f.magic) - f.magic
    r = x - n
    return scale(fma(r, polynomial(r, EXP2[x.dtype]), 1.0), n)


def expm1(x: Number) -> Number:
    """2^n (e^r - 1) + (2^n - 1), in halves so that 2^n does not overflow before the result does."""
    f = x.format
    clamped = x.maximum(-f.digits - 2.0).minimum(RANGE[x.dtype][1])
    high, low = LN2[x.dtype]
    shifter = f.magic + (f.bias - 1)
    shifted = fma(clamped, LOG2E, shifter)
    n = shifted - shifter
    first = fma(n, -high, clamped)
    r = fma(n, -low, first)
    error = fma(n, -low, first - r)
    q = r + fma(r * r, polynomial(r, EXPM1[x.dtype]), error)
    half = (shifted.bits() << f.mantissa).as_float()
    result = fma(half, q, half - 0.5) * 2.0
    return (x.abs() < 2.0 ** -f.digits).select(x, result)


def minus_expm1(y: Number) -> Number:
    """1 - e^y for y <= 0 down to where it rounds to 1; it loses nothing near 0."""
    f = y.format
    # the bits of -2^n: n + bias with the bit above the exponent's set, which becomes the sign
    shifter = f.magic + f.bias + (1 << (f.dtype.bits - 1 - f.mantissa))
    shifted = fma(y, LOG2E, shifter)
    r = fma(shifted - shifter, -sum(LN2[y.dtype]), y)
    q = fma(r * r, polynomial(r, EXPM1[y.dtype]), r)
    scale = (shifted.bits() << f.mantissa).as_float()
    return fma(scale, q, scale + 1.0)


def sinh(x: Number) -> Number:
    """(E - 1 / (4 E)) with E = e^|x| / 2; near 0 a polynomial."""
    half = _half_exp(x.abs())
    large = half - 0.25 / half
    z = x * x
    small = fma(z * polynomial(z, SINH[x.dtype]), x, x)
    return (x.abs() < 1.0).select(small, large.copysign(x))


def cosh(x: Number) -> Number:
    half = _half_exp(x.abs())
    return half + 0.25 / half


def _half_exp(a: Number) -> Number:
    """e^a / 2 for a >= 0; finite wherever sinh and cosh are."""
    r, n = _reduce(a.minimum(RANGE[a.dtype][1] + 1.0))
    return scale(_exp_of_reduced(r), n - 1.0)


def sigmoid(x: Number) -> Number:
    """1 / (1 + e^-x); with e^-|x| nothing overflows and small results keep their digits."""
    low, _ = RANGE[x.dtype]
    r, n = _reduce((-x.abs()).maximum(low))
    e = scale(_exp_of_reduced(r), n)
    part = e / (e + 1.0)
    whole = (x >= 0.0).select(1.0, e)
    return fma(-whole, part, whole)  # whole / (1 + e), but the error of the quotient counts for less


# (sinh(x) / x - 1) / x^2 as a polynomial of x^2 on |x| <= 1
SINH = {
    float32: (0.1666666716337204, 0.008333314210176468, 0.0001984199625439942, 2.787396624626126e-06),
    float64: (0.16666666666666669, 0.008333333333332976, 0.0001984126984152722, 2.755731913146865e-06,
              2.5052126723245172e-08, 1.6057007527864524e-10, 7.765782978449557e-13),
}
# (tanh(x) / x - 1) / x^2 as a polynomial of x^2 on |x| <= 0.6
TANH = {
    float32: (-0.33333298563957214, 0.1333194226026535, -0.053785473108291626, 0.020801622420549393,
              -0.005901741329580545),
    float64: (-0.33333333333333326, 0.1333333333333188, -0.05396825396727037, 0.021869488502949362,
              -0.008863234873671877, 0.003592119771644905, -0.0014557647721892323, 0.0005896251754583824,
              -0.00023752124833162312, 9.250523223651686e-05, -3.119556808000745e-05, 6.511371889618551e-06),
}


def tanh(x: Number) -> Number:
    """1 - 2 / (e^2|x| + 1); near 0 a polynomial, for there the difference would cancel."""
    f, a = x.format, x.abs()
    shifter = f.magic + f.bias
    shifted = fma(a.minimum({float32: 9.5, float64: 20.0}[x.dtype]), 2 * LOG2E, shifter)
    n = shifted - shifter
    # No second part of ln 2: the larger n, the less the exponential's error counts.
    r = fma(n, -0.5 * sum(LN2[x.dtype]), a)
    coefficients = (1.0, 1.0, *EXPM1[x.dtype])
    p = polynomial(r, [c * 2.0 ** k for k, c in enumerate(coefficients)])
    scale = (shifted.bits() << f.mantissa).as_float()
    large = 1.0 - 2.0 / fma(p, scale, 1.0)
    small = x * x
    small = fma(small * polynomial(small, TANH[x.dtype]), a, a)
    return (a < 0.6).select(small, large).with_sign_of(x)
