"""Where do the parts of one product meet again?  In the cells of recurrent networks, and in gated linear units.

An LSTM multiplies its state by the weights of four gates at once, adds the inputs' share and cuts the sum in four. Cut
at the product itself, each gate is a value of its own, and a kernel whose tiles hold the same units of all four
finishes the cell where they are.
"""

from __future__ import annotations

from ..core.dims import product
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value, holds, map_subgraphs
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.rearrange import Slice
from ..targets.target import Target
from ..templates.gates import find_gates, is_part
from ..templates.problem import stored
from ..templates.tile import choose_gate_tile
from .weights import weight_layout

LONGEST = 16  # elementwise nodes between a product and where it is cut


def match_gates(graph: Graph, node: Node, target: Target) -> tuple[list[Node], str]:
    """(the slices that are the gates of a product, "") or ([], why its parts can't share a tile; "" where it has
    none)."""
    value = node.results[0]
    cuts = [u for u in graph.users.get(value, ()) if is_part(u, value)]
    if len(cuts) < 2 or not isinstance(node.op, Contract):
        return [], ""
    gates = find_gates(graph, node)
    if not gates:
        return [], "its parts differ in extent or overlap, or something else reads the product"
    sides = [i for i in (1, 0) if _is_weight(node.operands[i])
             and weight_layout(node, i, len(gates), target)]
    if not sides:
        return [], "its weights are not known while compiling, or can't be packed by gate"
    lhs, rhs, result = node.op.terms
    rows = product(d for c, d in zip((lhs, rhs)[1 - sides[0]], node.operands[1 - sides[0]].shape) if c in result)
    if choose_gate_tile(rows, gates[0].results[0].shape[-1], len(gates), value.dtype.compute, target) is None:
        return [], f"{len(gates)} gates are more than {target.vector_registers} registers hold"
    return gates, ""


def _is_weight(value: Value) -> bool:
    """Whether `value` is a constant, or one that is widened where it is used."""
    return isinstance(stored(value).op, Constant)


def split_gates(graph: Graph) -> Graph:
    """`graph` with elementwise ops between a product of constant weights and its parts moved behind the cut."""
    if not holds(graph, Slice):
        return graph
    builder = Builder(graph.name, fold=False)
    env: dict[Value, Value] = {p: builder.parameter(p.type, p.name) for p in graph.params}
    between: set[Value] = set()  # values that are only ever read in parts
    for node in graph.nodes:
        if isinstance(node.op, Contract) and any(map(_is_weight, node.operands)):
            between.update(_cut_values(graph, node))
    parts: dict[tuple[Value, Slice], Value] = {}

    def part(value: Value, cut: Slice) -> Value:
        if (value, cut) not in parts:
            if value in between and value.op.is_pointwise:
                made = builder.emit(value.op, *(part(o, cut) for o in value.node.operands))
            else:
                made = builder.emit(cut, env[value])
            parts[value, cut] = made
        return parts[value, cut]
    for node in graph.nodes:
        builder.location = node.location
        if node.results[0] in between and node.op.is_pointwise:
            continue
        if isinstance(node.op, Slice) and node.operands[0] in between:
            env[node.results[0]] = part(node.operands[0], node.op)
            continue
        op = map_subgraphs(node.op, split_gates)
        env.update(zip(node.results, builder.emit_all(op, *(env[o] for o in node.operands))))
    return builder.finish([env[r] for r in graph.results], graph.result_names)


def _cut_values(graph: Graph, node: Node) -> list[Value]:
    """The product and the elementwise values behind it, where they are read in equal parts alone and elementwise ops
    read those."""
    shape = node.results[0].shape
    values, cuts = [node.results[0]], []
    for value in values:
        users = graph.users.get(value, ())
        if value in graph.results or not users or len(values) > LONGEST:
            return []
        for user in users:
            if is_part(user, value):
                cuts.append(user)
            elif not user.op.is_pointwise or len(user.results) != 1 or user.results[0].shape != shape:
                return []
            elif user.results[0] not in values:
                values.append(user.results[0])
    sizes = {c.results[0].shape[-1] for c in cuts}
    if len(sizes) != 1 or len({c.op.starts[-1] for c in cuts}) < 2:
        return []
    for cut in cuts:
        part = cut.results[0]
        users = graph.users.get(part, ())
        if part in graph.results or not all(u.op.is_pointwise and u.results[0].shape == part.shape for u in users):
            return []
    return values if all(c.op.starts[-1] % max(sizes) == 0 for c in cuts) else []
