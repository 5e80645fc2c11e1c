"""Which sub-expressions of a kernel occur more than once?  Expressions are graphs; text and source code are trees."""

from __future__ import annotations

from typing import Iterable

from ..core.dtypes import DType
from .ir import (Accumulate, Binary, Bitcast, Cast, Choose, Compare, Const, Expr, Fma, For, If, Let, Load, Prefetch,
                 Select, Stmt, Store, Unary, Var)


def operands(e: Expr) -> tuple[Expr, ...]:
    """The expressions that `e` is directly made of."""
    match e:
        case Load():
            return e.index
        case Unary() | Cast() | Bitcast():
            return (e.x,)
        case Binary() | Compare():
            return (e.x, e.y)
        case Select():
            return (e.condition, e.x, e.y)
        case Fma():
            return (e.x, e.y, e.z)
    return ()


def expressions(s: Stmt) -> tuple[Expr, ...]:
    """The expressions that a statement holds itself, its body's left out; indices first, as they are written."""
    match s:
        case For():
            return (s.extent,)
        case If():
            return (s.condition,)
        case Let():
            return (s.value,)
        case Store() | Accumulate():
            return (*s.index, s.value)
        case Prefetch():
            return s.index
        case Choose():
            return (s.number,)
    return ()


def postorder(roots: Iterable[Expr]) -> list[Expr]:
    """Every sub-expression object once, operands before their users; no recursion, so depth does not matter."""
    order: list[Expr] = []
    seen: set[int] = set()
    for root in roots:
        stack = [(root, False)]
        while stack:
            e, ready = stack.pop()
            if ready:
                order.append(e)
            elif id(e) not in seen:
                seen.add(id(e))
                stack.append((e, True))
                stack.extend((x, False) for x in reversed(operands(e)) if id(x) not in seen)
    return order


def format_constant(value, dtype: DType) -> str:
    """The shortest literal of a constant that reads back as the same value of its dtype."""
    if dtype.is_bool:
        return "true" if value else "false"
    if not dtype.is_float:
        return str(int(value))
    value = float(value)
    if value != value:
        return "nan"
    if dtype.name == "float32" and abs(value) < 3.4028235677973366e38:
        import numpy as np
        short = str(np.float32(value))
        if np.float32(float(short)) == np.float32(value):
            return _with_point(short)
    return _with_point(repr(value))


def _with_point(text: str) -> str:
    return text if "." in text or "e" in text or "inf" in text else text + ".0"


class Sharing:
    """Equal sub-expressions of one statement, found by structure, and which of them deserve a name.

    `bound` are the expressions to name, operands first: those that occur several times and are larger than `size`
    nodes, and those `depth` levels deep, so that neither the length nor the nesting of what is written can explode.
    `number(e)` is equal for equal expressions.
    """

    def __init__(self, roots: Iterable[Expr], size: int = 12, depth: int = 24):
        roots = tuple(roots)
        self._numbers: dict[int, int] = {}
        self._kept = roots  # ids stay valid while the expressions live
        by_key: dict[tuple, int] = {}
        unique: list[Expr] = []
        for e in postorder(roots):
            key = self._key(e)
            number = by_key.setdefault(key, len(unique))
            if number == len(unique):
                unique.append(e)
            self._numbers[id(e)] = number
        uses = [0] * len(unique)
        for e in unique:
            for x in operands(e):
                uses[self._numbers[id(x)]] += 1
        inner = [n > 0 for n in uses]
        for root in roots:
            uses[self._numbers[id(root)]] += 1
        sizes, depths = [1] * len(unique), [1] * len(unique)
        self.bound: list[Expr] = []
        for n, e in enumerate(unique):
            children = [self._numbers[id(x)] for x in operands(e)]
            sizes[n] = 1 + sum(sizes[c] for c in children)
            depths[n] = 1 + max((depths[c] for c in children), default=0)
            if (uses[n] > 1 and sizes[n] > size) or (depths[n] > depth and inner[n]):
                self.bound.append(e)
                sizes[n] = depths[n] = 1

    def number(self, e: Expr) -> int:
        return self._numbers[id(e)]

    def _key(self, e: Expr) -> tuple:
        parts = tuple(self._numbers[id(x)] for x in operands(e))
        match e:
            case Const():
                return ("const", format_constant(e.value, e.dtype), e.dtype)
            case Var():
                return ("var", e.name, e.dtype)
            case Load():
                return ("load", e.buffer.name, *parts)
            case Unary() | Binary() | Compare():
                return (type(e), e.op, *parts)
            case Cast() | Bitcast():
                return (type(e), e.dtype, *parts)
        return (type(e), *parts)
