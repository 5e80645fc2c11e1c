"""How are erf and erfc computed?"""

from __future__ import annotations

from ...core.dtypes import float32, float64
from .exponential import exp_with_error, minus_expm1
from .number import Number, fma, polynomial, scale

# -log(1 - erf(a)) / a - 1 on 0 <= a <= 3.95, beyond which erf rounds to 1 in f32; the error counts relative to erf(a)
LOG_ERFC = (0.12837916612625122, 0.636619508266449, 0.10277694463729858, -0.019150275737047195,
            -0.0001649842015467584, 0.0016712278593331575, -0.0006349801551550627, 0.00011820877261925489,
            -9.316769137512892e-06)
# erf(x) / x - 1 as a polynomial of x^2 on |x| <= 0.5 and 0.85
ERF = {
    float32: (0.12837916612625122, -0.3761259913444519, 0.11282619833946228, -0.026744604110717773,
              0.004693878348916769),
    float64: (0.1283791670955126, -0.3761263890318387, 0.11283791670958677, -0.026866170645632875,
              0.005223977629316304, -0.0008548327196528165, 0.00012055337290242192, -1.4925691293985057e-05,
              1.6461357506589816e-06, -1.6335906836660593e-07, 1.438433983356697e-08, -9.304014926011957e-10),
}
# (1 + 2 a) e^(a^2) erfc(a) as a polynomial of t = (a - CENTER) / (a + CENTER), from a = 0 to where erfc underflows
# (Shepherd and Laframboise, Chebyshev approximation of (1 + 2x) exp(x^2) erfc x, 1981); the constant term in two parts
CENTER = {float32: 3.0, float64: 3.75}
UNDERFLOW = {float32: 10.06, float64: 27.25}
ERFCX = {
    float32: (1.2530080080032349, 5.10033757450401e-08,
              (-0.13562114536762238, -0.04756239429116249, 0.12964652478694916, -0.11927097290754318,
               0.06829517334699631, -0.023797882720828056, 0.0025683948770165443, 0.0020028671715408564,
               -0.0007776299607940018, -0.00026835681637749076)),
    float64: (1.2375126308378275, 1.0708266716955961e-16,
              (-0.140240598585547, 0.0035854154854630216, 0.08227673849014831, -0.108803930141665,
               0.09230432116030246, -0.05869339859159294, 0.028362277419492186, -0.009746579534502893,
               0.0017556258554969448, 0.00029371349979123327, -0.0002901541450496598, 5.164982838726631e-05,
               2.238468864285864e-05, -1.1446196222809508e-05, -9.75251066352026e-07, 1.7552600237689542e-06,
               -5.3407913082329094e-08, -2.623918495320431e-07, 1.811525753534099e-08, 4.0344819792024636e-08,
               1.1223434795524215e-10, -4.870972029594086e-09, -9.224911030745923e-10)),
}


def erf(x: Number) -> Number:
    """f32: 1 - e^-g(|x|) with the sign of x; g = -log(1 - erf) is smooth and goes through 0, so one polynomial does for
    all x. f64 would need too high a degree: a polynomial near 0, 1 - erfc beyond."""
    if x.dtype == float32:
        a = x.abs().minimum(3.95)
        return minus_expm1(fma(-a, polynomial(a, LOG_ERFC), -a)).with_sign_of(x)
    a = x.abs()
    large = 1.0 - _erfc_of_positive(a.minimum(6.0))
    small = fma(x, polynomial(x * x, ERF[x.dtype]), x)
    return (a < 0.85).select(small, large.with_sign_of(x))


def erfc(x: Number) -> Number:
    a = x.abs()
    large = _erfc_of_positive(a.minimum(UNDERFLOW[x.dtype]))
    large = (x < 0.0).select(2.0 - large, large)
    small = 1.0 - fma(x, polynomial(x * x, ERF[x.dtype]), x)
    return (a < 0.5).select(small, large)


def _erfc_of_positive(a: Number) -> Number:
    """erfc(a) = e^(-a^2) W(a) / (1 + 2a), each of the three with its rounding error."""
    square = a * a
    square_low = fma(a, a, -square)
    p, p_low, n = exp_with_error(-square, -square_low)
    center = CENTER[a.dtype]
    t = (a - center) / (a + center)
    first, first_low, others = ERFCX[a.dtype]
    rest = t * polynomial(t, others)
    w = rest + first
    w_low = ((first - w) + rest) + first_low
    d = fma(a, 2.0, 1.0)
    d_low = fma(a, 2.0, -(d - 1.0))
    q = w / d
    missing = fma(-q, d, w) + (w_low - q * d_low)
    q_low = missing * (q * (1.0 / first))  # 1 / d is q / w, and w is near its first coefficient
    return scale(fma(p, q, fma(p, q_low, p_low * q)), n)
