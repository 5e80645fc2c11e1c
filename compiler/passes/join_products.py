"""Which products read the same operand?  With their constant weights side by side they are one.

Cells are often written gate by gate, each with weights of its own: joined, they are the one product with gates that has a kernel.
Queries, keys and values are three products of one sequence, which attention reads through views: joined, with their biases, they are
one kernel in place of three. Products that something elementwise reads stay apart, since that is done on their own tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.types import TensorType
from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, holds, map_subgraphs
from ..ops.constant import Constant
from ..ops.constants import broadcast, constant_part
from ..ops.contract import Contract
from ..ops.control import Cond, Scan, While
from ..ops.elementwise import Add
from ..ops.rearrange import Concat, Reshape, Slice, Transpose


@dataclass(frozen=True, eq=False)
class _Member:
    """A product, and the node that adds its `bias` where it has one."""

    product: Node
    bias: np.ndarray | None = None
    last: Node | None = None

    @property
    def end(self) -> Node:
        return self.last or self.product


def join_products(graph: Graph) -> Graph:
    """`graph` with sibling products joined: in its loops' and branches' bodies, and those that are read through views."""
    def transform(builder: Builder, node: Node, operands):
        op = map_subgraphs(node.op, lambda body: _joined(join_products(body), _gate))
        return builder.emit_all(op, *operands) if op is not node.op else None
    if holds(graph, Cond, Scan, While):
        graph = rebuild(graph, transform=transform, fold=False)
    return _joined(graph, _viewed)


def _gate(graph: Graph, node: Node) -> _Member:
    return _Member(node)


def _viewed(graph: Graph, node: Node) -> _Member | None:
    """A product with or without a bias that views alone read."""
    value = node.results[0]
    users = graph.users.get(value, ())
    if len(users) == 1 and isinstance(users[0].op, Add) and value not in graph.results:
        (other,) = (o for o in users[0].operands if o is not value) if users[0].operands[0] is not users[0].operands[1] else (value,)
        found = constant_part(other)
        if found is None or found[1] != (value.type.rank - 1,):
            return None
        member = _Member(node, found[0], users[0])
    else:
        member = _Member(node)
    result = member.end.results[0]
    readers = graph.users.get(result, ())
    is_viewed = bool(readers) and all(isinstance(u.op, (Reshape, Transpose)) for u in readers) and result not in graph.results
    return member if is_viewed else None


def _joined(graph: Graph, member_of) -> Graph:
    """`graph` with families of products joined; `member_of(graph, node)` is a product as a member, or None."""
    siblings: dict[tuple, list[_Member]] = {}
    for node in graph.nodes:
        key = _key(node)
        member = member_of(graph, node) if key is not None else None
        if member is not None:
            siblings.setdefault((*key, member.bias is None), []).append(member)
    family_of = {m.product: members for members in siblings.values() if len(members) > 1 for m in members}
    if not family_of:
        return graph
    ends = {m.end: m for members in family_of.values() for m in members}
    parts: dict[Node, Value] = {}

    def transform(builder: Builder, node: Node, operands):
        if node in family_of and family_of[node][0].product not in parts:
            parts.update(_emit_family(builder, family_of[node], operands[0]))
        if node in ends:
            return parts[ends[node].product]
        return parts[node] if node in family_of else None
    return rebuild(graph, transform=transform, fold=False)


def _emit_family(builder: Builder, family: list[_Member], operand: Value) -> dict[Node, Value]:
    """The joined product, and each member's part of it."""
    first = family[0].product
    op, rank = first.op, first.results[0].type.rank
    axis = op.terms[1].index(op.terms[2][-1])
    constants = [m.product.operands[1].op for m in family]
    weights = builder.emit(Concat(axis), *(builder.constant(c.array, c.label) for c in constants))
    whole = builder.emit(op, operand, weights)
    if family[0].bias is not None:
        biases = builder.constant(np.concatenate([m.bias for m in family]))
        whole = builder.emit(Add(), whole, broadcast(builder, biases, whole.shape, (rank - 1,)))
    parts, start = {}, 0
    for member in family:
        shape = member.product.results[0].shape
        parts[member.product] = builder.emit(Slice((0,) * (rank - 1) + (start,), shape, (1,) * rank), whole)
        start += shape[-1]
    return parts


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
