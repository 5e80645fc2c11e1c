"""In which layout does a kernel want its weights?  Constant operands of contractions, packed once while compiling."""

from __future__ import annotations

from ..graph.graph import Graph
from ..targets.target import Target


def pack_weights(graph: Graph, target: Target) -> Graph:
    """`graph` with the constant operands of its contraction groups in panels."""
    return graph
