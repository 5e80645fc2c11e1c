"""How is an operand packed into panels whose sums lie side by side, not its columns?  In square tiles that are turned in
registers, so that both sides move whole vectors."""

from __future__ import annotations

from typing import Callable

from ..core.dims import Dim
from ..core.dtypes import DType
from ..kernel.builder import BlockBuilder, add, as_expr, cast, load, minimum, mul, sub
from ..kernel.ir import Expr
from ..lower.crossing import SMALLEST


def turned_tile(depth: Dim, lanes: int, dtype: DType) -> int | None:
    """Lanes of tiles, `lanes` or a part of them, that cover `depth` sums without a rest; None where there are none."""
    if not isinstance(depth, int) or dtype.itemsize < 4:
        return None
    return next((n for n in (lanes, lanes // 2, lanes // 4) if n >= SMALLEST and depth % n == 0), None)


def clipped(column: Expr, columns: Dim, width: int) -> Expr:
    """`column`, or the last one for those that fill up the last panel: what they hold is never stored."""
    exact = isinstance(columns, int) and columns % width == 0
    return column if exact else minimum(column, sub(as_expr(columns), 1))


def turn_panel(block: BlockBuilder, dtype: DType, size: int, columns: int, depth: int,
               start: Callable[[Expr], Expr], read: Callable[[Expr], Expr],
               write: Callable[[Expr, Expr, Expr], None]) -> None:
    """For `columns` columns and `depth` sums, both multiples of `size`: `write(sum, column, element)` of what `read` gives at
    `start(column)` + sum. `write` is asked for neighbouring columns."""
    with block.loop("columns", columns // size) as group, block.loop("sums", depth // size) as part:
        column, first = block.let("column", mul(group, size)), block.let("sum", mul(part, size))
        tile = block.alloc("tile", dtype, (size, size), "register")
        with block.loop("i", size, "unroll") as i:
            at = block.let("at", add(start(add(column, i)), first))
            with block.loop("l", size, "vector", size) as lane:
                block.store(tile, (i, lane), cast(dtype, read(add(at, lane))))
        with block.loop("j", size, "unroll") as j, block.loop("l", size, "vector", size) as lane:
            write(add(first, j), add(column, lane), load(tile, (lane, j)))
