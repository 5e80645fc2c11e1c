"""How are graphs made?  `Builder.emit` infers the type, folds constants, numbers values (CSE), applies rewrites, attaches the location.

Every pass re-emits through a Builder, so its result is typed, verified and simplified by construction.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

import numpy as np

from ..core.dims import DimExpr
from ..core.errors import LaminaError
from ..core.location import UNKNOWN, Location
from ..core.types import TensorType
from .graph import Graph, Node, Value

FOLD_LIMIT = 1 << 16  # bytes of a folded result that its operands did not have already


class Builder:
    """Collects nodes. `rules` maps an op class to rewrites `(builder, op, operands) -> Value | tuple | None`."""

    def __init__(self, name: str = "main", rules: Mapping[type, Sequence[Callable]] | None = None, fold: bool = True):
        self.name = name
        self.rules = rules or {}
        self.fold = fold
        self.location: Location = UNKNOWN
        self.params: list[Value] = []
        self.nodes: list[Node] = []
        self._numbered: dict[tuple, tuple[Value, ...]] = {}
        self._constants: dict[tuple, tuple[Value, np.ndarray]] = {}

    def parameter(self, type: TensorType, name: str = "") -> Value:
        value = Value(type, None, len(self.params), name)
        self.params.append(value)
        return value

    def constant(self, array: np.ndarray, label: str = "") -> Value:
        """A constant; the same array object, or an equal small one, is one value."""
        from ..ops.constant import Constant
        array = np.asarray(array)
        key = ((array.dtype.str, array.shape, array.tobytes(), label) if array.nbytes <= 64
               else (id(array), label))
        if key not in self._constants:
            self._constants[key] = (self._append(Constant(array, label), ())[0], array)  # kept: its id is the key
        return self._constants[key][0]

    def emit(self, op, *operands: Value) -> Value | tuple[Value, ...]:
        """Apply `op`: its one result, or a tuple where it has several (or none)."""
        results = self.emit_all(op, *operands)
        return results[0] if len(results) == 1 else results

    def emit_all(self, op, *operands: Value, like: Node | None = None) -> tuple[Value, ...]:
        """Apply `op`: all of its results. `like` is the node that is emitted anew: its result types hold for operands of the types
        that it has."""
        if op.is_constant:
            return (self.constant(op.array, op.label),)
        for rule in self.rules.get(type(op), ()):
            replaced = rule(self, op, operands)
            if replaced is not None:
                return replaced if isinstance(replaced, tuple) else (replaced,)
        if self.fold and operands:
            folded = self._fold(op, operands)
            if folded is not None:
                return folded
        try:
            key = (op, *map(id, operands))
            known = self._numbered.get(key)
        except TypeError:  # an op with an unhashable field is never shared
            key, known = None, None
        if known is None:
            known = self._append(op, operands, like)
            if key is not None:
                self._numbered[key] = known
        return known

    def known(self, op, *operands: Value) -> Value | None:
        """The result of `op` with these operands where it has been emitted."""
        results = self._numbered.get((op, *map(id, operands)))
        return results[0] if results is not None else None

    def _append(self, op, operands, like: Node | None = None) -> tuple[Value, ...]:
        if like is not None and op is like.op and all([a.type is b.type for a, b in zip(operands, like.operands)]):
            types = like.result_types
        else:
            try:
                types = tuple(op.infer(*(o.type for o in operands)))
            except LaminaError as error:
                if error.location is None and str(self.location):
                    error.location = self.location
                raise
        node = Node(op, tuple(operands), types, self.location)
        self.nodes.append(node)
        return node.results

    def _fold(self, op, operands) -> tuple[Value, ...] | None:
        if op.expands or not all(o.node is not None and o.node.op.is_constant for o in operands) or has_symbols(op):
            return None
        types = op.infer(*(o.type for o in operands))
        if not all(t.is_static for t in types):
            return None
        if sum(t.nbytes for t in types) > max(FOLD_LIMIT, sum(o.type.nbytes for o in operands)):
            return None
        with np.errstate(all="ignore"):
            arrays = op.evaluate(*(o.op.array for o in operands))
        label = operands[0].op.label if len(operands) == 1 else ""
        return tuple(self.constant(a, label) for a in arrays)

    def finish(self, results: Sequence[Value], result_names: Sequence[str] = ()) -> Graph:
        """The graph, without the nodes that no result needs."""
        live: set[int] = set()
        needed = {id(r) for r in results}
        for node in reversed(self.nodes):
            if any(id(r) in needed for r in node.results):
                live.add(id(node))
                needed.update(id(o) for o in node.operands)
        nodes = tuple(n for n in self.nodes if id(n) in live)
        return Graph(tuple(self.params), nodes, tuple(results), self.name, tuple(result_names))


def has_symbols(op) -> bool:
    """Whether a symbolic dim stands in `op`'s fields, or in the graphs that it holds."""
    pending = list(op.attributes().values())
    while pending:
        value = pending.pop()
        if isinstance(value, DimExpr) or isinstance(value, Value) and not value.type.is_static:
            return True
        if isinstance(value, tuple):
            pending += value
        elif isinstance(value, Graph):
            pending += value.params
            for node in value.nodes:
                pending += (*node.results, *node.op.attributes().values())
    return False


def rebuild(graph: Graph, rules=None, transform: Callable | None = None, fold: bool = True) -> Graph:
    """`graph` re-emitted node by node. `transform(builder, node, operands)` may return the results itself, or None."""
    builder = Builder(graph.name, rules, fold)
    env = {p: builder.parameter(p.type, p.name) for p in graph.params}
    for node in graph.nodes:
        operands = tuple(env[o] for o in node.operands)
        builder.location = node.location
        results = transform(builder, node, operands) if transform is not None else None
        if results is None:
            results = builder.emit_all(node.op, *operands, like=node)
        elif isinstance(results, Value):
            results = (results,)
        env.update(zip(node.results, results))
    return builder.finish([env[r] for r in graph.results], graph.result_names)


def inline(builder: Builder, graph: Graph, arguments: Sequence[Value], backward_of: str = "") -> tuple[Value, ...]:
    """The results of `graph` emitted into `builder` with its parameters replaced by `arguments`.

    Nodes without a location get the builder's; `backward_of` marks them as that operator's backward code.
    """
    env = dict(zip(graph.params, arguments))
    outer = builder.location
    for node in graph.nodes:
        place = outer if node.location is UNKNOWN else node.location
        builder.location = place.backward(backward_of) if backward_of else place
        env.update(zip(node.results, builder.emit_all(node.op, *(env[o] for o in node.operands), like=node)))
    builder.location = outer
    return tuple(env[r] for r in graph.results)
