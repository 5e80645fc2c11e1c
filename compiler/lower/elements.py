"""What is the expression of one element of a value, at an index?  Fused producers are spliced in, not stored."""

from __future__ import annotations

from ..graph.graph import Graph, Value
from ..kernel.builder import BlockBuilder, cast, constant, load
from ..kernel.ir import Buffer, Const, Expr, Load, Var


class Elements:
    """Expressions of the elements of a group's values while its loops are being written.

    `buffers` are the values that stand in memory; `scalars` hold values that are already computed for the index at hand (results of
    reductions, accumulator tiles): a function of the index. What is used more than once is bound with Let.
    """

    def __init__(self, graph: Graph, block: BlockBuilder, buffers: dict[Value, Buffer]):
        self.graph = graph
        self.block = block
        self.buffers = buffers
        self.computed: dict[Value, object] = {}
        self._scopes: list[dict] = [{}]

    def enter(self) -> None:
        """A loop opens: what is bound inside is forgotten when it closes."""
        self._scopes.append({})

    def leave(self) -> None:
        self._scopes.pop()

    def at(self, value: Value, index: tuple[Expr, ...]) -> Expr:
        """The element of `value` at `index`; 16-bit floats are widened to float32."""
        key = (value, *map(_identity, index))
        for scope in self._scopes:
            if key in scope:
                return scope[key][0]
        expr = self._make(value, index)
        if not isinstance(expr, (Const, Var)) and len(self.graph.users.get(value, ())) > 1:
            expr = self.block.let("t", expr)
        self._scopes[-1][key] = (expr, index)
        return expr

    def _make(self, value: Value, index: tuple[Expr, ...]) -> Expr:
        if value in self.computed:
            return self.computed[value](index)
        if value in self.buffers:
            read: Expr = load(self.buffers[value], index)
            return cast(value.dtype.compute, read)
        number = constant_scalar(value)
        if number is not None:
            return constant(number, value.dtype.compute)
        node = value.node
        if node is None or not node.op.has_element:
            raise KeyError(f"{value!r} is neither stored, computed nor an element expression")
        operands = [lambda i, o=o: self.at(o, tuple(i)) for o in node.operands]
        return node.op.element(operands, index, [o.type for o in node.operands], value.type)


def _identity(e: Expr):
    if isinstance(e, Const):
        return ("c", e.value)
    return ("v", e.name) if isinstance(e, Var) else id(e)


def computed(block: BlockBuilder, values: list[Expr]) -> list[Expr]:
    """`values` as they are before any is stored: a result may lie where an operand of another one does."""
    return [block.let("result", value) for value in values] if len(values) > 1 else values


def loads_of(expr: Expr, found: dict[int, Load] | None = None, seen: set[int] | None = None) -> dict[int, Load]:
    """Every Load in an expression, by identity."""
    found = {} if found is None else found
    seen = set() if seen is None else seen
    if id(expr) in seen:
        return found
    seen.add(id(expr))
    if isinstance(expr, Load):
        found[id(expr)] = expr
    for name in ("x", "y", "z", "condition"):
        child = getattr(expr, name, None)
        if child is not None:
            loads_of(child, found, seen)
    for child in getattr(expr, "index", ()):
        loads_of(child, found, seen)
    return found


def constant_scalar(value: Value):
    """The Python number of a constant whose elements are all one number; None otherwise."""
    from ..ops.constant import Constant
    if isinstance(value.op, Constant) and value.op.array.size == 1:
        return value.op.array.reshape(()).item()
    return None

