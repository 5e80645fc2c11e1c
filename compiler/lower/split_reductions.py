"""How does one long reduction use all threads?  In parts whose number depends on extents alone, so that results do too.

Each phase of reductions takes two loops: the parts, in parallel, leave what they found in a workspace; then the parts
of each row (or column) are combined. Where elements of a kept axis lie side by side (columns), a part walks its rows in
the order of memory and adds them up in a row of accumulators that stays in the first cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from ..core.dims import Dim, bounds, ceil_div, nominal, product
from ..graph.graph import Node
from ..kernel.builder import add, as_expr, binary, constant, floordiv, load, minimum, mod, mul, sub
from ..kernel.ir import Buffer, Expr
from ..kernel.nest import CHUNK_WORK, spread, spread_columns, unflatten
from ..ops.reduce import OPERATION, identity

PART_WORK = 4 * CHUNK_WORK  # element operations of one part, at least
MOST_PARTS = 64
ROW_OF_SUMS = 2048  # columns whose accumulators are kept together: 8 KiB of float32
ROWS_AT_ONCE = 4  # rows that are combined before they meet the accumulator: it is loaded and stored once for all


@dataclass(frozen=True)
class Parts:
    """A cut of the reduced axes: one part for each place on the `outer` ones and block of `size` on `axis`; `inner` are
    walked whole."""

    shape: tuple[Dim, ...]
    outer: tuple[int, ...]
    axis: int
    size: int
    inner: tuple[int, ...]

    @property
    def extents(self) -> tuple[Dim, ...]:
        return (*(self.shape[a] for a in self.outer), ceil_div(self.shape[self.axis], self.size))

    @property
    def count(self) -> Dim:
        return product(self.extents)

    def locate(self, block, part: Expr, position: list[Expr]) -> tuple[Expr, Expr]:
        """Set the outer axes of `position` for number `part`; the first place on the cut axis, and how many there
        are."""
        *outer, number = unflatten(block, part, self.extents)
        for axis, at in zip(self.outer, outer):
            position[axis] = at
        start = block.let("start", mul(number, self.size))
        extent = self.shape[self.axis]
        whole = isinstance(extent, int) and extent % self.size == 0
        left = minimum(sub(as_expr(extent), start), self.size)
        return start, as_expr(self.size) if whole else block.let("count", left)


def cut(shape: tuple[Dim, ...], reduced: list[int], work: int, unit: int) -> Parts:
    """Parts of about equal work for reduced axes (outermost first) where one element of them takes `work` operations.
    Blocks of the last axis are multiples of `unit`."""
    total = nominal(product(shape[a] for a in reduced)) * work
    wanted = max(1, min(MOST_PARTS, total // PART_WORK))
    depth = 0
    while depth < len(reduced) - 1 and nominal(product(shape[a] for a in reduced[:depth + 1])) < wanted:
        depth += 1
    axis = reduced[depth]
    before = nominal(product(shape[a] for a in reduced[:depth]))
    size = max(1, -(-nominal(shape[axis]) // max(1, wanted // before)))
    if depth == len(reduced) - 1:
        size = -(-size // unit) * unit
    return Parts(shape, tuple(reduced[:depth]), axis, size, tuple(reduced[depth + 1:]))


class _Split:
    """What rows and columns share: workspaces, and which results are known by now."""

    def __init__(self, nest):
        self.nest, self.domain, self.block, self.elements = nest, nest.domain, nest.block, nest.elements
        self.partial: dict[Node, Buffer] = {}
        self.total: dict[Node, Buffer] = {}

    def allocate(self, shape: tuple[Dim, ...], parts: Dim, lanes: tuple[Dim, ...]) -> None:
        for phase in self.domain.phases:
            for node in phase:
                dtype = node.operands[0].dtype.compute
                self.partial[node] = self.block.workspace("partial", dtype, (*shape, parts, *lanes))
                self.total[node] = self.block.workspace("total", dtype, (*shape, *lanes))

    def bind(self, phases, read: Callable[[Node], Expr]) -> None:
        """The results of the reductions of `phases` are what `read` gives."""
        for phase in phases:
            for node in phase:
                value = self.block.let(node.op.kind, read(node))
                self.elements.computed[node.results[0]] = lambda index, value=value: value

    def start_value(self, node: Node) -> Expr:
        dtype = node.operands[0].dtype.compute
        return constant(identity(node.op.kind, dtype), dtype)

    def full_results(self):
        found = zip(self.nest.body.results, self.nest.results, self.domain.layouts)
        return [row for row in found if self.domain.is_full(row[2])]

    def store(self, rows, position: list[Expr]) -> None:
        self.nest.store_all(rows, position)

    def store_kept(self, position: list[Expr]) -> None:
        found = zip(self.nest.body.results, self.nest.results, self.domain.layouts)
        self.store([row for row in found if not self.domain.is_full(row[2])], position)


# ---- rows ------------------------------------------------------------------------------------------------------------
class SplitRows(_Split):
    """Few long rows. Lanes run over the last of the reduced axes."""

    def __init__(self, nest, kept: list[int], reduced: list[int]):
        super().__init__(nest)
        shape = self.domain.shape
        self.kept, self.space = kept, tuple(shape[a] for a in kept)
        self.parts = cut(shape, reduced, nest.cost, 4 * nest.width)
        self.allocate((product(self.space),), self.parts.count, ())

    def emit(self) -> None:
        domain = self.domain
        for number, phase in enumerate(domain.phases):
            self._each_part(number, lambda *place: self._reduce_part(phase, *place))
            self._combine(number, phase)
        full = self.full_results()
        if full:
            def store_all(row, part, walk, position):
                walk(2, lambda: self.store(full, position))
            self._each_part(len(domain.phases), store_all)

    def _each_part(self, known: int, visit) -> None:
        rows, parts = product(self.space), self.parts.count
        work = PART_WORK
        with spread(self.block, (rows, parts), work) as (row, part):
            self.elements.enter()
            self.bind(self.domain.phases[:known], lambda node: load(self.total[node], (row,)))
            position = self._position(row)
            start, count = self.parts.locate(self.block, part, position)

            def walk(interleave: int, body: Callable[[], None]) -> None:
                self._walk(start, count, position, interleave, body)
            visit(row, part, walk, position)
            self.elements.leave()

    def _position(self, row: Expr) -> list[Expr]:
        position: list[Expr] = [as_expr(0)] * len(self.domain.shape)
        for axis, at in zip(self.kept, unflatten(self.block, row, self.space)):
            position[axis] = at
        return position

    def _walk(self, start: Expr, count: Expr, position: list[Expr], interleave: int, body: Callable[[], None]) -> None:
        axes = [self.parts.axis, *self.parts.inner]

        def nest(depth: int) -> None:
            axis, last = axes[depth], depth == len(axes) - 1
            extent = count if depth == 0 else as_expr(self.domain.shape[axis])
            width = self.nest.width
            form = ("vector", width, interleave) if last and width > 1 else ()
            with self.block.loop(f"r{axis}", extent, *form) as i:
                self.elements.enter()
                position[axis] = add(start, i) if depth == 0 else i
                body() if last else nest(depth + 1)
                self.elements.leave()
        nest(0)

    def _reduce_part(self, phase, row: Expr, part: Expr, walk, position: list[Expr]) -> None:
        registers = []
        for node in phase:
            registers.append(self.block.alloc("acc", node.operands[0].dtype.compute, (), "register"))
            self.block.store(registers[-1], (), self.start_value(node))

        def visit() -> None:
            for node, register in zip(phase, registers):
                self.block.accumulate(register, (), OPERATION[node.op.kind],
                                      self.elements.at(node.operands[0], tuple(position)))
        walk(self.nest.schedule.interleave or (4 if self.nest.cost < 12 else 2), visit)
        for node, register in zip(phase, registers):
            self.block.store(self.partial[node], (row, part), load(register, ()))

    def _combine(self, number: int, phase) -> None:
        with self.block.loop("row", product(self.space)) as row:
            self.elements.enter()
            for node in phase:
                register = self.block.alloc("acc", node.operands[0].dtype.compute, (), "register")
                self.block.store(register, (), self.start_value(node))
                with self.block.loop("part", self.parts.count, "vector", self.nest.width) as part:
                    self.block.accumulate(register, (), OPERATION[node.op.kind], load(self.partial[node], (row, part)))
                self.block.store(self.total[node], (row,), load(register, ()))
            if number == len(self.domain.phases) - 1:
                self.bind(self.domain.phases, lambda node: load(self.total[node], (row,)))
                self.store_kept(self._position(row))
            self.elements.leave()


# ---- columns ---------------------------------------------------------------------------------------------------------
class SplitColumns(_Split):
    """Many rows are reduced; lanes run over the kept axis `lanes`."""

    def __init__(self, nest, kept: list[int], reduced: list[int], lanes: int):
        super().__init__(nest)
        shape = self.domain.shape
        self.kept, self.space, self.lanes, self.extent = kept, tuple(shape[a] for a in kept), lanes, shape[lanes]
        self.block_size = min(ROW_OF_SUMS, -(-int(min(bounds(self.extent)[1], ROW_OF_SUMS)) // nest.width) * nest.width)
        self.parts = cut(shape, reduced, nest.cost * min(nominal(self.extent), self.block_size), 1)
        self.allocate((product(self.space),), self.parts.count, (self.extent,))

    def emit(self) -> None:
        domain = self.domain
        for number, phase in enumerate(domain.phases):
            self._each_part(number, lambda *place: self._reduce_part(phase, *place))
            self._combine(number, phase)
        full = self.full_results()
        if full:
            self._each_part(len(domain.phases), lambda *place: self._store_part(full, *place))

    def _position(self, outer: Expr) -> list[Expr]:
        position: list[Expr] = [as_expr(0)] * len(self.domain.shape)
        for axis, at in zip(self.kept, unflatten(self.block, outer, self.space)):
            position[axis] = at
        return position

    def _each_part(self, known: int, visit) -> None:
        blocks = ceil_div(self.extent, self.block_size)
        with spread(self.block, (product(self.space), self.parts.count, blocks), PART_WORK) as (outer, part, number):
            self.elements.enter()
            first = self.block.let("first", mul(number, self.block_size))
            exact = isinstance(self.extent, int) and self.extent % self.block_size == 0
            left = minimum(sub(as_expr(self.extent), first), self.block_size)
            columns = as_expr(self.block_size) if exact else self.block.let("columns", left)
            position = self._position(outer)
            visit(known, outer, part, first, columns, position)
            self.elements.leave()

    def _each_column(self, known: int, outer: Expr, first: Expr, columns: Expr, position: list[Expr], body) -> None:
        """`body(lane)` for each column of a block, with the totals of the phases before at hand."""
        with self.block.loop("column", columns, "vector", self.nest.width) as lane:
            self.elements.enter()
            column = position[self.lanes] = self.block.let("at", add(first, lane))
            self.bind(self.domain.phases[:known], lambda node: load(self.total[node], (outer, column)))
            body(lane)
            self.elements.leave()

    def _rows(self, part: Expr, position: list[Expr], body: Callable[[int], None]) -> None:
        """`body(rows)` with `position` at the first of ROWS_AT_ONCE rows, or at one that is left over."""
        block, axes = self.block, [self.parts.axis, *self.parts.inner]
        start, count = self.parts.locate(block, part, position)

        def nest(depth: int) -> None:
            axis = axes[depth]
            extent = count if depth == 0 else as_expr(self.domain.shape[axis])
            begin = start if depth == 0 else as_expr(0)
            if depth < len(axes) - 1:
                with block.loop(f"r{axis}", extent) as i:
                    position[axis] = add(begin, i)
                    nest(depth + 1)
                return
            groups = floordiv(extent, ROWS_AT_ONCE)
            with block.loop(f"r{axis}", groups) as i:
                position[axis] = block.let("row", add(begin, mul(i, ROWS_AT_ONCE)))
                body(ROWS_AT_ONCE)
            with block.loop(f"r{axis}", mod(extent, ROWS_AT_ONCE)) as i:
                position[axis] = block.let("row", add(add(begin, mul(groups, ROWS_AT_ONCE)), i))
                body(1)
        nest(0)

    def _reduce_part(self, phase, known: int, outer: Expr, part: Expr, first: Expr, columns: Expr,
                     position: list[Expr]) -> None:
        block, axis = self.block, (self.parts.axis, *self.parts.inner)[-1]
        sums = [block.alloc("sums", node.operands[0].dtype.compute, (self.block_size,), "stack") for node in phase]
        with block.loop("column", columns, "vector", self.nest.width) as lane:
            for node, row in zip(phase, sums):
                block.store(row, (lane,), self.start_value(node))

        def rows(count: int) -> None:
            here = position[axis]

            def column(lane: Expr) -> None:
                for node, row in zip(phase, sums):
                    values = []
                    for i in range(count):
                        position[axis] = add(here, i)
                        values.append(self.elements.at(node.operands[0], tuple(position)))
                    while len(values) > 1:
                        values = [binary(OPERATION[node.op.kind], a, b) for a, b in zip(values[::2], values[1::2])]
                    block.accumulate(row, (lane,), OPERATION[node.op.kind], values[0])
                position[axis] = here
            self._each_column(known, outer, first, columns, position, column)
        self._rows(part, position, rows)
        with block.loop("column", columns, "vector", self.nest.width) as lane:
            for node, row in zip(phase, sums):
                block.store(self.partial[node], (outer, part, add(first, lane)), load(row, (lane,)))

    def _combine(self, number: int, phase) -> None:
        block, is_last = self.block, number == len(self.domain.phases) - 1
        parts = self.parts.count
        space, width = (product(self.space),), self.nest.width
        with spread_columns(block, space, self.extent, width, nominal(parts)) as ((outer,), first, columns):
            self.elements.enter()
            position = self._position(outer)

            def column(lane: Expr) -> None:
                for node in phase:
                    register = block.alloc("acc", node.operands[0].dtype.compute, (), "register")
                    block.store(register, (), self.start_value(node))
                    with block.loop("part", parts) as part:
                        block.accumulate(register, (), OPERATION[node.op.kind],
                                         load(self.partial[node], (outer, part, position[self.lanes])))
                    result = block.let(node.op.kind, load(register, ()))
                    block.store(self.total[node], (outer, position[self.lanes]), result)
                    self.elements.computed[node.results[0]] = lambda index, result=result: result
                if is_last:
                    self.store_kept(position)
            self._each_column(number, outer, first, columns, position, column)
            self.elements.leave()

    def _store_part(self, full, known: int, outer: Expr, part: Expr, first: Expr, columns: Expr,
                    position: list[Expr]) -> None:
        axis = (self.parts.axis, *self.parts.inner)[-1]

        def rows(count: int) -> None:
            here = position[axis]

            def column(lane: Expr) -> None:
                for i in range(count):
                    position[axis] = add(here, i)
                    self.store(full, position)
                position[axis] = here
            self._each_column(known, outer, first, columns, position, column)
        self._rows(part, position, rows)
