"""How does attention become a kernel?  A tile of queries at a time: its scores are made, finished row by row and used up in cache.

The score matrix is never stored: a tile's rows against all keys stay in the L2 cache (Dao et al. 2022 draw the same line on a GPU). What the
group does between the two products (scale, masks, softmax or any other row-wise pattern) is spliced in as the lowering of reductions.
"""

from __future__ import annotations

from ..core.dims import Dim, bounds, nominal
from ..core.errors import CompilerError
from ..core.schedule import Schedule
from ..graph.graph import Graph, Node
from ..kernel.builder import BlockBuilder, Expr, add, as_expr, binary, cast, compare, constant, floordiv, load, minimum, mod, mul, sub
from ..kernel.ir import Buffer, Kernel, Load
from ..lower.domain import find_domain
from ..lower.loops import flat_index, flatten, group_symbols, reader
from ..lower.reductions import ReductionNest
from ..ops.contract import Contract
from ..passes.attention import region_graph
from ..targets.target import Target
from .microkernel import accumulate_tile
from .problem import Axis, contract_problem, decode, spread
from .tile import choose_tile
from .turned import clipped, turn_panel, turned_tile

FEW_QUERIES = 3  # up to here a score is a dot product along the key's row; above, keys are packed into panels first


def lower_attention(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str,
                    schedule: Schedule = Schedule()) -> Kernel:
    """The kernel of an attention group."""
    return _Attention(body, params, results, target, schedule).kernel(name)


class _Attention:
    def __init__(self, body: Graph, params: list[Buffer], results: list[Buffer], target: Target, schedule: Schedule):
        self.body, self.target, self.result = body, target, results[0]
        self.buffers = dict(zip(body.params, params))
        self.first, self.second = (n for n in body.nodes if isinstance(n.op, Contract))
        if self.first.results[0] in self.second.operands or self._depends(self.first, self.second):
            self.first, self.second = self.second, self.first
        weights = next(o for o in self.second.operands if o.node is not None)
        self.region, self.outer = region_graph([n for n in body.nodes if n not in (self.first, self.second)], weights)
        self.weights = weights
        self.dtype = self.second.results[0].dtype.compute
        scores = self.first.results[0]
        self.scores = contract_problem(self.first, self.buffers)
        fake = Buffer("weights", weights.dtype, weights.shape)
        self.values = contract_problem(self.second, {**self.buffers, weights: fake}, fixed=weights)
        if len(self.scores.rows) > 1 or len(self.values.rows) > 1:
            raise CompilerError("attention with several query axes")
        self.queries: Dim = self.scores.rows[0].extent if self.scores.rows else 1
        self.keys: Dim = self.scores.columns.extent
        self.own = {v: flatten(b) for v, b in self.buffers.items()}
        self.out = flatten(self.result)
        self.symbols = group_symbols(body, *params, *results)
        self.block = BlockBuilder(self.symbols)
        self.score_shape = scores.shape
        self.tile = choose_tile(self.queries, self.keys, self.dtype, target, schedule=schedule)
        self.is_dot = isinstance(self.queries, int) and self.queries <= FEW_QUERIES
        self.panels = (self.keys + (self.tile.width - 1)) // self.tile.width

    def _depends(self, node: Node, on: Node) -> bool:
        stack, seen = list(node.operands), set()
        while stack:
            v = stack.pop()
            if v.node is on:
                return True
            if v.node is not None and v.node not in seen:
                seen.add(v.node)
                stack.extend(v.node.operands)
        return False

    def kernel(self, name: str) -> Kernel:
        self.workspace = None
        if not self.is_dot:
            self._pack_keys()
        self._emit()
        spaces = (self.workspace,) if self.workspace is not None else ()
        return Kernel(name, (*self.own.values(), self.out, *spaces), self.block.statements, tuple(self.symbols))

    # ---- keys ----------------------------------------------------------------------------------------------------------
    def _pack_keys(self) -> None:
        """K^T in panels [batch][panel][depth][width]: the columns of the scores side by side."""
        p, block, width = self.scores, self.block, self.tile.width
        batch, depth = p.batch_count, p.sum_count
        self.workspace = Buffer("keys", self.dtype, (batch * self.panels * depth * width,), (1,), "workspace")
        source = self.own[p.b]
        with block.loop("pack", batch * self.panels, "parallel", max(1, (1 << 14) // (nominal(depth) * width))) as unit:
            position = decode(self.block, p.batch, block.let("group", floordiv(unit, self.panels)))
            base: Expr = as_expr(0)
            for axis, at in zip(p.batch, position):
                base = add(base, mul(at, as_expr(axis.b)))
            first = block.let("first", mul(mod(unit, self.panels), width))

            def key_start(lane: Expr) -> Expr:
                return add(base, mul(clipped(add(first, lane), self.keys, width), as_expr(p.columns.b)))
            size = turned_tile(depth, self.tile.lanes, self.dtype) if len(p.sums) == 1 and p.sums[0].b == 1 else None
            if size is not None:
                def write(step: Expr, lane: Expr, value: Expr) -> None:
                    block.store(self.workspace, (add(mul(add(mul(unit, depth), step), width), lane),), value)
                turn_panel(block, self.dtype, size, width, depth, key_start, lambda at: Load(source, (at,)), write)
                return
            with block.loop("lane", width) as lane:
                start = block.let("start", key_start(lane))
                target = block.let("target", add(mul(mul(unit, as_expr(depth)), width), lane))

                def nest(axes, offset: Expr, flat: Expr) -> None:
                    if not axes:
                        block.store(self.workspace, (add(target, mul(flat, width)),), cast(self.dtype, Load(source, (add(start, offset),))))
                        return
                    kind = "vector" if len(axes) == 1 else "serial"
                    with block.loop("d", axes[0].extent, kind, self.tile.lanes if kind == "vector" else 1) as d:
                        nest(axes[1:], add(offset, mul(d, as_expr(axes[0].b))), add(mul(flat, as_expr(axes[0].extent)), d))
                nest(p.sums or (Axis(1),), as_expr(0), as_expr(0))

    # ---- tiles of queries -------------------------------------------------------------------------------------------------
    def _emit(self) -> None:
        block, p = self.block, self.scores
        size = self.tile.rows
        tiles = (self.queries + (size - 1)) // size
        static = isinstance(self.queries, int)
        units = p.batch_count * tiles
        work = nominal(units) * size * nominal(self.keys) * (nominal(p.sum_count) + nominal(self.values.columns.extent))
        with block.loop("unit", units, "parallel" if work > 1 << 17 and units != 1 else "serial") as unit:
            batch = decode(self.block, p.batch, block.let("batch", floordiv(unit, tiles)))
            number = block.let("tile", mod(unit, tiles))
            if static:
                base, larger = divmod(self.queries, int(tiles))
                if not larger:
                    self._tile(batch, mul(number, base), base, None)
                    return
                with block.when(compare("lt", number, as_expr(larger))):
                    self._tile(batch, mul(number, base + 1), base + 1, None)
                with block.when(compare("ge", number, as_expr(larger))):
                    self._tile(batch, add(mul(number, base), larger), base, None)
                return
            start = block.let("row", mul(number, size))
            left = block.let("left", sub(as_expr(self.queries), start))
            with block.when(compare("eq", left, as_expr(1))):
                self._tile(batch, start, 1, None)
            with block.when(compare("gt", left, as_expr(1))):
                self._tile(batch, start, size, left)

    def _tile(self, batch: list[Expr], start: Expr, size: int, left: Expr | None) -> None:
        most_keys = int(bounds(self.keys)[1])
        padded = -(-most_keys // self.tile.width) * self.tile.width
        scratch = self.block.alloc("scores", self.dtype, (size, padded), "stack")
        rows = []
        for r in range(size):
            row = add(start, r)
            rows.append(row if left is None or r == 0 else self.block.let("row", minimum(row, sub(as_expr(self.queries), 1))))
        (self._dots if self.is_dot else self._scores)(batch, rows, scratch)
        self._finish_rows(batch, start, size, scratch)
        self._weighted_values(batch, rows, size, scratch, left)

    def _query_offsets(self, batch: list[Expr], rows: list[Expr]) -> list[Expr]:
        p = self.scores
        base: Expr = as_expr(0)
        for axis, at in zip(p.batch, batch):
            base = add(base, mul(at, as_expr(axis.a)))
        base = self.block.let("q", base)
        stride = p.rows[0].a if p.rows else 0
        return [self.block.let("q", add(base, mul(row, as_expr(stride)))) for row in rows]

    def _scores(self, batch: list[Expr], rows: list[Expr], scratch: Buffer) -> None:
        p, block, width = self.scores, self.block, self.tile.width
        query = self._query_offsets(batch, rows)
        flat: Expr = as_expr(0)
        for axis, at in zip(p.batch, batch):
            flat = add(mul(flat, as_expr(axis.extent)), at)
        group = block.let("group", mul(flat, as_expr(self.panels)))
        with block.loop("panel", self.panels) as panel:
            base = block.let("k", mul(add(group, panel), as_expr(p.sum_count * width)))
            acc = accumulate_tile(block, self.dtype, self.tile.lanes, len(rows), width, width, [(a.extent, a.a, None) for a in p.sums],
                                  lambda r, k: load(self.own[p.a], (add(query[r], k),)),
                                  lambda k, lane: load(self.workspace, (add(add(base, mul(k, width)), lane),)))
            for r in range(len(rows)):
                with block.loop("l", width, "vector", self.tile.lanes) as lane:
                    block.store(scratch, (r, add(mul(panel, width), lane)), load(acc, (r, lane)))

    def _dots(self, batch: list[Expr], rows: list[Expr], scratch: Buffer) -> None:
        """Few queries: each score is a sum along the key's own row."""
        p, block = self.scores, self.block
        query = self._query_offsets(batch, rows)
        base: Expr = as_expr(0)
        for axis, at in zip(p.batch, batch):
            base = add(base, mul(at, as_expr(axis.b)))
        base = block.let("k", base)
        with block.loop("key", self.keys) as key:
            start = block.let("start", add(base, mul(key, as_expr(p.columns.b))))
            for r in range(len(rows)):
                acc = block.alloc("dot", self.dtype, (), "register")
                block.store(acc, (), constant(0, self.dtype))

                def nest(axes, a: Expr, b: Expr) -> None:
                    if not axes:
                        left = cast(self.dtype, load(self.own[p.a], (a,)))
                        block.accumulate(acc, (), "add", binary("mul", left, cast(self.dtype, load(self.own[p.b], (b,)))))
                        return
                    kind = "vector" if len(axes) == 1 else "serial"
                    with block.loop("d", axes[0].extent, kind, self.tile.lanes if kind == "vector" else 1, 2) as d:
                        nest(axes[1:], add(a, mul(d, as_expr(axes[0].a))), add(b, mul(d, as_expr(axes[0].b))))
                nest(p.sums or (Axis(1),), query[r], start)
                block.store(scratch, (r, key), load(acc, ()))

    def _finish_rows(self, batch: list[Expr], start: Expr, size: int, scratch: Buffer) -> None:
        """What stands between the products, for one row of scores after the other, in place."""
        with self.block.loop("r", size, "apart") as r:
            nest = _Rows(self.region, scratch, r, self.target, self.block)
            for param, value in zip(self.region.params, self.outer):
                if value is self.first.results[0]:
                    nest.elements.computed[param] = lambda index: load(scratch, (r, index[-1]))
                else:
                    nest.elements.computed[param] = reader(self.buffers[value], self.own[value])
            domain = find_domain(self.region)
            score_index: list[Expr] = [as_expr(0)] * len(self.score_shape)
            for axis, at in zip((*self.scores.batch, *self.scores.rows), (*batch, self.block.let("query", self._clamped(add(start, r))))):
                if axis.dim is not None:
                    score_index[axis.dim] = at
            position = list(spread(score_index, self.score_shape, domain.shape))
            nest.row(domain, position, nest.reduced)

    def _clamped(self, row: Expr) -> Expr:
        return row if isinstance(self.queries, int) else minimum(row, sub(as_expr(self.queries), 1))

    def _weighted_values(self, batch: list[Expr], rows: list[Expr], size: int, scratch: Buffer, left: Expr | None) -> None:
        p, block, lanes = self.values, self.block, self.tile.lanes
        place = self._batch_of_values(batch)
        base: Expr = as_expr(0)
        for axis, at in zip(p.batch, place):
            base = add(base, mul(at, as_expr(axis.b)))
        base = block.let("v", base)
        key_stride = p.sums[0].b if p.sums else 0
        tile = choose_tile(self.queries, p.columns.extent, self.dtype, self.target)
        vectors = min(tile.vectors, max(1, (self.target.vector_registers - 2) // (size + 1)))
        width = lanes * vectors
        extent = p.columns.extent
        whole, rest = divmod(int(extent), width) if isinstance(extent, int) else (0, 0)

        def panel(first: Expr, columns: int) -> None:
            padded = -(-columns // lanes) * lanes
            acc = accumulate_tile(block, self.dtype, lanes, size, padded, columns, [(self.keys, 1, key_stride)],
                                  lambda r, k: load(scratch, (r, k)),
                                  lambda k, lane: load(self.own[p.b], (add(add(base, k), mul(add(first, lane), as_expr(p.columns.b))),)))
            for r in range(size):
                def store_row() -> None:
                    with block.loop("l", columns, "vector", lanes) as lane:
                        index: list[Expr] = [as_expr(0)] * self.second.results[0].type.rank
                        row_axes = [(a, rows[r]) for a in p.rows]
                        for axis, at in (*zip(p.batch, place), *row_axes, (p.columns, add(first, lane))):
                            if axis.dim is not None:
                                index[axis.dim] = add(index[axis.dim], mul(at, as_expr(axis.scale)))
                        block.store(self.out, (flat_index(self.result, index),), load(acc, (r, lane)))
                if left is not None and r:
                    with block.when(compare("gt", left, as_expr(r))):
                        store_row()
                else:
                    store_row()
        if not isinstance(extent, int):
            raise CompilerError("attention with a symbolic value width")
        if whole:
            with block.loop("panel", whole) as number:
                panel(block.let("first", mul(number, width)), width)
        if rest:
            panel(as_expr(whole * width), rest)

    def _batch_of_values(self, batch: list[Expr]) -> list[Expr]:
        """The position on the value product's batch axes: its weights' axes are the scores', in order."""
        inputs, result = self.second.op.spec.split("->")
        mine = inputs.split(",")[0 if self.second.operands[0] is self.weights else 1]
        index = [as_expr(0)] * len(self.score_shape)
        for axis, at in zip(self.scores.batch, batch):
            if axis.dim is not None:
                index[axis.dim] = at
        by_letter = dict(zip(mine, spread(index, self.score_shape, self.weights.shape)))
        return [by_letter[result[axis.dim]] for axis in self.values.batch]


class _Rows(ReductionNest):
    """The reduction of a row of scores, which stands in `scratch` and is overwritten there."""

    def __init__(self, region: Graph, scratch: Buffer, row: Expr, target: Target, block: BlockBuilder):
        super().__init__(region, [scratch] * len(region.params), [scratch], target, block)
        self.scratch, self.row_index = scratch, row

    def store(self, buffer: Buffer, index, value: Expr) -> None:
        self.block.store(self.scratch, (self.row_index, index[-1]), value)

    def load(self, buffer: Buffer, index) -> Expr:
        return load(self.scratch, (self.row_index, index[-1]))


