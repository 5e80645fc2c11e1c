"""What is a rewrite rule?  `before -> after` for the result of one op, tried when a Builder emits it; the table of all
of them.

The law of rules stands in docs/rewrites.md: local, one direction, never costlier, exact but for rounding.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Callable, Sequence

from ..graph.builder import Builder
from ..graph.graph import Node, Value
from ..ops.op import Op

#: The rules of each op class, in the order in which they are tried.
RULES: dict[type[Op], tuple["Rule", ...]] = {}


@dataclass(frozen=True, eq=False)
class Rule:
    """`function(builder, op, *operands)` gives the values that replace op's results, or None where it does not apply.
    """

    function: Callable[..., Value | tuple[Value, ...] | None]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def description(self) -> str:
        """What the rule does, `before -> after` first."""
        return self.function.__doc__ or ""

    def __call__(self, builder: Builder, op: Op, operands: Sequence[Value]) -> Value | tuple[Value, ...] | None:
        result = self.function(builder, op, *operands)
        if result is not None and isinstance(builder, RewriteBuilder):
            builder.fired[self.name] += 1
        return result


def rule(*op_classes: type[Op]) -> Callable[[Callable], Callable]:
    """Registers the decorated function for results of these op classes. Its docstring begins with `before -> after`."""
    def register(function: Callable) -> Callable:
        made = Rule(function)
        for op_class in op_classes:
            RULES[op_class] = (*RULES.get(op_class, ()), made)
        return function
    return register


class RewriteBuilder(Builder):
    """A Builder with all rules, that counts which of them `fired` and how often values are used.

    `uses` is filled by the pass that re-emits a graph: how often the value that stood at a value's place was used.
    `readers` counts the operands of the nodes made so far, those that will be dead included.
    """

    def __init__(self, name: str = "main"):
        super().__init__(name, RULES)
        self.fired: Counter[str] = Counter()
        self.uses: Counter[Value] = Counter()
        self.readers: Counter[Value] = Counter()

    def _append(self, op: Op, operands: Sequence[Value], like: Node | None = None) -> tuple[Value, ...]:
        self.readers.update(operands)
        return super()._append(op, operands, like)


def used_once(builder: Builder, value: Value, reader: Node | None = None) -> bool:
    """Whether nothing reads `value` but the op at hand, or `reader` between them: only then may a rule do its work
    again.

    False where that is not known: in a builder that does not count, and where another rule has made a reader in this
    round (if that one turns out to be dead, the next round knows).
    """
    if not isinstance(builder, RewriteBuilder) or builder.uses[value] > 1:
        return False
    return builder.readers[value] == (reader.operands.count(value) if reader is not None else 0)
