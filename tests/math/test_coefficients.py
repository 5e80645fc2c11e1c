"""Do the tables of lower/math hold what their comments say?  Each polynomial against its function, precisely."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf, sqrt

from lamina.compiler.core.dtypes import float32, float64
from lamina.compiler.lower.math import error_function, exponential, inverse, logarithm, power, trigonometric

from .minimax import largest_error, minimax, rounded

LN2, ROOT = 0.6931471805599453, 0.41421356237309503


def _even(function, of=sqrt):
    """function(x) / x - 1 over x^2, as a function of z = x^2."""
    return lambda z: (function(of(z)) / of(z) - 1) / z


def _scaled_erfc(center):
    def value(t):
        a = center * (1 + t) / (1 - t)
        return (1 + 2 * a) * mpmath.exp(a * a) * mpmath.erfc(a)
    return value


def _log_erfc(a):
    return -mpmath.log(mpmath.erfc(a)) / a - 1


def _log1p_rest(f):
    return (mpmath.log1p(f) - f) / f ** 2


def _atanh(z):
    return (2 * mpmath.atanh(sqrt(z)) / sqrt(z) - 2) / z


# name: table, function of the polynomial's variable, low, high, weight that makes errors relative to the result
TABLES = {
    "exp": (exponential.EXPM1, lambda r: (mpmath.expm1(r) - r) / r ** 2, -LN2 / 2, LN2 / 2, lambda r: r * r),
    "exp2": (exponential.EXP2, lambda r: (mpmath.power(2, r) - 1) / r, -0.5, 0.5, lambda r: r),
    "sinh": (exponential.SINH, _even(mpmath.sinh), 0, 1, lambda z: z),
    "tanh": (exponential.TANH, _even(mpmath.tanh), 0, 0.36, lambda z: z),
    "log": ({float32: logarithm.LOG1P[float32]}, _log1p_rest, -1 + 0.5 ** 0.5, ROOT,
            lambda f: f ** 2 / mpmath.log1p(f)),
    "log, f64": ({float64: logarithm.ATANH}, _atanh, 0, 0.02944, lambda z: z / 2),
    "pow": (power.ATANH, lambda z: (_atanh(z) - mpf(2) / 3) / z, 0, 0.02944, lambda z: z ** 2 / 2),
    "asin": (inverse.ASIN, _even(mpmath.asin), 0, 0.25, lambda z: z),
    "atan": (inverse.ATAN, _even(mpmath.atan), 0, 1, lambda z: z),
    "sin": (trigonometric.SIN, _even(mpmath.sin), 0, 0.6169, lambda z: z),
    "cos": (trigonometric.COS, lambda z: (mpmath.cos(sqrt(z)) - 1 + z / 2) / z ** 2, 0, 0.6169, lambda z: z * z),
    "erf": ({float32: error_function.LOG_ERFC}, _log_erfc, 0, 3.95, lambda a: mpmath.erfc(a) * a / mpmath.erf(a)),
    "erf, small": ({float32: error_function.ERF[float32]}, lambda z: mpmath.erf(sqrt(z)) / sqrt(z) - 1, 0, 0.25,
                   lambda z: sqrt(z)),
    "erf, f64": ({float64: error_function.ERF[float64]}, lambda z: mpmath.erf(sqrt(z)) / sqrt(z) - 1, 0, 0.7225,
                 lambda z: 1),
}
BITS = {float32: 24, float64: 53}


@pytest.mark.parametrize("name", TABLES)
def test_polynomials_are_close_to_their_functions(name):
    """Less than a tenth of an ulp; the logarithm of pow has to be much better, for it is multiplied by up to 2^10."""
    table, function, low, high, weight = TABLES[name]
    for dtype, coefficients in table.items():
        bits = BITS[dtype] + (10 if name == "pow" else 0)
        error = largest_error(function, range(len(coefficients)), coefficients, low, high, weight, points=120)
        assert error * 2 ** bits < 0.1


@pytest.mark.parametrize("dtype", (float32, float64))
def test_scaled_erfc_is_close(dtype):
    first, first_low, others = error_function.ERFCX[dtype]
    center, end = error_function.CENTER[dtype], error_function.UNDERFLOW[dtype]
    with mpmath.workprec(150):
        coefficients = [mpf(first) + mpf(first_low), *others]
    error = largest_error(_scaled_erfc(mpf(center)), range(len(coefficients)), coefficients, -1,
                          (end - center) / (end + center), points=120)
    assert error * 2 ** BITS[dtype] < 0.1


def test_log2_is_close():
    first, others = logarithm.LOG2[float32]
    error = largest_error(lambda f: (mpmath.log1p(f) / mpmath.log(2) - first * f) / f, range(len(others)), others,
                          -1 + 0.5 ** 0.5, ROOT, lambda f: f / mpmath.log1p(f))
    assert error * 2 ** 24 < 0.15


def test_constants_in_two_parts():
    with mpmath.workprec(200):
        for bits, (high, low), exact in (
                (44, exponential.LN2[float32], mpmath.log(2)), (85, exponential.LN2[float64], mpmath.log(2)),
                (48, inverse.HALF_PI[float32], mpmath.pi / 2), (106, inverse.HALF_PI[float64], mpmath.pi / 2),
                (48, power.TWO_THIRDS[float32], mpf(2) / 3), (106, power.TWO_THIRDS[float64], mpf(2) / 3),
                (106, (logarithm.LOG2E, logarithm.LOG2E_LOW), 1 / mpmath.log(2))):
            assert abs(mpf(high) + mpf(low) - exact) < mpf(2) ** -bits
    with mpmath.workprec(1400):
        assert trigonometric.TWO_OVER_PI == int(mpmath.floor(2 / mpmath.pi * mpf(2) ** trigonometric.TWO_OVER_PI_BITS))


def test_the_method_gives_the_coefficients():
    half = mpmath.log(2) / 2 * mpf("1.003")
    found, _ = rounded(TABLES["exp"][1], range(5), -half, half, lambda r: r * r, np.float32)
    assert found == list(exponential.EXPM1[float32])


def test_minimax_of_a_known_case():
    """The best line for x^2 on [0, 1] is x - 1/8, with the error 1/8."""
    coefficients, error = minimax(lambda x: x * x, (0, 1), 0, 1)
    assert abs(coefficients[0] + 0.125) < 1e-3 and abs(coefficients[1] - 1) < 1e-3 and abs(error - 0.125) < 1e-3
