"""Which softmax, and which gradient of one, are simpler?  One division a row, and what the backward pass keeps is the softmax alone.

With e = exp(x - max(x)), s = sum(e), which is 1 or more, and r = 1 / s, so that no quotient by s and no product by r overflows.
"""

from __future__ import annotations

from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.constants import filled, is_filled_with
from ..ops.elementwise import Add, Div, Exp, Mul, Sub
from ..ops.rearrange import Broadcast
from ..ops.reduce import Reduce
from .rule import rule
from .views import is_unit_reshape, source


def _reduced(x: Value, kind: str) -> Value | None:
    """The reduction of this kind that makes x, up to axes of extent 1."""
    x = source(x) if is_unit_reshape(x) else x
    return x if isinstance(x.op, Reduce) and x.op.kind == kind else None


def _exponentials(total: Value, repeated: Broadcast) -> Value | None:
    """e, where `total` is its sum s, `repeated` along its rows."""
    sum_ = _reduced(total, "sum")
    if sum_ is None or not isinstance(source(sum_).op, Exp) or not isinstance(source(source(sum_)).op, Sub):
        return None
    x, largest = source(source(sum_)).node.operands
    found = _reduced(source(largest), "max") if largest.op == repeated else None
    is_maximum = found is not None and found.op.axes == sum_.op.axes and source(found) is x
    return source(sum_) if is_maximum else None


def _reciprocals(x: Value) -> tuple[Value, Value] | None:
    """(e, s), where x is r, repeated along rows of e."""
    if not isinstance(x.op, Broadcast) or not isinstance(source(x).op, Div):
        return None
    one, total = source(x).node.operands
    e = _exponentials(total, x.op) if is_filled_with(one, 1) else None
    return (e, total) if e is not None else None


@rule(Div)
def softmax_by_reciprocal(b: Builder, op, x, y):
    """x / s -> x * (1 / s): one division a row."""
    if not isinstance(y.op, Broadcast) or is_filled_with(x, 1) or _exponentials(source(y), y.op) is None:
        return None
    total = source(y)
    return b.emit(Mul(), x, b.emit(y.op, b.emit(Div(), filled(b, total.type, 1), total)))


def is_softmax(e: Value, r: Value) -> bool:
    """Whether e * r is a softmax."""
    found = _reciprocals(r)
    return found is not None and found[0] is e


@rule(Mul)
def softmax_gradient(b: Builder, op, x, y):
    """(g * r + n) * e -> (g + n * s) * (e * r) for a number n of each row, where the softmax e * r is there already."""
    for total, e in ((x, y), (y, x)):
        if not (isinstance(total.op, Add) and isinstance(e.op, Exp)):
            continue
        for scaled, n in (total.node.operands, total.node.operands[::-1]):
            if not (isinstance(scaled.op, Mul) and isinstance(n.op, Broadcast)):
                continue
            for g, r in (scaled.node.operands, scaled.node.operands[::-1]):
                found = _reciprocals(r)
                if found is None or found[0] is not e or r.op != n.op or (softmax := b.known(Mul(), e, r)) is None:
                    continue
                mean = b.emit(n.op, b.emit(Mul(), source(n), found[1]))
                return b.emit(Mul(), b.emit(Add(), g, mean), softmax)
    return None
