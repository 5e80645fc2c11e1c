"""Which dims did the user leave open, and what is known of them?  Strings in shapes and `dims=` become symbols with
facts."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Iterable, Mapping, Sequence

from ..compiler.core.dims import UNBOUNDED, Dim, DimExpr, Symbol, parse_dim, parse_symbol, substitute, symbols_of
from ..compiler.core.errors import LaminaError, ShapeError
from ..compiler.core.types import TensorType
from ..compiler.graph.builder import Builder
from ..compiler.graph.graph import Graph

#: A declaration of one dim: an extent, (lower, upper), (lower, upper, multiple), or text such as "1..64%8".
Facts = int | tuple[int, int] | tuple[int, int, int] | str
_DECLARATION = re.compile(r"\s*[A-Za-z_][\w.]*\s*(=.*)?")


def facts_of(name: str, facts: Facts) -> Symbol:
    """The symbol `name` with these facts."""
    if isinstance(facts, str):
        return parse_symbol(f"{name}={facts}")
    if isinstance(facts, int):
        return Symbol(name, facts, facts)
    try:
        lower, upper, multiple = (*facts, 1)[:3] if len(facts) in (2, 3) else ()
        lower, upper, multiple = int(lower), UNBOUNDED if upper is None else int(upper), int(multiple)
    except (TypeError, ValueError):
        raise ShapeError(f"can't read the facts {facts!r} of dim {name!r}",
                         hint='give an extent, (lower, upper), (lower, upper, multiple) or "1..64%8"') from None
    return Symbol(name, lower, upper, multiple)


class Symbols:
    """The symbols of one trace: every mention of a name is one symbol, with the facts of all mentions."""

    def __init__(self, dims: Mapping[str, Facts] | None = None):
        self.declared = {name: facts_of(name, facts) for name, facts in (dims or {}).items()}
        self.known: dict[str, Symbol] = {}

    def collect(self, shape: Iterable) -> None:
        """Read the facts that a shape's strings and dims bring."""
        for dim in shape:
            if isinstance(dim, str) and _DECLARATION.fullmatch(dim):
                self._add(parse_symbol(dim.replace(" ", "")))
            elif isinstance(dim, str):
                self._collect_expression(parse_dim(dim, {}))
            elif isinstance(dim, DimExpr):
                self._collect_expression(dim)

    def _collect_expression(self, dim: Dim) -> None:
        for symbol in symbols_of(dim):
            self._add(symbol)

    def _add(self, symbol: Symbol) -> None:
        known = self.known.get(symbol.name)
        bare = Symbol(symbol.name)
        if known is None or known == bare:
            self.known[symbol.name] = symbol
        elif symbol not in (known, bare):
            raise ShapeError(f"dim {symbol.name!r} is declared as {known.facts()} and as {symbol.facts()}",
                             hint="declare its facts once, in one shape or in dims=")

    def resolve(self, shape: Iterable) -> tuple[Dim, ...]:
        """The shape with its strings as dims; a dim that can have one extent alone is that extent."""
        return tuple(self._resolve(dim) for dim in shape)

    def _resolve(self, dim) -> Dim:
        if isinstance(dim, str):
            dim = parse_dim(dim.partition("=")[0], {})
        return dim if isinstance(dim, int) else substitute(dim, self.mapping())

    def mapping(self) -> dict[str, Dim]:
        """The dim that each name stands for."""
        return {name: _as_dim(self.declared.get(name, symbol)) for name, symbol in self.known.items()}

    def check_declared(self) -> None:
        """A ShapeError where `dims` declares a name that no shape mentions."""
        unknown = [name for name in self.declared if name not in self.known]
        if unknown:
            raise ShapeError(f"dims declares {', '.join(map(repr, unknown))}, which no input's shape has",
                             hint="the inputs have " + (", ".join(map(repr, self.known)) or "constant shapes"))


def _as_dim(symbol: Symbol) -> Dim:
    return symbol.lower if symbol.lower == symbol.upper else DimExpr((((symbol,), 1),))


def with_dims(graph: Graph, dims: Mapping[str, Facts] | None) -> Graph:
    """`graph` with its symbolic dims declared anew: other facts, or an extent. Every type is inferred again."""
    if not dims:
        return graph
    symbols = Symbols(dims)
    for param in graph.params:
        symbols.collect(param.shape)
    symbols.check_declared()
    return _substituted(graph, symbols.mapping())


def _substituted(graph: Graph, mapping: Mapping[str, Dim]) -> Graph:
    builder = Builder(graph.name)
    env = {}
    for p in graph.params:
        env[p] = builder.parameter(TensorType(tuple(substitute(d, mapping) for d in p.shape), p.dtype), p.name)
    for node in graph.nodes:
        builder.location = node.location
        op = _field(node.op, mapping)
        try:
            results = builder.emit_all(op, *(env[o] for o in node.operands))
        except LaminaError as error:
            error.hint = error.hint or "the model does not allow these dims"
            raise
        env.update(zip(node.results, results))
    return builder.finish([env[r] for r in graph.results], graph.result_names)


def _field(value, mapping: Mapping[str, Dim]):
    """A field of an op, or an op itself, with dims replaced."""
    if isinstance(value, DimExpr):
        return substitute(value, mapping)
    if isinstance(value, Graph):
        return _substituted(value, mapping)
    if isinstance(value, tuple):
        new: Sequence = tuple(_field(v, mapping) for v in value)
        return new if any(n is not v for n, v in zip(new, value)) else value
    if is_dataclass(value) and not isinstance(value, type) and hasattr(value, "infer"):
        changed = {f.name: (getattr(value, f.name), _field(getattr(value, f.name), mapping)) for f in fields(value)}
        changed = {name: new for name, (old, new) in changed.items() if new is not old}
        return replace(value, **changed) if changed else value
    return value
