"""How far apart do a value's rows lie?  One behind the other; with a gap where they would meet in the same lines of the L1 cache.

A product reads a tile's rows side by side. Where they fall into one set of the cache, and a tile has more of them than a set has ways,
each line would be gone before its next element is read.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.dims import Dim, nominal, product
from ..graph.graph import Graph, Node, Value
from ..kernel.ir import row_major
from ..ops.contract import Contract
from ..ops.control import Fused
from ..ops.conv import Conv
from ..ops.rearrange import Concat, Pad
from ..targets.target import LINE_BYTES, Target
from .program import Place, Storage
from .views import view


def row_strides(graph: Graph, value: Value, target: Target) -> tuple[Dim, ...]:
    """The strides of `value`'s memory, in elements; `value` is the result of a group, or of a join with what lies inside."""
    shape, dense = value.shape, row_major(value.shape)
    if len(shape) < 2 or not isinstance(shape[-1], int):
        return dense
    row, count = shape[-1] * value.dtype.itemsize, min(nominal(product(shape[:-1])), target.tile_rows)
    if not any(target.share_sets(step * row, count) for step in _steps(graph, value)):
        return dense
    apart = shape[-1] + LINE_BYTES // value.dtype.itemsize
    padded = (*(s // shape[-1] * apart for s in dense[:-1]), 1)
    place = Place(Storage("arena"), 0, shape, padded, value.dtype)
    for part in value.node.operands if isinstance(value.op, (Concat, Pad)) else ():
        if not isinstance(part.op, Fused) or not _is_expressible(graph, part, replace(place, shape=part.shape), value.node):
            return dense
    return padded if _is_expressible(graph, value, place) else dense


def _steps(graph: Graph, value: Value) -> set[int]:
    """How many rows further products read `value`, or a view of it, for each row of theirs."""
    steps: set[int] = set()
    for user in graph.users.get(value, ()):
        if isinstance(user.op, Fused):
            inner = [p for o, p in zip(user.operands, user.op.body.params) if o is value]
            for node in user.op.body.nodes:
                if isinstance(node.op, (Contract, Conv)) and any(p in node.operands for p in inner):
                    steps.add(node.op.strides[-1] if isinstance(node.op, Conv) else 1)
        elif user.op.is_view:
            steps |= _steps(graph, user.results[0])
    return steps


def _is_expressible(graph: Graph, value: Value, place: Place, join: Node | None = None) -> bool:
    """Whether groups alone (and `join`) read `value`, through views that strides express where it lies at `place`."""
    if value in graph.results:
        return False
    for user in graph.users.get(value, ()):
        if isinstance(user.op, Fused) or user is join:
            continue
        seen = view(user.op, place, user.results[0].shape) if user.op.is_view else None
        if seen is None or not _is_expressible(graph, user.results[0], seen):
            return False
    return True
