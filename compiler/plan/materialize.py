"""What must stand in memory of its own?  Results, operands of joins, and views that strides can't express get a kernel that makes them.

After this pass every graph result, and every operand of a Concat or Pad, is made by a group, a join or control flow that can write it
straight to its place; every view is one that `plan.views` can express there.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.dims import nominal, product
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value
from ..kernel.ir import row_major
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.rearrange import Concat, Pad, Reshape, Transpose
from .groups import copy_group, view_group
from .program import Place, Storage
from .views import unview, view

FEW_LANES = 8  # elements of the last axis that may as well be stored one by one
_CONTROL = (Cond, While, Scan)
_OWN = (Fused, Concat, Pad, *_CONTROL)
Use = tuple[Node | None, int]  # (consumer, operand position); None stands for the graph's results


def materialize(graph: Graph, carries: int = 0) -> Graph:
    """`graph` with copies where a value has to lie in two places, or where a view has to be computed.

    The first `carries` results may be the parameters of the same number as they are: a loop's carries that do not change.
    """
    graph = _explicit_views(graph)
    copies = _find_copies(graph, carries)
    builder = Builder(graph.name, fold=False)
    env: dict[Value, Value] = {p: builder.parameter(p.type, p.name) for p in graph.params}

    again: dict[Use, Value] = {}  # copies that a group stores itself

    def own(value: Value, use: Use) -> Value:
        # not through emit: two copies of one value are two values
        if use not in copies:
            return value
        return again.get(use) or builder._append(copy_group(value.type), (value,))[0]
    uses_of: dict[Node | None, list[Use]] = {}
    for use in copies:
        uses_of.setdefault(_source(graph, use).node, []).append(use)
    for node in graph.nodes:
        builder.location = node.location
        operands = tuple(own(env[o], (node, i)) for i, o in enumerate(node.operands))
        op = _inside(node.op) if isinstance(node.op, _CONTROL) else node.op
        uses = uses_of.get(node, ()) if _may_store_twice(op) else ()
        if uses:
            extra = tuple(op.body.results[_source(graph, use).index] for use in uses)
            op = replace(op, body=replace(op.body, results=op.body.results + extra, result_names=()))
        results = (builder.constant(op.array, op.label),) if isinstance(op, Constant) else builder._append(op, operands, node)
        env.update(zip(node.results, results))
        again.update(zip(uses, results[len(node.results):]))
    return builder.finish([own(env[r], (None, i)) for i, r in enumerate(graph.results)], graph.output_names)


def _source(graph: Graph, use: Use) -> Value:
    """The value at a use: an operand of a node, or (None) a result of the graph."""
    node, i = use
    return graph.results[i] if node is None else node.operands[i]


def _may_store_twice(op) -> bool:
    """Whether an op's kernel stores element by element, so that a result may go to a second place as well."""
    return isinstance(op, Fused) and op.kind in ("loops", "contraction", "gated")


def _is_view(node: Node) -> bool:
    return not isinstance(node.op, (Constant, *_OWN))


def _scatters(value: Value, place: Place) -> bool:
    """Whether a product would store the lanes of each vector far apart at `place`. A copy that crosses them over in registers costs
    a quarter of that (measured on a depthwise convolution, Zen 4)."""
    if not isinstance(value.op, Fused) or value.op.kind != "contraction" or not value.shape or place.strides[-1] == 1:
        return False
    return nominal(value.shape[-1]) > FEW_LANES and nominal(product(value.shape[:-1])) > FEW_LANES


def _explicit_views(graph: Graph) -> Graph:
    """`graph` with a group for each view that strides over its dense operand can't express."""
    places: dict[Value, Place] = {}

    def transform(builder: Builder, node: Node, operands):
        if not _is_view(node):
            return None
        place = view(node.op, places.get(operands[0]) or _dense(operands[0]), node.results[0].shape)
        if place is None:
            return builder.emit_all(view_group(node.op, operands[0].type), *operands)
        results = builder.emit_all(node.op, *operands, like=node)
        places[results[0]] = place
        return results
    return rebuild(graph, transform=transform, fold=False)


def _find_copies(graph: Graph, carries: int) -> dict[Use, None]:
    """The uses that need a copy of their own, in order."""
    assigned: dict[Value, Place] = {}
    copies: dict[Use, None] = {}

    def expressible(value: Value, place: Place) -> bool:
        """Whether every view of `value` can be had where it is to lie."""
        for user in graph.users.get(value, ()):
            if _is_view(user) and user.operands[0] is value:  # a barrier's other operands are no views of it
                seen = view(user.op, place, user.results[0].shape)
                if seen is None or not expressible(user.results[0], seen):
                    return False
        return True

    def claim(value: Value, place: Place) -> bool:
        while isinstance(value.op, (Reshape, Transpose)):
            operand = value.node.operands[0]
            behind = unview(value.op, place, operand.shape)
            if behind is None:
                return False
            value, place = operand, behind
        if _scatters(value, place):
            return False
        if value.node is None or not isinstance(value.op, _OWN) or value in assigned or not expressible(value, place):
            return False
        assigned[value] = place
        return True

    for i, result in enumerate(graph.results):
        unchanged = i < carries and result is graph.params[i]
        if not unchanged and not claim(result, _dense(result)):
            copies[None, i] = None
    for node in reversed(graph.nodes):
        if not isinstance(node.op, (Concat, Pad)):
            continue
        place = assigned.setdefault(node.results[0], _dense(node.results[0]))
        for i, operand in enumerate(node.operands):
            if not claim(operand, replace(place, shape=operand.shape)):
                copies[node, i] = None
    return copies


def _dense(value: Value) -> Place:
    return Place(Storage("arena"), 0, value.shape, row_major(value.shape), value.dtype)


def _inside(op):
    if isinstance(op, Scan):
        return replace(op, body=materialize(op.body, op.carries))
    if isinstance(op, While):
        return While(materialize(op.condition), materialize(op.body, len(op.body.results)))
    return replace(op, branches=tuple(map(materialize, op.branches)))
