"""How does a group of pointwise ops and index maps become loops?  One nest for each shape that leaves the group.

Neighbouring axes that every address walks alike are merged, the axis with the most unit strides becomes the lanes, and the
outermost loop is spread over threads where the work pays for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..core.dims import Dim, DimExpr, Symbol, ceil_div, nominal, product, symbols_of
from ..core.dtypes import DType
from ..core.schedule import Schedule
from ..graph.graph import Graph, Value
from ..kernel.builder import BlockBuilder, add, as_expr, cast, mul
from ..kernel.ir import Buffer, Expr, Kernel, Load, Var
from ..kernel.nest import CHUNK_WORK, FEW, column_block, spread
from ..targets.target import Target
from .affine import affine
from .crossing import Access, Crossing, CrossingNest, crossing_loads, crossing_space, find_crossing
from .elements import Elements, computed, loads_of

BLOCK = 4096  # elements of a one-dimensional nest in one block
MANY = 64  # iterations that give every thread its share; of fewer, more loops are spread together


def lower_pointwise(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str,
                    schedule: Schedule = Schedule()) -> Kernel:
    """The kernel of a group without reductions. `params` and `results` are the buffers of the body's, in order."""
    symbols = group_symbols(body, *params, *results)
    block = BlockBuilder(symbols)
    nests: dict[tuple, list[tuple[Value, Buffer]]] = {}
    for value, buffer in zip(body.results, results):
        nests.setdefault(value.shape, []).append((value, buffer))
    plans = {shape: plan_nest(body, params, stores, symbols, target) for shape, stores in nests.items()}
    flat = any(plan.is_merged or plan.crossing for plan in plans.values())
    inputs = [flatten(b) if flat else b for b in params]
    outputs = {b.name: flatten(b) if flat else b for b in results}
    for shape, stores in nests.items():
        elements = Elements(body, block, {})
        for value, buffer, own in zip(body.params, params, inputs):
            elements.computed[value] = reader(buffer, own)
        plan = plans[shape]
        with spread(block, *plan.space) as index:
            emit_nest(elements, plan, list(zip(body.params, params, inputs)), [(v, b, outputs[b.name]) for v, b in stores], block, index, schedule)
    return Kernel(name, tuple(inputs) + tuple(outputs[b.name] for b in results), block.statements,
                  tuple(s.name for s in symbols.values()))


def group_symbols(body: Graph, *buffers: Buffer) -> dict[str, Symbol]:
    """The symbols that a group's kernel may ask for: those of its values' shapes, of its ops, and of where its buffers lie."""
    dims = [d for v in (*body.params, *(r for n in body.nodes for r in n.results)) for d in v.shape]
    dims += [d for b in buffers for d in (*b.shape, *b.strides)]
    for node in body.nodes:
        for value in node.op.attributes().values():
            dims += [d for d in (value if isinstance(value, tuple) else (value,)) if isinstance(d, DimExpr)]
    return {s.name: s for s in symbols_of(*dims)}


def flatten(buffer: Buffer) -> Buffer:
    """The same storage as one axis."""
    span: Dim = 1
    for extent, stride in zip(buffer.shape, buffer.strides):
        span = span + (extent - 1) * (stride if not isinstance(stride, int) or stride > 0 else 0)
    return Buffer(buffer.name, buffer.dtype, (span,), (1,), buffer.role, buffer.space)


def flat_index(buffer: Buffer, index) -> Expr:
    total: Expr = as_expr(0)
    for i, stride in zip(index, buffer.strides):
        total = add(total, mul(i, as_expr(stride)))
    return total


def reader(buffer: Buffer, own: Buffer):
    """A function of the index that reads `buffer` through its kernel parameter `own` (itself, or flattened)."""
    wide = buffer.dtype.compute
    if own is buffer:
        return lambda index: cast(wide, Load(buffer, tuple(map(as_expr, index))))
    return lambda index: cast(wide, Load(own, (flat_index(buffer, index),)))


def store_element(block: BlockBuilder, buffer: Buffer, own: Buffer, index, value: Expr, streaming: bool = False) -> None:
    block.store(own, index if own is buffer else (flat_index(buffer, index),), value, streaming)


@dataclass(frozen=True)
class NestPlan:
    """Loops for one shape: `runs` of axes that go as one loop (outermost first), the one that has the lanes, its lanes."""

    runs: tuple[tuple[int, ...], ...]
    extents: tuple[Dim, ...]
    vector: int | None
    width: int
    cost: int  # element operations for one element
    crossing: Crossing | None = None
    accesses: tuple[Access, ...] = ()  # where the nest crosses over: its loads, then its stores

    @property
    def is_merged(self) -> bool:
        return any(len(r) > 1 for r in self.runs)

    @cached_property
    def outer(self) -> list[int]:
        """The runs around the one that has the lanes."""
        return [i for i in range(len(self.runs)) if i != self.vector]

    @property
    def lanes(self) -> Dim:
        return 1 if self.vector is None else self.extents[self.vector]

    @property
    def block_size(self) -> int:
        """Elements of the lanes' run that make a block, where it is cut."""
        return max(self.width, min(BLOCK, 16 * CHUNK_WORK // self.cost // 16 * 16))

    @cached_property
    def spread_runs(self) -> int:
        """How many of the outer runs go as one loop over threads: as many as give each its share; none where the work pays for none.
        """
        count = 0
        if nominal(product(self.extents)) * self.cost >= 2 * CHUNK_WORK:
            while count < len(self.outer) and nominal(product(self.extents[r] for r in self.outer[:count])) < MANY:
                count += 1
        return count

    @cached_property
    def is_blocked(self) -> bool:
        """Whether the lanes' run is cut in blocks as well, since all outer runs are too few."""
        work = nominal(product(self.extents)) * self.cost
        few = nominal(product(self.extents[r] for r in self.outer)) < FEW
        return work >= 2 * CHUNK_WORK and few and nominal(self.lanes) > self.block_size

    @property
    def space(self) -> tuple[tuple[Dim, ...], int]:
        """(the space that is spread over threads, the work of one place of it)."""
        if self.crossing is not None:
            return crossing_space(self.crossing, self.extents, self.accesses, self.cost)
        shared = tuple(self.extents[r] for r in self.outer[:self.spread_runs])
        if self.is_blocked:
            return (*shared, ceil_div(self.lanes, self.block_size)), min(self.block_size, nominal(self.lanes)) * self.cost
        return shared, nominal(product(self.extents)) * self.cost // max(1, nominal(product(shared)))


def plan_nest(body: Graph, params: list[Buffer], stores: list[tuple[Value, Buffer]], symbols, target: Target) -> NestPlan:
    shape = stores[0][0].shape
    trial = BlockBuilder(symbols)
    elements = Elements(body, trial, dict(zip(body.params, params)))
    index = tuple(Var(f"$axis{i}") for i in range(len(shape)))
    values = [elements.at(v, index) for v, _ in stores]
    found: dict[int, Load] = {}
    seen: set[int] = set()
    for statement in trial.statements:
        loads_of(statement.value, found, seen)
    for v in values:
        loads_of(v, found, seen)
    names = frozenset(v.name for v in index)
    accesses = [affine(flat_index(load.buffer, load.index), names, symbols) for load in found.values()]
    accesses += [affine(flat_index(b, index), names, symbols) for _, b in stores]
    dtypes = [load.buffer.dtype for load in found.values()] + [b.dtype for _, b in stores]
    bound = used_outside_addresses((*values, *(s.value for s in trial.statements)), names)

    axes = [i for i, d in enumerate(shape) if d != 1]
    runs: list[list[int]] = []
    for axis in axes:
        if runs and _mergeable(runs[-1][-1], axis, shape, accesses, bound):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    extents = [product(shape[a] for a in run) for run in runs]
    vector = _lane_axis(runs, extents, accesses, target)
    width = _lanes(dtypes, [r.dtype for n in body.nodes for r in n.results], target,
                   vector is not None and all(f is not None and f.get(f"$axis{runs[vector][-1]}", 0) in (0, 1) for f in accesses))
    cost = 1 + sum(1 for n in body.nodes if not n.op.is_view) + 8 * sum(1 for n in body.nodes if getattr(n.op, "kernel_op", "") in SLOW)
    buffers = [load.buffer for load in found.values()] + [b for _, b in stores]
    by_run = [None if form is None else Access(b, {None: form.get("", 0), **{i: form.get(f"$axis{run[-1]}", 0) for i, run in enumerate(runs)}})
              for form, b in zip(accesses, buffers)]
    crossing = find_crossing(extents, by_run[:len(found)], by_run[len(found):], target)
    return NestPlan(tuple(map(tuple, runs)), tuple(extents), vector, width, cost, crossing, tuple(by_run) if crossing else ())


def _emit_crossing(elements: Elements, plan: NestPlan, operands, stores, block: BlockBuilder, place) -> None:
    """The loops of a nest that crosses over."""
    count, write = len(plan.accesses) - len(stores), plan.crossing.write
    crossing = {id(a.buffer): a for a in crossing_loads(list(plan.accesses[:count]), write)}
    loads = [(v, b, Access(own, crossing[id(b)].steps)) for v, b, own in operands if id(b) in crossing]
    written = [(v, b, Access(own, a.steps)) for (v, b, own), a in zip(stores, plan.accesses[count:])]
    rank = stores[0][0].type.rank

    def position(starts) -> tuple[Expr, ...]:
        index: list[Expr] = [as_expr(0)] * rank
        for run, start in zip(plan.runs, starts):
            index[run[-1]] = start
        return tuple(index)
    CrossingNest(plan.crossing, elements, plan.extents, loads, written, position, block).emit(place)


SLOW = frozenset(("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "erfc", "sin", "cos", "tan", "pow", "div", "atan2", "sqrt", "rsqrt"))


def used_outside_addresses(exprs, names: frozenset[str]) -> set[str]:
    """Loop variables whose value itself is computed with (index ramps, bounds of pads), so that their axes can't merge."""
    used: set[str] = set()
    seen: set[int] = set()

    def visit(e):
        if e is None or id(e) in seen:
            return
        seen.add(id(e))
        if isinstance(e, Var):
            if e.name in names:
                used.add(e.name)
            return
        if isinstance(e, Load):
            return
        for field in ("x", "y", "z", "condition"):
            visit(getattr(e, field, None))
    for e in exprs:
        visit(e)
    return used


def _mergeable(outer: int, inner: int, shape, accesses, bound: set[str]) -> bool:
    a, b = f"$axis{outer}", f"$axis{inner}"
    if a in bound or b in bound:
        return False
    return all(form is not None and form.get(a, 0) == form.get(b, 0) * shape[inner] for form in accesses)


def _lanes(dtypes: list[DType], inner: list[DType], target: Target, is_dense: bool) -> int:
    """Lanes for a nest that loads and stores `dtypes` and computes on `inner` ones: a vector of the widest, or two where the others
    are half of it. Bytes alone fill a vector only where they lie side by side."""
    widest = max((d.compute.itemsize for d in dtypes), default=4)
    if widest < 4:
        widest = max(widest, *(d.compute.itemsize for d in inner), 1) if is_dense else 4
    if widest == 8 and target.vector_bytes >= 32 and any(d.itemsize <= 4 for d in dtypes):
        widest = 4
    return max(1, target.vector_bytes // widest)


def _lane_axis(runs, extents, accesses, target: Target) -> int | None:
    """The loop whose neighbours lie side by side in most accesses; the last one on a tie."""
    best, best_score = None, -1.0
    for i, run in enumerate(runs):
        step = [form.get(f"$axis{run[-1]}", 0) for form in accesses if form is not None]
        score = sum(1.0 if s == 1 else 0.6 if s == 0 else 0.0 for s in step) / max(1, len(step))
        if nominal(extents[i]) < 8:
            score *= 0.3
        if i == len(runs) - 1:
            score += 0.2
        if score > best_score:
            best, best_score = i, score
    return best


def emit_nest(elements: Elements, plan: NestPlan, operands, stores, block: BlockBuilder, place: Sequence[Expr],
              schedule: Schedule = Schedule()) -> None:
    """The loops of one nest at one place of its space. `operands` and `stores` are (value, buffer, the kernel's own buffer)."""
    if plan.crossing is not None:
        _emit_crossing(elements, plan, operands, stores, block, place)
        return
    position: list[Expr] = [as_expr(0)] * stores[0][0].type.rank

    def store_lanes(start: Expr, count: Expr) -> None:
        elements.enter()
        interleave = schedule.interleave or (2 if plan.cost < 24 else 1)
        if plan.vector is None:
            store_here()
        else:
            with block.loop("lane", count, "vector", plan.width, interleave) as lane:
                position[plan.runs[plan.vector][-1]] = add(start, lane)
                store_here()
        elements.leave()

    def store_here() -> None:
        index = tuple(position)
        for (_, buffer, own), value in zip(stores, computed(block, [elements.at(value, index) for value, _, _ in stores])):
            store_element(block, buffer, own, index, value)

    def nest(rest: list[int], start: Expr, count: Expr) -> None:
        if not rest:
            store_lanes(start, count)
            return
        elements.enter()
        with block.loop("i", plan.extents[rest[0]]) as var:
            position[plan.runs[rest[0]][-1]] = var
            nest(rest[1:], start, count)
        elements.leave()

    elements.enter()
    for run, at in zip(plan.outer[:plan.spread_runs], place):
        position[plan.runs[run][-1]] = at
    start, count = column_block(block, place[-1], plan.lanes, plan.block_size) if plan.is_blocked else (as_expr(0), as_expr(plan.lanes))
    nest(plan.outer[plan.spread_runs:], start, count)
    elements.leave()
