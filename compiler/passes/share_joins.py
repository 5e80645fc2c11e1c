"""Which concatenations begin with another one?  They are made of it, so that its parts lie in one place for both.

Dense blocks concatenate all features so far before every layer. As they are written each of those joins wants every part inside itself,
which takes copies; chained, each is the beginning of the next and nothing is copied.
"""

from __future__ import annotations

from ..graph.builder import rebuild
from ..graph.graph import Graph, Value
from ..ops.rearrange import Concat


def share_joins(graph: Graph) -> Graph:
    """`graph` with each Concat whose first operands are those of an earlier one made of that one."""
    if sum(isinstance(n.op, Concat) for n in graph.nodes) < 2:
        return graph
    made: dict[tuple, Value] = {}  # (axis, operands) -> their concatenation

    def transform(builder, node, operands):
        if not isinstance(node.op, Concat):
            return None
        axis = node.op.axis
        longest = next((k for k in range(len(operands) - 1, 1, -1) if (axis, operands[:k]) in made), 0)
        parts = (made[axis, operands[:longest]], *operands[longest:]) if longest else operands
        result = builder.emit(node.op, *parts)
        made[axis, operands] = result
        return result
    return rebuild(graph, transform=transform, fold=False)
