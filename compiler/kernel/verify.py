"""Is a kernel well formed?  Names, types, roles, loops, and indices that certainly leave their buffer."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.dims import symbols_of
from ..core.dtypes import DType, bool_, int64
from ..core.errors import VerifyError
from .ir import (BINARY, COMPARE, FOR_KINDS, REDUCTIONS, ROLES, SPACES, UNARY, Accumulate, Alloc, Binary, Bitcast,
                 Buffer, Cast, Compare, Const, Expr, Fma, For, If, Kernel, Let, Load, Prefetch, Select, Stmt, Store, Unary, Var)
from .sharing import expressions, postorder
from .text import print_expr, print_statement

_BITWISE = ("and", "or", "xor")
_SHIFTS = ("shl", "shr")
_NOT_ONLY_FLOAT = ("neg", "abs", "not")


def verify(kernel: Kernel) -> None:
    """Check `kernel` against the rules of the Kernel IR; VerifyError names the statement that breaks one.

    Names are unique and defined before their use, and have one dtype. An index has one i64 expression for each dim. The
    two sides of an operation have one dtype, and one that the operation takes. Nothing is written to "in" and
    "constant" buffers. Register buffers have constant shapes. Parallel loops are at the top level and see none of the
    buffers that are allocated outside of them. Unrolled loops have constant extents. Constants fit their dtype. An
    index whose range is known, and whose extremes are reached for certain, stays within the shape.
    """
    _Verifier(kernel).kernel()


@dataclass(frozen=True)
class _Range:
    """The values of an i64 expression: low..high, both reached; `vars` are the loop variables that it depends on."""
    low: int
    high: int
    vars: frozenset[str] = frozenset()


class _Verifier:
    def __init__(self, kernel: Kernel):
        self._kernel = kernel
        self._where = ""
        self._all_buffers: set[str] = set()
        self._all_vars: set[str] = set(kernel.symbols)
        self._buffers: dict[str, Buffer] = {}
        self._vars: dict[str, DType] = {s: int64 for s in kernel.symbols}
        self._ranges: dict[str, _Range | None] = {}
        self._hidden: set[str] = set()
        self._affine: dict[str, dict[str | None, int]] = {}
        self._certain = True  # whether the statement runs in every iteration of the loops around it

    def fail(self, problem: str):
        place = f" in `{self._where}`" if self._where else ""
        raise VerifyError(f"kernel {self._kernel.name!r}{place}: {problem}")

    def require(self, holds: bool, problem: str) -> None:
        if not holds:
            self.fail(problem)

    def kernel(self) -> None:
        self.require(len(set(self._kernel.symbols)) == len(self._kernel.symbols), "a symbol is declared twice")
        for b in self._kernel.params:
            self._where = f"{b.role} {b.name}"
            self.buffer(b)
            self.require(b.role != "local", "a parameter has no role")
            self.require(b.space == "global", f"a parameter lives in global memory, not in {b.space!r}")
        self.block(self._kernel.body, top=True)

    # -- declarations
    def buffer(self, b: Buffer) -> None:
        self.require(b.name not in self._all_buffers, f"two buffers are called {b.name!r}")
        self.require(b.role in ROLES, f"no role is called {b.role!r}")
        self.require(b.space in SPACES, f"no space is called {b.space!r}")
        self.require(len(b.strides) == len(b.shape), f"{len(b.shape)} dims have {len(b.strides)} strides")
        for s in symbols_of(*b.shape, *b.strides):
            self.require(s.name in self._kernel.symbols, f"the symbol {s.name!r} of buffer {b.name!r} is not declared")
        self._all_buffers.add(b.name)
        self._buffers[b.name] = b

    def variable(self, var: Var) -> None:
        self.require(var.name not in self._all_vars, f"two variables are called {var.name!r}")
        self._all_vars.add(var.name)
        self._vars[var.name] = var.dtype

    # -- statements
    def block(self, body: tuple[Stmt, ...], top: bool = False) -> None:
        buffers, variables = dict(self._buffers), dict(self._vars)
        for s in body:
            self.statement(s, top)
        self._buffers, self._vars = buffers, variables

    def statement(self, s: Stmt, top: bool) -> None:
        if not isinstance(s, (For, If, Let, Alloc, Store, Accumulate, Prefetch)):
            self.fail(f"{type(s).__name__} is no statement of the Kernel IR")
        self._where = print_statement(s)
        where = self._where
        for e in postorder(expressions(s)):
            self.expression(e)
        match s:
            case For():
                self.loop(s, top)
            case If():
                self.require(s.condition.dtype == bool_, f"the condition is {s.condition.dtype}, not bool")
                certain, self._certain = self._certain, False
                self.block(s.then)
                self._where = where
                self.block(s.orelse)
                self._certain = certain
            case Let():
                self.require(s.var.dtype == s.value.dtype,
                             f"{s.var.name!r} is {s.var.dtype}, its value is {s.value.dtype}")
                if s.value.dtype == int64:
                    self._affine[s.var.name] = self.affine(s.value)
                    self._ranges[s.var.name] = self.range(s.value)
                self.variable(s.var)
            case Alloc():
                self.buffer(s.buffer)
                self.require(s.buffer.role == "local", f"an allocated buffer has the role {s.buffer.role!r}")
                self.require(s.buffer.space != "register" or all(isinstance(d, int) for d in s.buffer.shape),
                             f"the register buffer {s.buffer.name!r} has a symbolic shape")
            case Store() | Accumulate():
                self.access(s.buffer, s.index)
                self.require(s.buffer.role not in ("in", "constant"),
                             f"{s.buffer.name!r} is written, its role is {s.buffer.role!r}")
                self.require(s.value.dtype == s.buffer.dtype,
                             f"{s.buffer.name!r} holds {s.buffer.dtype}, the value is {s.value.dtype}")
                if isinstance(s, Accumulate):
                    self.require(s.op in REDUCTIONS, f"nothing accumulates with {s.op!r}")
                    self.require(s.op not in _BITWISE or not s.buffer.dtype.is_float,
                                 f"{s.op!r} does not take {s.buffer.dtype}")
            case Prefetch():
                self.access(s.buffer, s.index, bounded=False)

    def loop(self, s: For, top: bool) -> None:
        self.require(s.kind in FOR_KINDS, f"no loop is of the kind {s.kind!r}")
        self.require(s.var.dtype == int64, f"the loop variable is {s.var.dtype}, not i64")
        self.require(s.extent.dtype == int64, f"the extent is {s.extent.dtype}, not i64")
        self.require(s.kind != "parallel" or top, "a parallel loop is not at the top level")
        self.require(s.kind != "unroll" or isinstance(s.extent, Const), "an unrolled loop has no constant extent")
        self.require(s.width >= 1 and s.interleave >= 1,
                     f"width {s.width}, interleave {s.interleave}: they are 1 or more")
        buffers, variables, certain, hidden = dict(self._buffers), dict(self._vars), self._certain, self._hidden
        if s.kind == "parallel":
            self._hidden = {n for n, b in self._buffers.items() if b.role == "local"}
            self._buffers = {n: b for n, b in self._buffers.items() if n not in self._hidden}
        self.variable(s.var)
        self._affine[s.var.name] = {s.var.name: 1}
        extent = self.range(s.extent)
        if extent is not None and extent.low == extent.high >= 1:
            self._ranges[s.var.name] = _Range(0, extent.low - 1, frozenset((s.var.name,)))
        elif extent is not None and extent.high < 1:
            self._certain = False
        self.block(s.body)
        self._buffers, self._vars, self._certain, self._hidden = buffers, variables, certain, hidden

    def access(self, b: Buffer, index: tuple[Expr, ...], bounded: bool = True) -> None:
        if self._buffers.get(b.name) is not b:
            self.fail(f"another buffer {b.name!r} is declared" if b.name in self._buffers else
                      f"the local buffer {b.name!r} is not visible in the parallel loop" if b.name in self._hidden
                      else f"the buffer {b.name!r} is not declared here")
        self.require(len(index) == len(b.shape), f"{b.name!r} has {len(b.shape)} dims, {len(index)} indices are given")
        for axis, (e, n) in enumerate(zip(index, b.shape)):
            self.require(e.dtype == int64, f"index {axis} of {b.name!r} is {e.dtype}, not i64")
            found = self.range(e) if bounded and self._certain and isinstance(n, int) else None
            if found is not None and (found.low < 0 or found.high >= n):
                self.fail(f"index {axis} of {b.name!r} runs over {found.low}..{found.high}, the extent is {n}")

    # -- expressions
    def expression(self, e: Expr) -> None:
        match e:
            case Const():
                self.constant(e)
            case Var():
                self.require(e.name in self._vars, f"the variable {e.name!r} is not defined here")
                self.require(self._vars[e.name] == e.dtype,
                             f"{e.name!r} is {self._vars[e.name]}, it is used as {e.dtype}")
            case Load():
                self.access(e.buffer, e.index)
            case Unary():
                self.require(e.op in UNARY, f"no unary operation is called {e.op!r}")
                only_float = e.op not in _NOT_ONLY_FLOAT
                fits = e.dtype.is_float if only_float else not (e.dtype.is_float if e.op == "not" else e.dtype.is_bool)
                self.require(fits, f"{e.op} does not take {e.dtype}")
            case Binary():
                self.require(e.op in BINARY, f"no binary operation is called {e.op!r}")
                self.same(e, e.x, e.y)
                if e.op in _BITWISE:
                    fits = not e.dtype.is_float
                elif e.op in _SHIFTS:
                    fits = e.dtype.is_integer
                else:
                    fits = (not e.dtype.is_bool or e.op in ("min", "max")) and (e.op not in ("atan2", "scale") or e.dtype.is_float)
                self.require(fits, f"{e.op} does not take {e.dtype}")
            case Compare():
                self.require(e.op in COMPARE, f"no comparison is called {e.op!r}")
                self.same(e, e.x, e.y)
            case Select():
                self.require(e.condition.dtype == bool_,
                             f"the condition of {print_expr(e)} is {e.condition.dtype}, not bool")
                self.same(e, e.x, e.y)
            case Fma():
                self.same(e, e.x, e.y)
                self.same(e, e.x, e.z)
                self.require(not e.dtype.is_bool, f"fma does not take {e.dtype}")
            case Cast():
                pass
            case Bitcast():
                self.require(e.dtype.bits == e.x.dtype.bits,
                             f"a bitcast from {e.x.dtype} to {e.dtype} changes the width")
            case _:
                self.fail(f"{type(e).__name__} is no expression of the Kernel IR")

    def same(self, e: Expr, x: Expr, y: Expr) -> None:
        if x.dtype != y.dtype:
            self.fail(f"{print_expr(e)} has operands of {x.dtype} and {y.dtype}")

    def constant(self, e: Const) -> None:
        if e.dtype.is_float:
            self.require(isinstance(e.value, (int, float)), f"{e.value!r} is no constant of {e.dtype}")
        elif e.dtype.is_bool:
            self.require(e.value in (0, 1), f"{e.value!r} is no constant of bool")
        else:
            self.require(int(e.value) == e.value, f"{e.value!r} is no constant of {e.dtype}")
            self.require(e.dtype.minimum <= e.value <= e.dtype.maximum, f"{e.value} does not fit {e.dtype}")

    # -- ranges
    def affine(self, e: Expr) -> dict[str | None, int] | None:
        """e as coefficients of loop variables and a constant (under None), or None where it is not of that form."""
        match e:
            case Const():
                return {None: int(e.value)}
            case Var():
                return self._affine.get(e.name)
            case Binary(op="add" | "sub"):
                x, y = self.affine(e.x), self.affine(e.y)
                if x is None or y is None:
                    return None
                sign = 1 if e.op == "add" else -1
                return {v: x.get(v, 0) + sign * y.get(v, 0) for v in {**x, **y}}
            case Binary(op="mul"):
                x, y = self.affine(e.x), self.affine(e.y)
                if x is None or y is None:
                    return None
                if any(v is not None for v in y):
                    x, y = y, x
                if any(v is not None for v in y):
                    return None
                return {v: c * y.get(None, 0) for v, c in x.items()}
        return None

    def range(self, e: Expr) -> _Range | None:
        """The values that e takes where loops alone decide them and both extremes are reached, else None."""
        terms = self.affine(e)
        if terms is not None:
            total = _Range(terms.get(None, 0), terms.get(None, 0))
            for v, c in terms.items():
                if v is None or c == 0:
                    continue
                own = self._ranges.get(v)
                if own is None:
                    return None
                ends = (c * own.low, c * own.high)
                total = _Range(total.low + min(ends), total.high + max(ends), total.vars | {v})
            return total
        if isinstance(e, Var):
            return self._ranges.get(e.name)
        if not isinstance(e, Binary):
            return None
        x, y = self.range(e.x), self.range(e.y)
        if x is None or y is None or x.vars & y.vars:
            return None
        both = x.vars | y.vars
        match e.op:
            case "add":
                return _Range(x.low + y.low, x.high + y.high, both)
            case "sub":
                return _Range(x.low - y.high, x.high - y.low, both)
            case "min":
                return _Range(min(x.low, y.low), min(x.high, y.high), both)
            case "max":
                return _Range(max(x.low, y.low), max(x.high, y.high), both)
            case "mul" if y.low == y.high:
                ends = (x.low * y.low, x.high * y.low)
                return _Range(min(ends), max(ends), both)
            case "floordiv" if y.low == y.high > 0:
                return _Range(x.low // y.low, x.high // y.low, both)
            case "mod" if y.low == y.high > 0 and x.low // y.low == x.high // y.low:
                return _Range(x.low % y.low, x.high % y.low, both)
        return None
