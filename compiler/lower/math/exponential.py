"""How are exp, exp2, expm1, sigmoid, tanh, sinh and cosh computed?

All of them write x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite, Software Manual for the Elementary Functions, 1980):
n falls out of the low bits of x log2(e) + 1.5 * 2^23, ln 2 is subtracted in two parts by fma, e^r is a minimax polynomial
(tests/math/minimax.py finds the coefficients) and 2^n is put together from n's bits.
"""

from __future__ import annotations

from ...core.dtypes import float32, float64
from .number import Number, fma, polynomial

LOG2E = 1.4426950408889634
# ln 2 = high + low; the high part is short, so that n * high is exact for every n that occurs.
LN2 = {float32: (0.693145751953125, 1.4286067653301733e-06)}
# (e^r - 1 - r) / r^2 on |r| <= 0.3476, error in e^r below 2^-28
EXPM1 = {float32: (0.5, 0.16666516661643982, 0.04166645184159279, 0.00836914125829935, 0.0013935875613242388)}
