"""Which part of a failing graph fails?  Nodes are cut away for as long as the failure stays."""

from __future__ import annotations

from typing import Callable

import numpy as np

from lamina.compiler.graph.builder import Builder
from lamina.compiler.graph.graph import Graph, Value
from lamina.compiler.graph.interpret import interpret
from lamina.compiler.ops import Constant


def shrink(graph: Graph, arrays: list[np.ndarray],
           fails: Callable[[Graph, list[np.ndarray]], bool]) -> tuple[Graph, list[np.ndarray]]:
    """The smallest graph found that still `fails`, and its arrays: one result, early values as parameters, operands
    skipped."""
    changed = True
    while changed:
        changed = False
        for candidate in _candidates(graph, arrays):
            if _size(candidate[0]) < _size(graph) and fails(*candidate):
                graph, arrays = candidate
                changed = True
                break
    return graph, arrays


def _size(graph: Graph) -> int:
    return len(graph.nodes) + len(graph.results)


def _candidates(graph: Graph, arrays):
    values: dict[Value, np.ndarray] = dict(zip(graph.params, arrays))
    interpret(graph, arrays, watch=values.__setitem__)
    if len(graph.results) > 1:
        for result in graph.results:
            yield _rebuilt(graph, values, {}, [result])
    for node in reversed(graph.nodes):  # an inner value as the only result
        for result in node.results:
            yield _rebuilt(graph, values, {}, [result])
    for node in reversed(graph.nodes):  # a node becomes a parameter
        if not isinstance(node.op, Constant):
            yield _rebuilt(graph, values, {r: None for r in node.results}, graph.results)
    for node in graph.nodes:  # a node becomes its operand
        for operand in node.operands:
            if len(node.results) == 1 and operand.type == node.results[0].type:
                yield _rebuilt(graph, values, {node.results[0]: operand}, graph.results)


def _rebuilt(graph: Graph, values, replaced: dict[Value, Value | None], results) -> tuple[Graph, list[np.ndarray]]:
    """`graph` with `results` alone; each value in `replaced` is another value, or where that is None a parameter."""
    builder = Builder(graph.name, fold=False)
    needed = set(results)
    for node in reversed(graph.nodes):
        for r in node.results:
            if r in needed:
                needed.update([replaced[r]] if replaced.get(r) is not None else [] if r in replaced else node.operands)
    env, arrays = {}, []
    for param in graph.params:  # those whose extents name the symbols must stay
        if param in needed or not param.type.is_static:
            env[param] = builder.parameter(param.type, param.name)
            arrays.append(values[param])
    for value, other in replaced.items():
        if other is None and value in needed:
            env[value] = builder.parameter(value.type, f"v{len(arrays)}")
            arrays.append(values[value])
    for node in graph.nodes:
        if not any(r in needed for r in node.results):
            continue
        if node.results[0] in replaced:
            if replaced[node.results[0]] is not None:
                env[node.results[0]] = env[replaced[node.results[0]]]
            continue
        env.update(zip(node.results, builder.emit_all(node.op, *(env[o] for o in node.operands))))
    return builder.finish([env[r] for r in results]), arrays
