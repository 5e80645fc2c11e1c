"""What is a graph as a picture?  DOT text for Graphviz: nodes, typed edges, graphs inside ops as clusters."""

from __future__ import annotations

import itertools

import numpy as np

from ...compiler.core.dims import DimExpr
from ...compiler.core.dtypes import DType
from ...compiler.graph.graph import Graph, Node, Value, subgraphs
from ...compiler.ops.constant import Constant

_SHOWN = 60  # characters of an attribute list


def graph_dot(graph: Graph) -> str:
    """The DOT text of `graph` (https://graphviz.org/doc/info/lang.html)."""
    lines = [f"digraph {quoted(graph.name)} {{", '  rankdir=TB; node [shape=box, style="rounded,filled", fillcolor="#f4f4f0", '
             'fontname="Helvetica", fontsize=11]; edge [fontname="Helvetica", fontsize=9, color="#777777"];']
    _Drawing(lines).graph(graph, "  ")
    return "\n".join([*lines, "}"]) + "\n"


def quoted(text: str) -> str:
    """A DOT string; a newline in `text` becomes a line break."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class _Drawing:
    def __init__(self, lines: list[str]):
        self.lines = lines
        self.numbers = itertools.count()

    def graph(self, graph: Graph, indent: str) -> None:
        """Draw the nodes, the edges between them, and the graphs that they hold."""
        ids: dict[Value, str] = {}
        for param, name in zip(graph.params, graph.input_names):
            ids[param] = self.box(f"{name}\n{param.type}", indent, 'shape=ellipse, fillcolor="#dcebf7"')
        for node in graph.nodes:
            me = self.node(node, indent)
            for operand in node.operands:
                self.lines.append(f"{indent}{ids[operand]} -> {me} [label={quoted(str(operand.type))}];")
            ids.update(dict.fromkeys(node.results, me))
        for result, name in zip(graph.results, graph.output_names):
            end = self.box(name, indent, 'shape=ellipse, fillcolor="#e2f3dc"')
            self.lines.append(f"{indent}{ids[result]} -> {end} [label={quoted(str(result.type))}];")

    def node(self, node: Node, indent: str) -> str:
        inside = list(subgraphs(node.op))
        if isinstance(node.op, Constant):
            return self.box(f"{node.op.label or 'constant'}\n{node.result_types[0]}", indent, 'shape=note, fillcolor="#eeeeee"')
        text = node.op.name + attributes_text(node)
        if not inside:
            return self.box(text, indent, f"tooltip={quoted(str(node.location))}" if str(node.location) else "")
        me = self.box(text, indent, 'fillcolor="#fbe9d0"')
        for graph in inside:
            self.lines += [f"{indent}subgraph cluster_{next(self.numbers)} {{", f'{indent}  label={quoted(node.op.name)}; color="#c0a060";']
            self.graph(graph, indent + "  ")
            self.lines.append(f"{indent}}}")
        return me

    def box(self, label: str, indent: str, style: str = "") -> str:
        name = f"n{next(self.numbers)}"
        self.lines.append(f"{indent}{name} [label={quoted(label)}{', ' + style if style else ''}];")
        return name


def attributes_text(node: Node) -> str:
    """The attributes that are short enough to stand in a box, on a line of their own."""
    parts = []
    for name, value in node.op.attributes().items():
        if isinstance(value, (Graph, np.ndarray)) or (isinstance(value, tuple) and any(isinstance(v, Graph) for v in value)):
            continue
        if value is None or value == "" or isinstance(value, (DType, DimExpr)) and name == "dtype":
            continue
        parts.append(f"{name}={_short(value)}")
    text = ", ".join(parts)
    return f"\n{text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}" if text else ""


def _short(value) -> str:
    return f"({', '.join(_short(v) for v in value)})" if isinstance(value, tuple) else str(value)
