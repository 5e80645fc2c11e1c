"""What do the Kernel IR's operations compute?  Each one on Python integers, bools and NumPy float scalars, exactly.

Integers are Python ints within their dtype's range, bools are bools, floats are NumPy scalars of their dtype. The
interpreter calls these for whatever is not one plain Python operator.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np

from ..core.dtypes import DType


def wrap(value: int, dtype: DType) -> int:
    """`value` modulo 2^bits, in the dtype's range (two's complement)."""
    value &= (1 << dtype.bits) - 1
    return value - (1 << dtype.bits) if dtype.kind == "int" and value >> (dtype.bits - 1) else value


def minimum(x, y):
    """The smaller one, NaN where either is NaN."""
    return x if x < y or x != x else y


def maximum(x, y):
    """The larger one, NaN where either is NaN."""
    return x if x > y or x != x else y


def divide(x: int, y: int) -> int:
    """x / y toward zero; 0 where y is 0."""
    if y == 0:
        return 0
    quotient = abs(x) // abs(y)
    return quotient if (x < 0) == (y < 0) else -quotient


def remainder(x: int, y: int) -> int:
    """The remainder with the sign of x; 0 where y is 0."""
    return x - divide(x, y) * y if y else 0


def floor_divide(x: int, y: int) -> int:
    """floor(x / y); 0 where y is 0."""
    return x // y if y else 0


def modulo(x: int, y: int) -> int:
    """The remainder with the sign of y; 0 where y is 0."""
    return x % y if y else 0


def shift_left(x: int, count: int, bits: int) -> int:
    """x << count, not yet wrapped; 0 where the count, read as unsigned, is the width or more."""
    return x << count if 0 <= count < bits else 0


def shift_right(x: int, count: int, bits: int) -> int:
    """x >> count, arithmetic for negative x; 0 or -1 where the count, read as unsigned, is the width or more."""
    return x >> (count if 0 <= count < bits else bits)


def integer_power(x: int, y: int, dtype: DType) -> int:
    """x to the power y modulo 2^bits; a negative y gives 0, or 1 and -1 for those bases."""
    if y < 0:
        return x if x == 1 or (x == -1 and y % 2) else int(x == -1)
    return wrap(pow(x, y, 1 << dtype.bits), dtype)


def fma(x, y, z):
    """x * y + z of NumPy float scalars, rounded once to their type."""
    kind = type(x)
    p, w = float(x) * float(y), float(z)
    if kind is not np.float64:  # the product of two narrow floats is exact in f64
        total = p + w
        if total - total != 0.0:
            return kind(total)
        part = total - p
        error = (p - (total - part)) + (w - part)  # Knuth's two-sum
        if error and not _is_odd(total):  # round to odd, so that the second rounding is right (Boldo, Melquiond 2008)
            total = math.nextafter(total, math.copysign(math.inf, error))
        return kind(total)
    if math.isinf(w) and math.isfinite(x) and math.isfinite(y):
        return z
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(w)) or x == 0 or y == 0:
        return kind(p + w)
    exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(w)
    try:
        return kind(float(exact))
    except OverflowError:
        return kind(math.inf if exact > 0 else -math.inf)


def _is_odd(x: float) -> bool:
    return struct.unpack("<q", struct.pack("<d", x))[0] & 1 == 1


def float_to_integer(x, dtype: DType) -> int:
    """x truncated and saturated to the dtype's range; 0 for NaN."""
    x = float(x)
    if x != x:
        return 0
    if math.isinf(x):
        return dtype.maximum if x > 0 else dtype.minimum
    return max(dtype.minimum, min(dtype.maximum, int(x)))


def integer_to_float(x: int, kind):
    """x as a NumPy float scalar of type `kind`, rounded once."""
    if -(1 << 53) <= x <= 1 << 53:
        return kind(float(x))
    low = x & 0x7FF
    if kind is not np.float64:  # keep 53 bits and a sticky one, so that the two roundings are one
        x = (x - low) | (0x400 if low else 0)
    return kind(float(x))


def bitcast(x, source: np.dtype, target: np.dtype):
    """The bits of x, a value of `source`, read as `target`."""
    return np.array(x, source).view(target)[()]


def _erf(function):
    return lambda x: np.float64(function(float(x)))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x)) if x > 0 or x != x else np.exp(x) / (1 + np.exp(x))


def _power(x, y):
    return np.power([x], [y])[0]  # for scalars NumPy takes sqrt where y is 0.5: NaN for -inf, pow says inf


def _scale(x, y):
    return x * y if y != y else np.ldexp(x, int(np.clip(y, -9999, 9999)))


_FUNCTIONS = {
    "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1,
    "log": np.log, "log2": np.log2, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "tanh": np.tanh, "sigmoid": _sigmoid, "erf": _erf(math.erf), "erfc": _erf(math.erfc), "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc, "round": np.rint, "pow": _power, "atan2": np.arctan2, "rem": np.fmod,
    "scale": _scale,
}


def function(op: str):
    """The float operation `op` on NumPy scalars, evaluated in f64 and rounded to the operands' type."""
    compute = _FUNCTIONS[op]

    def apply(*values):
        return type(values[0])(compute(*(np.float64(v) for v in values)))
    return apply


def float_modulo(x, y):
    """The remainder with the sign of y: fmod, and y added where the signs differ."""
    rest = type(x)(np.fmod(np.float64(x), np.float64(y)))
    if rest == 0:
        return np.copysign(rest, y)
    return rest + y if (rest < 0) != (y < 0) else rest


def float_floor_divide(x, y):
    """floor(x / y), the quotient rounded first."""
    return type(x)(np.floor(np.float64(x / y)))
