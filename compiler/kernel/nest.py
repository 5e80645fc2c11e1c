"""How are loops over an index space written?  Spread over threads where the work pays for it, flattened, in blocks of
lanes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Sequence

from ..core.dims import Dim, ceil_div, nominal, product
from .builder import BlockBuilder, add, as_expr, floordiv, maximum, minimum, mod, mul, sub
from .ir import Expr

CHUNK_WORK = 1 << 14  # element operations that make a chunk worth handing to another thread
BLOCK_VECTORS = 16  # vectors of the last axis that one chunk takes where the axes before it are too few for all threads
FEW = 16  # iterations of an outermost loop that are too few to spread evenly


def unflatten(block: BlockBuilder, flat: Expr, extents: Sequence[Dim]) -> tuple[Expr, ...]:
    """The index in a space of `extents` whose row-major number is `flat`."""
    index: list[Expr] = [as_expr(0)] * len(extents)
    axes = [i for i, extent in enumerate(extents) if extent != 1]
    for axis in reversed(axes[1:]):
        index[axis] = block.let("d", mod(flat, extents[axis]))
        flat = floordiv(flat, extents[axis])
    if axes:
        index[axes[0]] = block.let("d", flat)
    return tuple(index)


@contextmanager
def spread(block: BlockBuilder, extents: Sequence[Dim], work: int) -> Iterator[tuple[Expr, ...]]:
    """One outermost loop over the space of `extents`, whose iterations are independent and take `work` element
    operations each; yields the index. It is spread over threads where that pays."""
    count = product(extents)
    if count == 1:
        yield tuple(as_expr(0) for _ in extents)
        return
    parallel = nominal(count) * work >= 2 * CHUNK_WORK
    kind, grain = ("parallel", max(1, CHUNK_WORK // max(1, work))) if parallel else ("serial", 1)
    with block.loop("row", count, kind, grain) as row:
        yield unflatten(block, row, extents)


@contextmanager
def column_blocks(block: BlockBuilder, outer: Sequence[Dim], extent: Dim, size: int,
                  work: int) -> Iterator[tuple[tuple[Expr, ...], Expr, Expr]]:
    """`spread` over the space of `outer` and blocks of `size` columns of a last axis of `extent`; `work` is that of one
    column. Yields (index, first column, columns)."""
    with spread(block, (*outer, ceil_div(extent, size)), min(size, nominal(extent)) * work) as (*index, number):
        yield tuple(index), *column_block(block, number, extent, size)


def column_block(block: BlockBuilder, number: Expr, extent: Dim, size: int) -> tuple[Expr, Expr]:
    """Where block `number` of `size` columns of `extent` begins, and how many columns it has."""
    start = block.let("start", mul(number, size))
    exact = isinstance(extent, int) and extent % size == 0
    left = minimum(sub(as_expr(extent), start), size)
    return start, as_expr(size) if exact else block.let("columns", left)


@contextmanager
def spread_columns(block: BlockBuilder, outer: Sequence[Dim], extent: Dim, width: int,
                   work: int) -> Iterator[tuple[tuple[Expr, ...], Expr, Expr]]:
    """As `column_blocks`, in blocks of BLOCK_VECTORS vectors of `width` lanes where the space of `outer` is too small
    to keep all threads busy, else with all columns at once."""
    size = width * BLOCK_VECTORS
    total = nominal(product(outer) * extent) * work
    if nominal(extent) > size and nominal(product(outer)) < FEW and total >= 2 * CHUNK_WORK:
        with column_blocks(block, outer, extent, size, work) as found:
            yield found
        return
    with spread(block, outer, nominal(extent) * work) as index:
        yield index, as_expr(0), as_expr(extent)


def lanes_for(extent: Dim, lanes: int) -> int:
    """Lanes for a loop of `extent`: `lanes`, or for a short one the smallest power of two that holds it."""
    if isinstance(extent, int):
        while lanes // 2 >= max(1, extent):
            lanes //= 2
    return lanes


def clipped_taps(position: Expr, size: Dim, stride: int, low: Dim, dilation: int,
                 extent: Dim) -> tuple[Expr, Expr, Expr]:
    """Which taps of a window lie inside of an axis: (where tap 0 lies, the first tap inside, how many are inside).

    Tap t of the window at `position` lies at position * stride - low + t * dilation."""
    origin = sub(mul(position, stride), as_expr(low))
    first = maximum(floordiv(sub(dilation - 1, origin), dilation), 0)
    last = minimum(floordiv(add(sub(as_expr(extent - 1), origin), dilation), dilation), as_expr(size))
    return origin, first, maximum(sub(last, first), 0)
