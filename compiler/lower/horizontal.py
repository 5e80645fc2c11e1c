"""How do independent groups become one kernel?  One loop over the places of all of them; those that are alike share code.

This is horizontal fusion: the groups are side by side, none reads what another makes (Li, Zheng, Pekhimenko, Long,
"Automatic horizontal fusion for GPU kernels", CGO 2022). What each part's nests are spread over is laid end to end, so
that threads share all of it: a large part is many iterations, a small one is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..core.dims import Dim, nominal, product
from ..core.dtypes import bool_
from ..graph.graph import Graph
from ..graph.text import print_graph
from ..kernel.builder import BlockBuilder, as_expr, both, compare, constant, floordiv, mod, sub
from ..kernel.ir import Buffer, Expr, Kernel
from ..kernel.nest import CHUNK_WORK, unflatten
from ..targets.target import Target
from .elements import Elements
from .loops import NestPlan, emit_nest, flatten, group_symbols, plan_nest, reader


@dataclass(frozen=True)
class Part:
    """One of the groups: its body, and which of the kernel's parameters its operands and results are, by number."""

    body: Graph
    operands: tuple[int, ...]
    results: tuple[int, ...]

    @property
    def parameters(self) -> tuple[int, ...]:
        return self.operands + self.results


@dataclass(frozen=True)
class Nest:
    """A nest of loops of `parts` that are alike: `stores` are the results that it makes, by their number in a part."""

    parts: tuple[Part, ...]
    stores: tuple[int, ...]
    plan: NestPlan

    @property
    def units(self) -> Dim:
        """Iterations of the kernel's loop for each part: one where it is too small to be shared out."""
        space, work = self.plan.space
        return product(space) if nominal(product(space)) * work >= 2 * CHUNK_WORK else 1

    @property
    def total(self) -> Dim:
        """Iterations of the kernel's loop for all parts."""
        return len(self.parts) * self.units

    @property
    def work(self) -> int:
        """Element operations of all parts."""
        return len(self.parts) * nominal(product(self.plan.extents)) * self.plan.cost


def lower_horizontal(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str) -> Kernel:
    """The kernel of a group whose nodes are groups of kind "loops" that do not depend on each other."""
    buffers = [*params, *results]
    number = {v: i for i, v in enumerate((*body.params, *body.results))}
    parts = [Part(n.op.body, tuple(map(number.__getitem__, n.operands)), tuple(map(number.__getitem__, n.results)))
             for n in body.nodes]
    symbols = {}
    for part in parts:
        symbols |= group_symbols(part.body, *(buffers[i] for i in part.parameters))
    own = [flatten(b) for b in buffers]
    nests = [nest for alike in _alike(parts, buffers) for nest in _nests(alike, buffers, symbols, target)]
    block = BlockBuilder(symbols)
    total = sum((nest.total for nest in nests), 0)
    work = sum(nest.work for nest in nests)
    kind, grain = ("parallel", max(1, CHUNK_WORK * nominal(total) // work)) if work >= 2 * CHUNK_WORK else ("serial", 1)
    with block.loop("unit", total, kind, grain) as unit:
        low: Dim = 0
        for nest in nests:
            high = low + nest.total
            is_inside = both(compare("ge", unit, low), compare("lt", unit, high))
            with block.when(is_inside if len(nests) > 1 else constant(True, bool_)):
                _emit(nest, sub(unit, as_expr(low)), buffers, own, block)
            low = high
    return Kernel(name, tuple(own), block.statements, tuple(s.name for s in symbols.values()))


def _alike(parts: Sequence[Part], buffers: Sequence[Buffer]) -> Iterator[tuple[Part, ...]]:
    """`parts` in runs that one nest serves: equal bodies on equal buffers, which are equally far apart among the
    parameters."""
    kinds = [(b.dtype, b.shape, b.strides, b.role) for b in buffers]
    keys = [(print_graph(p.body, locations=False), *(kinds[i] for i in p.parameters)) for p in parts]
    start = 0
    for end in range(1, len(parts) + 1):
        if end < len(parts) and keys[end] == keys[start]:
            before, last, following = parts[max(start, end - 2)], parts[end - 1], parts[end]
            if end == start + 1 or _steps(before, last) == _steps(last, following):
                continue
        yield tuple(parts[start:end])
        start = end


def _steps(one: Part, other: Part) -> list[int]:
    return [b - a for a, b in zip(one.parameters, other.parameters)]


def _nests(parts: tuple[Part, ...], buffers: Sequence[Buffer], symbols, target: Target) -> Iterator[Nest]:
    """One nest for each shape that leaves a part."""
    part = parts[0]
    shapes: dict[tuple[Dim, ...], list[int]] = {}
    for i, result in enumerate(part.body.results):
        shapes.setdefault(result.shape, []).append(i)
    for stores in shapes.values():
        pairs = [(part.body.results[i], buffers[part.results[i]]) for i in stores]
        operands = [buffers[i] for i in part.operands]
        yield Nest(parts, tuple(stores), plan_nest(part.body, operands, pairs, symbols, target))


def _emit(nest: Nest, unit: Expr, buffers: Sequence[Buffer], own: Sequence[Buffer], block: BlockBuilder) -> None:
    """The loops of iteration `unit` of a nest: of a place of one of its parts, or of the whole part."""
    part = nest.parts[0]
    number = block.let("part", floordiv(unit, nest.units))

    def chosen(slot: int) -> Buffer:
        found = [own[p.parameters[slot]] for p in nest.parts]
        return found[0] if found[0] is found[-1] else block.choose(found, number)
    elements = Elements(part.body, block, {})
    operands = []
    for i, value in enumerate(part.body.params):
        buffer, mine = buffers[part.operands[i]], chosen(i)
        operands.append((value, buffer, mine))
        elements.computed[value] = reader(buffer, mine)
    stores = [(part.body.results[i], buffers[part.results[i]], chosen(len(part.operands) + i)) for i in nest.stores]
    space, _ = nest.plan.space
    if nest.units == 1 and product(space) != 1:
        with block.loop("row", product(space)) as row:
            emit_nest(elements, nest.plan, operands, stores, block, unflatten(block, row, space))
    else:
        emit_nest(elements, nest.plan, operands, stores, block, unflatten(block, mod(unit, nest.units), space))
