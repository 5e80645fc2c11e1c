"""Elementwise operators of one operand: rounding, roots, exponentials, trigonometry, tests of floats."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np

from ...core.dtypes import FLOATS, bool_
from ...kernel import builder as k
from ..op import Sample
from .base import BITS, NUMBERS, Elementwise, trials

LOG_2 = log(2.0)
TWO_OVER_ROOT_PI = 2 / sqrt(pi)


class Unary(Elementwise, abstract=True):
    """A unary op that the Kernel IR has under the name `kernel_op`."""
    dtypes = FLOATS
    kernel_op = ""

    def scalar(self, x):
        return k.unary(self.kernel_op, x)


class Neg(Unary):
    """-x; unsigned integers wrap."""
    dtypes, kernel_op, numpy = NUMBERS, "neg", staticmethod(np.negative)

    def pullback(self, g, out, x):
        return -g


class Abs(Unary):
    """|x|."""
    dtypes, kernel_op, numpy = NUMBERS, "abs", staticmethod(np.abs)

    def pullback(self, g, out, x):
        return g * x.of(Sign())


class Sign(Elementwise):
    """-1, 0 or 1; NaN stays NaN."""
    is_flat = True
    dtypes, numpy = NUMBERS, staticmethod(np.sign)

    def scalar(self, x):
        zero, one = k.constant(0, x.dtype), k.constant(1, x.dtype)
        negative = k.select(k.compare("lt", x, zero), k.unary("neg", one), x) if x.dtype.is_signed else x
        return k.select(k.compare("gt", x, zero), one, negative)


class Floor(Unary):
    """The largest integer that is at most x."""
    is_flat = True
    kernel_op, numpy = "floor", staticmethod(np.floor)


class Ceil(Unary):
    """The smallest integer that is at least x."""
    is_flat = True
    kernel_op, numpy = "ceil", staticmethod(np.ceil)


class Trunc(Unary):
    """x without its fraction."""
    is_flat = True
    kernel_op, numpy = "trunc", staticmethod(np.trunc)


class Round(Unary):
    """To the nearest integer, halves to even."""
    is_flat = True
    kernel_op, numpy = "round", staticmethod(np.rint)


class Sqrt(Unary):
    """The square root; NaN below 0."""
    kernel_op, numpy = "sqrt", staticmethod(np.sqrt)

    def pullback(self, g, out, x):
        return g * 0.5 / out


class Rsqrt(Unary):
    """1 / sqrt(x)."""
    kernel_op = "rsqrt"

    def reference(self, x):
        return (1.0 / np.sqrt(x.astype(np.float64))).astype(x.dtype)

    def pullback(self, g, out, x):
        return g * -0.5 * out * (out * out)


class Exp(Unary):
    """e to the power x."""
    kernel_op, numpy = "exp", staticmethod(np.exp)

    def pullback(self, g, out, x):
        return g * out


class Exp2(Unary):
    """2 to the power x."""
    kernel_op, numpy = "exp2", staticmethod(np.exp2)

    def pullback(self, g, out, x):
        return g * out * LOG_2


class Expm1(Unary):
    """exp(x) - 1, without the cancellation near 0."""
    kernel_op, numpy = "expm1", staticmethod(np.expm1)

    def pullback(self, g, out, x):
        return g * (out + 1)


class Log(Unary):
    """The natural logarithm."""
    kernel_op, numpy = "log", staticmethod(np.log)

    def pullback(self, g, out, x):
        return g / x


class Log2(Unary):
    """The logarithm to base 2."""
    kernel_op, numpy = "log2", staticmethod(np.log2)

    def pullback(self, g, out, x):
        return g / (x * LOG_2)


class Log1p(Unary):
    """log(1 + x), without the cancellation near 0."""
    kernel_op, numpy = "log1p", staticmethod(np.log1p)

    def pullback(self, g, out, x):
        return g / (x + 1)


class Sin(Unary):
    """The sine of x radians."""
    kernel_op, numpy = "sin", staticmethod(np.sin)

    def pullback(self, g, out, x):
        return g * x.of(Cos())


class Cos(Unary):
    """The cosine of x radians."""
    kernel_op, numpy = "cos", staticmethod(np.cos)

    def pullback(self, g, out, x):
        return -(g * x.of(Sin()))


class Tan(Unary):
    """The tangent of x radians."""
    kernel_op, numpy = "tan", staticmethod(np.tan)

    def pullback(self, g, out, x):
        return g * (1 + out * out)


class Asin(Unary):
    """The arcsine in radians, -pi/2 .. pi/2; NaN outside of -1 .. 1."""
    kernel_op, numpy = "asin", staticmethod(np.arcsin)

    def pullback(self, g, out, x):
        return g * (1 - x * x).of(Rsqrt())


class Acos(Unary):
    """The arccosine in radians, 0 .. pi; NaN outside of -1 .. 1."""
    kernel_op, numpy = "acos", staticmethod(np.arccos)

    def pullback(self, g, out, x):
        return -(g * (1 - x * x).of(Rsqrt()))


class Atan(Unary):
    """The arctangent in radians, -pi/2 .. pi/2."""
    kernel_op, numpy = "atan", staticmethod(np.arctan)

    def pullback(self, g, out, x):
        return g / (1 + x * x)


class Sinh(Unary):
    """The hyperbolic sine."""
    kernel_op, numpy = "sinh", staticmethod(np.sinh)

    def pullback(self, g, out, x):
        return g * x.of(Cosh())


class Cosh(Unary):
    """The hyperbolic cosine."""
    kernel_op, numpy = "cosh", staticmethod(np.cosh)

    def pullback(self, g, out, x):
        return g * x.of(Sinh())


class Asinh(Unary):
    """The inverse hyperbolic sine."""
    kernel_op, numpy = "asinh", staticmethod(np.arcsinh)

    def pullback(self, g, out, x):
        return g * (1 + x * x).of(Rsqrt())


class Acosh(Unary):
    """The inverse hyperbolic cosine; NaN below 1."""
    kernel_op, numpy = "acosh", staticmethod(np.arccosh)

    def pullback(self, g, out, x):
        return g * ((x - 1) * (x + 1)).of(Rsqrt())


class Atanh(Unary):
    """The inverse hyperbolic tangent; NaN outside of -1 .. 1."""
    kernel_op, numpy = "atanh", staticmethod(np.arctanh)

    def pullback(self, g, out, x):
        return g / (1 - x * x)


class Tanh(Unary):
    """The hyperbolic tangent."""
    kernel_op, numpy = "tanh", staticmethod(np.tanh)

    def pullback(self, g, out, x):
        return g * (1 - out * out)


class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""
    kernel_op = "sigmoid"

    def reference(self, x):
        return (1.0 / (1.0 + np.exp(-x.astype(np.float64)))).astype(x.dtype)

    def pullback(self, g, out, x):
        return g * (out * (1 - out))


def _by_math(function):
    return np.vectorize(function, otypes=[np.float64])


class Erf(Unary):
    """2/sqrt(pi) * integral of exp(-t^2) from 0 to x."""
    kernel_op = "erf"

    def reference(self, x):
        from math import erf
        return _by_math(erf)(x.astype(np.float64)).astype(x.dtype) if x.size else x

    def pullback(self, g, out, x):
        return g * TWO_OVER_ROOT_PI * (-(x * x)).of(Exp())


class Erfc(Unary):
    """1 - erf(x), without the cancellation."""
    kernel_op = "erfc"

    def reference(self, x):
        from math import erfc
        return _by_math(erfc)(x.astype(np.float64)).astype(x.dtype) if x.size else x

    def pullback(self, g, out, x):
        return -(g * TWO_OVER_ROOT_PI * (-(x * x)).of(Exp()))


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
