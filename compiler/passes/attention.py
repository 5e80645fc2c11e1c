"""Where does a graph compute attention?  softmax(Q K^T * scale + mask) V, found in plain matmuls and whatever stands between them.

Between the two contractions any elementwise ops, masks and one row-wise reduction pattern may stand; what counts is that the scores
are used for nothing else and that each row of them can be finished by itself.
"""

from __future__ import annotations

from ..core.dims import bounds
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value, holds
from ..lower.domain import Mismatch, find_domain
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.rearrange import Broadcast, Reshape, without_units
from ..ops.reduce import Reduce

MOST_KEYS = 1 << 13  # a tile's rows of scores stay in the L2 cache up to this length
LARGEST_REGION = 40


def match_attention(graph: Graph) -> list[list[Node]]:
    """The nodes of each attention in `graph`, in graph order."""
    found: list[list[Node]] = []
    if not holds(graph, Reduce):
        return found
    order = {n: i for i, n in enumerate(graph.nodes)}
    for node in graph.nodes:
        if isinstance(node.op, Contract) and node.results[0].dtype.is_float:
            for operand in node.operands:
                members = _match(graph, order, node, operand)
                if members is not None:
                    found.append(members)
                    break
    return found


def _match(graph: Graph, order: dict[Node, int], second: Node, weights: Value) -> list[Node] | None:
    """The attention that ends with `second`, whose operand `weights` holds the softmax; `order` tells where nodes stand."""
    region, first = _region(weights, order)
    if not any(isinstance(node.op, Reduce) for node in region):
        return None
    inside = {*region, first, second}
    for node in (*region, first):
        for value in node.results:
            if value in graph.results or any(u not in inside for u in graph.users.get(value, ())):
                return None
    scores = first.results[0]
    keys = scores.shape[-1] if scores.type.rank else 1
    if bounds(keys)[1] > MOST_KEYS or without_units(scores.shape) != without_units(weights.shape):
        return None
    if not _sums_over_keys(second, weights) or not _scores_by_key(first):
        return None
    try:
        domain = find_domain(region_graph(region, weights)[0])
    except Mismatch:
        return None
    wide = [a for a, d in enumerate(domain.shape) if d != 1]
    if [a for a in domain.reduced if domain.shape[a] != 1] != wide[-1:] or not domain.is_full(domain.layouts[0]):
        return None
    return sorted(inside, key=order.__getitem__)


def _region(weights: Value, order: dict[Node, int]) -> tuple[list[Node], Node | None]:
    """(the nodes that make `weights` from one contraction's result, that contraction)."""
    first: Node | None = None
    candidates: list[Node] = []
    stack, seen = [weights.node], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node.op, Contract):
            first = node if first in (None, node) else first
            continue
        if len(seen) > LARGEST_REGION or isinstance(node.op, Constant):
            continue
        if node.op.is_pointwise or isinstance(node.op, (Reshape, Broadcast, Reduce)):
            candidates.append(node)
            stack.extend(o.node for o in node.operands)
    if first is None or not any(isinstance(node.op, Reduce) for node in candidates):
        return [], None
    depends = {first}
    for node in sorted(candidates, key=order.__getitem__):
        if any(o.node in depends for o in node.operands):
            depends.add(node)
    return [n for n in candidates if n in depends], first


def region_graph(region: list[Node], result: Value) -> tuple[Graph, list[Value]]:
    """(`region` as a graph whose result is `result`, the values that its parameters stand for)."""
    builder = Builder("scores", fold=False)
    env: dict[Value, Value] = {}
    outer: list[Value] = []
    members = set(region)

    def value_of(value: Value) -> Value:
        if value in env:
            return env[value]
        if value.node in members:
            for operand in value.node.operands:
                value_of(operand)
            env.update(zip(value.node.results, builder.emit_all(value.node.op, *(env[o] for o in value.node.operands))))
        elif isinstance(value.op, Constant) and value.op.array.size == 1:
            env[value] = builder.constant(value.op.array)
        else:
            env[value] = builder.parameter(value.type)
            outer.append(value)
        return env[value]
    return builder.finish([value_of(result)]), outer


def _sums_over_keys(second: Node, weights: Value) -> bool:
    inputs, result = second.op.spec.split("->")
    left, right = inputs.split(",")
    mine, other = (left, right) if second.operands[0] is weights else (right, left)
    summed = [c for c in mine if c not in result]
    wide = [c for c, d in zip(mine, weights.shape) if d != 1]
    rows = [c for c in mine if c in result and c not in other]
    columns = [c for c in other if c in result and c not in mine]
    return (len(summed) == 1 and summed[0] in other and wide[-1:] == summed and len(columns) == 1 and len(rows) <= 1
            and not any(c not in result and c not in mine for c in other))


def _scores_by_key(first: Node) -> bool:
    inputs, result = first.op.spec.split("->")
    left, right = inputs.split(",")
    lone = [c for c in left + right if c not in result and (c in left) != (c in right)]
    last = result[-1:]
    query = left if last not in left else right
    rows = [c for c in result if c in query and c not in (right if query is left else left)]
    return bool(last) and (last in left) != (last in right) and not lone and len(rows) <= 1
