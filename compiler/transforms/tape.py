"""How are cotangents pulled back through a graph?  Its nodes are emitted and remembered, then visited from the last to
the first.

Reverse accumulation (Linnainmaa 1970; Griewank and Walther, "Evaluating Derivatives", 2008): each op has one rule, its
`vjp`. Ops that hold graphs have theirs here (`region_rule`), for they differentiate those graphs in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Mapping, Sequence

from ..core.errors import LaminaError
from ..core.location import Location
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value
from ..ops.elementwise import Add
from ..ops.op import Op

#: Cotangents of the operands for those of the results; None is zero.
Pullback = Callable[[Sequence[Value | None]], Sequence[Value | None]]

#: Of ops that hold graphs: rule(tape, op, operands) emits the op and gives its results and their pullback, or None
#: where it left steps on the tape itself.
RegionRule = Callable[["Tape", Op, Sequence[Value]], tuple[tuple[Value, ...], Pullback | None]]
REGIONS: dict[type[Op], RegionRule] = {}


def region_rule(*op_classes: type[Op]) -> Callable[[RegionRule], RegionRule]:
    """Registers the decorated function as the rule of these op classes."""
    def register(rule: RegionRule) -> RegionRule:
        REGIONS.update(dict.fromkeys(op_classes, rule))
        return rule
    return register


@dataclass(frozen=True)
class Step:
    """A node that was emitted, and how cotangents go back through it: code that has the place `backward`."""

    backward: Location
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    pullback: Pullback


@dataclass
class Tape:
    """The nodes that `builder` made and that depend on `active` values: those that derivatives are taken by."""

    builder: Builder
    active: set[Value]
    steps: list[Step] = field(default_factory=list)
    _recorded: set[Value] = field(default_factory=set)

    def emit(self, graph: Graph, arguments: Sequence[Value],
             known: Mapping[Node, tuple[Value, ...]] = {}) -> tuple[Value, ...]:
        """The results of `graph` for `arguments`, its nodes emitted and remembered; those in `known` have results."""
        env = dict(zip(graph.params, arguments))
        outer = self.builder.location
        for node in graph.nodes:
            self.builder.location = node.location
            operands = tuple(env[o] for o in node.operands)
            env.update(zip(node.results, self._apply(node.op, operands, known.get(node))))
        self.builder.location = outer
        return tuple(env[r] for r in graph.results)

    def _apply(self, op: Op, operands: tuple[Value, ...], known: tuple[Value, ...] | None) -> tuple[Value, ...]:
        builder = self.builder
        if op.is_flat or not any(o in self.active for o in operands):
            return known or builder.emit_all(op, *operands)
        rule = REGIONS.get(type(op))
        if rule is not None:
            results, pullback = rule(self, op, operands)
            if pullback is None:  # its nodes were remembered one by one
                return results
        else:
            results = known or builder.emit_all(op, *operands)

            def pullback(cotangents):
                return op.vjp(builder, operands, results, cotangents)
        floats = [r for r in results if r.dtype.is_float]
        if floats and not self._recorded.issuperset(results):  # else an equal node was before: they are one
            self.active.update(floats)
            self._recorded.update(results)
            self.steps.append(Step(builder.location.backward(op.name), operands, results, pullback))
        return results

    def pull(self, results: Sequence[Value], cotangents: Sequence[Value | None],
             wanted: Sequence[Value]) -> tuple[Value | None, ...]:
        """The cotangents of the `wanted` values for those of `results`; None where nothing depends on one."""
        total: dict[Value, Value] = {}
        self._add(total, results, cotangents)
        outer = self.builder.location
        for step in reversed(self.steps):
            incoming = [total.get(r) for r in step.results]
            if any(c is not None for c in incoming):
                self.builder.location = step.backward
                try:
                    outgoing = step.pullback(incoming)
                except LaminaError as error:
                    if error.location is None:
                        error.location = step.backward
                    raise
                self._add(total, step.operands, outgoing)
        self.builder.location = outer
        return tuple(total.get(w) for w in wanted)

    def _add(self, total: dict[Value, Value], values: Sequence[Value], cotangents: Sequence[Value | None]) -> None:
        for value, cotangent in zip(values, cotangents, strict=True):
            if cotangent is not None and value in self.active:
                assert cotangent.type == value.type, f"a cotangent {cotangent.type} of {value.type}"
                before = total.get(value)
                total[value] = cotangent if before is None else self.builder.emit(Add(), before, cotangent)
