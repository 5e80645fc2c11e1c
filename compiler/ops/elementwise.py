"""Operators that compute each element from the operands' elements at its place: unary, binary, comparison, cast ...

All operands have one shape (`Broadcast` makes it so) and, but for select's condition, one dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.dtypes import ALL, FLOATS, INTEGERS, DType, bool_, float32, float64
from ..core.errors import DTypeError
from ..core.types import TensorType
from ..kernel import builder as k
from .op import Op, Sample, require_same_dtype, require_same_shape

_NUMBERS = INTEGERS + FLOATS
_BITS = (bool_,) + INTEGERS


class Elementwise(Op, abstract=True):
    """An op on elements: `dtypes` it takes, `scalar` its Kernel expression, `numpy` its meaning."""

    is_pointwise = True
    arity = 1
    dtypes: tuple[DType, ...] = ALL
    numpy = None

    def infer(self, *types):
        shape = require_same_shape(self, *types)
        dtype = require_same_dtype(self, *types)
        if dtype not in self.dtypes:
            raise DTypeError(f"{self.name} does not take {dtype.name}",
                             hint="it takes " + ", ".join(d.name for d in self.dtypes))
        return (TensorType(shape, self.result_dtype(dtype)),)

    def result_dtype(self, dtype: DType) -> DType:
        return dtype

    def reference(self, *arrays):
        return type(self).numpy(*arrays)

    def scalar(self, *operands):
        """The Kernel expression of the result for operand expressions (floats are float32 or float64 here)."""
        raise NotImplementedError

    def element(self, operands, index, types, result):
        return self.scalar(*(read(index) for read in operands))

    @classmethod
    def samples(cls):
        return [Sample(cls(), arrays) for arrays in _trials(cls.arity, cls.dtypes, cls.domain())]

    @classmethod
    def domain(cls) -> tuple[float, float]:
        """Where random trials are drawn from."""
        return (-4.0, 4.0)


def _trials(arity: int, dtypes, domain):
    """Arrays for `arity` operands: each dtype, odd sizes, empty and 0-d, and for floats every special value."""
    rng = np.random.default_rng(7)
    low, high = domain

    def draw(dtype, shape):
        if dtype.is_float:
            return rng.uniform(low, high, shape).astype(dtype.numpy)
        if dtype.is_bool:
            return rng.integers(0, 2, shape).astype(bool)
        floor = 0 if dtype.kind == "uint" else -100
        return rng.integers(floor, 101, shape).astype(dtype.numpy)

    for dtype in dtypes:
        yield tuple(draw(dtype, (3, 17)) for _ in range(arity))
    first = float32 if float32 in dtypes else dtypes[0]
    for shape in ((), (0,), (1,), (7, 0, 3), (5, 7, 11), (129,)):
        yield tuple(draw(first, shape) for _ in range(arity))
    if float32 in dtypes:
        special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 3.4e38, 0.5, 2.5, 1e-20,
                            -88.0, 89.0])
        grid = np.meshgrid(*[special] * arity) if arity > 1 else [special]
        for dtype in (float32, float64):
            if dtype in dtypes:
                yield tuple(g.ravel().astype(dtype.numpy) for g in grid)


# ---- unary ---------------------------------------------------------------------------------------------------------
class Unary(Elementwise, abstract=True):
    """A unary op that the Kernel IR has under the name `kernel_op`."""
    dtypes = FLOATS
    kernel_op = ""

    def scalar(self, x):
        return k.unary(self.kernel_op, x)


@dataclass(frozen=True)
class Neg(Unary):
    """-x; unsigned integers wrap."""
    dtypes, kernel_op, numpy = _NUMBERS, "neg", staticmethod(np.negative)


@dataclass(frozen=True)
class Abs(Unary):
    """|x|."""
    dtypes, kernel_op, numpy = _NUMBERS, "abs", staticmethod(np.abs)


@dataclass(frozen=True)
class Sign(Elementwise):
    """-1, 0 or 1; NaN stays NaN."""
    dtypes, numpy = _NUMBERS, staticmethod(np.sign)

    def scalar(self, x):
        zero, one = k.constant(0, x.dtype), k.constant(1, x.dtype)
        negative = k.select(k.compare("lt", x, zero), k.unary("neg", one), x) if x.dtype.is_signed else x
        return k.select(k.compare("gt", x, zero), one, negative)


@dataclass(frozen=True)
class Floor(Unary):
    """The largest integer that is at most x."""
    kernel_op, numpy = "floor", staticmethod(np.floor)


@dataclass(frozen=True)
class Ceil(Unary):
    """The smallest integer that is at least x."""
    kernel_op, numpy = "ceil", staticmethod(np.ceil)


@dataclass(frozen=True)
class Trunc(Unary):
    """x without its fraction."""
    kernel_op, numpy = "trunc", staticmethod(np.trunc)


@dataclass(frozen=True)
class Round(Unary):
    """To the nearest integer, halves to even."""
    kernel_op, numpy = "round", staticmethod(np.rint)


@dataclass(frozen=True)
class Sqrt(Unary):
    """The square root; NaN below 0."""
    kernel_op, numpy = "sqrt", staticmethod(np.sqrt)


@dataclass(frozen=True)
class Rsqrt(Unary):
    """1 / sqrt(x)."""
    kernel_op = "rsqrt"

    def reference(self, x):
        return (1.0 / np.sqrt(x.astype(np.float64))).astype(x.dtype)


@dataclass(frozen=True)
class Exp(Unary):
    """e to the power x."""
    kernel_op, numpy = "exp", staticmethod(np.exp)


@dataclass(frozen=True)
class Exp2(Unary):
    """2 to the power x."""
    kernel_op, numpy = "exp2", staticmethod(np.exp2)


@dataclass(frozen=True)
class Expm1(Unary):
    """exp(x) - 1, without the cancellation near 0."""
    kernel_op, numpy = "expm1", staticmethod(np.expm1)


@dataclass(frozen=True)
class Log(Unary):
    """The natural logarithm."""
    kernel_op, numpy = "log", staticmethod(np.log)


@dataclass(frozen=True)
class Log2(Unary):
    """The logarithm to base 2."""
    kernel_op, numpy = "log2", staticmethod(np.log2)


@dataclass(frozen=True)
class Log1p(Unary):
    """log(1 + x), without the cancellation near 0."""
    kernel_op, numpy = "log1p", staticmethod(np.log1p)


@dataclass(frozen=True)
class Sin(Unary):
    """The sine of x radians."""
    kernel_op, numpy = "sin", staticmethod(np.sin)


@dataclass(frozen=True)
class Cos(Unary):
    """The cosine of x radians."""
    kernel_op, numpy = "cos", staticmethod(np.cos)


@dataclass(frozen=True)
class Tan(Unary):
    """The tangent of x radians."""
    kernel_op, numpy = "tan", staticmethod(np.tan)


@dataclass(frozen=True)
class Asin(Unary):
    """The arcsine in radians, -pi/2 .. pi/2; NaN outside of -1 .. 1."""
    kernel_op, numpy = "asin", staticmethod(np.arcsin)


@dataclass(frozen=True)
class Acos(Unary):
    """The arccosine in radians, 0 .. pi; NaN outside of -1 .. 1."""
    kernel_op, numpy = "acos", staticmethod(np.arccos)


@dataclass(frozen=True)
class Atan(Unary):
    """The arctangent in radians, -pi/2 .. pi/2."""
    kernel_op, numpy = "atan", staticmethod(np.arctan)


@dataclass(frozen=True)
class Sinh(Unary):
    """The hyperbolic sine."""
    kernel_op, numpy = "sinh", staticmethod(np.sinh)


@dataclass(frozen=True)
class Cosh(Unary):
    """The hyperbolic cosine."""
    kernel_op, numpy = "cosh", staticmethod(np.cosh)


@dataclass(frozen=True)
class Asinh(Unary):
    """The inverse hyperbolic sine."""
    kernel_op, numpy = "asinh", staticmethod(np.arcsinh)


@dataclass(frozen=True)
class Acosh(Unary):
    """The inverse hyperbolic cosine; NaN below 1."""
    kernel_op, numpy = "acosh", staticmethod(np.arccosh)


@dataclass(frozen=True)
class Atanh(Unary):
    """The inverse hyperbolic tangent; NaN outside of -1 .. 1."""
    kernel_op, numpy = "atanh", staticmethod(np.arctanh)


@dataclass(frozen=True)
class Tanh(Unary):
    """The hyperbolic tangent."""
    kernel_op, numpy = "tanh", staticmethod(np.tanh)


@dataclass(frozen=True)
class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""
    kernel_op = "sigmoid"

    def reference(self, x):
        return (1.0 / (1.0 + np.exp(-x.astype(np.float64)))).astype(x.dtype)


def _by_math(function):
    return np.vectorize(function, otypes=[np.float64])


@dataclass(frozen=True)
class Erf(Unary):
    """2/sqrt(pi) * integral of exp(-t^2) from 0 to x."""
    kernel_op = "erf"

    def reference(self, x):
        from math import erf
        return _by_math(erf)(x.astype(np.float64)).astype(x.dtype) if x.size else x


@dataclass(frozen=True)
class Erfc(Unary):
    """1 - erf(x), without the cancellation."""
    kernel_op = "erfc"

    def reference(self, x):
        from math import erfc
        return _by_math(erfc)(x.astype(np.float64)).astype(x.dtype) if x.size else x


@dataclass(frozen=True)
class Not(Unary):
    """Logical not of bool, bitwise not of integers."""
    dtypes, kernel_op, numpy = _BITS, "not", staticmethod(np.invert)


@dataclass(frozen=True)
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
                for a in _trials(1, cls.dtypes, cls.domain())]


@dataclass(frozen=True)
class Cast(Elementwise):
    """x as `dtype`, by value. Floats to integers truncate and saturate, NaN becomes 0; to bool is x != 0."""
    dtype: DType = float32

    def result_dtype(self, dtype):
        return self.dtype

    def reference(self, x):
        if x.dtype.kind not in "biu" and self.dtype.is_integer:
            wide = np.trunc(np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
            top = float(self.dtype.maximum)
            inside = np.clip(wide, float(self.dtype.minimum), np.nextafter(top, 0) if self.dtype.bits == 64 else top)
            return np.where(wide >= top, self.dtype.maximum, inside.astype(self.dtype.numpy)).astype(self.dtype.numpy)
        if self.dtype.is_bool:
            return x != 0
        return x.astype(self.dtype.numpy)

    def scalar(self, x):
        rounded = k.cast(self.dtype, x)
        return k.cast(self.dtype.compute, rounded)

    @classmethod
    def samples(cls):
        return [Sample(cls(to), a) for to in ALL for a in _trials(1, ALL, (-4.0, 300.0))]


# ---- binary --------------------------------------------------------------------------------------------------------
class Binary(Elementwise, abstract=True):
    """A binary op that the Kernel IR has under the name `kernel_op`."""
    arity = 2
    dtypes = _NUMBERS
    kernel_op = ""

    def scalar(self, x, y):
        return k.binary(self.kernel_op, x, y)


@dataclass(frozen=True)
class Add(Binary):
    """x + y; for bool, or."""
    dtypes, kernel_op, numpy = ALL, "add", staticmethod(np.add)

    def scalar(self, x, y):
        return k.binary("or" if x.dtype.is_bool else "add", x, y)


@dataclass(frozen=True)
class Sub(Binary):
    """x - y; unsigned integers wrap."""
    kernel_op, numpy = "sub", staticmethod(np.subtract)


@dataclass(frozen=True)
class Mul(Binary):
    """x * y; for bool, and."""
    dtypes, kernel_op, numpy = ALL, "mul", staticmethod(np.multiply)

    def scalar(self, x, y):
        return k.binary("and" if x.dtype.is_bool else "mul", x, y)


@dataclass(frozen=True)
class Div(Binary):
    """x / y of floats; integers truncate toward zero, and x / 0 is 0."""
    kernel_op = "div"

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return x / y
        safe = np.where(y == 0, 1, y)
        quotient = x // safe + ((x % safe != 0) & ((x < 0) != (safe < 0)))
        return np.where(y == 0, 0, quotient).astype(x.dtype)


@dataclass(frozen=True)
class FloorDiv(Binary):
    """floor(x / y); for integers x // 0 is 0."""
    kernel_op = "floordiv"

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return np.floor(x / y)
        return np.where(y == 0, 0, x // np.where(y == 0, 1, y)).astype(x.dtype)

    def scalar(self, x, y):
        return k.unary("floor", k.binary("div", x, y)) if x.dtype.is_float else k.binary("floordiv", x, y)


@dataclass(frozen=True)
class Mod(Binary):
    """The remainder with the divisor's sign, as Python's %; for integers x % 0 is 0."""
    kernel_op = "mod"

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return np.mod(x, y)
        return np.where(y == 0, 0, x % np.where(y == 0, 1, y)).astype(x.dtype)


@dataclass(frozen=True)
class Rem(Binary):
    """The remainder with the dividend's sign, as C's fmod; for integers x rem 0 is 0."""
    kernel_op = "rem"

    def reference(self, x, y):
        if x.dtype.kind not in "iu":
            return np.fmod(x, y)
        return np.where(y == 0, 0, np.fmod(x, np.where(y == 0, 1, y))).astype(x.dtype)


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Atan2(Binary):
    """The angle of the point (y, x), for operands (y, x)."""
    dtypes, kernel_op, numpy = FLOATS, "atan2", staticmethod(np.arctan2)


@dataclass(frozen=True)
class Max(Binary):
    """The larger one; NaN where either is NaN."""
    dtypes, kernel_op, numpy = ALL, "max", staticmethod(np.maximum)


@dataclass(frozen=True)
class Min(Binary):
    """The smaller one; NaN where either is NaN."""
    dtypes, kernel_op, numpy = ALL, "min", staticmethod(np.minimum)


@dataclass(frozen=True)
class And(Binary):
    """Logical and of bool, bitwise and of integers."""
    dtypes, kernel_op, numpy = _BITS, "and", staticmethod(np.bitwise_and)


@dataclass(frozen=True)
class Or(Binary):
    """Logical or of bool, bitwise or of integers."""
    dtypes, kernel_op, numpy = _BITS, "or", staticmethod(np.bitwise_or)


@dataclass(frozen=True)
class Xor(Binary):
    """Logical exclusive or of bool, bitwise of integers."""
    dtypes, kernel_op, numpy = _BITS, "xor", staticmethod(np.bitwise_xor)


class Shift(Binary, abstract=True):
    """Operands of one integer dtype; a count of the width or more gives 0, or the sign where bits move right."""
    dtypes = INTEGERS

    @classmethod
    def samples(cls):
        rng = np.random.default_rng(3)
        return [Sample(cls(), (rng.integers(0 if d.kind == "uint" else -100, 101, (3, 17)).astype(d.numpy),
                               rng.integers(0, d.bits + 3, (3, 17)).astype(d.numpy))) for d in cls.dtypes]


@dataclass(frozen=True)
class Shl(Shift):
    """x * 2^y without the bits that leave on the left."""
    kernel_op = "shl"

    def reference(self, x, y):
        width = x.dtype.itemsize * 8
        return np.where(y >= width, 0, np.left_shift(x, np.minimum(y, width - 1))).astype(x.dtype)


@dataclass(frozen=True)
class Shr(Shift):
    """Arithmetic for signed integers, logical for unsigned ones."""
    kernel_op = "shr"

    def reference(self, x, y):
        shifted = np.right_shift(x, np.minimum(y, x.dtype.itemsize * 8 - 1))
        return np.where(y >= x.dtype.itemsize * 8, -1 * (x < 0), shifted).astype(x.dtype)


# ---- comparison and choice -------------------------------------------------------------------------------------------
_COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
            "ge": np.greater_equal}


@dataclass(frozen=True)
class Compare(Elementwise):
    """x `relation` y as bool; relation is one of eq, ne, lt, le, gt, ge. NaN is unequal to everything."""
    relation: str = "eq"
    arity = 2

    def result_dtype(self, dtype):
        return bool_

    def reference(self, x, y):
        return _COMPARE[self.relation](x, y)

    def scalar(self, x, y):
        return k.compare(self.relation, x, y)

    @classmethod
    def samples(cls):
        return [Sample(cls(r), a) for r in _COMPARE for a in _trials(2, ALL, cls.domain())]


@dataclass(frozen=True)
class Select(Elementwise):
    """x where the condition (bool) holds, else y."""
    arity = 3

    def infer(self, *types):
        shape = require_same_shape(self, *types)
        if types[0].dtype != bool_:
            raise DTypeError(f"select's condition is {types[0]}", hint="it is bool: compare, or cast it")
        return (TensorType(shape, require_same_dtype(self, *types[1:])),)

    def reference(self, condition, x, y):
        return np.where(condition, x, y)

    def scalar(self, condition, x, y):
        return k.select(condition, x, y)

    @classmethod
    def samples(cls):
        rng = np.random.default_rng(5)
        return [Sample(cls(), (rng.integers(0, 2, x.shape).astype(bool), x, y))
                for x, y in _trials(2, ALL, cls.domain())]
