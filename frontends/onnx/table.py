"""Which ONNX operators can lamina import, and since which version?  The registry, and how a node calls its function.

An operator is one function: its positional parameters are the node's inputs (None where left out), its keyword-only
parameters are the attributes with ONNX's defaults, `context` (where it has one) tells the rest of the node.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Callable, Mapping, Sequence

import numpy as np

_TABLE: dict[tuple[str, str], list["Operator"]] = {}


class Refusal(Exception):
    """Raised by an operator's function: lamina does not support this node, for this reason.

    `inputs` are the names of graph inputs whose values would have to be known.
    """

    def __init__(self, reason: str, inputs: tuple[str, ...] = ()):
        super().__init__(reason)
        self.reason = reason
        self.inputs = inputs


@dataclass(frozen=True)
class Problem:
    """One node that can't be imported, and why."""

    op: str
    domain: str
    opset: int
    node: str
    reason: str
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """What a node tells beside inputs and attributes: its `name`, the number of `outputs`, which of them are `wanted`,
    the `opset` of its domain, and `run(graph, arguments, captured)` for the graphs in its attributes."""

    name: str
    outputs: int
    wanted: tuple[bool, ...]
    opset: int
    importer: Any = None
    scope: Any = None


@dataclass(frozen=True)
class Operator:
    """`function` imports the operator `name` of `domain` in every version from `since` up to the next one in the table.

    `dims` names the parameters that may hold extents that are not known as numbers (a `SymbolicArray`), `narrow` those
    that may be known arrays of types that lamina does not compute with (4-bit integers, 8-bit floats).
    """

    name: str
    domain: str
    since: int
    function: Callable
    dims: frozenset[str]
    narrow: frozenset[str]
    ignored: frozenset[str]

    @cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.function).parameters

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs; a last one with a star takes the rest."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD,
                 inspect.Parameter.VAR_POSITIONAL)
        return tuple(p.name for p in self.parameters.values() if p.kind in kinds)

    @cached_property
    def is_variadic(self) -> bool:
        return any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in self.parameters.values())

    @cached_property
    def attributes(self) -> frozenset[str]:
        return frozenset(p.name for p in self.parameters.values()
                         if p.kind is inspect.Parameter.KEYWORD_ONLY) - {"context"}

    def parameter_of(self, position: int) -> str:
        """The parameter that input number `position` goes to."""
        return self.inputs[min(position, len(self.inputs) - 1)] if self.inputs else ""

    def call(self, inputs: Sequence, attributes: Mapping[str, Any], context: Context) -> tuple:
        """The node's outputs. Refusal where an attribute or input is one that the function does not know."""
        unknown = sorted(set(attributes) - self.attributes - self.ignored)
        if unknown:
            raise Refusal(f"attribute {', '.join(unknown)} is not known to lamina")
        keywords = {k: v for k, v in attributes.items() if k in self.attributes}
        for p in self.parameters.values():
            if p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in keywords and p.name != "context":
                raise Refusal(f"the attribute {p.name} is missing")
        inputs = list(inputs)
        while inputs and inputs[-1] is None:
            inputs.pop()
        if not self.is_variadic:
            if len(inputs) > len(self.inputs):
                raise Refusal(f"{len(inputs)} inputs, lamina knows {len(self.inputs)}")
            for name in self.inputs[len(inputs):]:
                if self.parameters[name].default is inspect.Parameter.empty:
                    raise Refusal(f"the input {name} is missing")
        if "context" in self.parameters:
            keywords["context"] = context
        results = self.function(*inputs, **keywords)
        results = results if isinstance(results, (tuple, list)) and not isinstance(results, Sequenced) else (results,)
        return tuple(np.asarray(r) if isinstance(r, np.generic) else r for r in results)


class Sequenced(list):
    """An ONNX sequence while importing: a Python list of values, its length known."""


def operator(name: str, since: int = 1, domain: str = "", dims: Sequence[str] = (), narrow: Sequence[str] = (),
             ignored: Sequence[str] = ()):
    """Registers the decorated function for the operator `name` from version `since` of `domain` on.

    `dims`, `narrow`: as in `Operator`. `ignored`: attributes that change nothing here.
    """
    def register(function: Callable) -> Callable:
        versions = _TABLE.setdefault((domain, name), [])
        versions.append(Operator(name, domain, since, function, frozenset(dims), frozenset(narrow), frozenset(ignored)))
        versions.sort(key=lambda o: -o.since)
        return function
    return register


def find(domain: str, name: str, opset: int) -> Operator | None:
    """The operator as version `opset` of its domain has it, or None."""
    _load()
    return next((o for o in _TABLE.get((domain, name), ()) if o.since <= opset), None)


def versions(domain: str, name: str) -> list[Operator]:
    """Every version of the operator, newest first."""
    _load()
    return list(_TABLE.get((domain, name), ()))


def names() -> list[tuple[str, str]]:
    """Every (domain, operator) of the table."""
    _load()
    return sorted(_TABLE)


def _load() -> None:
    from . import operators
    operators.load()
