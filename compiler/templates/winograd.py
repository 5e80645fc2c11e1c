"""How does a 3 x 3 convolution with transformed weights become a kernel?  Tiles: transformed, multiplied, and back.

A block of tiles goes through all three phases while it lies in the cache: its inputs' transforms (a workspace), for each
panel of output channels (m + 2)² products on the register tile of every contraction (a stack buffer), and the outputs,
with the group's epilogue, straight to the result. The last tiles of a map that is no multiple of m are moved back inside,
and leave to their neighbours what those have stored: nothing is read outside the map.
"""

from __future__ import annotations

from contextlib import contextmanager

from ..core.dims import nominal
from ..core.schedule import Schedule
from ..graph.graph import Graph, Node
from ..kernel.builder import (BlockBuilder, Expr, add, as_expr, binary, compare, constant, floordiv, fma, load, minimum,
                              mod, mul, sub)
from ..kernel.ir import Buffer, Kernel
from ..lower.elements import Elements
from ..lower.loops import flatten, group_symbols, reader
from ..ops.winograd import POINTS, TAPS, UnpackWinograd, from_squares
from ..targets.target import Target
from .epilogue import store_results
from .microkernel import accumulate_tile
from .problem import find_main
from .tile import REGISTER_EPILOGUE, UNIT_FLOPS, epilogue_cost
from .winograd_tiling import Tiling, tile_winograd


def is_winograd(node: Node) -> bool:
    """Whether the convolution `node` has its weights transformed."""
    return isinstance(node.operands[1].op, UnpackWinograd)


def lower_winograd(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str,
                   schedule: Schedule = Schedule()) -> Kernel:
    """The kernel of a group around a convolution of float32 whose weights an UnpackWinograd gives."""
    return _Winograd(body, params, results, target, schedule).kernel(name)


class _Winograd:
    """One such kernel while it is being written."""

    def __init__(self, body: Graph, params: list[Buffer], results: list[Buffer], target: Target, schedule: Schedule):
        self.body, self.results = body, results
        self.node = find_main(body)
        unpack = self.node.operands[1]
        self.outputs: int = unpack.op.outputs
        self.points = self.outputs + TAPS - 1
        self.dtype = self.node.results[0].dtype
        buffers = dict(zip(body.params, params))
        self.own = {v: flatten(b) for v, b in buffers.items()}
        self.out = [flatten(b) for b in results]
        self.x = buffers[self.node.operands[0]]
        self.inputs = self.own[self.node.operands[0]]
        self.weights = self.own[unpack.node.operands[0]]
        self.symbols = group_symbols(body, *params, *results)
        self.block = BlockBuilder(self.symbols)
        self.elements = Elements(body, self.block, {})
        for value, buffer in buffers.items():
            self.elements.computed[value] = reader(buffer, self.own[value])
        self.channels: int = self.x.shape[-1]
        self.tiling: Tiling = tile_winograd(self.node.results[0].shape, unpack.op, target, schedule)
        self.is_apart = epilogue_cost(body) > REGISTER_EPILOGUE
        self.element = self.tiling.tile.rows * self.channels  # from one element of a block's transforms to the next
        self.slice = self.points ** 2 * self.element
        self.transformed = self.block.workspace("transformed", self.dtype, (self.tiling.slices * self.slice,))

    def kernel(self, name: str) -> Kernel:
        block, t = self.block, self.tiling
        work = 2 * nominal(t.tiles) * self.points ** 2 * self.channels * self.node.results[0].shape[-1]
        kind = "parallel" if work > 2 * UNIT_FLOPS else "serial"
        if t.is_streamed:
            with block.loop("unit", t.slices, kind if t.slices > 1 else "serial") as unit:
                first_block = block.let("first_block", mul(unit, as_expr(t.blocks_in_slice)))
                left = sub(as_expr(t.blocks), first_block)
                with block.loop("block", minimum(left, as_expr(t.blocks_in_slice))) as step:
                    first = block.let("first", mul(add(first_block, step), t.tile.rows))
                    base = block.let("base", mul(unit, self.slice))
                    with block.loop("tile", self._count(first)) as number:
                        self._transform(add(first, number), add(base, mul(number, self.channels)))
                    with block.loop("panel", t.panels) as panel:
                        self._panel(first, base, panel)
        else:
            with block.loop("tile", t.tiles, kind) as number:
                row = mul(mod(number, t.tile.rows), self.channels)
                self._transform(number, add(mul(floordiv(number, t.tile.rows), self.slice), row))
            units = t.blocks * t.panels
            with block.loop("unit", units, kind if units != 1 else "serial") as unit:
                step = block.let("block", mod(unit, as_expr(t.blocks)))
                first, base = block.let("first", mul(step, t.tile.rows)), block.let("base", mul(step, self.slice))
                self._panel(first, base, block.let("panel", floordiv(unit, as_expr(t.blocks))))
        return Kernel(name, (*self.own.values(), *self.out, self.transformed), block.statements, tuple(self.symbols))

    def _count(self, first: Expr) -> Expr:
        """How many tiles the block has that begins with tile `first`."""
        t = self.tiling
        if isinstance(t.tiles, int) and t.tiles % t.tile.rows == 0:
            return as_expr(t.tile.rows)
        return self.block.let("count", minimum(sub(as_expr(t.tiles), first), t.tile.rows))

    def _place(self, tile: Expr) -> tuple[Expr, list[Expr], list[Expr]]:
        """(image, first row and column of its outputs, how many of these rows and columns neighbours store) of a tile."""
        block, m = self.block, self.outputs
        starts: list[Expr] = []
        stored: list[Expr] = []
        rest = tile
        for extent in reversed(self.node.results[0].shape[1:-1]):
            across = -(-extent // m)
            wanted = block.let("at", mul(mod(rest, across), m))
            rest = block.let("rest", floordiv(rest, across))
            start = wanted if extent % m == 0 else block.let("start", minimum(wanted, extent - m))
            starts.insert(0, start)
            stored.insert(0, as_expr(0) if extent % m == 0 else block.let("stored", sub(wanted, start)))
        return rest, starts, stored

    # ---- inputs ---------------------------------------------------------------------------------------------------
    def _transform(self, tile: Expr, target: Expr) -> None:
        """B^T d B of one tile, all channels, to `target` in the workspace, a block's rows apart for each element."""
        block, n = self.block, self.points
        image, starts, _ = self._place(block.let("tile_number", tile))
        base: Expr = as_expr(0)
        for at, stride in zip((image, *starts), self.x.strides):
            base = add(base, mul(at, as_expr(stride)))
        base, target = block.let("x", base), block.let("target", target)
        _, down, right, along = self.x.strides
        with block.loop("c", self.channels, "vector", self.tiling.tile.lanes) as c:
            here, there = block.let("here", add(base, mul(c, as_expr(along)))), block.let("there", add(target, c))
            columns = []
            for j in range(n):
                offsets = [as_expr(i * down + j * right) for i in range(n)]
                columns.append(self._interpolate([block.let("d", load(self.inputs, (add(here, o),))) for o in offsets]))
            for i in range(n):
                for j, value in enumerate(self._interpolate([column[i] for column in columns])):
                    block.store(self.transformed, (add(there, (i * n + j) * self.element),), value)

    def _interpolate(self, d: list[Expr]) -> list[Expr]:
        """B^T d: for each point, d times the polynomial that is zero at all others; pairs share even and odd part."""
        pairs = POINTS[self.outputs]
        made = [self._combine(from_squares(pairs), d[0::2])]
        for a in pairs:
            others = from_squares(tuple(b for b in pairs if b != a))
            even, odd = self._combine(others, d[2::2]), self._combine(others, d[1::2])
            made += [self._plus(even, a, odd), self._plus(even, -a, odd)]
        return [*made, self._combine(from_squares(pairs), d[1::2])]

    def _combine(self, coefficients: tuple[float, ...], values: list[Expr]) -> Expr:
        """The sum of coefficient times value; the last coefficient is 1."""
        total = values[len(coefficients) - 1]
        for c, value in zip(coefficients[:-1], values):
            total = self._plus(total, c, value)
        return total

    def _plus(self, x: Expr, factor: float, y: Expr) -> Expr:
        """x + factor * y."""
        if abs(factor) == 1:
            return self.block.let("t", binary("add" if factor == 1 else "sub", x, y))
        return self.block.let("t", fma(constant(factor, self.dtype), y, x))

    # ---- products and outputs -------------------------------------------------------------------------------------
    def _panel(self, first: Expr, base: Expr, panel: Expr) -> None:
        """The outputs of a block's tiles, which begin with tile `first`, in one panel of channels."""
        block, tile, count = self.block, self.tiling.tile, self.points ** 2
        products = block.alloc("products", self.dtype, (count, tile.rows, tile.width), "stack")
        with block.loop("element", count) as element:
            inputs = block.let("inputs", add(base, mul(element, self.element)))
            weights = block.let("weights", mul(add(mul(panel, count), element), self.channels * tile.width))
            sums = [(self.channels, 1, None)]
            acc = accumulate_tile(block, self.dtype, tile.lanes, tile.rows, tile.width, tile.width, sums,
                                  lambda r, k: load(self.transformed, (add(inputs, add(k, r * self.channels)),)),
                                  lambda k, lane: load(self.weights, (add(add(weights, mul(k, tile.width)), lane),)))
            for r in range(tile.rows):
                with block.loop("l", tile.width, "vector", tile.lanes) as lane:
                    block.store(products, (element, r, lane), load(acc, (r, lane)))
        with block.loop("tile", self._count(first)) as number:
            self.elements.enter()
            self._outputs(self._place(block.let("tile_number", add(first, number))), products, number, panel)
            self.elements.leave()

    def _outputs(self, place, products: Buffer, number: Expr, panel: Expr) -> None:
        """A^T (...) A of one tile, to the result where no neighbour stores it; a long epilogue reads it from the stack."""
        block, tile, m = self.block, self.tiling.tile, self.outputs
        image, (top, left), stored = place
        first = block.let("column", mul(panel, tile.width))
        finished = block.alloc("outputs", self.dtype, (m, m, tile.width), "stack") if self.is_apart else None
        with self._vectors(first) as (within, lane):
            made = self._interpolated(products, number, add(within, lane))
            for i in range(m):
                values = self._evaluate(made[i])
                if finished is not None:
                    for j, value in enumerate(values):
                        block.store(finished, (i, j, add(within, lane)), value)
                    continue
                with block.when(compare("ge", as_expr(i), stored[0])):
                    for j, value in enumerate(values):
                        with block.when(compare("ge", as_expr(j), stored[1])):
                            self.elements.enter()
                            self._store((image, add(top, i), add(left, j), add(add(first, within), lane)), value)
                            self.elements.leave()
        if finished is None:
            return
        with block.loop("row", sub(as_expr(m), stored[0]), "apart") as i:
            self.elements.enter()
            row = block.let("i", add(i, stored[0]))
            with block.loop("across", sub(as_expr(m), stored[1])) as j:
                self.elements.enter()
                column = block.let("j", add(j, stored[1]))
                with self._vectors(first) as (within, lane):
                    value = block.let("y", load(finished, (row, column, add(within, lane))))
                    self._store((image, add(top, row), add(left, column), add(add(first, within), lane)), value)
                self.elements.leave()
            self.elements.leave()

    @contextmanager
    def _vectors(self, first: Expr):
        """Loops over the channels of the panel that begins with channel `first`: (where a vector begins, lane)."""
        block, tile, columns = self.block, self.tiling.tile, self.node.results[0].shape[-1]
        count: Expr = as_expr(tile.vectors)
        if columns % tile.width:
            whole = floordiv(sub(as_expr(columns + tile.lanes - 1), first), tile.lanes)
            count = block.let("vectors", minimum(whole, tile.vectors))
        with block.loop("vector", count) as vector:
            self.elements.enter()
            within = block.let("within", mul(vector, tile.lanes))
            left: Expr = as_expr(tile.lanes)
            if columns % tile.lanes:
                left = minimum(sub(as_expr(columns), add(first, within)), tile.lanes)
            with block.loop("l", left, "vector", tile.lanes) as lane:
                self.elements.enter()
                yield within, lane
                self.elements.leave()
            self.elements.leave()

    def _interpolated(self, products: Buffer, number: Expr, channel: Expr) -> list[list[Expr]]:
        """A^T M of a tile's products M, row by row."""
        n = self.points
        columns = [self._evaluate([self.block.let("p", load(products, (i * n + j, number, channel))) for i in range(n)])
                   for j in range(n)]
        return [[column[i] for column in columns] for i in range(self.outputs)]

    def _evaluate(self, values: list[Expr]) -> list[Expr]:
        """A^T m: the polynomial through the points' values at each output; pairs share sum and difference."""
        pairs = [(a, binary("add", p, q), binary("sub", p, q))
                 for a, p, q in zip(POINTS[self.outputs], values[1::2], values[2::2])]
        pairs = [(a, self.block.let("t", s), self.block.let("t", d)) for a, s, d in pairs]
        made = []
        for k in range(self.outputs):
            total = values[0] if k == 0 else values[-1] if k == self.outputs - 1 else None
            for a, even, odd in pairs:
                part = odd if k % 2 else even
                if total is not None:
                    total = self._plus(total, a ** k, part)
                elif a ** k == 1:
                    total = part
                else:
                    total = self.block.let("t", binary("mul", constant(a ** k, self.dtype), part))
            made.append(total)
        return made

    def _store(self, index: tuple[Expr, ...], value: Expr) -> None:
        """What the group makes of the convolution's element at `index`."""
        store_results(self.block, self.elements, self.body, {self.node.results[0]: value}, self.results, self.out, index)
