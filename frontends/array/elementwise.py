"""Which functions compute each element from the elements at the same place?  NumPy's arithmetic, comparisons and
choices.

Arguments are arrays, tracers or numbers; they are promoted and broadcast against each other. Functions that need floats
take bool and integers as float32.
"""

from __future__ import annotations

import builtins
import math

import numpy as np

from ...compiler.core.dtypes import DType, as_dtype, bool_
from ...compiler.core.errors import UnsupportedError
from ...compiler.ops import elementwise as ops
from .operands import (Array, as_array, as_floating, as_operand, broadcast, broadcast_arrays, cast, dtype_of, in_trace,
                       promoted, result_dtype, weak_kind)
from .tracer import Tracer, emit, user_location


def _weak_like(result: Array, *xs) -> Array:
    """`result` marked weak where every argument is: a Python scalar argument times 2 is still like a Python scalar."""
    if isinstance(result, Tracer) and all(weak_kind(x) is not None for x in xs):
        return Tracer(result.owner, result.value, weak=True)
    return result


def binary(op, x, y, floating: bool = False) -> Array:
    """`op` of two promoted, broadcast operands."""
    return _weak_like(emit(op, *promoted(x, y, floating=floating)), x, y)


def floating(op, x) -> Array:
    """`op` of an operand of a floating dtype."""
    return _weak_like(emit(op, as_floating(x)), x)


def _numeric(op, x) -> Array:
    return _weak_like(emit(op, as_array(x)), x)


def _integral_unchanged(op, x) -> Array:
    x = as_array(x)
    return emit(op, x) if dtype_of(x).is_float else x


# ---- arithmetic ------------------------------------------------------------------------------------------------------
def add(x, y, /) -> Array:
    """x + y; for bool, or."""
    return binary(ops.Add(), x, y)


def subtract(x, y, /) -> Array:
    """x - y."""
    return binary(ops.Sub(), x, y)


def multiply(x, y, /) -> Array:
    """x * y; for bool, and."""
    return binary(ops.Mul(), x, y)


def divide(x, y, /) -> Array:
    """x / y as floats: integers become float32."""
    return binary(ops.Div(), x, y, floating=True)


def floor_divide(x, y, /) -> Array:
    """floor(x / y); for integers x // 0 is 0."""
    return binary(ops.FloorDiv(), x, y)


def remainder(x, y, /) -> Array:
    """x - floor(x / y) * y, with the divisor's sign; for integers x % 0 is 0."""
    return binary(ops.Mod(), x, y)


def fmod(x, y, /) -> Array:
    """The remainder with the dividend's sign, as C's fmod."""
    return binary(ops.Rem(), x, y)


def divmod(x, y, /) -> tuple[Array, Array]:
    """(floor_divide(x, y), remainder(x, y))."""
    return floor_divide(x, y), remainder(x, y)


def power(x, y, /) -> Array:
    """x to the power y; integers wrap. Small Python integers as y are repeated multiplication."""
    if type(y) is int and weak_kind(x) is None:
        x = as_array(x)
        if y == 1:
            return +x
        if y in (2, 3, 4) and not dtype_of(x).is_bool:
            squared = multiply(x, x)
            return squared if y == 2 else multiply(squared, x if y == 3 else squared)
        if y == -1 and dtype_of(x).is_float:
            return reciprocal(x)
    return binary(ops.Pow(), x, y)


def negative(x, /) -> Array:
    """-x; unsigned integers wrap."""
    return _numeric(ops.Neg(), x)


def positive(x, /) -> Array:
    """+x, which is x."""
    return as_array(x)


def abs(x, /) -> Array:
    """|x|."""
    x = as_array(x)
    return x if dtype_of(x).is_bool else _numeric(ops.Abs(), x)


def sign(x, /) -> Array:
    """-1, 0 or 1; NaN stays NaN."""
    return _numeric(ops.Sign(), x)


def square(x, /) -> Array:
    """x * x."""
    return multiply(x, x)


def reciprocal(x, /) -> Array:
    """1 / x."""
    x = as_floating(x)
    return divide(as_operand(1, dtype_of(x)), x)


def maximum(x, y, /) -> Array:
    """The larger one; NaN where either is NaN."""
    return binary(ops.Max(), x, y)


def minimum(x, y, /) -> Array:
    """The smaller one; NaN where either is NaN."""
    return binary(ops.Min(), x, y)


def fmax(x, y, /) -> Array:
    """The larger one; the other where one is NaN."""
    x, y = promoted(x, y)
    return where(isnan(y), x, where(isnan(x), y, maximum(x, y)))


def fmin(x, y, /) -> Array:
    """The smaller one; the other where one is NaN."""
    x, y = promoted(x, y)
    return where(isnan(y), x, where(isnan(x), y, minimum(x, y)))


def clip(x, /, min=None, max=None) -> Array:
    """x, at least `min` and at most `max` (`max` wins where they cross); x keeps its dtype against Python scalars."""
    x = as_array(x)
    if min is not None:
        x = maximum(x, min)
    return minimum(x, max) if max is not None else x


# ---- rounding --------------------------------------------------------------------------------------------------------
def floor(x, /) -> Array:
    """The largest integer <= x; integers are left alone."""
    return _integral_unchanged(ops.Floor(), x)


def ceil(x, /) -> Array:
    """The smallest integer >= x; integers are left alone."""
    return _integral_unchanged(ops.Ceil(), x)


def trunc(x, /) -> Array:
    """x without its fraction; integers are left alone."""
    return _integral_unchanged(ops.Trunc(), x)


def round(x, /, decimals: int = 0) -> Array:
    """x to `decimals` places, halves to even; integers are left alone where decimals >= 0."""
    x = as_array(x)
    if decimals == 0 or dtype_of(x).is_integer and decimals > 0:
        return _integral_unchanged(ops.Round(), x)
    scale = 10.0 ** builtins.abs(decimals)
    dtype = dtype_of(x)
    if decimals > 0:
        return divide(emit(ops.Round(), multiply(x, scale)), scale)
    return cast(multiply(emit(ops.Round(), divide(x, scale)), scale), dtype)


# ---- exponentials, logarithms, roots ---------------------------------------------------------------------------------
def exp(x, /) -> Array:
    """e to the power x."""
    return floating(ops.Exp(), x)


def exp2(x, /) -> Array:
    """2 to the power x."""
    return floating(ops.Exp2(), x)


def expm1(x, /) -> Array:
    """exp(x) - 1, without cancellation near 0."""
    return floating(ops.Expm1(), x)


def log(x, /) -> Array:
    """The natural logarithm."""
    return floating(ops.Log(), x)


def log2(x, /) -> Array:
    """The logarithm to base 2."""
    return floating(ops.Log2(), x)


def log10(x, /) -> Array:
    """The logarithm to base 10."""
    return divide(log(x), math.log(10.0))


def log1p(x, /) -> Array:
    """log(1 + x), without cancellation near 0."""
    return floating(ops.Log1p(), x)


def logaddexp(x, y, /) -> Array:
    """log(exp(x) + exp(y)), without overflow."""
    x, y = promoted(x, y, floating=True)
    larger = maximum(x, y)
    # x - y is NaN for two equal infinities
    gap = where(equal(x, y), as_operand(0, dtype_of(x)), abs(subtract(x, y)))
    return add(larger, log1p(exp(negative(gap))))


def sqrt(x, /) -> Array:
    """The square root."""
    return floating(ops.Sqrt(), x)


def rsqrt(x, /) -> Array:
    """1 / sqrt(x)."""
    return floating(ops.Rsqrt(), x)


def cbrt(x, /) -> Array:
    """The cube root, of negative numbers too."""
    x = as_floating(x)
    root = multiply(sign(x), power(abs(x), 1.0 / 3.0))
    exact = logical_or(equal(x, 0), isinf(x))
    # one Newton step takes the power's rounding error away
    safe = where(exact, as_operand(1, dtype_of(x)), root)
    return where(exact, root, subtract(safe, divide(subtract(safe, divide(x, multiply(safe, safe))), 3.0)))


def erf(x, /) -> Array:
    """The error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x."""
    return floating(ops.Erf(), x)


def erfc(x, /) -> Array:
    """1 - erf(x), without cancellation."""
    return floating(ops.Erfc(), x)


# ---- comparison and logic --------------------------------------------------------------------------------------------
def equal(x, y, /) -> Array:
    """x == y."""
    return emit(ops.Compare("eq"), *promoted(x, y))


def not_equal(x, y, /) -> Array:
    """x != y."""
    return emit(ops.Compare("ne"), *promoted(x, y))


def less(x, y, /) -> Array:
    """x < y."""
    return emit(ops.Compare("lt"), *promoted(x, y))


def less_equal(x, y, /) -> Array:
    """x <= y."""
    return emit(ops.Compare("le"), *promoted(x, y))


def greater(x, y, /) -> Array:
    """x > y."""
    return emit(ops.Compare("gt"), *promoted(x, y))


def greater_equal(x, y, /) -> Array:
    """x >= y."""
    return emit(ops.Compare("ge"), *promoted(x, y))


def _logical(op, *xs) -> Array:
    return emit(op, *broadcast_arrays(*(cast(as_array(x), bool_) for x in xs)))


def logical_and(x, y, /) -> Array:
    """Whether both are nonzero."""
    return _logical(ops.And(), x, y)


def logical_or(x, y, /) -> Array:
    """Whether one or both are nonzero."""
    return _logical(ops.Or(), x, y)


def logical_xor(x, y, /) -> Array:
    """Whether exactly one is nonzero."""
    return _logical(ops.Xor(), x, y)


def logical_not(x, /) -> Array:
    """Whether x is zero."""
    return _logical(ops.Not(), x)


def bitwise_and(x, y, /) -> Array:
    """The bits set in both; logical and of bool."""
    return binary(ops.And(), x, y)


def bitwise_or(x, y, /) -> Array:
    """The bits set in either; logical or of bool."""
    return binary(ops.Or(), x, y)


def bitwise_xor(x, y, /) -> Array:
    """The bits set in one alone; logical xor of bool."""
    return binary(ops.Xor(), x, y)


def bitwise_invert(x, /) -> Array:
    """Every bit flipped; logical not of bool."""
    return _numeric(ops.Not(), x)


def bitwise_left_shift(x, y, /) -> Array:
    """x shifted left by y bits; 0 where y is the width or more."""
    return binary(ops.Shl(), x, y)


def bitwise_right_shift(x, y, /) -> Array:
    """x shifted right by y bits: arithmetic for signed integers, logical for unsigned ones."""
    return binary(ops.Shr(), x, y)


def _classify(op, x) -> Array:
    x = as_array(x)
    return emit(op, x) if dtype_of(x).is_float else broadcast(np.asarray(False), tuple(x.shape))


def isnan(x, /) -> Array:
    """Whether x is NaN; never for integers."""
    return _classify(ops.IsNan(), x)


def isinf(x, /) -> Array:
    """Whether x is an infinity; never for integers."""
    return _classify(ops.IsInf(), x)


def isposinf(x, /) -> Array:
    """Whether x is +infinity."""
    return _classify(ops.IsInf(True, False), x)


def isneginf(x, /) -> Array:
    """Whether x is -infinity."""
    return _classify(ops.IsInf(False, True), x)


def isfinite(x, /) -> Array:
    """Whether x is neither NaN nor an infinity."""
    return logical_not(logical_or(isnan(x), isinf(x)))


def signbit(x, /) -> Array:
    """Whether x is negative, -0.0 included; False for NaN."""
    x = as_array(x)
    if not dtype_of(x).is_float:
        return less(x, 0)
    return logical_or(less(x, 0), logical_and(equal(x, 0), less(reciprocal(x), 0)))


def copysign(x, y, /) -> Array:
    """|x| with the sign of y."""
    x, y = promoted(x, y, floating=True)
    size = abs(x)
    return where(signbit(y), negative(size), size)


def nextafter(x, y, /) -> Array:
    """The next float after x toward y, for arrays (not for tracers)."""
    return eager_only(np.nextafter, "nextafter", "it has no rule for compiled code yet", *promoted(x, y, floating=True))


def eager_only(function, name: str, reason: str, *arrays, **kwargs):
    """NumPy's `function` of arrays that are known; an UnsupportedError that gives the reason for tracers."""
    if in_trace(*arrays):
        raise UnsupportedError(f"lm.{name} can't be traced: {reason}", location=user_location(),
                               hint="call it on the arrays before they enter the traced function")
    return function(*arrays, **kwargs)


def where(condition, x, y, /) -> Array:
    """x where the condition holds (is nonzero), else y; all three broadcast."""
    dtype = result_dtype(x, y)
    condition = cast(as_array(condition), bool_)
    return emit(ops.Select(), *broadcast_arrays(condition, as_operand(x, dtype), as_operand(y, dtype)))


def nan_to_num(x, /, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Array:
    """x with NaN and infinities replaced: by `nan`, and by the dtype's largest and smallest finite values unless
    given."""
    x = as_array(x)
    dtype = dtype_of(x)
    if not dtype.is_float:
        return x
    limit = largest_finite(dtype)
    x = where(isnan(x), nan, x)
    x = where(isposinf(x), limit if posinf is None else posinf, x)
    return where(isneginf(x), -limit if neginf is None else neginf, x)


def largest_finite(dtype: DType) -> float:
    """The largest finite value of a floating dtype."""
    return {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38,
            "float64": 1.7976931348623157e308}[dtype.name]


def isclose(x, y, /, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Array:
    """Whether |x - y| <= atol + rtol * |y|; equal infinities are close."""
    x, y = promoted(x, y, floating=True)
    close = less_equal(abs(subtract(x, y)), add(multiply(abs(y), rtol), atol))
    close = logical_or(logical_and(close, isfinite(y)), equal(x, y))
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


def astype(x, dtype, /, *, copy: bool = True, device=None) -> Array:
    """x with this dtype, by value: floats to integers truncate and saturate, NaN becomes 0. `copy=False` may return
    x."""
    if device not in (None, "cpu"):
        raise UnsupportedError(f"there is no device {device!r} for arrays", location=user_location(), hint='"cpu"')
    x = as_array(x)
    converted = cast(x, as_dtype(dtype))
    return converted.copy() if converted is x and copy and isinstance(x, np.ndarray) else converted


# NumPy's other names
true_divide = divide
mod = remainder
pow = power
absolute = abs
fabs = abs
bitwise_not = invert = bitwise_invert
left_shift, right_shift = bitwise_left_shift, bitwise_right_shift
rint = round
