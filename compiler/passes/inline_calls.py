"""Where do calls go?  Into the graph that makes them; kernels of equal bodies are deduplicated later, by their text."""

from __future__ import annotations

from dataclasses import replace

from ..graph.builder import inline, rebuild
from ..graph.graph import Graph, walk
from ..ops.control import Closed


def inline_calls(graph: Graph) -> Graph:
    """`graph` without Call and Fused ops, in sub-graphs too: groups that came with the graph are formed anew."""
    if not any(isinstance(n.op, Closed) for n in walk(graph)):
        return graph

    def transform(builder, node, operands):
        if isinstance(node.op, Closed):
            return inline(builder, inline_calls(node.op.body), operands)
        changed = {}
        for name, value in vars(node.op).items():
            if isinstance(value, Graph):
                changed[name] = inline_calls(value)
            elif isinstance(value, tuple) and any(isinstance(g, Graph) for g in value):
                changed[name] = tuple(map(inline_calls, value))
        return builder.emit_all(replace(node.op, **changed), *operands) if changed else None
    return rebuild(graph, transform=transform, fold=False)
