"""How are erf and erfc computed?"""

from __future__ import annotations

from ...core.dtypes import float32, float64
from .exponential import minus_expm1
from .number import Number, fma, polynomial

# -log(1 - erf(a)) / a - 1 on 0 <= a <= LIMIT, beyond which erf rounds to 1; the error counts relative to erf(a)
LIMIT = {float32: 3.95, float64: 5.95}
LOG_ERFC = {
    float32: (0.12837916612625122, 0.636619508266449, 0.10277694463729858, -0.019150275737047195, -0.0001649842015467584,
              0.0016712278593331575, -0.0006349801551550627, 0.00011820877261925489, -9.316769137512892e-06),
}


def erf(x: Number) -> Number:
    """1 - e^-g(|x|) with the sign of x. g = -log(1 - erf) is a smooth function through 0, so one polynomial does for all x."""
    a = x.abs().minimum(LIMIT[x.dtype])
    return minus_expm1(fma(-a, polynomial(a, LOG_ERFC[x.dtype]), -a)).with_sign_of(x)
