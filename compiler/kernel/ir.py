"""What is a kernel?  Ordered loops over buffers: the whole Kernel IR on one screen.

Expressions are scalar; a loop of kind "vector" says that its iterations are independent (or accumulate with one
associative operation) and may run as lanes. Everything is immutable. Indices are one expression for each dim of the buffer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from ..core.dims import Dim
from ..core.dtypes import DType, bool_, int64

UNARY = ("neg", "abs", "sqrt", "floor", "ceil", "trunc", "round", "not",  # one instruction or few
         "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
         "asinh", "acosh", "atanh", "tanh", "sigmoid", "erf", "erfc")  # expanded by lower/math before code generation
BINARY = ("add", "sub", "mul", "div", "rem", "floordiv", "mod", "min", "max", "and", "or", "xor", "shl", "shr",
          "pow", "atan2", "scale")
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
REDUCTIONS = ("add", "mul", "min", "max", "and", "or")
FOR_KINDS = ("serial", "parallel", "vector", "unroll", "apart")
SPACES = ("global", "stack", "register")
ROLES = ("in", "out", "inout", "constant", "workspace", "local")


@dataclass(frozen=True, eq=False)
class Buffer:
    """Elements of `dtype` at `shape`, `strides` in elements; `role` for parameters, `space` says where it lives.

    A "register" buffer has a constant shape and is indexed by constants after unrolling; "stack" is private scratch of
    one thread; "global" is a parameter of the kernel.
    """

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    strides: tuple[Dim, ...] = ()
    role: str = "local"
    space: str = "global"

    def __post_init__(self):
        if not self.strides and self.shape:
            object.__setattr__(self, "strides", row_major(self.shape))


def row_major(shape: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """The strides, in elements, of a dense array of this shape."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step = step * extent
    return tuple(reversed(strides))


# ---- expressions ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Const:
    value: Union[int, float, bool]
    dtype: DType


@dataclass(frozen=True, eq=False)
class Var:
    """A loop variable, a Let-bound value, or a symbol's extent (int64, named like the symbol)."""
    name: str
    dtype: DType = int64


@dataclass(frozen=True, eq=False)
class Load:
    buffer: Buffer
    index: tuple["Expr", ...]

    @property
    def dtype(self) -> DType:
        return self.buffer.dtype


@dataclass(frozen=True, eq=False)
class Unary:
    op: str
    x: "Expr"

    @property
    def dtype(self) -> DType:
        return self.x.dtype


@dataclass(frozen=True, eq=False)
class Binary:
    """Both sides have one dtype, which is the result's. Integer div truncates, floordiv floors; mod has the divisor's sign,
    rem the dividend's; min and max pass NaN on; shifts by the width or more give 0 (or the sign). scale is x * 2^y for a whole y,
    rounded once."""
    op: str
    x: "Expr"
    y: "Expr"

    @property
    def dtype(self) -> DType:
        return self.x.dtype


@dataclass(frozen=True, eq=False)
class Compare:
    op: str
    x: "Expr"
    y: "Expr"
    dtype: DType = field(default=bool_, init=False)


@dataclass(frozen=True, eq=False)
class Select:
    condition: "Expr"
    x: "Expr"
    y: "Expr"

    @property
    def dtype(self) -> DType:
        return self.x.dtype


@dataclass(frozen=True, eq=False)
class Fma:
    """x * y + z, rounded once where the target has FMA."""
    x: "Expr"
    y: "Expr"
    z: "Expr"

    @property
    def dtype(self) -> DType:
        return self.x.dtype


@dataclass(frozen=True, eq=False)
class Cast:
    """x as another dtype by value. Floats to integers truncate and saturate (NaN gives 0); anything to bool is != 0."""
    dtype: DType
    x: "Expr"


@dataclass(frozen=True, eq=False)
class Bitcast:
    """The bits of x read as another dtype of the same width."""
    dtype: DType
    x: "Expr"


Expr = Union[Const, Var, Load, Unary, Binary, Compare, Select, Fma, Cast, Bitcast]


# ---- statements ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class For:
    """`body` for var = 0 .. extent-1.  kind "vector": lanes of `width`, `interleave` vectors in flight. kind "parallel": split
    over threads in chunks that do not depend on their number; only at the top of a kernel. kind "unroll": constant extent. kind "apart":
    serial, as a function of its own, so that its registers are not shared with the loops around it."""
    var: Var
    extent: Expr
    body: tuple["Stmt", ...]
    kind: str = "serial"
    width: int = 1
    interleave: int = 1


@dataclass(frozen=True, eq=False)
class If:
    condition: Expr
    then: tuple["Stmt", ...]
    orelse: tuple["Stmt", ...] = ()


@dataclass(frozen=True, eq=False)
class Let:
    var: Var
    value: Expr


@dataclass(frozen=True, eq=False)
class Alloc:
    buffer: Buffer


@dataclass(frozen=True, eq=False)
class Store:
    buffer: Buffer
    index: tuple[Expr, ...]
    value: Expr
    streaming: bool = False  # past the caches: for outputs larger than they are


@dataclass(frozen=True, eq=False)
class Accumulate:
    """buffer[index] = op(buffer[index], value)."""
    buffer: Buffer
    index: tuple[Expr, ...]
    op: str
    value: Expr


@dataclass(frozen=True, eq=False)
class Prefetch:
    """A hint that buffer[index] is read soon; no meaning."""
    buffer: Buffer
    index: tuple[Expr, ...]


Stmt = Union[For, If, Let, Alloc, Store, Accumulate, Prefetch]


@dataclass(frozen=True, eq=False)
class Kernel:
    """A function over `params` (buffers) and `symbols` (extents by name). Two kernels are equal when their text is.

    Top-level parallel loops run one after the other; what they share goes through parameters of role "workspace".
    """

    name: str
    params: tuple[Buffer, ...]
    body: tuple[Stmt, ...]
    symbols: tuple[str, ...] = ()

    def __str__(self) -> str:
        from .text import print_kernel
        return print_kernel(self)

    def verify(self) -> "Kernel":
        from .verify import verify
        verify(self)
        return self
