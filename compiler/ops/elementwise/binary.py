"""Elementwise operators of two operands: arithmetic, extremes, bits, shifts."""

from __future__ import annotations

import numpy as np

from ...core.dtypes import ALL, FLOATS, INTEGERS
from ...kernel import builder as k
from ..constants import is_constant, splat
from ..op import Sample
from .base import BITS, NUMBERS, Elementwise
from .unary import Floor, Log, Trunc


class Binary(Elementwise, abstract=True):
    """A binary op that the Kernel IR has under the name `kernel_op`."""
    arity = 2
    dtypes = NUMBERS
    kernel_op = ""

    def scalar(self, x, y):
        return k.binary(self.kernel_op, x, y)


class Add(Binary):
    """x + y; for bool, or."""
    dtypes, kernel_op, numpy = ALL, "add", staticmethod(np.add)

    def scalar(self, x, y):
        return k.binary("or" if x.dtype.is_bool else "add", x, y)

    def pullback(self, g, out, x, y):
        return g, g


class Sub(Binary):
    """x - y; unsigned integers wrap."""
    kernel_op, numpy = "sub", staticmethod(np.subtract)

    def pullback(self, g, out, x, y):
        return g, -g


class Mul(Binary):
    """x * y; for bool, and."""
    dtypes, kernel_op, numpy = ALL, "mul", staticmethod(np.multiply)

    def scalar(self, x, y):
        return k.binary("and" if x.dtype.is_bool else "mul", x, y)

    def pullback(self, g, out, x, y):
        return g * y, g * x


class Div(Binary):
    """x / y of floats; integers truncate toward zero, and x / 0 is 0."""
    kernel_op = "div"

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return x / y
        safe = np.where(y == 0, 1, y)
        quotient = x // safe + ((x % safe != 0) & ((x < 0) != (safe < 0)))
        return np.where(y == 0, 0, quotient).astype(x.dtype)

    def pullback(self, g, out, x, y):
        share = g / y
        return share, -(share * out)


class FloorDiv(Binary):
    """floor(x / y); for integers x // 0 is 0."""
    kernel_op, is_flat = "floordiv", True

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return np.floor(x / y)
        return np.where(y == 0, 0, x // np.where(y == 0, 1, y)).astype(x.dtype)

    def scalar(self, x, y):
        return k.unary("floor", k.binary("div", x, y)) if x.dtype.is_float else k.binary("floordiv", x, y)


class Mod(Binary):
    """The remainder with the divisor's sign, as Python's %; for integers x % 0 is 0."""
    kernel_op = "mod"

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return np.mod(x, y)
        return np.where(y == 0, 0, x % np.where(y == 0, 1, y)).astype(x.dtype)

    def pullback(self, g, out, x, y):
        return g, -(g * (x / y).of(Floor()))


class Rem(Binary):
    """The remainder with the dividend's sign, as C's fmod; for integers x rem 0 is 0."""
    kernel_op = "rem"

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return np.fmod(x, y)
        return np.where(y == 0, 0, np.fmod(x, np.where(y == 0, 1, y))).astype(x.dtype)

    def pullback(self, g, out, x, y):
        return g, -(g * (x / y).of(Trunc()))


class Pow(Binary):
    """x to the power y; integers wrap, and take y >= 0 (a negative y gives 0, or 1 and -1 for those bases)."""
    kernel_op = "pow"

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return np.power(x, y)
        result = np.power(x, np.where(y < 0, 0, y))
        below = np.where(x == 1, 1, np.where(x == -1 if x.dtype.kind == "i" else False, np.where(y % 2 == 0, 1, -1), 0))
        return np.where(y < 0, below.astype(x.dtype), result)

    @classmethod
    def domain(cls):
        return (0.1, 3.0)

    def pullback(self, g, out, x, y):
        """By x: y x^(y-1), which is 0 for y = 0. By y: log(x) x^y, which is 0 for x = 0."""
        number = splat(y.value)
        if number is None:
            exponent = (y - 1).where(y.compare("ne", 0))
        else:
            exponent = y.filled(number - 1 if number != 0 else 0)
        base = x.where(x.compare("ne", 0), 1)
        return g * (y * x.of(Pow(), exponent)), g * (base.of(Log()) * out)


class Atan2(Binary):
    """The angle of the point (y, x), for operands (y, x)."""
    dtypes, kernel_op, numpy = FLOATS, "atan2", staticmethod(np.arctan2)

    def pullback(self, g, out, y, x):
        share = g / (x * x + y * y)
        return share * x, -(share * y)


class Max(Binary):
    """The larger one; NaN where either is NaN."""
    dtypes, kernel_op, numpy = ALL, "max", staticmethod(np.maximum)

    def pullback(self, g, out, x, y):
        return _share_extreme("gt", g, out, x, y)


class Min(Binary):
    """The smaller one; NaN where either is NaN."""
    dtypes, kernel_op, numpy = ALL, "min", staticmethod(np.minimum)

    def pullback(self, g, out, x, y):
        return _share_extreme("lt", g, out, x, y)


def _share_extreme(beats: str, g, out, x, y):
    """The cotangents of an extremum: the operand that `beats` the other takes g, of equal ones each takes half.

    A constant takes all where it is equal, so that relu is flat at 0, and clip at its bounds, as PyTorch's relu is.
    """
    if is_constant(x.value) or is_constant(y.value):
        return g.where(out.compare(beats, y)), g.where(out.compare(beats, x))
    half = g.where(x.compare("eq", y)) * 0.5
    return g.where(x.compare(beats, y), half), g.where(y.compare(beats, x), half)


class And(Binary):
    """Logical and of bool, bitwise and of integers."""
    dtypes, kernel_op, numpy = BITS, "and", staticmethod(np.bitwise_and)


class Or(Binary):
    """Logical or of bool, bitwise or of integers."""
    dtypes, kernel_op, numpy = BITS, "or", staticmethod(np.bitwise_or)


class Xor(Binary):
    """Logical exclusive or of bool, bitwise of integers."""
    dtypes, kernel_op, numpy = BITS, "xor", staticmethod(np.bitwise_xor)


class Shift(Binary, abstract=True):
    """Operands of one integer dtype; a count of the width or more gives 0, or the sign where bits move right."""
    dtypes = INTEGERS

    @classmethod
    def samples(cls):
        rng = np.random.default_rng(3)
        return [Sample(cls(), (rng.integers(0 if d.kind == "uint" else -100, 101, (3, 17)).astype(d.numpy),
                               rng.integers(0, d.bits + 3, (3, 17)).astype(d.numpy))) for d in cls.dtypes]


class Shl(Shift):
    """x * 2^y without the bits that leave on the left."""
    kernel_op = "shl"

    def reference(self, x, y):
        width = x.dtype.itemsize * 8
        return np.where(y >= width, 0, np.left_shift(x, np.minimum(y, width - 1))).astype(x.dtype)


class Shr(Shift):
    """Arithmetic for signed integers, logical for unsigned ones."""
    kernel_op = "shr"

    def reference(self, x, y):
        shifted = np.right_shift(x, np.minimum(y, x.dtype.itemsize * 8 - 1))
        return np.where(y >= x.dtype.itemsize * 8, -1 * (x < 0), shifted).astype(x.dtype)
