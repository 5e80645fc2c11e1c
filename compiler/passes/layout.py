"""Where do transposes go?  They are carried along lazily and come to stand only where something needs them.

Each value of the old graph is held as a value of the new one and the permutation that it still awaits. Elementwise ops, reductions,
joins, slices and many reshapes work on the value as it lies; contractions rename their letters. So the transposes around a channels-last
convolution meet and cancel, whatever stands between them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.control import Cond, Scan, While
from ..ops.rearrange import Broadcast, Concat, Pad, Reshape, Slice, Transpose, matching_groups
from ..ops.reduce import Reduce


@dataclass(frozen=True)
class Held:
    """A value that logically is Transpose(`base`, `order`): its axis i is axis order[i] of `base`."""

    base: Value
    order: tuple[int, ...]

    @property
    def is_plain(self) -> bool:
        return self.order == tuple(range(len(self.order)))


def propagate_layout(graph: Graph) -> Graph:
    """`graph` with transposes moved through the ops behind them, where pairs cancel."""
    return _Layout(graph).run()


class _Layout:
    def __init__(self, graph: Graph):
        self.graph = graph
        self.builder = Builder(graph.name)
        self.held: dict[Value, Held] = {}

    def run(self) -> Graph:
        for param in self.graph.params:
            self.held[param] = _plain(self.builder.parameter(param.type, param.name))
        for node in self.graph.nodes:
            self.builder.location = node.location
            self._node(node)
        return self.builder.finish([self._plain_value(r) for r in self.graph.results], self.graph.result_names)

    # ---- values -------------------------------------------------------------------------------------------------------
    def permuted(self, value: Value, order: tuple[int, ...]) -> Value:
        """Transpose(value, order), moved into a broadcast or through another transpose."""
        if order == tuple(range(len(order))):
            return value
        op = value.op
        if isinstance(op, Transpose):
            return self.permuted(value.node.operands[0], tuple(op.permutation[i] for i in order))
        if isinstance(op, Broadcast):
            (operand,) = value.node.operands
            place = {axis: i for i, axis in enumerate(order)}  # old result axis -> new one
            targets = [place[a] for a in op.axes]
            inner = tuple(sorted(range(len(targets)), key=targets.__getitem__))
            moved = self.permuted(operand, inner)
            return self.builder.emit(Broadcast(tuple(op.shape[i] for i in order), tuple(sorted(targets))), moved)
        moving = [i for i in order if value.shape[i] != 1]
        if moving == sorted(moving):  # only unit axes move: that is a reshape
            return self.builder.emit(Reshape(tuple(value.shape[i] for i in order)), value)
        return self.builder.emit(Transpose(order), value)

    def _plain_value(self, value: Value) -> Value:
        held = self.held[value]
        return self.permuted(held.base, held.order)

    def in_order(self, value: Value, order: tuple[int, ...]) -> Value:
        """The new value X with Transpose(X, order) = `value`."""
        held = self.held[value]
        if held.order == order:
            return held.base
        inverse = _inverse(order)
        return self.permuted(held.base, tuple(held.order[i] for i in inverse))

    # ---- nodes ---------------------------------------------------------------------------------------------------------
    def _node(self, node: Node) -> None:
        op = node.op
        if isinstance(op, Transpose):
            held = self.held[node.operands[0]]
            self.held[node.results[0]] = Held(held.base, tuple(held.order[i] for i in op.permutation))
        elif op.is_pointwise and node.operands:
            self._elementwise(node)
        elif isinstance(op, Reduce):
            self._reduce(node)
        elif isinstance(op, Concat):
            order = self._common_order(node)
            bases = [self.in_order(o, order) for o in node.operands]
            self._keep(node, self.builder.emit(Concat(order[op.axis]), *bases), order)
        elif isinstance(op, Pad):
            held = self.held[node.operands[0]]
            inverse = _inverse(held.order)
            moved = replace(op, low=tuple(op.low[i] for i in inverse), high=tuple(op.high[i] for i in inverse))
            self._keep(node, self.builder.emit(moved, held.base), held.order)
        elif isinstance(op, Slice):
            held = self.held[node.operands[0]]
            inverse = _inverse(held.order)
            moved = Slice(*(tuple(f[i] for i in inverse) for f in (op.starts, op.sizes, op.steps)))
            self._keep(node, self.builder.emit(moved, held.base), held.order)
        elif isinstance(op, Contract):
            self._contract(node)
        elif isinstance(op, Reshape):
            self._reshape(node)
        elif isinstance(op, (Cond, While, Scan)):
            self._plain_node(node, _inside(op))
        else:
            self._plain_node(node, op)

    def _keep(self, node: Node, base: Value, order: tuple[int, ...]) -> None:
        self.held[node.results[0]] = Held(base, order)

    def _plain_node(self, node: Node, op) -> None:
        results = self.builder.emit_all(op, *(self._plain_value(o) for o in node.operands))
        for old, new in zip(node.results, results):
            self.held[old] = _plain(new)

    def _common_order(self, node: Node) -> tuple[int, ...]:
        """The order that the weightiest operands lie in; constants and broadcasts follow for nothing."""
        votes: dict[tuple[int, ...], int] = {}
        for operand in node.operands:
            held = self.held[operand]
            if not isinstance(held.base.op, (Constant, Broadcast)):
                votes[held.order] = votes.get(held.order, 0) + 1
        if not votes:
            return self.held[node.operands[0]].order
        best = max(votes.values())
        ties = [order for order, count in votes.items() if count == best]
        return next((o for o in ties if o != tuple(range(len(o)))), ties[0])

    def _elementwise(self, node: Node) -> None:
        order = self._common_order(node)
        bases = [self.in_order(o, order) for o in node.operands]
        self._keep(node, self.builder.emit(node.op, *bases), order)

    def _reduce(self, node: Node) -> None:
        held = self.held[node.operands[0]]
        axes = tuple(sorted(held.order[a] for a in node.op.axes))
        left = [a for a in range(len(held.order)) if a not in axes]
        order = tuple(left.index(held.order[i]) for i in range(len(held.order)) if i not in node.op.axes)
        self._keep(node, self.builder.emit(replace(node.op, axes=axes), held.base), order)

    def _contract(self, node: Node) -> None:
        inputs, result = node.op.spec.split("->")
        letters, bases = [], []
        for text, operand in zip(inputs.split(","), node.operands):
            held = self.held[operand]
            if isinstance(held.base.op, Constant):
                held = _plain(self._plain_value(operand))
            letters.append("".join(text[i] for i in _inverse(held.order)))
            bases.append(held.base)
        value = self.builder.emit(Contract(f"{letters[0]},{letters[1]}->{result}"), *bases)
        self.held[node.results[0]] = _plain(value)

    def _reshape(self, node: Node) -> None:
        held = self.held[node.operands[0]]
        if held.is_plain:
            self._keep(node, self.builder.emit(node.op, held.base), tuple(range(len(node.op.shape))))
            return
        moved = _reshape_in_place(held, node.operands[0].shape, node.op.shape)
        if moved is None:
            self._plain_node(node, node.op)
            return
        shape, order = moved
        self._keep(node, self.builder.emit(Reshape(shape), held.base), order)


def _reshape_in_place(held: Held, old: tuple, new: tuple):
    """(shape, order) such that reshaping the base to `shape` and permuting by `order` is the logical reshape; None if there is none."""
    if any(d == 0 for d in old):
        return None
    pieces: dict[int, list[int]] = {}  # first base axis of a run -> new logical axes that stand in its place
    swallowed: set[int] = set()
    units = [j for j, extent in enumerate(new) if extent == 1]
    for source, target in matching_groups(old, new):
        axes = [held.order[i] for i in source]
        between = [a for a in range(axes[0], axes[-1] + 1) if held.base.shape[a] != 1]
        if axes != between:
            return None
        pieces[axes[0]] = target
        swallowed.update(axes[1:])
    sequence: list[int] = list(units)  # new logical axes in the order in which the base will have them
    for axis in range(len(held.order)):
        if axis in pieces:
            sequence += pieces[axis]
        elif axis not in swallowed and held.base.shape[axis] != 1:
            return None
    if sorted(sequence) != list(range(len(new))):
        return None
    return tuple(new[j] for j in sequence), tuple(sequence.index(j) for j in range(len(new)))


def _plain(value: Value) -> Held:
    return Held(value, tuple(range(value.type.rank)))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(i) for i in range(len(order)))


def _inside(op):
    changes = {}
    for name, value in vars(op).items():
        if isinstance(value, Graph):
            changes[name] = propagate_layout(value)
        elif isinstance(value, tuple) and any(isinstance(g, Graph) for g in value):
            changes[name] = tuple(map(propagate_layout, value))
    return replace(op, **changes)
