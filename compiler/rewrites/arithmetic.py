"""Which sums, products, powers and extrema are simpler ones?  Rules of the arithmetic operators.

Floats: results are equal but for rounding where a rule says so, and for the sign of zeros.
"""

from __future__ import annotations

import numpy as np

from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.constants import broadcast, constant_part, filled, is_constant, is_filled_with, splat
from ..ops.elementwise import (Abs, Add, And, Ceil, Div, Exp, Floor, FloorDiv, Max, Min, Mod, Mul, Neg, Or, Pow, Rem,
                               Round, Rsqrt, Sigmoid, Sign, Sqrt, Sub, Trunc, Xor)
from ..ops.rearrange import Broadcast
from .rule import rule, used_once

_COMMUTATIVE = (Add, Mul, Max, Min, And, Or, Xor)
_ROUNDING = (Floor, Ceil, Round, Trunc)


def _operand(x: Value, op_class: type) -> Value | None:
    """The operand of the unary op that makes x, where it is of `op_class`."""
    return x.node.operands[0] if isinstance(x.op, op_class) else None


@rule(*_COMMUTATIVE)
def constant_right(b: Builder, op, x, y):
    """c + x -> x + c, and so for every commutative operator: the other rules look at one side."""
    return b.emit(op, y, x) if is_constant(x) and not is_constant(y) else None


@rule(*_COMMUTATIVE)
def swapped(b: Builder, op, x, y):
    """y + x -> x + y where that is there already, and so for every commutative operator."""
    return b.known(op, y, x) if x is not y else None


@rule(Add)
def add_same(b: Builder, op, x, y):
    """x + x -> x * 2, for floats: a factor moves further than a sum."""
    return b.emit(Mul(), x, filled(b, x.type, 2)) if x is y and x.dtype.is_float else None


@rule(Add, Mul, Max, Min, And, Or, Xor)
def gather_constants(b: Builder, op, x, c2):
    """(x + c1) + c2 -> x + (c1 + c2), where rounding allows it: integers, max, min, bits; products of floats up to
    rounding.

    Float sums stay: (x + 1e8) - 1e8 rounds on purpose.
    """
    if type(x.op) is not type(op) or not is_constant(c2) or not is_constant(x.node.operands[1]):
        return None
    if x.dtype.is_float and isinstance(op, Add):
        return None
    inner, c1 = x.node.operands
    c = b.emit(op, c1, c2)
    if not is_constant(c) or x.dtype.is_float and isinstance(op, Mul) and not _is_ordinary(c):
        return None
    return b.emit(op, inner, c)


def _is_ordinary(c: Value) -> bool:
    """Whether each element is a finite, normal float or the constants were 0: no overflow or underflow came of joining
    them."""
    array = constant_part(c)[0].astype(np.float64)
    smallest = {"float16": 6.2e-5}.get(c.dtype.name, 1.2e-38 if c.dtype.bits < 64 else 2.3e-308)
    return bool(np.all(np.isfinite(array) & (np.abs(array) >= smallest)))


# ---- sums ------------------------------------------------------------------------------------------------------------
@rule(Add, Sub)
def add_zero(b: Builder, op, x, y):
    """x + 0 -> x, x - 0 -> x."""
    return x if is_filled_with(y, 0) else None


@rule(Add)
def add_negated(b: Builder, op, x, y):
    """x + (-y) -> x - y, (-x) + y -> y - x."""
    if (negated := _operand(y, Neg)) is not None:
        return b.emit(Sub(), x, negated)
    return b.emit(Sub(), y, negated) if (negated := _operand(x, Neg)) is not None else None


@rule(Sub)
def subtract_constant(b: Builder, op, x, c):
    """x - c -> x + (-c)."""
    if not is_constant(c) or is_constant(x):
        return None
    negative = b.emit(Neg(), c)
    return b.emit(Add(), x, negative) if is_constant(negative) else None  # else it has no elements


@rule(Sub)
def subtract(b: Builder, op, x, y):
    """0 - y -> -y, x - (-y) -> x + y, and for integers x - x -> 0."""
    if is_filled_with(x, 0):
        return b.emit(Neg(), y)
    if (negated := _operand(y, Neg)) is not None:
        return b.emit(Add(), x, negated)
    if x is y and x.dtype.is_integer:
        return filled(b, x.type, 0)
    return None


@rule(Neg)
def negate(b: Builder, op, x):
    """-(-x) -> x, -(x - y) -> y - x, -(x * c) -> x * (-c)."""
    if (inner := _operand(x, Neg)) is not None:
        return inner
    if isinstance(x.op, Sub):
        return b.emit(Sub(), *reversed(x.node.operands))
    if isinstance(x.op, Mul) and is_constant(x.node.operands[1]):
        return b.emit(Mul(), x.node.operands[0], b.emit(Neg(), x.node.operands[1]))
    return None


@rule(Abs)
def absolute(b: Builder, op, x):
    """abs(-x) -> abs(x), abs(abs(x)) -> abs(x), abs(x) -> x for unsigned x."""
    if (inner := _operand(x, Neg)) is not None and x.dtype.is_signed:
        return b.emit(Abs(), inner)
    return x if isinstance(x.op, Abs) or not x.dtype.is_signed else None


# ---- products --------------------------------------------------------------------------------------------------------
@rule(Mul)
def multiply_by_unit(b: Builder, op, x, y):
    """x * 1 -> x, x * -1 -> -x, and for integers x * 0 -> 0."""
    if is_filled_with(y, 1):
        return x
    if x.dtype.is_signed and is_filled_with(y, -1):
        return b.emit(Neg(), x)
    if not x.dtype.is_float and is_filled_with(y, 0):
        return y
    return None


@rule(Mul)
def multiply_negated(b: Builder, op, x, y):
    """(-x) * c -> x * (-c), (-x) * (-y) -> x * y."""
    if (first := _operand(x, Neg)) is None:
        return None
    if is_constant(y):
        return b.emit(Mul(), first, b.emit(Neg(), y))
    return b.emit(Mul(), first, second) if (second := _operand(y, Neg)) is not None else None


@rule(Div)
def divide(b: Builder, op, x, y):
    """x / 1 -> x, (-x) / (-y) -> x / y; for floats x / -1 -> -x, and x / c -> x * (1/c) where 1/c is exact."""
    if is_filled_with(y, 1):
        return x
    if not x.dtype.is_float:
        return None
    if is_filled_with(y, -1):
        return b.emit(Neg(), x)
    if (first := _operand(x, Neg)) is not None and (second := _operand(y, Neg)) is not None:
        return b.emit(Div(), first, second)
    if is_constant(y) and not is_constant(x):
        array, axes = constant_part(y)
        mantissa, exponent = np.frexp(array.astype(np.float64))
        limit = 13 if x.dtype.name == "float16" else 100
        if array.size and np.all((np.abs(mantissa) == 0.5) & (np.abs(exponent) < limit)):
            inverse = b.constant((1 / array.astype(np.float64)).astype(array.dtype))
            return b.emit(Mul(), x, broadcast(b, inverse, y.shape, axes))
    return None


@rule(Div)
def divide_by_root(b: Builder, op, x, y):
    """1 / sqrt(y) -> rsqrt(y), x / sqrt(y) -> x * rsqrt(y): one rounding more or less.

    y may be broadcast, and then so is the reciprocal root: a row is divided by its norm without a division for each
    element.
    """
    if not x.dtype.is_float:
        return None
    root, repeated = y, None
    if isinstance(y.op, Broadcast):
        root, repeated = y.node.operands[0], y.op
    if (inner := _operand(root, Sqrt)) is None or repeated is None and not used_once(b, root):
        return None
    inverse = b.emit(Rsqrt(), inner)
    if repeated is not None:
        inverse = b.emit(repeated, inverse)
    return inverse if is_filled_with(x, 1) else b.emit(Mul(), x, inverse)


@rule(Div)
def sigmoid(b: Builder, op, x, y):
    """1 / (exp(-x) + 1) -> sigmoid(x)."""
    if not x.dtype.is_float or not is_filled_with(x, 1) or not isinstance(y.op, Add):
        return None
    power = _operand(y.node.operands[0], Exp) if is_filled_with(y.node.operands[1], 1) else None
    negated = _operand(power, Neg) if power is not None else None
    return b.emit(Sigmoid(), negated) if negated is not None else None


@rule(FloorDiv, Mod, Rem)
def divide_integers_by_one(b: Builder, op, x, y):
    """x // 1 -> x, x % 1 -> 0 for integers."""
    if x.dtype.is_float or not is_filled_with(y, 1):
        return None
    return x if isinstance(op, FloorDiv) else filled(b, x.type, 0)


@rule(Mul, Div)
def gather_factors(b: Builder, op, x, c2):
    """(x / c1) * c2 -> x * (c2 / c1), (x * c1) / c2 -> x * (c1 / c2), (x / c1) / c2 -> x / (c1 * c2) for floats, up to
    rounding."""
    if not x.dtype.is_float or not is_constant(c2) or not isinstance(x.op, (Mul, Div)):
        return None
    inner, c1 = x.node.operands
    if not is_constant(c1) or isinstance(op, Mul) and isinstance(x.op, Mul):
        return None
    if isinstance(op, Div) and isinstance(x.op, Div):
        c, joined = b.emit(Mul(), c1, c2), Div()
    else:
        c, joined = (b.emit(Div(), c2, c1) if isinstance(op, Mul) else b.emit(Div(), c1, c2)), Mul()
    return b.emit(joined, inner, c) if is_constant(c) and _is_ordinary(c) else None


# ---- powers ----------------------------------------------------------------------------------------------------------
@rule(Pow)
def power(b: Builder, op, x, y):
    """x ** n -> products for n = 0, 1, 2, 3, 4; for floats also n = 0.5 (sqrt), -0.5 (rsqrt), -1 and -2 (one division).

    Equal up to rounding, except that the root of -inf is NaN and not inf: PyTorch's pow makes the same choice.
    """
    exponent = splat(y)
    if exponent is None:
        return None
    if exponent == 0:
        return filled(b, x.type, 1)
    if exponent == 1:
        return x
    if exponent in (2, 3, 4):
        square = b.emit(Mul(), x, x)
        return square if exponent == 2 else b.emit(Mul(), square, x if exponent == 3 else square)
    if not x.dtype.is_float:
        return None
    if exponent in (0.5, -0.5):
        return b.emit(Sqrt() if exponent > 0 else Rsqrt(), x)
    if exponent in (-1, -2):
        return b.emit(Div(), filled(b, x.type, 1), x if exponent == -1 else b.emit(Mul(), x, x))
    return None


# ---- rounding and extrema --------------------------------------------------------------------------------------------
@rule(*_ROUNDING)
def round_again(b: Builder, op, x):
    """floor(round(x)) -> round(x), and so for every pair of floor, ceil, round and trunc."""
    return x if isinstance(x.op, _ROUNDING) else None


@rule(Sign)
def sign_of_sign(b: Builder, op, x):
    """sign(sign(x)) -> sign(x)."""
    return x if isinstance(x.op, Sign) else None


@rule(Max, Min)
def extremum(b: Builder, op, x, y):
    """max(x, x) -> x, max(x, smallest) -> x; min alike. A bound that no value passes: the dtype's end."""
    neutral = x.dtype.minimum if isinstance(op, Max) else x.dtype.maximum
    return x if x is y or is_filled_with(y, neutral) else None


@rule(Max, Min)
def extremum_at_end(b: Builder, op, x, y):
    """max(x, largest) -> largest for integers and bool; min alike."""
    end = x.dtype.maximum if isinstance(op, Max) else x.dtype.minimum
    return y if not x.dtype.is_float and is_filled_with(y, end) else None
