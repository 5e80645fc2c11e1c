"""Is every function within 2 units in the last place, for all kinds of arguments, in f32 and f64?"""

import math

import mpmath
import numpy as np
import pytest

from .evaluation import evaluate, largest_error, sample, special_values, steps
from lamina.compiler.core.dtypes import float16, float32, float64, int32, int64, uint32, uint64, bool_
from lamina.compiler.core.errors import UnsupportedError
from lamina.compiler.kernel.ir import BINARY, UNARY, Binary, Bitcast, Cast, Compare, Const, Fma, Select, Unary, Var
from lamina.compiler.lower.math import EXPANDED, expand

LIMIT = 2.0


def _sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _by(function):
    return np.vectorize(function, otypes=[np.float64])


#: the function in f64, whose own error is nothing beside an f32 ulp, and in mpmath
UNARY_FUNCTIONS = {
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x: 1 / mpmath.sqrt(x)),
    "exp": (np.exp, mpmath.exp), "exp2": (np.exp2, lambda x: mpmath.power(2, x)), "expm1": (np.expm1, mpmath.expm1),
    "log": (np.log, mpmath.log), "log2": (np.log2, lambda x: mpmath.log(x) / mpmath.log(2)),
    "log1p": (np.log1p, mpmath.log1p),
    "sin": (np.sin, mpmath.sin), "cos": (np.cos, mpmath.cos), "tan": (np.tan, mpmath.tan),
    "asin": (np.arcsin, mpmath.asin), "acos": (np.arccos, mpmath.acos), "atan": (np.arctan, mpmath.atan),
    "sinh": (np.sinh, mpmath.sinh), "cosh": (np.cosh, mpmath.cosh), "tanh": (np.tanh, mpmath.tanh),
    "asinh": (np.arcsinh, mpmath.asinh), "acosh": (np.arccosh, mpmath.acosh), "atanh": (np.arctanh, mpmath.atanh),
    "sigmoid": (_sigmoid, lambda x: 1 / (1 + mpmath.exp(-x))),
    "erf": (_by(math.erf), mpmath.erf), "erfc": (_by(math.erfc), mpmath.erfc),
}
BINARY_FUNCTIONS = ("pow", "atan2", "rem", "mod", "scale")


def test_every_function_has_a_recipe():
    primitive = {"neg", "abs", "sqrt", "floor", "ceil", "trunc", "round", "not"}
    assert set(UNARY) - primitive == set(UNARY_FUNCTIONS)
    assert EXPANDED == set(UNARY_FUNCTIONS) | set(BINARY_FUNCTIONS)


def exactly(function, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """function(x) by mpmath as an f64 and the rest; NaN where the function has no real value."""
    high, low = np.empty(x.shape), np.zeros(x.shape)
    with mpmath.workprec(150):
        for n, v in enumerate(x):
            value = function(mpmath.mpf(float(v)))
            if isinstance(value, mpmath.mpc):
                high[n] = math.nan
                continue
            high[n] = float(value)
            if math.isfinite(high[n]):
                low[n] = float(value - mpmath.mpf(high[n]))
    return high, low


@pytest.mark.parametrize("op", UNARY_FUNCTIONS)
def test_float32(op):
    x = sample(np.float32, 200_000, -100, 100)
    with np.errstate(all="ignore"):
        exact = UNARY_FUNCTIONS[op][0](x.astype(np.float64))
    assert largest_error(evaluate(op, x), exact) <= LIMIT


@pytest.mark.parametrize("op", UNARY_FUNCTIONS)
def test_float64(op):
    x = sample(np.float64, 12_000)
    reference, precise = UNARY_FUNCTIONS[op]
    got = evaluate(op, x)
    with np.errstate(all="ignore"):
        rough = reference(x)
    plain = np.isfinite(x) & np.isfinite(rough) & (rough != 0)
    if op not in ("rsqrt", "log", "log2", "log1p", "asinh", "acosh", "atan"):
        # mpmath's exponentials are slow beyond, where the result is 0, 1 or infinite; huge angles are tried below
        plain &= np.abs(x) < 1e5
    settled = ~plain & ~((np.abs(x) > 1e5) & np.isin(op, ("sin", "cos", "tan")) & np.isfinite(x))
    assert largest_error(got[settled], rough[settled]) <= LIMIT
    assert largest_error(got[plain], *exactly(precise, x[plain])) <= LIMIT


@pytest.mark.parametrize("op", ("sin", "cos", "tan"))
@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_large_angles(op, dtype):
    """Arguments next to multiples of pi/2, found by exhaustive search for f32 and by continued fractions for f64
    (Muller, Elementary Functions, section 11.3.2), and random huge ones."""
    hard = {np.float32: [7.729179e28, 21999384576.0, 1.5458358e29, 252.89821, 4.6381834e25, 1.2614588e38, 4.386558e33,
                         3.045578e12],
            np.float64: [6381956970095103.0 * 2.0 ** 797, 5.319372648326541e255, 1e22, 355.0, 2.0 ** 1023]}[dtype]
    x = np.array([*hard, np.finfo(dtype).max], dtype)
    random = sample(dtype, 4096, seed=1)
    x = np.concatenate([x, random[np.isfinite(random) & (np.abs(random) > 2.0 ** 30)]])
    with mpmath.workprec(1300):
        values = [getattr(mpmath, op)(mpmath.mpf(float(v))) for v in x]
        high = np.array([float(v) for v in values])
        low = np.array([float(v - mpmath.mpf(h)) for v, h in zip(values, high)])
    assert largest_error(evaluate(op, x), high, low) <= LIMIT


def pairs(dtype, seed: int, count: int = 3000):
    """Operands of two-operand functions: any bits, and every special value with every other."""
    grid = np.meshgrid(special_values(dtype), special_values(dtype))
    x, y = sample(dtype, count, seed=seed), sample(dtype, count, seed=seed + 1)
    order = np.random.default_rng(seed).permutation(len(y))
    return np.concatenate([grid[0].ravel(), x]), np.concatenate([grid[1].ravel(), y[order]])


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_pow(dtype):
    x, y = pairs(dtype, 3)
    rng = np.random.default_rng(4)
    x = np.concatenate([x, *(rng.uniform(*r, 3000).astype(dtype) for r in ((0, 4), (0.9, 1.1), (0, 1e30)))])
    y = np.concatenate([y, *(rng.uniform(*r, 3000).astype(dtype) for r in ((-50, 50), (-500, 500), (-1.2, 1.2)))])
    got = evaluate("pow", x, y)
    with np.errstate(all="ignore"):
        rough = np.power(x.astype(np.float64), y.astype(np.float64))
    if dtype == np.float32:
        assert largest_error(got, rough) <= LIMIT
        return
    plain = np.isfinite(rough) & (rough != 0) & (x > 0) & np.isfinite(x) & np.isfinite(y)
    assert largest_error(got[~plain], rough[~plain]) <= LIMIT
    with mpmath.workprec(200):
        values = [mpmath.power(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(x[plain], y[plain])]
        high = np.array([float(v) for v in values])
        low = np.array([float(v - mpmath.mpf(h)) for v, h in zip(values, high)])
    assert largest_error(got[plain], high, low) <= LIMIT


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_atan2(dtype):
    y, x = pairs(dtype, 5)
    got = evaluate("atan2", y, x)
    rough = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    if dtype == np.float32:
        assert largest_error(got, rough) <= LIMIT
        return
    plain = np.isfinite(x) & np.isfinite(y) & (rough != 0) & (x != 0)  # mpmath knows no -0
    assert largest_error(got[~plain], rough[~plain]) <= LIMIT
    with mpmath.workprec(200):
        values = [mpmath.atan2(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(y[plain], x[plain])]
        values = [-abs(v) if math.copysign(1, a) < 0 else abs(v) for v, a in zip(values, y[plain])]
        high = np.array([float(v) for v in values])
        low = np.array([float(v - mpmath.mpf(h)) for v, h in zip(values, high)])
    assert largest_error(got[plain], high, low) <= LIMIT


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.parametrize("op", ("rem", "mod"))
def test_remainders_are_exact(op, dtype):
    x, y = pairs(dtype, 7)
    with np.errstate(all="ignore"):
        exact = (np.fmod if op == "rem" else np.mod)(x, y)
    got = evaluate(op, x, y)
    np.testing.assert_array_equal(got, exact)
    finite = ~np.isnan(got)
    np.testing.assert_array_equal(np.signbit(got[finite]), np.signbit(exact[finite]))


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
def test_scaling_by_powers_of_two_rounds_once(dtype):
    """Wherever the result is finite or just beyond, and at every denormal number."""
    info = np.finfo(dtype)
    n = np.arange(info.minexp - info.nmant - 2, info.maxexp + 2)
    p = np.random.default_rng(1).uniform(0.5, 2, (50, 1)).astype(dtype)
    x, n = np.broadcast_arrays(p, n)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(evaluate("scale", x, n.astype(dtype)), np.ldexp(x, n))


@pytest.mark.parametrize("op", sorted(EXPANDED))
def test_recipes_are_primitive(op):
    """f32 recipes need no f64 arithmetic; none needs another function but `scale`, a load, or an integer division."""
    arity = 2 if op in BINARY else 1
    for dtype, allowed in ((float32, {float32, int32, uint32, uint64, bool_}),
                           (float64, {float64, int64, uint64, bool_})):
        for e in steps(op, dtype, arity):
            assert e.dtype in allowed
            assert isinstance(e, (Const, Var, Unary, Binary, Compare, Select, Fma, Cast, Bitcast))
            assert not isinstance(e, Unary) or e.op in ("neg", "abs", "sqrt", "round", "trunc", "not")
            if isinstance(e, Binary):
                assert e.op in ("add", "sub", "mul", "min", "max", "and", "or", "xor", "shl", "shr") or (
                    e.op == "div" and e.dtype == dtype) or (e.op == "scale" and op != "scale")


@pytest.mark.parametrize("op, count, divisions", [
    ("exp", 13, 0), ("exp2", 12, 0), ("scale", 7, 0), ("log", 30, 0), ("tanh", 26, 1), ("sigmoid", 20, 1),
    ("erf", 27, 0), ("rsqrt", 2, 1)])
def test_hot_recipes_stay_short(op, count, divisions):
    """Operations that cost an instruction in f32: the inner loops of GELU, softmax and LSTM."""
    found = [e for e in steps(op, float32, 2 if op in BINARY else 1) if not isinstance(e, (Const, Var, Bitcast))]
    assert len(found) <= count
    assert sum(isinstance(e, Binary) and e.op == "div" for e in found) == divisions


def test_unknown_recipes_are_named():
    with pytest.raises(UnsupportedError, match="no recipe computes gamma"):
        expand("gamma", (Var("x", float32),), lambda name, e: e)
    with pytest.raises(UnsupportedError, match="exp of float16 has no recipe"):
        expand("exp", (Var("x", float16),), lambda name, e: e)
