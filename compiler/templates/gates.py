"""Which parts of a product are gates?  Slices that cut its last axis, of whole units; a cell combines them.

The weights of all gates of a cell lie below each other, so one product makes their arguments side by side (LSTM:
Hochreiter and Schmidhuber 1997; GRU: Cho and others 2014). A kernel that holds the same units of each gate can finish
the cell where they are.
"""

from __future__ import annotations

from ..graph.graph import Graph, Node, Value
from ..ops.rearrange import Slice


def find_gates(graph: Graph, product: Node) -> list[Node]:
    """The slices that cut the result of `product` into equal parts, in order; none where something else reads it."""
    value = product.results[0]
    users = list(dict.fromkeys(graph.users.get(value, ())))
    if len(users) < 2 or value in graph.results or not all(is_part(u, value) for u in users):
        return []
    (size, *others) = {u.results[0].shape[-1] for u in users}
    total = value.shape[-1]
    if others or any(u.op.starts[-1] % size for u in users) or len(users) * size != total:
        return []
    return sorted(users, key=lambda u: u.op.starts[-1])


def is_part(node: Node, value: Value) -> bool:
    """Whether `node` cuts a run of elements out of the last axis of `value`, and all of the others."""
    op = node.op
    if not isinstance(op, Slice) or value.type.rank == 0:
        return False
    (*starts, start), (*sizes, size) = op.starts, op.sizes
    whole = tuple(sizes) == value.shape[:-1] and all(s == 0 for s in starts)
    return (whole and all(s == 1 for s in op.steps) and isinstance(start, int) and isinstance(size, int) and size > 0)
