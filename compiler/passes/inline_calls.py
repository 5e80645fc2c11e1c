"""Where do calls go?  Into the graph that makes them; kernels of equal bodies are deduplicated later, by their text."""

from __future__ import annotations

from ..graph.builder import inline, rebuild
from ..graph.graph import Graph, map_subgraphs, walk
from ..ops.control import Closed


def inline_calls(graph: Graph) -> Graph:
    """`graph` without Call and Fused ops, in sub-graphs too: groups that came with the graph are formed anew."""
    if not any(isinstance(n.op, Closed) for n in walk(graph)):
        return graph

    def transform(builder, node, operands):
        if isinstance(node.op, Closed):
            return inline(builder, inline_calls(node.op.body), operands)
        return builder.emit_all(map_subgraphs(node.op, inline_calls), *operands)
    return rebuild(graph, transform=transform, fold=False)
