"""How is a function that is part of an op recorded?  As a closed graph: what it uses from outside becomes an
operand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Sequence

from ...compiler.core.dtypes import DType
from ...compiler.core.errors import TraceError
from ...compiler.core.types import TensorType
from ...compiler.graph.builder import Builder, inline
from ...compiler.graph.graph import Graph
from .. import tree
from .operands import as_array, cast, type_of, weak_kind
from .tracer import Tracer, trace_error, tracing


@dataclass
class Body:
    """A traced body: its graph takes the explicit arguments, then what it captured; `weak` marks weak results."""

    graph: Graph
    structure: tree.Structure
    captured: list[Tracer]
    weak: list[bool]

    @property
    def types(self) -> tuple[TensorType, ...]:
        return tuple(r.type for r in self.graph.results)


@dataclass(frozen=True)
class Argument:
    """What a body takes: the type of each leaf, its name and whether it is weak, and their structure."""

    types: tuple[TensorType, ...]
    names: tuple[str, ...]
    weak: tuple[bool, ...]
    structure: tree.Structure


def argument_of(leaves: Sequence, structure: tree.Structure, name: str) -> Argument:
    names = tuple(name + tree.dotted(path) for path in tree.paths(structure))
    return Argument(tuple(map(type_of_leaf, leaves)), names, tuple(weak_kind(x) is not None for x in leaves), structure)


def type_of_leaf(x) -> TensorType:
    return x if isinstance(x, TensorType) else type_of(as_array(x))


def record_body(function: Callable, purpose: str, *arguments: Argument, dtypes: Sequence[DType] | None = None) -> Body:
    """`function` traced for these arguments; its first results cast to `dtypes` where given."""
    with tracing(purpose.split()[-1].replace("lm.", ""), purpose) as trace:
        trees = [tree.unflatten(a.structure, [trace.parameter(t, n, w) for t, n, w in zip(a.types, a.names, a.weak)])
                 for a in arguments]
        leaves, structure = tree.flatten(function(*trees))
        weak = [weak_kind(x) is not None for x in leaves]
        leaves = [_result(x, purpose, path) for x, path in zip(leaves, tree.paths(structure))]
        if dtypes is not None:
            leaves = [cast(x, d) for x, d in zip(leaves, dtypes)] + leaves[len(dtypes):]
        graph = trace.finish(leaves)
        return Body(graph, structure, [tracer for tracer, _ in trace.captured.values()], weak)


def _result(x, purpose: str, path: str):
    try:
        return as_array(x)
    except TraceError:
        raise
    except (TypeError, ValueError):
        raise trace_error(f"{purpose} returns {type(x).__name__}{' at ' + path if path else ''}, which is no array",
                          hint="return trees of arrays and numbers") from None


def union(bodies: Sequence[Body]) -> list[Tracer]:
    """Everything that one of the bodies captured, once."""
    return list({id(t.value): t for body in bodies for t in body.captured}.values())


def closed(body: Body, captured: Sequence[Tracer], returned: bool = False) -> Graph:
    """The body's graph with parameters for all of `captured`, which it also returns at the end where `returned`."""
    explicit = len(body.graph.params) - len(body.captured)
    builder = Builder(body.graph.name)
    own = [builder.parameter(p.type, p.name) for p in body.graph.params[:explicit]]
    shared = [builder.parameter(t.value.type, t.value.name) for t in captured]
    place = {id(t.value): p for t, p in zip(captured, shared)}
    results = inline(builder, body.graph, own + [place[id(t.value)] for t in body.captured])
    return builder.finish([*results, *(shared if returned else ())])
