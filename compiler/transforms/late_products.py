"""Which products of a backward loop need not be taken step by step?  Those that no step reads: gradients of weights.

What a step would add to a gradient, contract(x, dz), and what it would give as the cotangent of an input, become one
contraction of the stacked operands behind the loop, which runs at the machine's peak where a step's alone would read
and write the whole gradient (Appleyard, Kocisky and Blunsom, "Optimizing performance of recurrent neural networks on
GPUs", 2016).
"""

from __future__ import annotations

from string import ascii_letters
from typing import Mapping, Sequence

from ..graph.builder import Builder
from ..graph.graph import Value
from ..ops.contract import Contract
from ..ops.elementwise import Add
from ..ops.op import Op
from ..ops.rearrange import Broadcast, Reshape, Transpose
from ..ops.reduce import Reduce


class LateProducts:
    """The products that leave a loop's body. `stacks` are the values of all steps behind the body's scanned parameters,
    `captured` what is behind its captured ones; `made` are the values that the body has to give stacked."""

    def __init__(self, stacks: Mapping[Value, Value], captured: Mapping[Value, Value]):
        self.stacks = dict(stacks)
        self.captured = captured
        self.made: list[Value] = []
        self._terms: dict[Value, list[tuple[list[Op], Value]]] = {}
        self._rows: dict[int, Value] = {}

    # ---- while the body is built -------------------------------------------------------------------------------------
    def without_products(self, builder: Builder, value: Value) -> Value | None:
        """What is left to add in the loop of a `value` that is summed over the steps; None where that is nothing."""
        left, terms = [], []
        for leaf in _summands(value):
            views, core = _behind_views(leaf)
            if self._leaves(core):
                terms.append((views, core))
            else:
                left.append(leaf)
        for _, core in terms:
            self._stack(core)
        for leaf in list(left):  # a sum of what is stacked anyway
            views, core = _behind_views(leaf)
            if isinstance(core.op, Reduce) and core.op.kind == "sum" and self._is_stacked(core.node.operands[0]):
                terms.append((views, core))
                left.remove(leaf)
        self._terms[value] = terms
        total = None
        for leaf in left:
            total = leaf if total is None else builder.emit(Add(), total, leaf)
        return total

    def take_rows(self, number: int, value: Value) -> bool:
        """Whether `value`, the cotangent of a scanned input, is a product that is taken behind the loop."""
        if not self._leaves(value):
            return False
        self._stack(value)
        self._rows[number] = value
        return True

    def _leaves(self, core: Value) -> bool:
        """Whether `core` is a product of which each operand is captured, or stacked with a letter more."""
        if not isinstance(core.op, Contract) or not core.dtype.is_float:
            return False
        operands = core.node.operands
        return not any(isinstance(o.op, Broadcast) for o in operands) and any(o not in self.captured for o in operands)

    def _is_stacked(self, value: Value) -> bool:
        return value in self.stacks or value in self.made

    def _stack(self, core: Value) -> None:
        for operand in core.node.operands:
            if operand not in self.captured and not self._is_stacked(operand):
                self.made.append(operand)

    # ---- behind the loop ---------------------------------------------------------------------------------------------
    def finish(self, stacks: Sequence[Value]) -> None:
        """Take the stacks of what was `made`."""
        self.stacks.update(zip(self.made, stacks, strict=True))

    def sum_of(self, builder: Builder, value: Value) -> Value | None:
        """What the products of `value` add up to over all steps."""
        total = None
        for views, core in self._terms[value]:
            term = self._reduced(builder, core) if isinstance(core.op, Reduce) else self._product(builder, core, False)
            for view in reversed(views):
                term = builder.emit(view, term)
            total = term if total is None else builder.emit(Add(), total, term)
        return total

    def rows(self, builder: Builder) -> dict[int, Value]:
        """The cotangents of scanned inputs that were taken."""
        return {number: self._product(builder, value, True) for number, value in self._rows.items()}

    def _reduced(self, builder: Builder, core: Value) -> Value:
        axes = (0, *(axis + 1 for axis in core.op.axes))
        return builder.emit(Reduce("sum", axes), self.stacks[core.node.operands[0]])

    def _product(self, builder: Builder, core: Value, is_kept: bool) -> Value:
        """The contraction over the steps too, or, where `is_kept`, of each step."""
        terms = list(core.op.terms)
        step = next(c for c in ascii_letters if c not in "".join(terms))
        operands = []
        for side, operand in enumerate(core.node.operands):
            if operand in self.captured:
                operands.append(self.captured[operand])
            else:
                operands.append(self.stacks[operand])
                terms[side] = step + terms[side]
        result = step + terms[2] if is_kept else terms[2]
        return builder.emit(Contract(f"{terms[0]},{terms[1]}->{result}"), *operands)


def _summands(value: Value) -> list[Value]:
    """The values that `value` is the sum of."""
    if not isinstance(value.op, Add):
        return [value]
    return [leaf for operand in value.node.operands for leaf in _summands(operand)]


def _behind_views(value: Value) -> tuple[list[Op], Value]:
    """The transposes and reshapes that make `value`, the last one first, and what they show."""
    views = []
    while isinstance(value.op, (Transpose, Reshape)):
        views.append(value.op)
        value = value.node.operands[0]
    return views, value
