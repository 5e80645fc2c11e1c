"""Which captured values does a loop body know?  Constants move into the bodies that use them, where they can fold and be packed."""

from __future__ import annotations

from dataclasses import replace

from ..graph.builder import Builder, rebuild
from ..graph.graph import Graph, Value
from ..ops.constant import Constant
from ..ops.control import Cond, Scan, While


def sink_constants(graph: Graph) -> Graph:
    """`graph` with the constant operands of its loops and branches inside their bodies."""
    if not any(isinstance(n.op, (Cond, Scan, While)) for n in graph.nodes):
        return graph

    def transform(builder: Builder, node, operands):
        op = node.op
        if isinstance(op, Scan):
            known = {i: operands[i].op for i in range(op.carries + op.scanned, len(operands)) if isinstance(operands[i].op, Constant)}
            body = sink_constants(_with_constants(op.body, known))
            kept = [o for i, o in enumerate(operands) if i not in known]
            length = op.length if op.length is not None or op.scanned else op.steps(*(o.type for o in operands))
            return builder.emit_all(replace(op, body=body, length=length), *kept)
        if isinstance(op, Cond):
            known = {i: operands[i + 1].op for i in range(len(operands) - 1) if isinstance(operands[i + 1].op, Constant)}
            branches = tuple(sink_constants(_with_constants(b, known)) for b in op.branches)
            return builder.emit_all(replace(op, branches=branches), operands[0], *(o for i, o in enumerate(operands[1:]) if i not in known))
        if isinstance(op, While):
            return builder.emit_all(While(sink_constants(op.condition), sink_constants(op.body)), *operands)
        return None
    return rebuild(graph, transform=transform)


def _with_constants(body: Graph, known: dict[int, Constant]) -> Graph:
    """`body` with its parameters at these positions replaced by constants."""
    builder = Builder(body.name)
    env: dict[Value, Value] = {}
    for i, param in enumerate(body.params):
        env[param] = builder.constant(known[i].array, known[i].label) if i in known else builder.parameter(param.type, param.name)
    for node in body.nodes:
        builder.location = node.location
        env.update(zip(node.results, builder.emit_all(node.op, *(env[o] for o in node.operands))))
    return builder.finish([env[r] for r in body.results], body.result_names)
