"""Which rows must not lie a page apart?  Those that a product's tile reads side by side: they share a set of the cache.

A first-level cache of 64 sets keeps lines whose addresses differ by a multiple of 4,096 bytes in the same set, which
holds 8 or 12 of them. A tile of 14 rows of such a length then misses it at every step. A line of padding for each row
spreads them.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.dims import product
from ..graph.graph import Graph, Node, Value
from ..ops.contract import Contract
from ..ops.control import Fused
from ..ops.conv import Conv
from ..ops.rearrange import Pad
from .program import Place
from .views import view

SET_BYTES = 4096
LINE_BYTES = 64
FEW_ROWS = 8  # rows that fit into one set


def with_pitch(graph: Graph, value: Value, place: Place) -> Place:
    """`place`, dense and of its own storage, or the same with a line of padding behind each row of `value`.

    Padding needs a product that reads the rows, and that all views of the value, and of what a Pad lays inside it, can be
    had.
    """
    if value.type.rank < 2:
        return place
    *outer, last = value.shape
    line = LINE_BYTES // value.dtype.itemsize
    if not isinstance(last, int) or product(outer) in range(FEW_ROWS + 1) or last % line:
        return place
    if not any(_meet(user, value) for user in graph.users.get(value, ())):
        return place
    strides, step = [1], last + line
    for extent in reversed(outer):
        strides.insert(0, step)
        step = step * extent
    wide = replace(place, storage=replace(place.storage, size=step * value.dtype.itemsize), strides=tuple(strides))
    inner = value.node.operands if isinstance(value.op, Pad) else ()
    if not all(isinstance(o.op, Fused) and _is_visible(graph, o, replace(wide, shape=o.shape)) for o in inner):
        return place
    return wide if _is_visible(graph, value, wide) else place


def _meet(user: Node, value: Value) -> bool:
    """Whether the group `user` is a product that reads rows of `value` which lie multiples of SET_BYTES apart."""
    if not isinstance(user.op, Fused) or user.op.kind != "contraction":
        return False
    main = next(n for n in user.op.body.nodes if isinstance(n.op, (Contract, Conv)))
    if user.op.body.params[user.operands.index(value)] not in main.operands:
        return False
    step = main.op.strides[-1] if isinstance(main.op, Conv) else 1
    return step * value.shape[-1] * value.dtype.itemsize % SET_BYTES == 0


def _is_visible(graph: Graph, value: Value, place: Place) -> bool:
    """Whether every view of `value` can be had where it is to lie."""
    for user in graph.users.get(value, ()):
        if isinstance(user.op, (Fused, Pad)):
            continue
        seen = view(user.op, place, user.results[0].shape) if len(user.results) == 1 else None
        if seen is None or not _is_visible(graph, user.results[0], seen):
            return False
    return True
