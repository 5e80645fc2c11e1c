"""Where does a graph compute attention?  softmax(Q K^T * scale + mask) V, matched from plain matmul and softmax."""

from __future__ import annotations

from ..graph.graph import Graph, Node


def match_attention(graph: Graph) -> list[list[Node]]:
    """The nodes of each attention in `graph`, in order."""
    return []
