"""How are recipes of functions written?  Numbers that build Kernel expressions, every step bound to a variable.

A recipe is a Python function on `Number`s that reads like the formula it stands for. It has no branches: lanes that
need another formula get it by `select`, so the same recipe serves scalars, SIMD lanes and GPU threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence, Union

from ...core.dtypes import DType, as_dtype, float32, float64
from ...kernel.arithmetic import wrap
from ...kernel.ir import Binary, Bitcast, Cast, Compare, Const, Expr, Fma, Select, Unary, Var

Let = Callable[[str, Expr], Expr]


@dataclass(frozen=True)
class Format:
    """The layout of an IEEE 754 float: `digits` of significand with the hidden one, the exponent's `bias`."""

    dtype: DType
    digits: int
    bias: int

    @property
    def mantissa(self) -> int:
        """Stored bits of the significand: where the exponent field starts."""
        return self.digits - 1

    @property
    def integer(self) -> DType:
        """The signed integer of the same width."""
        return as_dtype(f"i{self.dtype.bits}")

    @property
    def unsigned(self) -> DType:
        return as_dtype(f"u{self.dtype.bits}")

    @property
    def sign_mask(self) -> int:
        """The sign bit as a signed integer."""
        return -(1 << (self.dtype.bits - 1))

    @property
    def tiny(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)

    def bits_of(self, exponent: int) -> int:
        """The bit pattern of 2^exponent."""
        return (exponent + self.bias) << self.mantissa

    @property
    def magic(self) -> float:
        """1.5 * 2^mantissa: adding it to a small number leaves the nearest integer in the low bits."""
        return 1.5 * 2.0 ** self.mantissa


FORMATS = {float32: Format(float32, 24, 127), float64: Format(float64, 53, 1023)}


class Number:
    """An expression with operators. Python numbers on either side become constants of the same dtype."""

    __slots__ = ("expr", "_let")

    def __init__(self, expr: Expr, let: Let):
        self.expr = expr if isinstance(expr, (Const, Var)) else let("m", expr)
        self._let = let

    @property
    def dtype(self) -> DType:
        return self.expr.dtype

    @property
    def format(self) -> Format:
        return FORMATS[self.dtype]

    def of(self, value: Union["Number", float, int], dtype: DType | None = None) -> "Number":
        """`value` as a Number of this or the given dtype; integers wrap: bit patterns may be written unsigned."""
        if isinstance(value, Number):
            return value
        dtype = dtype or self.dtype
        return Number(Const(float(value) if dtype.is_float else wrap(value, dtype), dtype), self._let)

    def _new(self, expr: Expr) -> "Number":
        return Number(expr, self._let)

    def _binary(self, op: str, other) -> "Number":
        return self._new(Binary(op, self.expr, self.of(other).expr))

    def __add__(self, other):
        return self._binary("add", other)

    def __radd__(self, other):
        return self.of(other) + self

    def __sub__(self, other):
        return self._binary("sub", other)

    def __rsub__(self, other):
        return self.of(other) - self

    def __mul__(self, other):
        return self._binary("mul", other)

    def __rmul__(self, other):
        return self._binary("mul", other)

    def __truediv__(self, other):
        return self._binary("div", other)

    def __rtruediv__(self, other):
        return self.of(other) / self

    def __neg__(self):
        return self._new(Unary("neg", self.expr))

    def __and__(self, other):
        return self._binary("and", other)

    def __or__(self, other):
        return self._binary("or", other)

    def __xor__(self, other):
        return self._binary("xor", other)

    def __lshift__(self, count: int):
        return self._binary("shl", count)

    def __rshift__(self, count: int):
        """Arithmetic for signed integers, logical for unsigned ones."""
        return self._binary("shr", count)

    def __invert__(self):
        return self._new(Unary("not", self.expr))

    def _compare(self, op: str, other) -> "Number":
        return self._new(Compare(op, self.expr, self.of(other).expr))

    def __lt__(self, other):
        return self._compare("lt", other)

    def __le__(self, other):
        return self._compare("le", other)

    def __gt__(self, other):
        return self._compare("gt", other)

    def __ge__(self, other):
        return self._compare("ge", other)

    def equals(self, other) -> "Number":
        return self._compare("eq", other)

    def differs(self, other) -> "Number":
        return self._compare("ne", other)

    def is_nan(self) -> "Number":
        return self.differs(self)

    def select(self, x, y) -> "Number":
        """x where this condition holds, else y."""
        x = x if isinstance(x, Number) else y.of(x)
        return self._new(Select(self.expr, x.expr, x.of(y).expr))

    def abs(self) -> "Number":
        return self._new(Unary("abs", self.expr))

    def sqrt(self) -> "Number":
        return self._new(Unary("sqrt", self.expr))

    def round(self) -> "Number":
        return self._new(Unary("round", self.expr))

    def trunc(self) -> "Number":
        return self._new(Unary("trunc", self.expr))

    def minimum(self, other) -> "Number":
        return self._binary("min", other)

    def maximum(self, other) -> "Number":
        return self._binary("max", other)

    def bits(self) -> "Number":
        """The float's bits as a signed integer."""
        return self._new(Bitcast(self.format.integer, self.expr))

    def as_float(self, dtype: DType | None = None) -> "Number":
        """The integer's bits as a float."""
        return self._new(Bitcast(dtype or as_dtype(f"f{self.dtype.bits}"), self.expr))

    def as_integer(self, dtype: DType) -> "Number":
        """The integer's bits as the other integer of the same width."""
        return self._new(Bitcast(dtype, self.expr))

    def to(self, dtype: DType) -> "Number":
        """The value in another dtype."""
        return self._new(Cast(dtype, self.expr))

    def copysign(self, sign: "Number") -> "Number":
        """|self| with the sign of `sign`."""
        mask = self.format.sign_mask
        return ((self.bits() & ~mask) | (sign.bits() & mask)).as_float()

    def with_sign_of(self, sign: "Number") -> "Number":
        """`self`, which is not negative, with the sign of `sign`."""
        return (self.bits() | (sign.bits() & self.format.sign_mask)).as_float()


def fma(x: Number, y, z) -> Number:
    """x * y + z, rounded once."""
    return Number(Fma(x.expr, x.of(y).expr, x.of(z).expr), x._let)


def scale(x: Number, n: Number) -> Number:
    """x * 2^n for a whole n, rounded once."""
    return x._binary("scale", n)


def polynomial(x: Number, coefficients: Sequence[float]) -> Number:
    """c[0] + c[1] x + c[2] x^2 + … by Horner's rule."""
    total = x.of(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = fma(total, x, c) if not isinstance(total.expr, Const) else fma(x, total, c)
    return total
