"""Which views need not wait for arithmetic?  Those of what is computed of parameters, such as an average that decays.

A transpose of 0.9 m keeps the product out of the kernel that adds a gradient to it: between the two it would stand in
memory. In 0.9 times the transpose of m, m a parameter, the view is strides, and the product joins that kernel.
"""

from __future__ import annotations

from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..ops.control import Cond, Scan, While
from ..ops.op import Op
from ..ops.rearrange import Broadcast, Reshape, Transpose

_CONTROL = (Cond, While, Scan)


def lift_views(graph: Graph) -> Graph:
    """`graph` with its transposes and reshapes in front of the elementwise ops on parameters that they alone read."""
    def transform(builder: Builder, node: Node, operands: tuple[Value, ...]):
        if isinstance(node.op, _CONTROL):
            return builder.emit_all(map_subgraphs(node.op, lift_views), *operands)
        if _is_lifted(graph, node):
            return _viewed(builder, node.op, operands[0], node.results[0].shape)
        return None
    if not any(isinstance(n.op, _CONTROL) or _is_lifted(graph, n) for n in graph.nodes):
        return graph
    return rebuild(graph, transform=transform, fold=False)


def _is_lifted(graph: Graph, node: Node) -> bool:
    return (isinstance(node.op, (Transpose, Reshape)) and node.operands[0].node is not None
            and _is_of_parameters(graph, node.operands[0])
            and any(not user.op.is_view for user in graph.users.get(node.results[0], ())))


def _is_of_parameters(graph: Graph, value: Value) -> bool:
    """Whether `value` is a parameter, one number everywhere, or computed of such element by element for one reader."""
    if value.node is None:
        return True
    if isinstance(value.op, Broadcast):
        return value.node.operands[0].type.rank == 0
    return (value.op.is_pointwise and len(graph.users[value]) == 1 and value not in graph.results
            and all(_is_of_parameters(graph, operand) for operand in value.node.operands))


def _viewed(builder: Builder, view: Op, value: Value, shape) -> Value:
    """`value` seen through `view`, which gives it `shape`."""
    if value.node is None:
        return builder.emit(view, value)
    if isinstance(value.op, Broadcast):
        return builder.emit(Broadcast(shape, ()), value.node.operands[0])
    return builder.emit(value.op, *(_viewed(builder, view, operand, shape) for operand in value.node.operands))
