"""What are the values of a graph called?  By the names that the graph's text gives them, so that reports agree with it."""

from __future__ import annotations

from ...compiler.core.location import Location
from ...compiler.graph.graph import Graph, Value, subgraphs
from ...compiler.graph.tokens import format_name


def label_values(graph: Graph) -> dict[Value, str]:
    """The label of each value of `graph` itself, such as "%image" or "%12"; those of graphs inside it are not among them."""
    labels: dict[Value, str] = {}
    taken: set[str] = set()
    count = 0
    for param in graph.params:
        label = "%" + format_name(param.name)
        if not param.name or label in taken:
            label, count = f"%{count}", count + 1
        taken.add(label)
        labels[param] = label
    for node in graph.nodes:
        for result in node.results:
            labels[result] = f"%{count}"
            count += 1
    return labels


def label_all(graph: Graph) -> dict[Value, str]:
    """The labels of the values of `graph` and of the graphs inside it."""
    found = label_values(graph)
    for node in graph.nodes:
        for inner in subgraphs(node.op):
            found.update(label_all(inner))
    return found


def location_fields(location: Location | None) -> dict:
    """The parts of a location that are known."""
    return {} if location is None else {k: v for k, v in vars(location).items() if v}
