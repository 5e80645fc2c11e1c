"""How does a group with reductions become loops?  Softmax, norms, losses, sums: one pass over memory.

Rows: where elements of a reduced axis lie side by side in memory, one position of the kept axes is done at a time, its row in
cache: a loop over the row for each phase of reductions and one for the results. Columns: where those of a kept axis do, they are
the lanes.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.dims import bounds, nominal, product
from ..core.schedule import Schedule
from ..graph.graph import Graph, Value
from ..kernel.builder import (BlockBuilder, Expr, add, as_expr, compare, constant, floordiv, load, minimum, mod, mul, sub)
from ..kernel.ir import Buffer, Kernel, Var
from ..ops.constant import Constant
from ..ops.reduce import OPERATION, identity
from ..targets.target import Target
from .affine import affine
from .domain import Domain, find_domain
from .elements import Elements, computed, loads_of
from .loops import CHUNK_WORK, SLOW, flat_index, flatten, group_symbols, reader, store_element, used_outside_addresses
from .split_reductions import PART_WORK, SplitColumns, SplitRows

CHEAP = 8  # operations below which an element waits for its additions: four vectors are in flight, not two
ROW_LIMIT = 1 << 14  # elements of a row that is kept on the stack between phases
FEW_ROWS = 8  # rows, or blocks of columns, that are too few to give every thread its share
MANY_ROWS = 2048  # so many rows are added up in parts: sums stay accurate, and memory is read in order
COLUMN_VECTORS = 4  # vectors of columns that are reduced together: whole cache lines, several adds in flight


def lower_reduction(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str,
                    schedule: Schedule = Schedule()) -> Kernel:
    """The kernel of a group whose reductions share one domain."""
    nest = ReductionNest(body, params, results, target, schedule=schedule)
    nest.merge_reduced_axes()
    nest.emit()
    own = [nest.own.get(b, b) for b in (*params, *results)]
    return Kernel(name, (*own, *nest.block.workspaces), nest.block.statements, tuple(group_symbols(body, *params, *results)))


class ReductionNest:
    """One reduction group while its loops are being written."""

    def __init__(self, body: Graph, params: list[Buffer], results: list[Buffer], target: Target,
                 block: BlockBuilder | None = None, schedule: Schedule = Schedule()):
        self.body, self.params, self.results, self.target = body, params, results, target
        self.domain = find_domain(body)
        self.block = block or BlockBuilder(group_symbols(body, *params, *results))
        self.elements = Elements(body, self.block, {})
        for value, buffer in zip(body.params, params):
            self.elements.computed[value] = reader(buffer, buffer)
        dtypes = [v.dtype.compute for v in (*body.params, *(r for n in body.nodes for r in n.results)) if not v.dtype.is_bool]
        widest = max((d.itemsize for d in dtypes), default=4)
        self.width = max(1, target.vector_bytes // max(4, widest))
        self.cost = 1 + sum(1 + 8 * (getattr(n.op, "kernel_op", "") in SLOW) for n in body.nodes if not n.op.is_view)
        self.schedule = schedule
        self.own: dict[Buffer, Buffer] = {}  # those that the kernel sees as one axis
        self.stored: dict[Value, Buffer] = {}
        self.written: set[int] = set()

    def store(self, buffer: Buffer, index, value: Expr) -> None:
        """Write one element of a result."""
        store_element(self.block, buffer, self.own.get(buffer, buffer), index, value)

    def load(self, buffer: Buffer, index) -> Expr:
        """Read one element of a result that was written before."""
        return reader(buffer, self.own.get(buffer, buffer))(index)

    @property
    def reduced(self) -> list[int]:
        """The reduced axes that there are loops over, outermost first."""
        axes = self.domain.reduced
        return [a for a in axes if self.domain.shape[a] != 1] or list(axes[-1:])

    def merge_reduced_axes(self) -> None:
        """Reduced axes that all addresses walk as if they were one become one loop: the innermost of them takes over the
        others' extents, and buffers are seen as one axis."""
        forms, used = self._addresses()
        shape, (*others, inner) = list(self.domain.shape), self.domain.reduced
        for outer in reversed(others):
            a, b = f"$axis{outer}", f"$axis{inner}"
            if shape[outer] == 1:
                continue
            if not used & {a, b} and all(f is not None and f.get(a, 0) == f.get(b, 0) * shape[inner] for f in forms):
                shape[inner], shape[outer] = shape[inner] * shape[outer], 1
            else:
                inner = outer
        if tuple(shape) == self.domain.shape:
            return
        self.domain = replace(self.domain, shape=tuple(shape))
        self.own = {b: flatten(b) for b in (*self.params, *self.results)}
        for value, buffer in zip(self.body.params, self.params):
            self.elements.computed[value] = reader(buffer, self.own[buffer])

    def emit(self) -> None:
        domain = self.domain
        lanes = self._lane_axis()
        if lanes in domain.reduced or not domain.kept:
            self._rows(domain, sorted(self.reduced, key=lambda a: a == lanes))
        else:
            self._columns(domain, lanes)

    def _lane_axis(self) -> int:
        """The axis along which most operands and results lie side by side; the last one on a tie."""
        shape, rank = self.domain.shape, len(self.domain.shape)
        last = next((a for a in range(rank - 1, -1, -1) if shape[a] != 1), rank - 1)
        forms, _ = self._addresses()

        def score(axis: int) -> int:
            return sum(form is not None and form.get(f"$axis{axis}", 0) == 1 for form in forms) if nominal(shape[axis]) >= 8 else 0
        best = max((a for a in range(rank) if shape[a] != 1), key=score, default=last)
        return best if score(best) > score(last) else last

    def _addresses(self) -> tuple[list, set[str]]:
        """(how the address of each load, and of each store of a full result, moves with the axes; the axes whose places are
        computed with, beside addresses)."""
        domain, rank = self.domain, len(self.domain.shape)
        symbols = group_symbols(self.body, *self.params, *self.results)
        trial = BlockBuilder(symbols)
        elements = Elements(self.body, trial, dict(zip(self.body.params, self.params)))
        index = tuple(Var(f"$axis{i}") for i in range(rank))
        for phase in domain.phases:
            for node in phase:
                elements.computed[node.results[0]] = lambda index, d=node.operands[0].dtype.compute: Var("$result", d)
        full = [(v, b, layout) for v, b, layout in zip(self.body.results, self.results, domain.layouts) if domain.is_full(layout)]
        values = [elements.at(node.operands[0], index) for phase in domain.phases for node in phase]
        values += [elements.at(v, domain.index(layout, list(index))) for v, _, layout in full]
        found: dict = {}
        made = (*values, *(s.value for s in trial.statements))
        for value in made:
            loads_of(value, found)
        places = [flat_index(x.buffer, x.index) for x in found.values()]
        places += [flat_index(b, domain.index(layout, list(index))) for _, b, layout in full]
        names = frozenset(v.name for v in index)
        return [affine(place, names, symbols) for place in places], used_outside_addresses(made, names)

    # ---- rows ------------------------------------------------------------------------------------------------------
    def _rows(self, domain: Domain, reduced: list[int]) -> None:
        kept = [a for a in domain.kept if domain.shape[a] != 1]
        count = product(domain.shape[a] for a in kept)
        row_work = nominal(product(domain.shape[a] for a in domain.reduced)) * self.cost
        parallel = nominal(count) * row_work >= 2 * CHUNK_WORK and count != 1
        grain = max(1, CHUNK_WORK // max(1, row_work))
        if nominal(count) < FEW_ROWS and nominal(count) * row_work >= 2 * PART_WORK:
            SplitRows(self, kept, reduced).emit()
            return
        if count == 1:
            self.row(domain, [as_expr(0)] * len(domain.shape), reduced)
            return
        with self.block.loop("row", count, "parallel" if parallel else "serial", grain) as row:
            self.elements.enter()
            position = self._unflatten(domain, kept, row)
            self.row(domain, position, reduced)
            self.elements.leave()

    def _unflatten(self, domain: Domain, axes: list[int], flat: Expr) -> list[Expr]:
        position: list[Expr] = [as_expr(0)] * len(domain.shape)
        rest = flat
        for axis in reversed(axes[1:]):
            position[axis] = self.block.let(f"d{axis}", mod(rest, domain.shape[axis]))
            rest = floordiv(rest, domain.shape[axis])
        if axes:
            position[axes[0]] = self.block.let(f"d{axes[0]}", rest)
        return position

    def row(self, domain: Domain, position: list[Expr], reduced: list[int]) -> None:
        """One position of the kept axes; loops over `reduced`, the last of which has the lanes."""
        for number, phase in enumerate(domain.phases):
            self._phase(domain, number, phase, position, reduced)
        self._finish(domain, position, reduced, self.width)

    def _loops(self, domain: Domain, reduced: list[int], position: list[Expr], width: int, interleave: int, visit) -> None:
        """Nested loops over the reduced axes, the last one with `width` lanes; `visit(flat index in the row)`."""
        def nest(depth: int, flat: Expr) -> None:
            axis = reduced[depth]
            inner = depth == len(reduced) - 1
            kind = "vector" if inner and width > 1 else "serial"
            with self.block.loop(f"r{axis}", domain.shape[axis], kind, width if inner else 1, interleave if inner else 1) as var:
                self.elements.enter()
                position[axis] = var
                here = add(mul(flat, domain.shape[axis]), var)
                visit(here) if inner else nest(depth + 1, here)
                self.elements.leave()
        nest(0, as_expr(0))
        for axis in reduced:
            position[axis] = as_expr(0)

    def _phase(self, domain: Domain, number: int, phase, position: list[Expr], reduced: list[int], width: int | None = None) -> None:
        width = self.width if width is None else width
        registers = []
        for node in phase:
            operand = node.operands[0]
            wide = operand.dtype.compute
            register = self.block.alloc("acc", wide, (), "register")
            self.block.store(register, (), constant(identity(node.op.kind, wide), wide))
            registers.append(register)
            if width > 1 and operand not in self.stored:
                self._plan_row(domain, number, operand, reduced)
        fresh = {n.operands[0] for n in phase} & set(self.stored) - self.written_values()

        def visit(flat: Expr) -> None:
            index = tuple(position)
            for node, register in zip(phase, registers):
                operand = node.operands[0]
                value = self.elements.at(operand, index)
                if operand in fresh:
                    value = self.block.let("kept", value)
                    self._store_row(operand, flat, index, value)
                operation = OPERATION[node.op.kind]
                self.block.accumulate(register, (), "or" if value.dtype.is_bool and operation == "max" else
                                      "and" if value.dtype.is_bool and operation == "min" else operation, value)
        cost = sum(self._cost_of(n.operands[0]) for n in phase)
        interleave = self.schedule.interleave or (4 if cost < CHEAP else 2)
        self._loops(domain, reduced, position, width, interleave, visit)
        for operand in fresh:
            self._read_row(domain, operand, reduced)
        for node, register in zip(phase, registers):
            result = self.block.let(node.op.kind, load(register, ()))
            self.elements.computed[node.results[0]] = lambda index, result=result: result

    # ---- what a row keeps between phases ------------------------------------------------------------------------------
    def written_values(self) -> set[Value]:
        return {v for v in self.stored if id(v) in self.written}

    def _plan_row(self, domain: Domain, number: int, operand: Value, reduced: list[int]) -> None:
        """Keep `operand` of this phase's reduction where later loops need it and making it again costs more than reading it."""
        if operand in self.body.params or not self._needed_later(domain, number, operand):
            return
        if operand in self.body.results and self.domain.layouts[self.body.results.index(operand)] == tuple(range(len(domain.shape))):
            self.stored[operand] = self.results[self.body.results.index(operand)]
            return
        if self._cost_of(operand) < 4:
            return
        result = self._waiting_place(domain, number, operand)
        if result is not None:
            self.stored[operand] = result
            return
        size = product(domain.shape[a] for a in reduced)
        most = bounds(size)[1]
        if most <= ROW_LIMIT:
            self.stored[operand] = self.block.alloc("kept_row", operand.dtype.compute, (int(most),), "stack")

    def _waiting_place(self, domain: Domain, number: int, operand: Value) -> Buffer | None:
        """The buffer of a result where `operand` may wait: what follows reads it at the same place, and nothing of what the
        group was given, which may lie there. A softmax's exponentials are divided where they stand."""
        known = {n.results[0] for phase in domain.phases for n in phase}
        follows: dict[tuple[Value, bool], bool] = {}

        def reads_in_place(value: Value, here: bool) -> bool:
            """Whether `value` is made of sums, and of `operand` only where it is read at the index of the result (`here`)."""
            if value in known or isinstance(value.op, Constant):
                return True
            if value is operand or value.node is None:
                return value is operand and here
            if (value, here) not in follows:
                follows[value, here] = all(reads_in_place(o, here and value.op.is_pointwise) for o in value.node.operands)
            return follows[value, here]
        later = [n.operands[0] for phase in domain.phases[number + 1:] for n in phase] + list(self.body.results)
        whole = tuple(range(len(domain.shape)))
        places = (b for b, layout in zip(self.results, domain.layouts) if layout == whole and b.dtype == operand.dtype.compute)
        return next(places, None) if all(reads_in_place(v, True) for v in later) else None

    def _store_row(self, operand: Value, flat: Expr, index, value: Expr) -> None:
        buffer = self.stored[operand]
        if buffer in self.results:
            self.store(buffer, index, value)
        else:
            self.block.store(buffer, (flat,), value)

    def _read_row(self, domain: Domain, operand: Value, reduced: list[int]) -> None:
        buffer = self.stored[operand]
        self.written.add(id(operand))
        if buffer not in self.results:
            def read(index):
                flat: Expr = as_expr(0)
                for axis in reduced:
                    flat = add(mul(flat, domain.shape[axis]), index[axis])
                return load(buffer, (flat,))
            self.elements.computed[operand] = read
        else:
            self.elements.computed[operand] = lambda index: self.load(buffer, index)

    def _needed_later(self, domain: Domain, number: int, operand: Value) -> bool:
        later = {n for phase in domain.phases[number + 1:] for n in phase}
        targets = [n.operands[0] for n in later] + [r for r in self.body.results]
        reduces = {n.results[0] for phase in domain.phases for n in phase}
        stack, seen = list(targets), set()
        while stack:
            value = stack.pop()
            if value is operand:
                return True
            if value in seen or value in reduces or value.node is None:
                continue
            seen.add(value)
            stack.extend(value.node.operands)
        return False

    def _cost_of(self, value: Value) -> int:
        """Operations to make `value` again from what is stored."""
        cost, stack, seen = 0, [value], set()
        while stack:
            v = stack.pop()
            if v in seen or v.node is None or (v in self.elements.computed):
                cost += v in self.body.params
                continue
            seen.add(v)
            if not v.op.is_view:
                cost += 8 if getattr(v.op, "kernel_op", "") in SLOW else 1
            stack.extend(v.node.operands)
        return cost

    def _finish(self, domain: Domain, position: list[Expr], reduced: list[int], width: int) -> None:
        """Store the group's results: those of the kept axes once, the full ones in a loop of their own."""
        full, kept = [], []
        for value, buffer, layout in zip(self.body.results, self.results, domain.layouts):
            if id(value) in self.written and self.stored.get(value) is buffer:
                continue
            if domain.is_full(layout):
                full.append((value, buffer, layout))
            else:
                kept.append((value, buffer, layout))
        self.store_all(kept, position)
        if full:
            self._loops(domain, reduced, position, width, 2, lambda flat: self.store_all(full, position))

    def store_all(self, rows, position: list[Expr]) -> None:
        """Write an element of each (value, buffer, layout). All are computed before: one may lie where an operand does."""
        places = [(buffer, self.domain.index(layout, position)) for _, buffer, layout in rows]
        values = [self.elements.at(value, index) for (value, _, _), (_, index) in zip(rows, places)]
        for (buffer, index), value in zip(places, computed(self.block, values)):
            self.store(buffer, index, value)

    # ---- columns -----------------------------------------------------------------------------------------------------
    def _columns(self, domain: Domain, lanes: int) -> None:
        kept = [a for a in domain.kept if domain.shape[a] != 1 and a != lanes]
        reduced = self.reduced
        count, extent = product(domain.shape[a] for a in kept), domain.shape[lanes]
        column_work = nominal(product(domain.shape[a] for a in domain.reduced)) * self.cost
        wide = self.width * COLUMN_VECTORS
        block = wide if len(domain.phases) == 1 and nominal(extent) >= wide else self.width
        blocks = (extent + (block - 1)) // block
        work = nominal(count) * nominal(extent) * column_work
        streams = len(domain.phases) == 1 and nominal(extent) >= wide and column_work >= MANY_ROWS * self.cost
        if work >= 2 * PART_WORK and (streams or nominal(count * blocks) < FEW_ROWS) and column_work >= 2 * self.cost:
            SplitColumns(self, kept, reduced, lanes).emit()
            return
        kind = "parallel" if work >= 2 * CHUNK_WORK and count * blocks != 1 else "serial"
        grain = max(1, CHUNK_WORK // max(1, column_work * block))
        with self.block.loop("columns", count * blocks, kind, grain) as flat:
            self.elements.enter()
            position = self._unflatten(domain, kept, self.block.let("outer", floordiv(flat, blocks)))
            start = self.block.let("start", mul(mod(flat, blocks), block))
            whole = isinstance(extent, int) and extent % block == 0
            if block == wide:
                if whole:
                    self._wide_columns(domain, lanes, reduced, position, start)
                else:
                    fits = compare("le", add(start, block), as_expr(extent))
                    with self.block.when(fits):
                        self.elements.enter()
                        self._wide_columns(domain, lanes, reduced, list(position), start)
                        self.elements.leave()
                    with self.block.when(compare("gt", add(start, block), as_expr(extent))):
                        self.elements.enter()
                        self._narrow_columns(domain, lanes, reduced, list(position), start, block)
                        self.elements.leave()
            else:
                self._narrow_columns(domain, lanes, reduced, position, start, block)
            self.elements.leave()

    def _narrow_columns(self, domain: Domain, lanes: int, reduced, position, start: Expr, block: int) -> None:
        """One vector of columns at a time, any number of phases; the last vector is masked."""
        extent = domain.shape[lanes]
        whole = isinstance(extent, int) and extent % block == 0
        count = as_expr(block) if whole else minimum(sub(as_expr(extent), start), block)
        with self.block.loop("lane", count, "vector", self.width) as lane:
            self.elements.enter()
            position[lanes] = self.block.let("column", add(start, lane))
            for number, phase in enumerate(domain.phases):
                self._phase(domain, number, phase, position, reduced, width=1)
            self._finish(domain, position, reduced, 1)
            self.elements.leave()

    def _wide_columns(self, domain: Domain, lanes: int, reduced, position, start: Expr) -> None:
        """COLUMN_VECTORS vectors of columns together, one phase: accumulators in registers."""
        shape = (COLUMN_VECTORS, self.width)
        registers = []
        for node in domain.phases[0]:
            wide = node.operands[0].dtype.compute
            register = self.block.alloc("acc", wide, shape, "register")
            self._each_vector(lambda u, lane: self.block.store(register, (u, lane), constant(identity(node.op.kind, wide), wide)))
            registers.append(register)

        def visit(flat: Expr) -> None:
            def one(u, lane):
                position[lanes] = add(add(start, mul(u, self.width)), lane)
                for node, register in zip(domain.phases[0], registers):
                    value = self.elements.at(node.operands[0], tuple(position))
                    operation = OPERATION[node.op.kind]
                    if value.dtype.is_bool:
                        operation = {"max": "or", "min": "and"}[operation]
                    self.block.accumulate(register, (u, lane), operation, value)
            self._each_vector(one)
        self._loops(domain, reduced, position, 1, 1, visit)

        def finish(u, lane):
            position[lanes] = self.block.let("column", add(add(start, mul(u, self.width)), lane))
            for node, register in zip(domain.phases[0], registers):
                result = self.block.let(node.op.kind, load(register, (u, lane)))
                self.elements.computed[node.results[0]] = lambda index, result=result: result
            self._finish(domain, position, reduced, 1)
        self._each_vector(finish)

    def _each_vector(self, visit) -> None:
        with self.block.loop("u", COLUMN_VECTORS, "unroll") as u:
            with self.block.loop("lane", self.width, "vector", self.width) as lane:
                self.elements.enter()
                visit(u, lane)
                self.elements.leave()
