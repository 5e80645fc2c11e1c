"""What if the rows of a product's left operand fall into the same lines of the L1 cache?  They are copied first, with a gap.

`plan.rows` gives values of the program such gaps from the beginning; this is for arrays that come from outside.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.dims import nominal, product
from ..core.dtypes import DType
from ..kernel.builder import BlockBuilder, add, as_expr, cast, floordiv, load, mod, mul
from ..kernel.ir import Buffer
from ..targets.target import LINE_BYTES, Target
from .problem import Problem, decode
from .tile import Tile

LEAST_USES = 8  # panels that read each row: fewer do not pay for the copy
COPY_ELEMENTS = 1 << 14  # that one chunk of the copying loop moves


def rows_apart(problem: Problem, source: Buffer, dtype: DType, tile: Tile, target: Target,
               block: BlockBuilder) -> tuple[Problem, Buffer] | None:
    """The problem reading a copy of `source`, and the workspace of the copy, which `block` gets the loops for; None where the
    rows may stay where they are."""
    if len(problem.rows) != 1 or len(problem.sums) != 1 or problem.sums[0].a != 1:
        return None
    (row,), (along,) = problem.rows, problem.sums
    if not (isinstance(row.a, int) and isinstance(along.extent, int)) or nominal(problem.columns.extent) < LEAST_USES * tile.width:
        return None
    if not target.share_sets(row.a * source.dtype.itemsize, min(nominal(row.extent), tile.rows)):
        return None
    apart = along.extent + LINE_BYTES // dtype.itemsize
    outer = tuple(axis for axis in problem.batch if axis.a != 0)
    workspace = Buffer("rows", dtype, (product(a.extent for a in outer) * row.extent * apart,), (1,), "workspace")
    with block.loop("copy", product(a.extent for a in outer) * row.extent, "parallel", max(1, COPY_ELEMENTS // along.extent)) as number:
        read = mul(mod(number, as_expr(row.extent)), as_expr(row.a))
        position = decode(block, outer, block.let("matrix", floordiv(number, as_expr(row.extent))))
        for axis, at in zip(outer, position):
            read = add(read, mul(at, as_expr(axis.a)))
        read, write = block.let("read", read), block.let("write", mul(number, apart))
        with block.loop("k", along.extent, "vector", tile.lanes) as k:
            block.store(workspace, (add(write, k),), cast(dtype, load(source, (add(read, k),))))
    steps = {}
    step = row.extent * apart
    for axis in reversed(outer):
        steps[axis], step = step, step * axis.extent
    batch = tuple(replace(axis, a=steps.get(axis, 0)) for axis in problem.batch)
    return replace(problem, batch=batch, rows=(replace(row, a=apart),)), workspace
