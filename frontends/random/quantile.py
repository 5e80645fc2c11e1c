"""What is the inverse of the error function?  With it a uniform number becomes a normal one.

float32: M. Giles, "Approximating the erfinv function", GPU Computing Gems 2 (2011), chapter 10: two polynomials.
float64: M. Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988),
PPND16: three quotients of polynomials.
"""

from __future__ import annotations

import math
from typing import Sequence

from ...compiler.core.dtypes import float64
from ..array.elementwise import abs, divide, less, log, multiply, negative, sqrt, subtract, where
from ..array.operands import Array, dtype_of

CENTER = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
          -0.00417768164, 0.246640727, 1.50140941)
TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
        1.00167406, 2.83297682)

#: Numerator and denominator of PPND16: near 0, in the tails, far out in the tails.
NEAR = ((2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
         13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
        (5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
         5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0))
MIDDLE = ((7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
           3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
          (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
           0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0))
FAR = ((2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
        0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
       (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
        0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0))


def erfinv_of(x: Array, outside: Array) -> Array:
    """erfinv(x) for float32 or float64 in (-1, 1); `outside` is 1 - |x|, which a caller may know more precisely."""
    return _double(x, outside) if dtype_of(x) == float64 else _single(x, outside)


def erfinv(x: Array) -> Array:
    """erfinv(x) for float32 or float64 in (-1, 1)."""
    return erfinv_of(x, subtract(1.0, abs(x)))


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """Horner's scheme, the highest power's coefficient first."""
    result = multiply(x, coefficients[0]) + coefficients[1]
    for c in coefficients[2:]:
        result = result * x + c
    return result


def _single(x: Array, outside: Array) -> Array:
    w = negative(log(outside * (2.0 - outside)))
    is_central = less(w, 5.0)
    return where(is_central, _polynomial(CENTER, w - 2.5), _polynomial(TAIL, sqrt(w) - 3.0)) * x


def _double(x: Array, outside: Array) -> Array:
    q = 0.5 * x  # the quantile of 0.5 + q is sqrt(2) erfinv(x)
    r = sqrt(negative(log(0.5 * outside)))
    near = q * _quotient(NEAR, 0.180625 - q * q)
    tail = where(less(r, 5.0), _quotient(MIDDLE, r - 1.6), _quotient(FAR, r - 5.0))
    tail = where(less(x, 0.0), negative(tail), tail)
    return where(less(abs(q), 0.425), near, tail) * math.sqrt(0.5)


def _quotient(pair, x: Array) -> Array:
    return divide(_polynomial(pair[0], x), _polynomial(pair[1], x))
