"""How does an address move when a loop variable does?  Affine forms of int64 expressions over loop variables."""

from __future__ import annotations

from typing import Mapping

from ..core.dims import Dim, DimExpr, Symbol
from ..kernel.ir import Binary, Const, Expr, Var


def affine(expr: Expr, loops: frozenset[str], symbols: Mapping[str, Symbol]) -> dict[str, Dim] | None:
    """The coefficient of each loop variable, and of "" for the rest; None where `expr` is not affine in the loops."""
    if isinstance(expr, Const):
        return {"": expr.value}
    if isinstance(expr, Var):
        if expr.name in loops:
            return {expr.name: 1}
        symbol = symbols.get(expr.name)
        return None if symbol is None else {"": DimExpr((((symbol,), 1),))}
    if isinstance(expr, Binary):
        x, y = affine(expr.x, loops, symbols), affine(expr.y, loops, symbols)
        if x is None or y is None:
            return None
        if expr.op == "add":
            return {v: x.get(v, 0) + y.get(v, 0) for v in {**x, **y}}
        if expr.op == "sub":
            return {v: x.get(v, 0) - y.get(v, 0) for v in {**x, **y}}
        if expr.op == "mul":
            for a, b in ((x, y), (y, x)):
                if not any(c != 0 for v, c in b.items() if v):
                    factor = b.get("", 0)
                    return {v: c * factor for v, c in a.items()}
        if expr.op == "floordiv" and not any(c != 0 for form in (x, y) for v, c in form.items() if v):
            divisor = y.get("", 0)
            if isinstance(divisor, int) and divisor > 0:
                return {"": x.get("", 0) // divisor}
    return None
