"""What is an expression's value for whole arrays at once?  For recipes of mathematical functions and their tests."""

from __future__ import annotations

from typing import Mapping

import numpy as np

from ..core.dtypes import DType
from ..core.errors import CompilerError
from . import arithmetic
from .ir import Binary, Bitcast, Cast, Compare, Const, Expr, Fma, Select, Unary, Var
from .sharing import operands, postorder

_UNARY = {"abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint,
          "not": np.invert}
_BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "min": np.minimum,
           "max": np.maximum,
           "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
_COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
            "ge": np.greater_equal}


def evaluate_vectorized(e: Expr, env: Mapping[str, np.ndarray]) -> np.ndarray:
    """The value of `e`, which has no loads, for an array for each variable by name; same semantics as the interpreter.

    Operations that are not primitive (exp and the like) are refused: expand them first.
    """
    values: dict[int, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for part in postorder((e,)):
            values[id(part)] = _value(part, env, [values[id(x)] for x in operands(part)])
    return values[id(e)]


def _value(e: Expr, env, x: list[np.ndarray]) -> np.ndarray:
    match e:
        case Const():
            return np.array(e.value, e.dtype.numpy)
        case Var():
            return env[e.name]
        case Unary(op="neg"):
            return np.negative(*x)
        case Unary() if e.op in _UNARY:
            return _UNARY[e.op](*x)
        case Binary(op="shl" | "shr"):
            return _shift(e.op, e.dtype, *x)
        case Binary() if e.op in _BINARY and (e.dtype.is_float or e.op != "div"):
            return _BINARY[e.op](*x)
        case Binary(op="scale"):
            return np.ldexp(x[0], np.nan_to_num(x[1]).astype(np.int32))
        case Compare():
            return _COMPARE[e.op](*x)
        case Select():
            return np.where(*x)
        case Fma():
            return fused_multiply_add(*np.broadcast_arrays(*x))
        case Cast():
            return _cast(e.x.dtype, e.dtype, *x)
        case Bitcast():
            return x[0].view(e.dtype.numpy)
    raise CompilerError(f"{getattr(e, 'op', type(e).__name__)} of {e.dtype} is no primitive operation on arrays")


def _shift(op: str, dtype: DType, x, count):
    inside = (count >= 0) & (count < dtype.bits)
    safe = np.where(inside, count, dtype.bits - 1).astype(dtype.numpy)
    if op == "shl":
        return np.where(inside, np.left_shift(x, safe), dtype.numpy.type(0))
    return np.where(inside | (dtype.kind == "int"), np.right_shift(x, safe), dtype.numpy.type(0))


def _cast(source: DType, target: DType, x):
    if target.is_bool:
        return x != 0
    if not (source.is_float and target.is_integer):
        return x.astype(target.numpy)
    top = float(target.maximum)  # 2^63 and 2^64 where the largest integer is no f64
    wide = np.trunc(np.where(np.isnan(x), 0, x).astype(np.float64))
    inside = (wide >= float(target.minimum)) & (wide < top)
    exact = np.where(inside, wide, 0).astype(target.numpy)
    return np.where(inside, exact,
                    np.where(wide < 0, target.numpy.type(target.minimum), target.numpy.type(target.maximum)))


def fused_multiply_add(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """x * y + z rounded once, for float32 and float64 arrays of one shape.

    The sum is rounded to odd in a wider format, then once more (Boldo and Melquiond, "Emulation of FMA and correctly
    rounded sums: proved algorithms using rounding to odd", 2008). Wider than f64 is a sum of two f64.
    """
    with np.errstate(all="ignore"):
        if x.dtype == np.float32:
            high, low = _two_sum(x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64))
            return _to_odd(high, low).astype(np.float32)
        if x.dtype != np.float64:
            raise CompilerError(f"fma on {x.dtype} arrays")
        finite = np.isfinite(x) & np.isfinite(y)
        plain = np.where(np.isinf(z) & finite, z, x * y + z)
        usual = finite & np.isfinite(z) & (x != 0) & (y != 0)
        parts = (np.frexp(np.where(usual, v, 1.0)) for v in (x, y, z))
        (x_part, x_exponent), (y_part, y_exponent), (z_part, z_exponent) = parts
        exponent = x_exponent + y_exponent
        addend = np.ldexp(z_part, np.clip(z_exponent - exponent, -300, 300))
        product, rest = _two_product(x_part, y_part)
        t_high, t_low = _two_sum(addend, rest)
        v_high, v_low = _two_sum(product, t_high)
        total = v_high + _to_odd(*_two_sum(t_low, v_low))
        result = np.where(z_exponent - exponent > 300, z, np.ldexp(total, exponent))
        result = np.where(usual, result, plain)
        # Scaling rounds once more where the result is denormal: those few are done one by one.
        small = usual & (np.abs(result) < 2.0 ** -1021) & (total != 0)
        for n in np.flatnonzero(small):
            result.flat[n] = arithmetic.fma(x.flat[n], y.flat[n], z.flat[n])
        return result


def _two_sum(a, b):
    """a + b as a rounded sum and its exact error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a, b):
    """a * b as a rounded product and its exact error, by Veltkamp's splitting (Dekker 1971)."""
    def split(v):
        big = v * 134217729.0
        high = big - (big - v)
        return high, v - high
    product = a * b
    (ah, al), (bh, bl) = split(a), split(b)
    return product, al * bl - (((product - ah * bh) - al * bh) - ah * bl)


def _to_odd(high, low):
    """high + low rounded to odd: where the sum is inexact, the neighbour with an odd last bit."""
    bits = np.ascontiguousarray(high).view(np.int64)
    even = (bits & 1 == 0) & (low != 0) & np.isfinite(high) & ~np.isnan(low)
    away = (low > 0) == (high > 0)
    nudged = np.where(high == 0, low, np.where(away, bits + 1, bits - 1).view(np.float64))
    return np.where(even, nudged, high)
