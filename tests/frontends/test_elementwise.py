"""Do elementwise functions agree with NumPy, at once and traced?"""

import numpy as np
import pytest

from lamina.frontends import array as lm

RNG = np.random.default_rng(0)
SHAPES = [(), (1,), (0,), (7,), (3, 5), (2, 0, 3)]
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-30, 1e30], np.float32)

UNARY = {"negative": np.negative, "positive": np.positive, "abs": np.abs, "absolute": np.absolute, "fabs": np.fabs,
         "sign": np.sign, "square": np.square, "reciprocal": np.reciprocal, "floor": np.floor, "ceil": np.ceil,
         "trunc": np.trunc, "round": np.round, "rint": np.rint, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1,
         "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sqrt": np.sqrt, "cbrt": np.cbrt,
         "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
         "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
         "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "arcsinh": np.arcsinh,
         "arccosh": np.arccosh, "arctanh": np.arctanh, "deg2rad": np.deg2rad, "rad2deg": np.rad2deg,
         "radians": np.radians, "degrees": np.degrees, "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite,
         "isposinf": np.isposinf, "isneginf": np.isneginf, "signbit": np.signbit, "logical_not": np.logical_not,
         "nan_to_num": np.nan_to_num}
BINARY = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
          "true_divide": np.true_divide, "floor_divide": np.floor_divide, "remainder": np.remainder, "mod": np.mod,
          "fmod": np.fmod, "maximum": np.maximum, "minimum": np.minimum, "fmax": np.fmax, "fmin": np.fmin,
          "atan2": np.arctan2, "arctan2": np.arctan2, "hypot": np.hypot, "logaddexp": np.logaddexp,
          "copysign": np.copysign, "equal": np.equal, "not_equal": np.not_equal, "less": np.less,
          "less_equal": np.less_equal, "greater": np.greater, "greater_equal": np.greater_equal,
          "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}
BITS = {"bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor}


def draw(*shape, low=-4.0, high=4.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_agree_with_numpy(name, agree):
    for shape in SHAPES:
        x = draw(*shape)
        agree(getattr(lm, name), UNARY[name](x), x)
    expected = UNARY[name](SPECIAL)
    if name == "reciprocal":
        expected = np.float32(1) / SPECIAL
    agree(getattr(lm, name), expected, SPECIAL)
    agree(getattr(lm, name), UNARY[name](SPECIAL.astype(np.float64)), SPECIAL.astype(np.float64))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", BINARY)
def test_binary_functions_agree_with_numpy_and_broadcast(name, agree):
    for a, b in [((), ()), ((3,), (3,)), ((5, 1), (1, 7)), ((2, 3, 5), (3, 1)), ((0, 3), (3,)), ((1,), (0,))]:
        x, y = draw(*a), draw(*b)
        agree(getattr(lm, name), BINARY[name](x, y), x, y)
    x, y = (g.ravel() for g in np.meshgrid(SPECIAL, SPECIAL))
    expected = BINARY[name](x, y)
    if name == "floor_divide":  # lamina's is floor(x / y); NumPy's goes by way of the remainder
        expected = np.floor(x / y)
    if name == "copysign":  # the sign bit of NaN is not kept
        x, y, expected = x[~np.isnan(y)], y[~np.isnan(y)], expected[~np.isnan(y)]
    agree(getattr(lm, name), expected, x, y)


@pytest.mark.parametrize("name", BITS)
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64"])
def test_bitwise_functions_agree_with_numpy(name, dtype, agree):
    x, y = (RNG.integers(0, 2 if dtype == "bool" else 100, (3, 7)).astype(dtype) for _ in range(2))
    agree(getattr(lm, name), BITS[name](x, y), x, y)
    agree(lm.bitwise_invert, np.invert(x), x)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_shifts_and_integer_arithmetic_agree_with_numpy(dtype, agree):
    x, y = RNG.integers(1, 100, (3, 7)).astype(dtype), RNG.integers(1, 6, (3, 7)).astype(dtype)
    agree(lm.bitwise_left_shift, np.left_shift(x, y), x, y)
    agree(lm.bitwise_right_shift, np.right_shift(x, y), x, y)
    for name in ("add", "subtract", "multiply", "floor_divide", "remainder", "maximum", "less", "equal"):
        agree(getattr(lm, name), getattr(np, name)(x, y), x, y)
    agree(lm.power, np.power(x, y), x, y)
    agree(lm.divmod, np.divmod(x, y), x, y)


def test_integer_division_by_zero_is_zero(agree):
    x = np.array([5, -5, 0], np.int32)
    agree(lambda x: (lm.floor_divide(x, 0), lm.remainder(x, 0)), [np.zeros(3, np.int32)] * 2, x)


@pytest.mark.parametrize("name", ["exp", "sqrt", "sin", "sigmoid", "divide", "mean"])
def test_functions_that_need_floats_take_integers_as_float32(name, agree):
    x = np.array([1, 2, 3], np.int64)
    function = (lambda x: lm.divide(x, 2)) if name == "divide" else getattr(lm, name)
    assert function(x).dtype == np.float32
    for dtype in (bool, np.uint8, np.int16):
        assert function(x.astype(dtype)).dtype == np.float32


@pytest.mark.parametrize("exponent", [2, 3, 4, -1, 0, 1, 5, 0.5, -2])
def test_powers_by_python_numbers(exponent, agree):
    x = draw(3, 5, low=0.2, high=3.0)
    agree(lambda x: x ** exponent, x ** exponent, x)
    agree(lambda x: lm.power(x, exponent), np.power(x, exponent), x)


def test_integer_powers(agree):
    x = np.array([-3, -1, 0, 2, 7], np.int32)
    agree(lambda x: x ** 3, x ** 3, x)
    agree(lambda x: lm.power(2, x), np.array([0, 0, 1, 4, 128], np.int32), x)


def test_where_broadcasts_and_takes_any_condition(agree):
    condition, x, y = draw(3, 1) > 0, draw(5), draw(3, 5)
    agree(lm.where, np.where(condition, x, y), condition, x, y)
    agree(lambda c, x: lm.where(c, x, 0), np.where(condition, x, np.float32(0)), condition, x)
    agree(lambda c: lm.where(c, 1, 0), np.where(condition, 1, 0), condition)
    numbers = np.array([0, 2, -1], np.int32)
    agree(lambda c: lm.where(c, 1.5, 2), np.array([2, 1.5, 1.5], np.float32), numbers)


def test_clip_and_round(agree):
    x = draw(3, 7)
    agree(lambda x: lm.clip(x, -1, 2), np.clip(x, -1, 2), x)
    agree(lambda x: lm.clip(x, min=0), np.maximum(x, 0), x)
    agree(lambda x: x.clip(max=0), np.minimum(x, 0), x)
    agree(lambda x: lm.round(x, decimals=2), np.round(x, 2), x)
    whole = np.array([-15, 26, 149], np.int32)
    agree(lm.round, whole, whole)
    agree(lambda x: lm.round(x, decimals=-1), np.array([-20, 30, 150], np.int32), whole)


def test_isclose_agrees_with_numpy(agree):
    x = np.array([1.0, 1.0, np.inf, np.nan, 0.0, np.inf], np.float32)
    y = np.array([1.0 + 1e-6, 1.1, np.inf, np.nan, 1e-9, -np.inf], np.float32)
    agree(lm.isclose, np.isclose(x, y), x, y)
    agree(lambda x, y: lm.isclose(x, y, equal_nan=True), np.isclose(x, y, equal_nan=True), x, y)
    assert lm.allclose(x[:1], y[:1]) and not lm.allclose(x, y)


def test_error_function_agrees_with_math(agree):
    from math import erf, erfc
    x = draw(17)
    agree(lm.erf, np.array([erf(v) for v in x], np.float32), x)
    agree(lm.erfc, np.array([erfc(v) for v in x], np.float32), x)


def test_astype_saturates_and_copies(agree):
    x = np.array([1.9, -1.9, 300.0, np.nan, -np.inf], np.float32)
    agree(lambda x: lm.astype(x, np.int8), np.array([1, -1, 127, 0, -128], np.int8), x)
    agree(lambda x: lm.astype(x, bool), x != 0, x)
    agree(lambda x: lm.astype(x, "float64"), x.astype(np.float64), x)
    assert lm.astype(x, lm.asarray(x).dtype) is not x
    assert lm.astype(x, "float32", copy=False) is x


@pytest.mark.filterwarnings("error")
def test_no_warning_leaks_from_values_out_of_a_functions_domain():
    lm.log(np.array([-1.0, 0.0], np.float32))
    lm.divide(np.float32(1), np.float32(0))
    assert lm.add(np.zeros(1, np.float16), -1e9) == -np.inf


def test_half_precision_stays_half_precision(agree):
    import ml_dtypes
    for dtype in (np.float16, ml_dtypes.bfloat16):
        x = draw(3, 7).astype(dtype)
        agree(lambda x: x * 2 + 1, (x.astype(np.float32) * 2).astype(dtype) + dtype(1), x, rtol=1e-2)
        agree(lm.exp, np.exp(x.astype(np.float32)).astype(dtype), x, rtol=1e-2)
