"""What must stand in memory of its own?  Results, operands of joins, and views that strides can't express get a kernel that makes them.

After this pass every graph result, and every operand of a Concat or Pad that is left, is made by a group (or a join), for that place
alone; every view is one that `plan.views` can express.
"""

from __future__ import annotations

from ..graph.builder import Builder
from ..graph.graph import Graph, Value
from ..kernel.ir import row_major
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.rearrange import Concat, Pad
from .program import Place, Storage
from .views import view
from ..passes.fuse import is_outside
from .groups import copy_group, view_group

_CONTROL = (Cond, While, Scan)
_OWN = (Fused, Concat, Pad, *_CONTROL)


def materialize(graph: Graph) -> Graph:
    """`graph` with copies where a value has to lie in two places, or where a view has to be computed."""
    builder = Builder(graph.name, fold=False)
    env: dict[Value, Value] = {p: builder.parameter(p.type, p.name) for p in graph.params}
    places: dict[Value, Place] = {v: _dense(v) for v in env.values()}
    taken: set[Value] = set()  # values whose place is decided by a join or a result

    def copy(value: Value) -> Value:
        # not through emit: two copies of one value are two values
        result = builder._append(copy_group(value.type), (value,))[0]
        places[result] = _dense(result)
        return result

    def own(value: Value, into_join: bool) -> Value:
        """`value`, or a copy of it, such that it may be placed where it is wanted."""
        node = value.node
        if node is None or not isinstance(node.op, _OWN) or value in taken:
            value = copy(value)
        elif into_join and isinstance(node.op, _CONTROL):
            value = copy(value)
        elif into_join and _reshaped(value):
            value = copy(value)
        taken.add(value)
        return value

    # Values that a view reads as dense can't be placed with strides.
    reshaped: set[Value] = set()
    for node in graph.nodes:
        if is_outside(node) and not isinstance(node.op, (Constant, *_OWN)):
            reshaped.update(node.operands)
    result_set = set(graph.results)

    def _reshaped(value: Value) -> bool:
        return origin.get(value) in reshaped or origin.get(value) in result_set

    origin: dict[Value, Value] = {}
    for node in graph.nodes:
        builder.location = node.location
        operands = tuple(env[o] for o in node.operands)
        op = node.op
        if isinstance(op, (Concat, Pad)):
            operands = tuple(own(o, True) for o in operands)
        elif isinstance(op, _CONTROL):
            op = _inside(op)
        if isinstance(op, (Constant, *_OWN)):
            results = builder.constant(op.array, op.label) if isinstance(op, Constant) else builder._append(op, operands)
            results = (results,) if isinstance(results, Value) else results
            for r in results:
                places[r] = _dense(r)
        else:
            place = view(op, places[operands[0]], node.results[0].shape)
            if place is None or op.expands and not node.operands:
                results = builder._append(view_group(op, operands[0].type), operands)
                places[results[0]] = _dense(results[0])
            else:
                results = builder._append(op, operands)
                places[results[0]] = place
        env.update(zip(node.results, results))
        for old, new in zip(node.results, results):
            origin[new] = old
    results = []
    for value in graph.results:
        results.append(own(env[value], False))
    return builder.finish(results, graph.output_names)


def _dense(value: Value) -> Place:
    return Place(Storage("arena"), 0, value.shape, row_major(value.shape), value.dtype)


def _inside(op):
    from dataclasses import replace
    changes = {}
    for name, value in vars(op).items():
        if isinstance(value, Graph):
            changes[name] = materialize(value)
        elif isinstance(value, tuple) and any(isinstance(g, Graph) for g in value):
            changes[name] = tuple(materialize(g) for g in value)
    return replace(op, **changes)
