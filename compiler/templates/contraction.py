"""How does a matrix product or convolution become a kernel?  Register tiles over packed panels, accumulated over the whole sum.

The scheme of Goto and van de Geijn (2008) as BLIS arranges it, with the sum kept in registers from beginning to end, so that the group's
epilogue is applied to each tile once and the result is written once. A convolution is the same product: its rows are output
pixels, its sums the window's positions and channels, and A is read where the input lies (no im2col).
"""

from __future__ import annotations

from typing import Iterator

from ..core.dims import Dim, nominal, product
from ..core.errors import CompilerError
from ..core.schedule import Schedule
from ..graph.graph import Graph
from ..kernel.builder import (BlockBuilder, Expr, add, as_expr, binary, cast, compare, constant, floordiv, load, minimum, mod, mul, sub)
from ..kernel.ir import Buffer, Kernel, Load
from ..lower.elements import Elements
from ..lower.loops import flat_index, flatten, group_symbols, reader
from ..ops.conv import Conv
from ..targets.target import LINE_BYTES, Target
from .apart import rows_apart
from .depthwise import is_depthwise, lower_depthwise
from .gates import find_gates
from .epilogue import store_results
from .codes import accumulate_codes
from .microkernel import accumulate_tile
from .narrow import is_narrow, lower_narrow
from .problem import Axis, decode, find_main, make_problem, spread
from .tile import (REGISTER_EPILOGUE, UNIT_FLOPS, UNITS, choose_gate_tile, choose_tile, epilogue_cost, packed_tile,
                   tile_rows)
from .turned import clipped, turn_panel, turned_tile
from .winograd import is_winograd, lower_winograd

FEW_ROWS = 2  # rows up to which a right operand whose columns lie apart is read along its rows instead of packed
LEAST_AHEAD = 64  # steps of a sum that hide asking for the next tile's rows
LONG_ROW = 1 << 10  # bytes: of shorter rows of a result, several lie in a page of memory
PACK_BYTES = 1 << 18  # a row-major operand larger than this is packed first, where enough rows use it


def lower_contraction(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str,
                      schedule: Schedule = Schedule()) -> Kernel:
    """The kernel of a contraction group."""
    main = find_main(body)
    if isinstance(main.op, Conv) and any(d != 0 for sides in main.op.padding for d in sides):
        raise CompilerError("a convolution comes to its template with padding of its own: no pass has separated it", location=main.location)
    if is_depthwise(main):
        return lower_depthwise(body, params, results, target, name, schedule)
    if is_winograd(main):
        return lower_winograd(body, params, results, target, name, schedule)
    if is_narrow(main):
        return lower_narrow(body, params, results, target, name, schedule)
    return _Contraction(body, params, results, target, schedule).kernel(name)


class _Contraction:
    """One product while its kernel is being written."""

    def __init__(self, body: Graph, params: list[Buffer], results: list[Buffer], target: Target, schedule: Schedule):
        self.body, self.params, self.results, self.target = body, params, results, target
        self.schedule = schedule
        by_value = dict(zip(body.params, params))
        self.problem = make_problem(body, by_value, results)
        self.dtype = self.problem.node.results[0].dtype.compute
        self.own = {v: flatten(b) for v, b in by_value.items()}
        self.out = [flatten(b) for b in results]
        self.symbols = group_symbols(body, *params, *results)
        self.block = BlockBuilder(self.symbols)
        self.elements = Elements(body, self.block, {})
        for value, buffer in by_value.items():
            self.elements.computed[value] = reader(buffer, self.own[value])
        self.workspace: Buffer | None = None
        p = self.problem
        self.left = self.own[p.a]
        self.gates = find_gates(body, p.node)
        self.parts = [g.results[0] for g in self.gates] or [p.node.results[0]]  # what a tile holds, side by side
        sets = 2 if p.codes and p.codes.group != p.sum_count else 1
        if self.gates:
            self.tile = choose_gate_tile(p.row_count, p.columns.extent, p.gates, self.dtype, target, schedule)
        elif p.packed:
            self.tile = packed_tile(p.row_count, p.packed, self.dtype, target, sets, schedule)
        else:
            self.tile = choose_tile(p.row_count, p.columns.extent, self.dtype, target, sets, schedule)
        self.rows = tile_rows(p, self.tile)
        self.epilogue_cost = epilogue_cost(body)

    def kernel(self, name: str) -> Kernel:
        if self._is_dot():
            self._dots()
        else:
            self._pack_at_run_time()
            spread_out = rows_apart(self.problem, self.left, self.dtype, self.tile, self.target, self.block)
            if spread_out is not None:
                self.problem, self.left = spread_out
                self.rows = tile_rows(self.problem, self.tile)
            self._emit()
        spaces = [space for space in (self.workspace, self.left) if space is not None and space.role == "workspace"]
        return Kernel(name, (*self.own.values(), *self.out, *spaces), self.block.statements, tuple(self.symbols))

    # ---- few results for each sum --------------------------------------------------------------------------------------
    def _is_dot(self) -> bool:
        """Whether each result is best a dot product along both operands' rows: few rows, and columns that do not lie side by side."""
        p = self.problem
        few = isinstance(p.row_count, int) and p.row_count <= FEW_ROWS
        along = bool(p.sums) and p.sums[-1].a == 1 and p.sums[-1].b == 1
        return not p.packed and along and (few and p.columns.b != 1 or p.columns.extent == 1)

    def _dots(self) -> None:
        p, block, lanes = self.problem, self.block, self.tile.lanes
        rows, columns = p.row_count, p.columns.extent
        work = nominal(p.sum_count)
        outer = (*p.batch, *p.rows)
        total = p.batch_count * rows * columns
        kind = "parallel" if nominal(total) * work > UNIT_FLOPS // 2 and total != 1 else "serial"
        with block.loop("element", total, kind, max(1, (1 << 13) // work)) as element:
            column = block.let("column", mod(element, as_expr(columns)))
            position = [*zip(outer, decode(self.block, outer, block.let("outer", floordiv(element, as_expr(columns)))))]
            a: Expr = as_expr(0)
            b: Expr = mul(column, as_expr(p.columns.b))
            for axis, at in position:
                a, b = add(a, mul(at, as_expr(axis.a))), add(b, mul(at, as_expr(axis.b)))
            acc = block.alloc("dot", self.dtype, (), "register")
            block.store(acc, (), constant(0, self.dtype))

            def nest(depth: int, a: Expr, b: Expr) -> None:
                if depth == len(p.sums):
                    left, right = (cast(self.dtype, load(self.own[v], (i,))) for v, i in ((p.a, a), (p.b, b)))
                    block.accumulate(acc, (), "add", binary("mul", left, right))
                    return
                axis, inner = p.sums[depth], depth == len(p.sums) - 1
                with block.loop("k", axis.extent, "vector" if inner else "serial", lanes if inner else 1, 4 if inner else 1) as k:
                    nest(depth + 1, add(a, mul(k, as_expr(axis.a))), add(b, mul(k, as_expr(axis.b))))
            nest(0, block.let("a", a), block.let("b", b))
            self._store(position, column, [load(acc, ())])

    # ---- operand B -----------------------------------------------------------------------------------------------------
    def _pack_at_run_time(self) -> None:
        """Copy B into panels first where lanes would not find their columns side by side, or rows of B lie far apart."""
        p = self.problem
        if p.packed:
            return
        bytes_of_b = nominal(p.sum_count) * nominal(p.columns.extent) * self.dtype.itemsize
        many_rows = nominal(p.row_count) > 2 * self.tile.rows
        packs = self.schedule.packs if self.schedule.packs is not None else bytes_of_b > PACK_BYTES and many_rows
        self.is_direct = p.columns.b == 1 and not packs and isinstance(p.columns.extent, int)
        if self.is_direct:
            return
        width, columns = self.tile.width, p.columns.extent
        panels = (columns + (width - 1)) // width
        batch = product(a.extent for a in p.batch if a.b != 0)
        self.workspace = Buffer("panels", self.dtype, (batch * panels * p.sum_count * width,), (1,), "workspace")
        block, source = self.block, self.own[p.b]
        with block.loop("pack", batch * panels, "parallel", max(1, (1 << 14) // (nominal(p.sum_count) * width))) as unit:
            position = decode(self.block, tuple(a for a in p.batch if a.b != 0), block.let("group", floordiv(unit, panels)))
            base: Expr = as_expr(0)
            for axis, at in zip((a for a in p.batch if a.b != 0), position):
                base = add(base, mul(at, as_expr(axis.b)))
            first = block.let("first", mul(mod(unit, panels), width))
            size = turned_tile(p.sum_count, self.tile.lanes, self.dtype) if len(p.sums) == 1 and p.sums[0].b == 1 else None
            if size is not None:
                def start_of(lane: Expr) -> Expr:
                    return add(base, mul(clipped(add(first, lane), columns, width), as_expr(p.columns.b)))

                def write(k: Expr, lane: Expr, value: Expr) -> None:
                    block.store(self.workspace, (add(mul(add(mul(unit, p.sum_count), k), width), lane),), value)
                turn_panel(block, self.dtype, size, width, p.sum_count, start_of, lambda at: Load(source, (at,)), write)
                return

            def row(offset: Expr, flat: Expr) -> None:
                count = as_expr(width) if isinstance(columns, int) and columns % width == 0 else \
                    block.let("count", minimum(sub(as_expr(columns), first), width))
                start = block.let("start", add(add(base, offset), mul(first, as_expr(p.columns.b))))
                target = block.let("target", mul(add(mul(unit, as_expr(p.sum_count)), flat), width))
                with block.loop("lane", count, "vector", self.tile.lanes) as lane:
                    value = cast(self.dtype, Load(source, (add(start, mul(lane, as_expr(p.columns.b))),)))
                    block.store(self.workspace, (add(target, lane),), value)
                if not (isinstance(columns, int) and columns % width == 0):
                    with block.loop("rest", sub(as_expr(width), count), "serial") as rest:
                        block.store(self.workspace, (add(add(target, count), rest),), constant(0, self.dtype))
            self._sum_loops([a.b for a in p.sums], row)

    def _sum_loops(self, strides: list[Dim], visit) -> None:
        """Nested loops over the sums; `visit(offset along strides, flat position)`."""
        axes = self.problem.sums or (Axis(1),)
        strides = strides or [0]

        def nest(depth: int, offset: Expr, flat: Expr) -> None:
            if depth == len(axes):
                visit(offset, flat)
                return
            with self.block.loop("k", axes[depth].extent) as k:
                here = add(offset, mul(k, as_expr(strides[depth])))
                nest(depth + 1, here, add(mul(flat, as_expr(axes[depth].extent)), k))
        nest(0, as_expr(0), as_expr(0))

    # ---- the loops around the tile ----------------------------------------------------------------------------------------
    def _emit(self) -> None:
        p, block, rows, tile = self.problem, self.block, self.rows, self.tile
        panels = (p.columns.extent + (tile.width - 1)) // tile.width
        tiles = rows.tiles * rows.line_count
        batch = p.batch_count
        flops = 2 * nominal(p.row_count) * nominal(p.columns.extent) * p.gates * nominal(p.sum_count)
        wanted = self.schedule.units or max(1, min(UNITS, flops * nominal(batch) // UNIT_FLOPS))
        rows_first = self._panels_stay()
        together = 1 if rows_first else nominal(panels)
        block_tiles = self._block_tiles(nominal(tiles), -(-wanted // max(1, together * nominal(batch))))
        row_blocks = (tiles + (block_tiles - 1)) // block_tiles
        groups = max(1, min(nominal(panels), -(-wanted // max(1, nominal(row_blocks) * nominal(batch)))))
        group_panels = nominal(panels) // groups  # rather more units than wanted: of three, one thread gets two
        groups = (panels + (group_panels - 1)) // group_panels
        units = batch * row_blocks * groups
        kind = "parallel" if wanted > 1 and units != 1 else "serial"
        with block.loop("unit", units, kind) as unit:
            group = block.let("group", mod(unit, as_expr(groups)))
            rest = floordiv(unit, as_expr(groups))
            row_block = block.let("rows", mod(rest, as_expr(row_blocks)))
            position = decode(self.block, p.batch, block.let("batch", floordiv(rest, as_expr(row_blocks))))
            first_panel = block.let("first_panel", mul(group, group_panels))
            panel_count = self._part(first_panel, group_panels, panels, groups)
            first_tile = block.let("first_tile", mul(row_block, block_tiles))
            tile_count = self._part(first_tile, block_tiles, tiles, row_blocks)
            loops = [("panel", panel_count, first_panel), ("tile", tile_count, first_tile)]
            if rows_first:
                loops.reverse()
            (outer, *outer_range), (inner, *inner_range) = loops
            self.elements.enter()
            for at in self._steps(outer, *outer_range):
                for number in self._steps(inner, *inner_range):
                    tile_number, panel = (at, number) if outer == "tile" else (number, at)
                    self._one_tile(position, tile_number, panel)
            self.elements.leave()

    def _steps(self, name: str, count: Expr, first: Expr) -> Iterator[Expr]:
        """The loop `name` around what is done with the one number that this yields."""
        with self.block.loop(name, count) as step:
            self.elements.enter()
            yield self.block.let(f"{name}_number", add(first, step))
            self.elements.leave()

    def _panels_stay(self) -> bool:
        """Whether the panels lie in half of the L2 cache, and the result, of long rows, does not: then each tile of rows meets
        all panels in turn, so that the result is written row by row, as memory takes it best."""
        p = self.problem
        columns = nominal(p.columns.extent) * p.gates * self.dtype.itemsize
        result = columns * nominal(p.batch_count * p.row_count)
        return columns >= LONG_ROW and 2 * columns * nominal(p.sum_count) <= self.target.l2_bytes < result

    def _part(self, first: Expr, size: int, total: Dim, parts: Dim) -> Expr:
        if isinstance(total, int) and total % size == 0 or parts == 1:
            return as_expr(size) if parts != 1 else as_expr(total)
        return self.block.let("count", minimum(sub(as_expr(total), first), size))

    def _block_tiles(self, tiles: int, least_blocks: int) -> int:
        """Tiles whose rows of A fill the L2 cache while the panels pass by, all blocks about alike; fewer where that gives less
        than `least_blocks`, which threads share.

        Rows of a convolution overlap: what counts is the input that they cover, not the length of their sums.
        """
        p = self.problem
        covered = nominal(product(self.own[p.a].shape)) * self.own[p.a].dtype.itemsize
        rows = max(1, nominal(p.row_count) * nominal(p.batch_count))
        row_bytes = max(1, min(nominal(p.sum_count) * self.dtype.itemsize, -(-covered // rows)))
        most = max(1, self.target.l2_bytes // (row_bytes * self.tile.rows))
        blocks = max(-(-tiles // most), min(tiles, least_blocks))
        return -(-tiles // max(1, blocks))

    def _one_tile(self, batch: list[Expr], number: Expr, panel: Expr) -> None:
        rows, block = self.rows, self.block
        tiles = as_expr(rows.tiles)
        line = decode(self.block, rows.lines, block.let("line", floordiv(number, tiles))) if rows.lines else []
        within = block.let("within", mod(number, tiles)) if rows.lines else number
        if rows.is_static:
            if not rows.larger:
                self._columns(batch, line, mul(within, rows.size), rows.size, panel, None)
                return
            larger = compare("lt", within, as_expr(rows.larger))
            self._either(larger, lambda: self._columns(batch, line, mul(within, rows.size + 1), rows.size + 1, panel, None),
                         lambda: self._columns(batch, line, add(mul(within, rows.size), rows.larger), rows.size, panel, None))
            return
        start = block.let("row", mul(within, rows.size))
        left = block.let("left", sub(as_expr(rows.extent), start))
        sizes = sorted({1, 2, 4, 8, rows.size} & set(range(1, rows.size + 1)) | {rows.size})
        low = 0
        for size in sizes:  # the smallest tile that holds the rows that are left
            condition = compare("gt", left, as_expr(low)) if size == rows.size else \
                self._between(left, low, size)
            with block.when(condition):
                self.elements.enter()
                self._columns(batch, line, start, size, panel, None if size == 1 else left)
                self.elements.leave()
            low = size

    def _between(self, value: Expr, low: int, high: int) -> Expr:
        from ..kernel.builder import both
        return both(compare("gt", value, as_expr(low)), compare("le", value, as_expr(high)))

    def _either(self, condition: Expr, yes, no) -> None:
        for flag, action in ((condition, yes), (self._negate(condition), no)):
            with self.block.when(flag):
                self.elements.enter()
                action()
                self.elements.leave()

    def _negate(self, condition: Expr) -> Expr:
        opposite = {"lt": "ge", "ge": "lt", "eq": "ne", "ne": "eq"}
        return compare(opposite[condition.op], condition.x, condition.y)

    def _columns(self, batch, line, start: Expr, size: int, panel: Expr, left: Expr | None) -> None:
        extent, width = self.problem.columns.extent, self.tile.width
        if not isinstance(extent, int) or self.gates and extent % width:
            self._tile(batch, line, start, size, panel, width, left, minimum(sub(as_expr(extent), mul(panel, width)), width))
            return
        whole, rest = divmod(extent, width)
        if not rest:
            self._tile(batch, line, start, size, panel, width, left)
        elif not whole:
            self._tile(batch, line, start, size, panel, rest, left)
        else:
            self._either(compare("lt", panel, as_expr(whole)), lambda: self._tile(batch, line, start, size, panel, width, left),
                         lambda: self._tile(batch, line, start, size, panel, rest, left))

    # ---- the tile ----------------------------------------------------------------------------------------------------------
    def _tile(self, batch, line, start: Expr, size: int, panel: Expr, columns: int, left: Expr | None, valid: Expr | None = None) -> None:
        """`size` rows from `start` (of which `left` exist, where that is not all) by `columns` columns of a panel (`valid` of them)."""
        p, block, lanes = self.problem, self.block, self.tile.lanes
        padded = -(-columns // lanes) * lanes * p.gates
        packed = bool(p.packed) or self.workspace is not None
        row_offset = self._row_offsets(batch, line, start, size, left)
        b_base = self._b_base(batch, panel)
        a, b = self.left, self.workspace if self.workspace is not None else self.own[p.b]
        width = self.tile.width * p.gates

        def left_factor(r: int, k: Expr) -> Expr:
            return load(a, (add(row_offset[r][0], add(k, row_offset[r][1])),))

        def right_factor(k: Expr, lane: Expr) -> Expr:
            return load(b, (add(add(b_base, mul(k, width) if packed else k), lane),))
        sums = [(s.extent, s.a, None if packed else s.b) for s in p.sums]
        if left is None and valid is None:
            self._ask_for_epilogue(batch, line, start, size, panel, columns)
        if p.codes:
            scales = self.own[p.scales]
            first_scale = block.let("scales", mul(panel, as_expr(p.sum_count // p.codes.group * width)))

            def scale(group: Expr, lane: Expr) -> Expr:
                return cast(self.dtype, load(scales, (add(add(first_scale, mul(group, width)), lane),)))
            acc = accumulate_codes(block, self.dtype, lanes, size, padded, p.codes, sums[0], left_factor, right_factor, scale)
        else:
            def next_rows(k: Expr) -> None:
                span = size * self.rows.inner[0].a
                block.prefetch(a, (add(add(row_offset[0][0], span), mul(k, -(-span // p.sum_count))),))
            ahead = next_rows if packed and left is None and self._rows_stream() else None
            acc = accumulate_tile(block, self.dtype, lanes, size, padded, padded if packed else columns, sums, left_factor,
                                  right_factor, ahead)
        self._epilogue(batch, line, start, size, panel, columns, left, valid, acc)

    def _ask_for_epilogue(self, batch, line, start: Expr, size: int, panel: Expr, columns: int) -> None:
        """Ask for what the epilogue reads of operands beyond the cache, while the tile is computed: no machine foresees rows of
        so few columns each."""
        p, block, shape = self.problem, self.block, self.problem.node.results[0].shape
        read = [(b, self.own[v]) for v, b in zip(self.body.params, self.params) if v not in (p.a, p.b, p.scales) and self._streams(b, shape)]
        if not read or len(self.rows.inner) > 1 or self.gates:
            return
        first = block.let("column", mul(panel, self.tile.width))
        for buffer, own in read:
            step = LINE_BYTES // buffer.dtype.itemsize
            base = flat_index(buffer, spread(self._index(self._row_position(batch, line, start), first), shape, buffer.shape))
            base = block.let("ahead", base)
            apart = sum(buffer.strides[axis.dim] * axis.scale for axis in self.rows.inner)
            for r in range(size):
                for column in range(0, columns, step):
                    block.prefetch(own, (add(base, add(mul(r, as_expr(apart)), column)),))

    def _streams(self, buffer: Buffer, shape: tuple[Dim, ...]) -> bool:
        """Whether an epilogue's operand comes from beyond the cache, an element for each of the result, columns side by side."""
        if buffer.shape != shape or nominal(product(shape)) * buffer.dtype.itemsize <= self.target.l2_bytes:
            return False
        return buffer.strides[self.problem.columns.dim] == 1 and all(s != 0 for d, s in zip(shape, buffer.strides) if d != 1)

    def _rows_stream(self) -> bool:
        """Whether A comes from beyond the cache, tile by tile: one long sum over elements that lie side by side, in rows
        that follow each other. Then the next tile is asked for while this one is computed."""
        p, inner = self.problem, self.rows.inner
        if len(p.sums) != 1 or p.sums[0].a != 1 or len(inner) != 1 or not isinstance(inner[0].a, int):
            return False
        is_large = nominal(product(self.left.shape)) * self.left.dtype.itemsize > self.target.l2_bytes
        return is_large and isinstance(p.sum_count, int) and LEAST_AHEAD <= p.sum_count <= inner[0].a < 2 * p.sum_count

    def _b_base(self, batch: list[Expr], panel: Expr) -> Expr:
        p, width = self.problem, self.tile.width
        if not p.packed and self.workspace is None:
            base = mul(panel, width)
            for axis, at in zip(p.batch, batch):
                base = add(base, mul(at, as_expr(axis.b)))
            return self.block.let("b", base)
        flat: Expr = as_expr(0)
        for axis, at in zip(p.batch, batch):
            if p.packed or axis.b != 0:
                flat = add(mul(flat, as_expr(axis.extent)), at)
        panels = (p.columns.extent + (width - 1)) // width
        return self.block.let("b", mul(add(mul(flat, as_expr(panels)), panel), as_expr(p.sum_count * width * p.gates * (p.codes.bits if p.codes else 8) // 8)))

    def _row_offsets(self, batch, line, start: Expr, size: int, left: Expr | None) -> list[tuple[Expr, int | Expr]]:
        """For each row of the tile: (a base, a further offset). Rows along one axis share the base and differ by a constant."""
        p, rows, block = self.problem, self.rows, self.block
        base: Expr = as_expr(0)
        for axis, at in zip((*p.batch, *rows.lines), (*batch, *line)):
            base = add(base, mul(at, as_expr(axis.a)))
        if len(rows.inner) == 1 and left is None:
            stride = rows.inner[0].a
            base = block.let("a", add(base, mul(start, as_expr(stride))))
            return [(base, mul(as_expr(r), as_expr(stride))) for r in range(size)]
        base = block.let("a", base)
        offsets = []
        for r in range(size):
            row = add(start, r)
            if left is not None and r:
                row = block.let("row", minimum(row, sub(as_expr(rows.extent), 1)))
            offset = base
            for axis, at in zip(rows.inner, decode(self.block, rows.inner, row)):
                offset = add(offset, mul(at, as_expr(axis.a)))
            offsets.append((block.let("a", offset), as_expr(0)))
        return offsets

    # ---- what happens to a finished tile --------------------------------------------------------------------------------------
    def _epilogue(self, batch, line, start: Expr, size: int, panel: Expr, columns: int, left, valid, acc: Buffer) -> None:
        block, lanes = self.block, self.tile.lanes
        first = block.let("column", mul(panel, self.tile.width))
        if self.epilogue_cost <= REGISTER_EPILOGUE and valid is None:
            for r in range(size):
                def row() -> None:
                    position = self._row_position(batch, line, add(start, r))
                    with block.loop("l", columns, "vector" if columns > 1 else "unroll", lanes if columns > 1 else 1) as lane:
                        self.elements.enter()
                        self._store(position, add(first, lane), self._made(acc, r, lane))
                        self.elements.leave()
                if left is not None and r:
                    with block.when(compare("gt", left, as_expr(r))):
                        self.elements.enter()
                        row()
                        self.elements.leave()
                else:
                    row()
            return
        padded = acc.shape[1]
        tile = block.alloc("tile", self.dtype, (size, padded), "stack")
        for r in range(size):
            with block.loop("l", padded, "vector", lanes) as lane:
                block.store(tile, (r, lane), load(acc, (r, lane)))
        count = as_expr(size) if left is None else minimum(left, size)
        with block.loop("r", count, "apart") as r:
            self.elements.enter()
            position = self._row_position(batch, line, add(start, r))
            is_vector = columns > 1
            with block.loop("l", as_expr(columns) if valid is None else valid, "vector" if is_vector else "serial", lanes if is_vector else 1) as lane:
                self.elements.enter()
                self._store(position, add(first, lane), self._made(tile, r, lane))
                self.elements.leave()
            self.elements.leave()

    def _row_position(self, batch, line, row: Expr) -> list[tuple[Axis, Expr]]:
        inner = [self.block.let("row", row)] if len(self.rows.inner) == 1 else decode(self.block, self.rows.inner, self.block.let("row", row))
        return [*zip(self.problem.batch, batch), *zip(self.rows.lines, line), *zip(self.rows.inner, inner)]

    def _made(self, tile: Buffer, row: Expr | int, lane: Expr) -> list[Expr]:
        """What the tile holds for a row and column of each part of the product."""
        return [load(tile, (row, add(lane, i * self.tile.width))) for i in range(len(self.parts))]

    def _store(self, position: list[tuple[Axis, Expr]], column: Expr, values: list[Expr]) -> None:
        index = self._index(position, column)
        store_results(self.block, self.elements, self.body, dict(zip(self.parts, values)), self.results, self.out, index)

    def _index(self, position: list[tuple[Axis, Expr]], column: Expr) -> list[Expr]:
        """The index into the result."""
        index: list[Expr] = [as_expr(0)] * self.problem.node.results[0].type.rank
        for axis, at in (*position, (self.problem.columns, column)):
            if axis.dim is not None:
                index[axis.dim] = add(index[axis.dim], mul(at, as_expr(axis.scale)))
        return index
