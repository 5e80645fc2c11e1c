"""What is the innermost loop of a product?  A tile of accumulators in registers; each step adds an outer product to it.

The vectors of the right operand are held for a step while the rows' elements stream past as broadcasts: that order decides whether the
tile stays in registers.
"""

from __future__ import annotations

from typing import Callable

from ..core.dims import Dim
from ..core.dtypes import DType
from ..kernel.builder import BlockBuilder, Expr, add, as_expr, binary, cast, constant, mul
from ..kernel.ir import Buffer


def accumulate_tile(block: BlockBuilder, dtype: DType, lanes: int, rows: int, padded: int, reach: int,
                    sums: list[tuple[Dim, Dim, Dim | None]], left: Callable[[int, Expr], Expr],
                    right: Callable[[Expr, Expr], Expr], ahead: Callable[[Expr], None] | None = None) -> Buffer:
    """A register buffer [rows, padded] that holds the sum over `sums` of left(row, k) * right(k, lane), lanes below `reach`.

    `sums` are loops, outermost first: (extent, stride on the left, stride on the right; None counts positions, for a packed operand).
    `left` and `right` get the offsets that these make. `padded` is a multiple of `lanes`.
    `ahead` gets the position in the sums and may ask for what the next tile reads on the left.
    Panels are not asked for: they are one long run, which the machine asks for ahead by itself; hints cost a fifth where the
    panels lie in the last-level cache, and gain nothing where they lie in memory (measured, Zen 4).
    """
    acc = block.alloc("acc", dtype, (rows, padded), "register")
    with block.loop("i", rows, "unroll") as i:
        with block.loop("l", padded, "vector", lanes) as lane:
            block.store(acc, (i, lane), constant(0, dtype))

    def nest(depth: int, a: Expr, b: Expr) -> None:
        if depth < len(sums):
            extent, a_stride, b_stride = sums[depth]
            with block.loop("k", extent) as k:
                further = add(mul(b, as_expr(extent)), k) if b_stride is None else add(b, mul(k, as_expr(b_stride)))
                nest(depth + 1, add(a, mul(k, as_expr(a_stride))), further)
            return
        ka, kb = block.let("ka", a), block.let("kb", b)
        if ahead is not None:
            ahead(kb)
        for r in range(rows):
            factor = cast(dtype, left(r, ka))
            with block.loop("l", reach, "vector", lanes) as lane:
                block.accumulate(acc, (r, lane), "add", binary("mul", factor, cast(dtype, right(kb, lane))))
    nest(0, as_expr(0), as_expr(0))
    return acc
