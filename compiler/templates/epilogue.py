"""How do a group's results leave, once the main op's element is known?  The epilogue's expressions, all
before any is stored."""

from __future__ import annotations

from typing import Mapping, Sequence

from ..graph.graph import Graph, Value
from ..kernel.builder import BlockBuilder, Expr
from ..kernel.ir import Buffer
from ..lower.elements import Elements, computed
from ..lower.loops import flat_index, flatten, group_symbols, reader
from .problem import spread


def open_group(body: Graph, params: Sequence[Buffer],
               results: Sequence[Buffer]) -> tuple[dict[Value, Buffer], list[Buffer], BlockBuilder, Elements]:
    """(the kernel's own buffer of each parameter, those of the results, its statements, its elements' expressions): buffers
    flattened, and elements read from them."""
    own = {v: flatten(b) for v, b in zip(body.params, params)}
    block = BlockBuilder(group_symbols(body, *params, *results))
    elements = Elements(body, block, {})
    for value, buffer in zip(body.params, params):
        elements.computed[value] = reader(buffer, own[value])
    return own, [flatten(b) for b in results], block, elements


def store_results(block: BlockBuilder, elements: Elements, body: Graph, made: Mapping[Value, Expr],
                  results: Sequence[Buffer], own: Sequence[Buffer], index: Sequence[Expr]) -> None:
    """Store each result of `body` at `index`, where the values in `made`, all of one shape, are these. `results` are the
    results' buffers, `own` the kernel's own, flattened ones."""
    for value, expr in made.items():
        known = block.let("sum", expr)
        elements.computed[value] = lambda _, known=known: known
        shape = value.shape
    places = [spread(index, shape, result.shape) for result in body.results]
    values = computed(block, [elements.at(result, place) for result, place in zip(body.results, places)])
    for buffer, out, place, made_result in zip(results, own, places, values):
        block.store(out, (flat_index(buffer, place),), made_result)
