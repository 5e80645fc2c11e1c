"""Which functions are of angles and hyperbolas?  NumPy's and the Array API standard's, elementwise, in radians."""

from __future__ import annotations

import math

from ...compiler.ops import elementwise as ops
from .elementwise import (abs, add, binary, divide, equal, floating, isinf, logical_or, maximum, minimum, multiply,
                          sqrt, where)
from .operands import Array, as_floating, as_operand, dtype_of, promoted


def sin(x, /) -> Array:
    """The sine of x radians."""
    return floating(ops.Sin(), x)


def cos(x, /) -> Array:
    """The cosine of x radians."""
    return floating(ops.Cos(), x)


def tan(x, /) -> Array:
    """The tangent of x radians."""
    return floating(ops.Tan(), x)


def asin(x, /) -> Array:
    """The arc sine, in radians."""
    return floating(ops.Asin(), x)


def acos(x, /) -> Array:
    """The arc cosine, in radians."""
    return floating(ops.Acos(), x)


def atan(x, /) -> Array:
    """The arc tangent, in radians."""
    return floating(ops.Atan(), x)


def atan2(y, x, /) -> Array:
    """The angle of the point (x, y), in radians."""
    return binary(ops.Atan2(), y, x, floating=True)


def sinh(x, /) -> Array:
    """The hyperbolic sine."""
    return floating(ops.Sinh(), x)


def cosh(x, /) -> Array:
    """The hyperbolic cosine."""
    return floating(ops.Cosh(), x)


def tanh(x, /) -> Array:
    """The hyperbolic tangent."""
    return floating(ops.Tanh(), x)


def asinh(x, /) -> Array:
    """The inverse hyperbolic sine."""
    return floating(ops.Asinh(), x)


def acosh(x, /) -> Array:
    """The inverse hyperbolic cosine."""
    return floating(ops.Acosh(), x)


def atanh(x, /) -> Array:
    """The inverse hyperbolic tangent."""
    return floating(ops.Atanh(), x)


def deg2rad(x, /) -> Array:
    """Degrees as radians."""
    return multiply(as_floating(x), math.pi / 180.0)


def rad2deg(x, /) -> Array:
    """Radians as degrees."""
    return multiply(as_floating(x), 180.0 / math.pi)


def hypot(x, y, /) -> Array:
    """sqrt(x*x + y*y), without overflow."""
    x, y = promoted(x, y, floating=True)
    x, y = abs(x), abs(y)
    larger, smaller = maximum(x, y), minimum(x, y)
    ratio = divide(smaller, where(equal(larger, 0), as_operand(1, dtype_of(x)), larger))
    length = multiply(larger, sqrt(add(multiply(ratio, ratio), 1)))
    return where(logical_or(isinf(x), isinf(y)), as_operand(math.inf, dtype_of(x)), length)


# NumPy's other names
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
arcsinh, arccosh, arctanh = asinh, acosh, atanh
radians, degrees = deg2rad, rad2deg
