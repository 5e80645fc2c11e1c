"""How are kernels written in Python?  Expressions that fold constants, and a block that statements are appended to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ..core.dims import Dim, DimExpr, FloorDiv
from ..core.dtypes import DType, bool_, int64
from .ir import (Accumulate, Alloc, Binary, Bitcast, Buffer, Cast, Choose, Compare, Const, Expr, Fma, For, If, Let, Load,
                 Prefetch, Select, Stmt, Store, Unary, Var)


def constant(value, dtype: DType = int64) -> Const:
    if dtype.is_float:
        return Const(float(value), dtype)
    return Const(bool(value) if dtype.is_bool else int(value), dtype)


def as_expr(value) -> Expr:
    """An int or a dim as an int64 expression; expressions pass through. Symbols become variables of their name."""
    if isinstance(value, int):
        return Const(value, int64)
    if isinstance(value, DimExpr):
        total: Expr = Const(0, int64)
        for monomial, coefficient in value.terms:
            term: Expr = Const(coefficient, int64)
            for atom in monomial:
                factor = (binary("floordiv", as_expr(atom.numerator), Const(atom.denominator, int64))
                          if isinstance(atom, FloorDiv) else Var(atom.name, int64))
                term = mul(term, factor)
            total = add(total, term)
        return total
    return value


def _is(e: Expr, value) -> bool:
    return isinstance(e, Const) and e.value == value


def add(x, y) -> Expr:
    return binary("add", as_expr(x), as_expr(y))


def sub(x, y) -> Expr:
    return binary("sub", as_expr(x), as_expr(y))


def mul(x, y) -> Expr:
    return binary("mul", as_expr(x), as_expr(y))


def floordiv(x, y) -> Expr:
    return binary("floordiv", as_expr(x), as_expr(y))


def mod(x, y) -> Expr:
    return binary("mod", as_expr(x), as_expr(y))


def minimum(x, y) -> Expr:
    return binary("min", as_expr(x), as_expr(y))


def maximum(x, y) -> Expr:
    return binary("max", as_expr(x), as_expr(y))


_FOLD = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "min": min, "max": max,
         "floordiv": lambda a, b: a // b if b else None, "mod": lambda a, b: a % b if b else None}


def binary(op: str, x: Expr, y: Expr) -> Expr:
    """x op y; int64 index arithmetic is folded and simplified, floats are left alone."""
    if x.dtype == int64:
        if isinstance(x, Const) and isinstance(y, Const) and op in _FOLD:
            folded = _FOLD[op](x.value, y.value)
            if folded is not None and -(1 << 63) <= folded < 1 << 63:
                return Const(folded, int64)
        if op == "add":
            if _is(x, 0):
                return y
            if _is(y, 0):
                return x
            if isinstance(x, Const):
                x, y = y, x
            if isinstance(y, Const) and isinstance(x, Binary) and x.op == "add" and isinstance(x.y, Const):
                return binary("add", x.x, Const(x.y.value + y.value, int64))
        elif op == "sub" and isinstance(y, Const):
            return binary("add", x, Const(-y.value, int64))
        elif op == "mul":
            if isinstance(x, Const):
                x, y = y, x
            if _is(y, 0):
                return y
            if _is(y, 1):
                return x
        elif op == "floordiv" and _is(y, 1):
            return x
        elif op == "mod" and _is(y, 1):
            return Const(0, int64)
    return Binary(op, x, y)


def compare(op: str, x, y) -> Expr:
    x, y = as_expr(x), as_expr(y)
    if isinstance(x, Const) and isinstance(y, Const) and x.dtype == int64:
        table = {"eq": x.value == y.value, "ne": x.value != y.value, "lt": x.value < y.value, "le": x.value <= y.value,
                 "gt": x.value > y.value, "ge": x.value >= y.value}
        return Const(table[op], bool_)
    return Compare(op, x, y)


def both(x: Expr, y: Expr) -> Expr:
    """x and y, for booleans."""
    if isinstance(x, Const):
        return y if x.value else x
    if isinstance(y, Const):
        return x if y.value else y
    return Binary("and", x, y)


def negate(x: Expr) -> Expr:
    """not x, for booleans."""
    return Const(not x.value, bool_) if isinstance(x, Const) else Unary("not", x)


def select(condition: Expr, x: Expr, y: Expr) -> Expr:
    if isinstance(condition, Const):
        return x if condition.value else y
    return Select(condition, x, y)


def cast(dtype: DType, x: Expr) -> Expr:
    if x.dtype == dtype:
        return x
    if isinstance(x, Cast) and x.x.dtype == dtype and x.dtype == dtype.compute:
        return x.x  # widened and back: the same value
    if isinstance(x, Const) and not x.dtype.is_float and (dtype.is_float or dtype == int64):
        return constant(x.value, dtype)
    return Cast(dtype, x)


def bitcast(dtype: DType, x: Expr) -> Expr:
    return x if x.dtype == dtype else Bitcast(dtype, x)


def unary(op: str, x: Expr) -> Expr:
    return Unary(op, x)


def fma(x: Expr, y: Expr, z: Expr) -> Expr:
    return Fma(x, y, z)


class BlockBuilder:
    """Collects statements. `with block.loop("i", n) as i:` opens a loop; names are made unique within one kernel.

    `reserved` are the kernel's symbols: a variable of the same name would hide the extent.
    """

    def __init__(self, reserved: Iterable[str] = ()):
        self._blocks: list[list[Stmt]] = [[]]
        self._taken = set(reserved)
        self._names: dict[str, int] = {}
        self.workspaces: list[Buffer] = []

    def fresh(self, name: str) -> str:
        count = self._names.get(name, 0)
        found = name if count == 0 else f"{name}_{count}"
        while found in self._taken:
            count += 1
            found = f"{name}_{count}"
        self._names[name] = count + 1
        self._taken.add(found)
        return found

    @property
    def statements(self) -> tuple[Stmt, ...]:
        return tuple(self._blocks[-1])

    def emit(self, statement: Stmt) -> None:
        self._blocks[-1].append(statement)

    @contextmanager
    def loop(self, name: str, extent, kind: str = "serial", width: int = 1, interleave: int = 1):
        var = Var(self.fresh(name), int64)
        self._blocks.append([])
        yield var
        self.emit(For(var, as_expr(extent), tuple(self._blocks.pop()), kind, width, interleave))

    @contextmanager
    def when(self, condition: Expr):
        self._blocks.append([])
        yield
        body = tuple(self._blocks.pop())
        if isinstance(condition, Const):
            if condition.value:
                self._blocks[-1].extend(body)
            return
        self.emit(If(condition, body))

    def let(self, name: str, value: Expr) -> Expr:
        """Bind `value` to a variable; constants and variables are returned as they are."""
        if isinstance(value, (Const, Var)):
            return value
        var = Var(self.fresh(name), value.dtype)
        self.emit(Let(var, value))
        return var

    def alloc(self, name: str, dtype: DType, shape: tuple[Dim, ...], space: str) -> Buffer:
        buffer = Buffer(self.fresh(name), dtype, tuple(shape), role="local", space=space)
        self.emit(Alloc(buffer))
        return buffer

    def choose(self, choices: Sequence[Buffer], number: Expr) -> Buffer:
        """The one of `choices`, parameters of one kind, that `number` counts."""
        first = choices[0]
        if len(choices) == 1:
            return first
        buffer = replace(first, name=self.fresh(f"any_{first.name}"))
        self.emit(Choose(buffer, tuple(choices), number))
        return buffer

    def workspace(self, name: str, dtype: DType, shape: tuple[Dim, ...]) -> Buffer:
        """Memory that all threads and all loops of the kernel see: it becomes a parameter of role "workspace"."""
        buffer = Buffer(self.fresh(name), dtype, tuple(shape), role="workspace")
        self.workspaces.append(buffer)
        return buffer

    def store(self, buffer: Buffer, index, value: Expr, streaming: bool = False) -> None:
        self.emit(Store(buffer, tuple(map(as_expr, index)), cast(buffer.dtype, value), streaming))

    def accumulate(self, buffer: Buffer, index, op: str, value: Expr) -> None:
        self.emit(Accumulate(buffer, tuple(map(as_expr, index)), op, value))

    def prefetch(self, buffer: Buffer, index) -> None:
        self.emit(Prefetch(buffer, tuple(map(as_expr, index))))


def load(buffer: Buffer, index) -> Load:
    return Load(buffer, tuple(map(as_expr, index)))
