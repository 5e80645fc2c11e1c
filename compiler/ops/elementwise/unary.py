"""Elementwise operators of one operand: rounding, roots, exponentials, trigonometry, tests of floats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.dtypes import FLOATS, bool_
from ...kernel import builder as k
from ..op import Sample
from .base import BITS, NUMBERS, Elementwise, trials


class Unary(Elementwise, abstract=True):
    """A unary op that the Kernel IR has under the name `kernel_op`."""
    dtypes = FLOATS
    kernel_op = ""

    def scalar(self, x):
        return k.unary(self.kernel_op, x)


class Neg(Unary):
    """-x; unsigned integers wrap."""
    dtypes, kernel_op, numpy = NUMBERS, "neg", staticmethod(np.negative)


class Abs(Unary):
    """|x|."""
    dtypes, kernel_op, numpy = NUMBERS, "abs", staticmethod(np.abs)


class Sign(Elementwise):
    """-1, 0 or 1; NaN stays NaN."""
    dtypes, numpy = NUMBERS, staticmethod(np.sign)

    def scalar(self, x):
        zero, one = k.constant(0, x.dtype), k.constant(1, x.dtype)
        negative = k.select(k.compare("lt", x, zero), k.unary("neg", one), x) if x.dtype.is_signed else x
        return k.select(k.compare("gt", x, zero), one, negative)


class Floor(Unary):
    """The largest integer that is at most x."""
    kernel_op, numpy = "floor", staticmethod(np.floor)


class Ceil(Unary):
    """The smallest integer that is at least x."""
    kernel_op, numpy = "ceil", staticmethod(np.ceil)


class Trunc(Unary):
    """x without its fraction."""
    kernel_op, numpy = "trunc", staticmethod(np.trunc)


class Round(Unary):
    """To the nearest integer, halves to even."""
    kernel_op, numpy = "round", staticmethod(np.rint)


class Sqrt(Unary):
    """The square root; NaN below 0."""
    kernel_op, numpy = "sqrt", staticmethod(np.sqrt)


class Rsqrt(Unary):
    """1 / sqrt(x)."""
    kernel_op = "rsqrt"

    def reference(self, x):
        return (1.0 / np.sqrt(x.astype(np.float64))).astype(x.dtype)


class Exp(Unary):
    """e to the power x."""
    kernel_op, numpy = "exp", staticmethod(np.exp)


class Exp2(Unary):
    """2 to the power x."""
    kernel_op, numpy = "exp2", staticmethod(np.exp2)


class Expm1(Unary):
    """exp(x) - 1, without the cancellation near 0."""
    kernel_op, numpy = "expm1", staticmethod(np.expm1)


class Log(Unary):
    """The natural logarithm."""
    kernel_op, numpy = "log", staticmethod(np.log)


class Log2(Unary):
    """The logarithm to base 2."""
    kernel_op, numpy = "log2", staticmethod(np.log2)


class Log1p(Unary):
    """log(1 + x), without the cancellation near 0."""
    kernel_op, numpy = "log1p", staticmethod(np.log1p)


class Sin(Unary):
    """The sine of x radians."""
    kernel_op, numpy = "sin", staticmethod(np.sin)


class Cos(Unary):
    """The cosine of x radians."""
    kernel_op, numpy = "cos", staticmethod(np.cos)


class Tan(Unary):
    """The tangent of x radians."""
    kernel_op, numpy = "tan", staticmethod(np.tan)


class Asin(Unary):
    """The arcsine in radians, -pi/2 .. pi/2; NaN outside of -1 .. 1."""
    kernel_op, numpy = "asin", staticmethod(np.arcsin)


class Acos(Unary):
    """The arccosine in radians, 0 .. pi; NaN outside of -1 .. 1."""
    kernel_op, numpy = "acos", staticmethod(np.arccos)


class Atan(Unary):
    """The arctangent in radians, -pi/2 .. pi/2."""
    kernel_op, numpy = "atan", staticmethod(np.arctan)


class Sinh(Unary):
    """The hyperbolic sine."""
    kernel_op, numpy = "sinh", staticmethod(np.sinh)


class Cosh(Unary):
    """The hyperbolic cosine."""
    kernel_op, numpy = "cosh", staticmethod(np.cosh)


class Asinh(Unary):
    """The inverse hyperbolic sine."""
    kernel_op, numpy = "asinh", staticmethod(np.arcsinh)


class Acosh(Unary):
    """The inverse hyperbolic cosine; NaN below 1."""
    kernel_op, numpy = "acosh", staticmethod(np.arccosh)


class Atanh(Unary):
    """The inverse hyperbolic tangent; NaN outside of -1 .. 1."""
    kernel_op, numpy = "atanh", staticmethod(np.arctanh)


class Tanh(Unary):
    """The hyperbolic tangent."""
    kernel_op, numpy = "tanh", staticmethod(np.tanh)


class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""
    kernel_op = "sigmoid"

    def reference(self, x):
        return (1.0 / (1.0 + np.exp(-x.astype(np.float64)))).astype(x.dtype)


def _by_math(function):
    return np.vectorize(function, otypes=[np.float64])


class Erf(Unary):
    """2/sqrt(pi) * integral of exp(-t^2) from 0 to x."""
    kernel_op = "erf"

    def reference(self, x):
        from math import erf
        return _by_math(erf)(x.astype(np.float64)).astype(x.dtype) if x.size else x


class Erfc(Unary):
    """1 - erf(x), without the cancellation."""
    kernel_op = "erfc"

    def reference(self, x):
        from math import erfc
        return _by_math(erfc)(x.astype(np.float64)).astype(x.dtype) if x.size else x


class Not(Unary):
    """Logical not of bool, bitwise not of integers."""
    dtypes, kernel_op, numpy = BITS, "not", staticmethod(np.invert)


class IsNan(Elementwise):
    """Whether x is NaN."""
    dtypes, numpy = FLOATS, staticmethod(np.isnan)

    def result_dtype(self, dtype):
        return bool_

    def scalar(self, x):
        return k.compare("ne", x, x)


@dataclass(frozen=True)
class IsInf(Elementwise):
    """Whether x is an infinity; of one sign only where `positive` or `negative` is False."""
    positive: bool = True
    negative: bool = True
    dtypes = FLOATS

    def result_dtype(self, dtype):
        return bool_

    def reference(self, x):
        return (np.isposinf(x) & self.positive) | (np.isneginf(x) & self.negative)

    def scalar(self, x):
        infinity = k.constant(float("inf"), x.dtype)
        if self.positive and self.negative:
            return k.compare("eq", k.unary("abs", x), infinity)
        if not self.positive and not self.negative:
            return k.compare("ne", infinity, infinity)
        return k.compare("eq", x, infinity if self.positive else k.unary("neg", infinity))

    @classmethod
    def samples(cls):
        return [Sample(cls(p, n), a) for p, n in ((True, True), (True, False), (False, True), (False, False))
                for a in trials(1, cls.dtypes, cls.domain())]
