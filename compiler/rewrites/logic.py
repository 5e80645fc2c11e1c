"""Which bits, comparisons and choices are simpler ones?  Rules of and, or, xor, not, compare, select and shifts."""

from __future__ import annotations

from ..graph.builder import Builder
from ..ops.constants import filled, is_constant, is_filled_with, splat
from ..ops.elementwise import Add, And, Compare, Mul, Not, Or, Select, Shl, Shr, Xor
from .rule import rule

_FLIPPED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_INVERSE = {"eq": "ne", "ne": "eq", "lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}


def _all_ones(dtype):
    return True if dtype.is_bool else (dtype.maximum if dtype.kind == "uint" else -1)


@rule(Not)
def invert(b: Builder, op, x):
    """not not x -> x, not (x == y) -> x != y; for integers and bool also not (x < y) -> x >= y (NaN is neither)."""
    if isinstance(x.op, Not):
        return x.node.operands[0]
    if isinstance(x.op, Compare):
        left, right = x.node.operands
        if x.op.relation in ("eq", "ne") or not left.dtype.is_float:
            return b.emit(Compare(_INVERSE[x.op.relation]), left, right)
    return None


@rule(And, Or)
def conjunction(b: Builder, op, x, y):
    """x & x -> x, x & 0 -> 0, x & ones -> x; x | x -> x, x | 0 -> x, x | ones -> ones."""
    if x is y:
        return x
    if is_filled_with(y, 0):
        return y if isinstance(op, And) else x
    if is_filled_with(y, _all_ones(x.dtype)):
        return x if isinstance(op, And) else y
    return None


@rule(Add, Mul)
def bool_arithmetic(b: Builder, op, x, y):
    """x + y -> x | y and x * y -> x & y for bool: one name for one thing."""
    return b.emit(Or() if isinstance(op, Add) else And(), x, y) if x.dtype.is_bool else None


@rule(Xor)
def exclusive_or(b: Builder, op, x, y):
    """x ^ x -> 0, x ^ 0 -> x, x ^ ones -> not x."""
    if x is y:
        return filled(b, x.type, 0)
    if is_filled_with(y, 0):
        return x
    return b.emit(Not(), x) if is_filled_with(y, _all_ones(x.dtype)) else None


@rule(Shl, Shr)
def shift_by_zero(b: Builder, op, x, y):
    """x << 0 -> x, x >> 0 -> x."""
    return x if is_filled_with(y, 0) else None


@rule(Compare)
def compare_constant_right(b: Builder, op, x, y):
    """c < x -> x > c."""
    return b.emit(Compare(_FLIPPED[op.relation]), y, x) if is_constant(x) and not is_constant(y) else None


@rule(Compare)
def compare_with_itself(b: Builder, op, x, y):
    """x == x -> true, x < x -> false, for integers and bool (NaN is unequal to itself)."""
    if x is not y or x.dtype.is_float:
        return None
    (result,) = op.infer(x.type, y.type)
    return filled(b, result, op.relation in ("eq", "le", "ge"))


@rule(Compare)
def compare_with_truth(b: Builder, op, x, y):
    """x == true -> x, x == false -> not x, and the reverse for !=."""
    if not x.dtype.is_bool or op.relation not in ("eq", "ne") or (truth := splat(y)) is None:
        return None
    return x if bool(truth) == (op.relation == "eq") else b.emit(Not(), x)


@rule(Select)
def select(b: Builder, op, condition, x, y):
    """select(c, x, x) -> x, select(true, x, y) -> x, select(not c, x, y) -> select(c, y, x)."""
    if x is y:
        return x
    if (known := splat(condition)) is not None:
        return x if known else y
    if isinstance(condition.op, Not):
        return b.emit(op, condition.node.operands[0], y, x)
    return None


@rule(Select)
def select_truth(b: Builder, op, condition, x, y):
    """select(c, true, false) -> c, select(c, false, true) -> not c, select(c, true, y) -> c | y, select(c, x, false) ->
    c & x."""
    if not x.dtype.is_bool:
        return None
    if is_filled_with(x, 1):
        return condition if is_filled_with(y, 0) else b.emit(Or(), condition, y)
    if is_filled_with(y, 0):
        return b.emit(And(), condition, x)
    return b.emit(Not(), condition) if is_filled_with(x, 0) and is_filled_with(y, 1) else None


@rule(Select)
def select_again(b: Builder, op, condition, x, y):
    """select(c, select(c, x, y), z) -> select(c, x, z), and so for the other branch."""
    for branch, other in ((x, 0), (y, 1)):
        if isinstance(branch.op, Select) and branch.node.operands[0] is condition:
            kept = branch.node.operands[1 + other]
            return b.emit(op, condition, kept, y) if other == 0 else b.emit(op, condition, x, kept)
    return None
