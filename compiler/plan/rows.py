"""How far apart do a value's rows lie?  One behind the other; with a gap where they would meet in the same lines of the L1 cache.

A product reads a tile's rows side by side. Where they fall into one set of the cache, and a tile has more of them than a set has ways,
each line would be gone before its next element is read.
"""

from __future__ import annotations

from ..core.dims import Dim, nominal, product
from ..graph.graph import Graph, Value
from ..kernel.ir import row_major
from ..ops.control import Fused
from ..targets.target import LINE_BYTES, Target
from .program import Place, Storage
from .views import view

def row_strides(graph: Graph, value: Value, target: Target) -> tuple[Dim, ...]:
    """The strides of `value`'s memory, in elements."""
    shape, dense = value.shape, row_major(value.shape)
    if len(shape) < 2 or not isinstance(shape[-1], int):
        return dense
    if not target.share_sets(shape[-1] * value.dtype.itemsize, min(nominal(product(shape[:-1])), target.tile_rows)):
        return dense
    apart = shape[-1] + LINE_BYTES // value.dtype.itemsize
    padded = (*(s // shape[-1] * apart for s in dense[:-1]), 1)
    place = Place(Storage("arena"), 0, shape, padded, value.dtype)
    return padded if _is_multiplied(graph, value) and _is_expressible(graph, value, place) else dense


def _is_multiplied(graph: Graph, value: Value) -> bool:
    """Whether a product reads `value`, or a view of it."""
    return any(user.op.kind in ("contraction", "attention") if isinstance(user.op, Fused)
               else user.op.is_view and _is_multiplied(graph, user.results[0]) for user in graph.users.get(value, ()))


def _is_expressible(graph: Graph, value: Value, place: Place) -> bool:
    """Whether groups alone read `value`, through views that strides express where it lies at `place`."""
    if value in graph.results:
        return False
    for user in graph.users.get(value, ()):
        if isinstance(user.op, Fused):
            continue
        seen = view(user.op, place, user.results[0].shape) if user.op.is_view else None
        if seen is None or not _is_expressible(graph, user.results[0], seen):
            return False
    return True
