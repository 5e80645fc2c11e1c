"""Arithmetic and elementary functions, element by element."""

from __future__ import annotations

from functools import reduce

import numpy as np

from ....compiler.core.dtypes import float32
from ....compiler import ops
from ... import array as lm
from ...array.operands import broadcast_arrays, cast, dtype_of
from ...array.tracer import emit
from ..table import Refusal, operator
from .values import axis_of, known_ints, legacy_broadcast


def _unary(name: str, op, since: int = 1) -> None:
    operator(name, since, ignored=("consumed_inputs",))(lambda x: emit(op, x))


for _name, _op in {"Ceil": ops.Ceil(), "Floor": ops.Floor(), "Round": ops.Round(), "Sqrt": ops.Sqrt(), "Exp": ops.Exp(),
                   "Log": ops.Log(), "Sin": ops.Sin(), "Cos": ops.Cos(), "Tan": ops.Tan(), "Asin": ops.Asin(),
                   "Acos": ops.Acos(), "Atan": ops.Atan(), "Sinh": ops.Sinh(), "Cosh": ops.Cosh(),
                   "Asinh": ops.Asinh(), "Acosh": ops.Acosh(), "Atanh": ops.Atanh(), "Tanh": ops.Tanh(),
                   "Sigmoid": ops.Sigmoid(), "Erf": ops.Erf(), "Abs": ops.Abs(),
                   "Neg": ops.Neg(), "Sign": ops.Sign()}.items():
    _unary(_name, _op)


@operator("Reciprocal", ignored=("consumed_inputs",))
def reciprocal(x):
    return 1.0 / x if not isinstance(x, np.ndarray) else emit(ops.Div(), np.ones_like(x), x)


def _binary(name: str, op) -> None:
    operator(name, 7)(lambda a, b: emit(op, *broadcast_arrays(a, b)))
    operator(name, 1, ignored=("consumed_inputs",))(
        lambda a, b, *, axis=None, broadcast=0: emit(op, *legacy_broadcast(a, b, axis)))


for _name, _op in {"Add": ops.Add(), "Sub": ops.Sub(), "Mul": ops.Mul(), "Div": ops.Div()}.items():
    _binary(_name, _op)


@operator("Pow", 7)
def power(x, y):
    """The result has the base's dtype; the exponent may have another."""
    dtype = dtype_of(x)
    if dtype.is_integer and dtype_of(y).is_float:
        x, y = broadcast_arrays(cast(x, float32), cast(y, float32))
        return cast(emit(ops.Pow(), x, y), dtype)
    return emit(ops.Pow(), *broadcast_arrays(x, cast(y, dtype)))


@operator("Pow", 1)
def power_1(x, y, *, axis=None, broadcast=0):
    return emit(ops.Pow(), *legacy_broadcast(x, y, axis))


@operator("Mod", 10)
def modulo(a, b, *, fmod=0):
    return emit(ops.Rem() if fmod else ops.Mod(), *broadcast_arrays(a, b))


def _variadic(name: str, function) -> None:
    operator(name, 1, ignored=("consumed_inputs",))(lambda *xs: function(xs))


def _fold(op):
    return lambda xs: reduce(lambda a, b: emit(op, *broadcast_arrays(a, b)), xs)


_variadic("Sum", _fold(ops.Add()))
_variadic("Max", _fold(ops.Max()))
_variadic("Min", _fold(ops.Min()))
_variadic("Mean", lambda xs: _fold(ops.Add())(xs) * (1.0 / len(xs)))


@operator("Clip", 11)
def clip(x, low=None, high=None):
    for bound, op in ((low, ops.Max()), (high, ops.Min())):
        x = x if bound is None else emit(op, *broadcast_arrays(x, bound))
    return x


@operator("Clip", 1, ignored=("consumed_inputs",))
def clip_1(x, *, min=None, max=None):
    dtype = dtype_of(x).numpy
    return clip(x, None if min is None else np.asarray(min, dtype), None if max is None else np.asarray(max, dtype))


@operator("IsNaN", 9)
def is_nan(x):
    return emit(ops.IsNan(), x)


@operator("IsInf", 10)
def is_infinite(x, *, detect_negative=1, detect_positive=1):
    return emit(ops.IsInf(bool(detect_positive), bool(detect_negative)), x)


@operator("CumSum", 11)
def cumulative_sum(x, axis, *, exclusive=0, reverse=0):
    return _cumulative("sum", x, axis, exclusive, reverse)


@operator("CumProd", 26)
def cumulative_product(x, axis, *, exclusive=0, reverse=0):
    return _cumulative("prod", x, axis, exclusive, reverse)


def _cumulative(kind, x, axis, exclusive, reverse):
    (axis,) = known_ints(axis, "axis")
    return emit(ops.Cumulative(kind, axis_of(axis, x), bool(reverse), bool(exclusive)), x)


@operator("Det", 11)
def determinant(x):
    """By cofactors where the matrices are small: larger ones need a factorization that lamina does not have."""
    size = x.shape[-1]
    if not isinstance(size, int) or size > 4:
        raise Refusal(f"the determinant of {size} x {size} matrices (up to 4 x 4)")

    def minor(rows, columns):
        if len(rows) == 1:
            return x[..., rows[0], columns[0]]
        terms = [x[..., rows[0], c] * minor(rows[1:], [d for d in columns if d != c]) for c in columns]
        return reduce(lambda a, b: a + b, [t if i % 2 == 0 else -t for i, t in enumerate(terms)])
    return minor(list(range(size)), list(range(size))) if size else lm.ones(x.shape[:-2], dtype=dtype_of(x))
