"""How does an op that is neither pointwise nor a template become loops?  Its own `lower` writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from ..core.errors import UnsupportedError
from ..graph.graph import Graph, Value
from ..kernel.builder import BlockBuilder, as_expr
from ..kernel.ir import Buffer, Expr, Kernel
from ..targets.target import Target
from .elements import Elements
from .loops import group_symbols, reader


@dataclass(frozen=True)
class Reader:
    """Where an operand comes from: `reader(index)` gives an element; `buffer` is where they stand, if they do."""

    buffer: Buffer | None
    element: Callable[[tuple], Expr]

    def __call__(self, index) -> Expr:
        return self.element(index)


@dataclass(frozen=True)
class Writer:
    """Where a result goes: `store(index, value)` (the value is rounded to the dtype) and `load(index)` of what was
    stored."""

    buffer: Buffer
    store: Callable[[tuple, Expr], None]
    load: Callable[[tuple], Expr]


def lower_single(body: Graph, params: list[Buffer], results: list[Buffer], target: Target, name: str) -> Kernel:
    """The kernel of a group whose last node has a `lower` of its own; what comes before it is spliced into its
    reads."""
    symbols = group_symbols(body, *params, *results)
    block = BlockBuilder(symbols)
    elements = Elements(body, block, {})
    for value, buffer in zip(body.params, params):
        elements.computed[value] = reader(buffer, buffer)
    node = next(n for n in body.nodes if body.results[0] in n.results)
    if not hasattr(node.op, "lower"):
        raise UnsupportedError(f"{node.op.name} has no native lowering", location=node.location)

    buffers = dict(zip(body.params, params))

    def read(operand: Value) -> Reader:
        def at(index) -> Expr:
            elements.enter()  # an index may come again in another loop, where what was bound here is out of reach
            value = elements.at(operand, tuple(map(as_expr, index)))
            elements.leave()
            return value
        return Reader(buffers.get(operand), at)

    def writer(buffer: Buffer) -> Writer:
        own = reader(buffer, buffer)
        return Writer(buffer, lambda index, value: block.store(buffer, index, value), own)
    by_value = dict(zip(body.results, results))
    writers = [writer(by_value[r]) if r in by_value else None for r in node.results]
    node.op.lower(block, list(map(read, node.operands)), writers, [o.type for o in node.operands], target)
    return Kernel(name, (*params, *results, *block.workspaces), block.statements, tuple(symbols))
