"""What is a model?  A Graph: nodes in topological order, each an op applied to values. Pure, immutable, typed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Callable, Iterable, Iterator

import numpy as np

from ..core.dims import Symbol, symbols_of
from ..core.location import UNKNOWN, Location
from ..core.types import TensorType


@dataclass(frozen=True, eq=False)
class Value:
    """Result number `index` of `node`, or graph parameter where `node` is None. Identity is what makes two values equal."""

    type: TensorType
    node: "Node | None" = None
    index: int = 0
    name: str = ""

    @property
    def shape(self):
        return self.type.shape

    @property
    def dtype(self):
        return self.type.dtype

    @property
    def op(self):
        """The op that makes this value; None for a parameter."""
        return self.node.op if self.node is not None else None

    def __repr__(self) -> str:
        return f"<{self.name or 'value'}: {self.type}>"


@dataclass(frozen=True, eq=False)
class Node:
    """`op` applied to `operands`; `results` are its values; `location` is the user's line."""

    op: "object"
    operands: tuple[Value, ...]
    result_types: tuple[TensorType, ...]
    location: Location = UNKNOWN
    results: tuple[Value, ...] = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "results", tuple([Value(t, self, i) for i, t in enumerate(self.result_types)]))

    def __repr__(self) -> str:
        return f"<{type(self.op).__name__} -> {', '.join(map(str, self.result_types))}>"


@dataclass(frozen=True, eq=False)
class Graph:
    """A function from `params` to `results` through `nodes` (topological order).

    `names` gives the public names of results; params carry their own. Two graphs are equal when their text is.
    """

    params: tuple[Value, ...]
    nodes: tuple[Node, ...]
    results: tuple[Value, ...]
    name: str = "main"
    result_names: tuple[str, ...] = field(default=())

    @cached_property
    def users(self) -> dict[Value, tuple[Node, ...]]:
        """The nodes that read each value, in order, a node once for each operand position."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for operand in node.operands:
                found.setdefault(operand, []).append(node)
        return {value: tuple(nodes) for value, nodes in found.items()}

    @cached_property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols of the parameters' shapes, in order of first occurrence."""
        return tuple(symbols_of(*(d for p in self.params for d in p.shape)))

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(p.name or f"arg{i}" for i, p in enumerate(self.params))

    @property
    def output_names(self) -> tuple[str, ...]:
        return self.result_names or tuple(f"out{i}" for i in range(len(self.results)))

    def __str__(self) -> str:
        from .text import print_graph
        return print_graph(self)

    def __eq__(self, other) -> bool:
        return self is other or (isinstance(other, Graph) and str(self) == str(other))

    @cached_property
    def _hash(self) -> int:
        # Cheaper than the text that equality compares, but numbers and views tell bodies of one kind apart: a thousand
        # groups that differ in a number alone would otherwise all be compared with one another.
        return hash((len(self.params), tuple(n.op.outline() for n in self.nodes), tuple(r.type for r in self.results)))

    def __hash__(self) -> int:
        return self._hash

    def verify(self) -> "Graph":
        """Check every rule of the IR; VerifyError names the first node that breaks one. Returns the graph itself.

        A graph does not change: one that kept the rules is not looked at again.
        """
        if "_is_verified" not in self.__dict__:
            from .verify import verify
            verify(self)
            self.__dict__["_is_verified"] = True
        return self

    def evaluate(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the graph with the ops' NumPy references: the oracle. One array for each parameter, one for each result."""
        from .interpret import interpret
        return interpret(self, arrays)


def walk(graph: Graph) -> Iterator[Node]:
    """Every node of `graph` and of the sub-graphs that its ops hold, outer first."""
    for node in graph.nodes:
        yield node
        for inner in subgraphs(node.op):
            yield from walk(inner)


def subgraphs(op) -> Iterable[Graph]:
    """The graphs that an op holds in its fields (control flow and fusion)."""
    for value in vars(op).values():
        if isinstance(value, Graph):
            yield value
        elif isinstance(value, tuple):
            yield from (g for g in value if isinstance(g, Graph))


def holds(graph: Graph, *op_classes: type) -> bool:
    """Whether `graph`, or a sub-graph in it, has a node of one of these op classes: else their passes have nothing to do."""
    return any(isinstance(node.op, op_classes) for node in walk(graph))


def map_subgraphs(op, function: Callable[[Graph], Graph]):
    """`op` with `function` applied to the graphs that it holds; `op` itself where that gives each of them back."""
    changes = {}
    for name, value in vars(op).items():
        if isinstance(value, Graph):
            new = function(value)
            if new is not value:
                changes[name] = new
        elif isinstance(value, tuple) and any(isinstance(g, Graph) for g in value):
            found = tuple(map(function, value))
            if any(a is not b for a, b in zip(found, value)):
                changes[name] = found
    return replace(op, **changes) if changes else op
