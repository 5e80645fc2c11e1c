"""Does a graph keep the rules?  Definitions before uses, one type rule, no value of another graph."""

from __future__ import annotations

from ..core.errors import LaminaError, VerifyError
from .graph import Graph, Value, subgraphs


def verify(graph: Graph) -> None:
    """Check `graph` and the graphs inside its ops; VerifyError names the first node that breaks a rule."""
    known: set[Value] = set()
    for param in graph.params:
        if param.node is not None or param in known:
            raise VerifyError(f"graph {graph.name!r}: parameter {param!r} is a node's result or listed twice")
        known.add(param)
    for position, node in enumerate(graph.nodes):
        where = f"graph {graph.name!r}, node {position} ({type(node.op).__name__})"
        for i, operand in enumerate(node.operands):
            if operand not in known:
                raise VerifyError(f"{where}: operand {i} {operand!r} is not defined before", location=node.location)
        for inner in subgraphs(node.op):
            inner.verify()
        try:
            expected = node.op.infer(*(o.type for o in node.operands))
        except LaminaError as error:
            raise VerifyError(f"{where}: {error.message}", location=node.location) from error
        if tuple(expected) != node.result_types:
            raise VerifyError(f"{where}: result types {tuple(map(str, node.result_types))}, "
                              f"its op infers {tuple(map(str, expected))}", location=node.location)
        known.update(node.results)
    for i, result in enumerate(graph.results):
        if result not in known:
            raise VerifyError(f"graph {graph.name!r}: result {i} {result!r} is not defined in it")
    if graph.result_names and len(graph.result_names) != len(graph.results):
        raise VerifyError(f"graph {graph.name!r}: {len(graph.result_names)} names for {len(graph.results)} results")
