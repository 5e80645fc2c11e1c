"""Which products of a loop's body read the same operand?  With their constant weights side by side they are one.

Cells are often written gate by gate, each with weights of its own. Joined, they are the one product with gates that has
a kernel.
"""

from __future__ import annotations

from ..core.types import TensorType
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.rearrange import Concat, Slice


def join_products(graph: Graph) -> Graph:
    """`graph` with sibling products of its loops' and branches' bodies joined."""
    def transform(builder: Builder, node: Node, operands):
        op = map_subgraphs(node.op, lambda body: _joined(join_products(body)))
        return builder.emit_all(op, *operands) if op is not node.op else None
    return rebuild(graph, transform=transform, fold=False)


def _joined(body: Graph) -> Graph:
    siblings: dict[tuple, list[Node]] = {}
    for node in body.nodes:
        key = _key(node)
        if key is not None:
            siblings.setdefault(key, []).append(node)
    family_of = {n: nodes for nodes in siblings.values() if len(nodes) > 1 for n in nodes}
    parts: dict[Node, Value] = {}

    def transform(builder: Builder, node: Node, operands):
        family = family_of.get(node)
        if family is None:
            return None
        if node not in parts:
            op = node.op
            axis = op.terms[1].index(op.terms[2][-1])
            constants = [n.operands[1].op for n in family]
            weights = builder.emit(Concat(axis), *(builder.constant(c.array, c.label) for c in constants))
            whole, start = builder.emit(op, operands[0], weights), 0
            for n in family:
                shape = n.results[0].shape
                starts = (0,) * (len(shape) - 1) + (start,)
                parts[n] = builder.emit(Slice(starts, shape, (1,) * len(shape)), whole)
                start += shape[-1]
        return parts[node]
    return rebuild(body, transform=transform) if family_of else body


def _key(node: Node) -> tuple | None:
    """What siblings have in common: the left operand, the letters, the type of the weights but for their columns."""
    op = node.op
    if not isinstance(op, Contract) or not node.results[0].dtype.is_float:
        return None
    left, weights = node.operands
    lhs, rhs, result = op.terms
    if not isinstance(weights.op, Constant) or isinstance(left.op, Constant) or not result or result[-1] in lhs:
        return None
    axis = rhs.index(result[-1])
    return left, op.spec, axis, TensorType((*weights.shape[:axis], 0, *weights.shape[axis + 1:]), weights.dtype)
