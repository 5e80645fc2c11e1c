"""How do the graphs inside a node become control flow?  Each is traced on its own; what it captures becomes operands."""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from ...compiler.core.dims import Dim
from ...compiler.core.dtypes import bool_
from ...compiler.core.types import TensorType
from ...compiler.graph.builder import Builder, inline
from ...compiler.graph.graph import Graph
from ...compiler.ops import Cond, Scan, While
from ..array.operands import as_array, type_of
from ..array.tracer import Tracer, emit, tracing
from .table import Refusal


def scan(body: Callable, init: Sequence, xs: Sequence, reverse: bool = False, length: Dim | None = None) -> tuple[list, list]:
    """The last carry and the stacked ys of `body(carry, x) -> (carry, ys)` over the leading axes of `xs`."""
    init, xs = [as_array(v) for v in init], [as_array(v) for v in xs]
    with tracing("body", "the body of a loop") as trace:
        carry = [trace.parameter(type_of(v)) for v in init]
        scanned = [trace.parameter(TensorType(tuple(x.shape[1:]), type_of(x).dtype)) for x in xs]
        state, ys = body(carry, scanned)
        graph = trace.finish([*state, *ys])
        captured = [outer for outer, _ in trace.captured.values()]
    _require_same([type_of(v) for v in init], [r.type for r in graph.results[:len(init)]], "a value that the loop carries")
    results = _tuple(emit(Scan(graph, len(init), len(xs), reverse, None if xs else length), *init, *xs, *captured))
    return list(results[:len(init)]), list(results[len(init):])


def cond(predicate, on_true: Callable, on_false: Callable) -> list:
    """The results of the branch that `predicate`, one bool, chooses."""
    branches, refusals = [], []
    for branch in (on_true, on_false):
        try:
            branches.insert(0, _traced(branch, [], "a branch"))
        except Refusal as refusal:  # the other branch is traced all the same, so that its problems are found
            refusals.append(refusal)
    if refusals:
        raise refusals[0]
    _require_same(*([r.type for r in graph.results] for graph, _ in branches), "a result of the branches")
    captured = _union(branches)
    graphs = tuple(_over(graph, [], own, captured)[0] for graph, own in branches)
    return list(_tuple(emit(Cond(graphs), predicate, *captured)))


def while_loop(condition: Callable, body: Callable, init: Sequence) -> list:
    """`body` applied to the carry for as long as `condition` of it, one bool, holds."""
    init = [as_array(v) for v in init]
    types = [type_of(v) for v in init]
    parts = [_traced(condition, types, "the condition of a loop"), _traced(body, types, "the body of a loop")]
    _require_same([TensorType((), bool_)], [r.type for r in parts[0][0].results], "the condition of a loop")
    _require_same(types, [r.type for r in parts[1][0].results], "a value that the loop carries")
    captured = _union(parts)
    (test, _), (step, kept) = (_over(graph, types, own, captured) for graph, own in parts)
    step = Graph(step.params, step.nodes, (*step.results, *kept), step.name)
    return list(_tuple(emit(While(test, step), *init, *captured)))[:len(init)]


def _tuple(results) -> tuple:
    return results if isinstance(results, tuple) else (results,)


def _traced(function: Callable, types: Sequence[TensorType], purpose: str) -> tuple[Graph, list[Tracer]]:
    """`function` of parameters of these types as a graph, and the outer values that follow them as parameters."""
    with tracing("body", purpose) as trace:
        parameters = [trace.parameter(t) for t in types]
        graph = trace.finish([as_array(r) for r in function(*parameters)])
        return graph, [outer for outer, _ in trace.captured.values()]


def _union(parts) -> list[Tracer]:
    found = {id(tracer.value): tracer for _, captured in parts for tracer in captured}
    return list(found.values())


def _over(graph: Graph, types: Sequence[TensorType], own: Sequence[Tracer], captured: Sequence[Tracer]):
    """`graph` with the parameters of all `captured` values in place of its own ones, and those parameters."""
    builder = Builder(graph.name)
    first = [builder.parameter(t) for t in types]
    more = {id(tracer.value): builder.parameter(tracer.value.type, tracer.value.name) for tracer in captured}
    results = inline(builder, graph, [*first, *(more[id(tracer.value)] for tracer in own)])
    return builder.finish(results), tuple(more.values())


def _require_same(expected: Sequence[TensorType], types: Sequence[TensorType], what: str) -> None:
    if len(expected) != len(types):
        raise Refusal(f"{what}: {len(types)} of {len(expected)}")
    for want, got in zip(expected, types):
        if want != got:
            raise Refusal(f"{what} is {want} at first and {got} then: lamina's loops and branches keep types")


def is_true(value) -> bool:
    """Whether a condition is known to hold."""
    return isinstance(value, np.ndarray) and bool(value.all())
