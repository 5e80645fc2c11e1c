"""Where do transposes and reshapes go?  They are carried along lazily and come to stand only where something needs them.

Each value of the old graph is held as a value of the new one, its base, and the way its axes lie there: axis i of the value is a run of
base axes, merged. Elementwise ops, reductions, joins and slices work on the base as it lies; contractions rename their letters. So the
transposes around a channels-last convolution meet and cancel, whatever stands between them, and a normalization over groups of channels
(reshape, reduce, reshape back) needs no copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core.dims import Dim, divide_exactly, product
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value, holds, map_subgraphs
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.control import Cond, Scan, While
from ..ops.rearrange import Broadcast, Concat, Pad, Reshape, Slice, Transpose, matching_groups
from ..ops.reduce import Reduce

Axes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Held:
    """A value whose axis i is the run `axes[i]` of the axes of `base`, merged in that order; each base axis occurs once."""

    base: Value
    axes: Axes

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(a for run in self.axes for a in run)

    @property
    def is_plain(self) -> bool:
        return self.axes == tuple((i,) for i in range(len(self.axes)))

    @property
    def is_permuted(self) -> bool:
        """Whether no axis is split: the value is a transpose of its base."""
        return all(len(run) == 1 for run in self.axes)

    @property
    def structure(self) -> tuple:
        return self.base.shape, self.axes


def propagate_layout(graph: Graph) -> Graph:
    """`graph` with transposes and reshapes moved through the ops behind them, where they cancel."""
    return _Layout(graph).run() if holds(graph, Transpose, Reshape) else graph


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
        return self.builder.finish([self.plain(r) for r in self.graph.results], self.graph.result_names)

    # ---- values -------------------------------------------------------------------------------------------------------
    def reshaped(self, value: Value, shape: tuple[Dim, ...]) -> Value:
        return value if value.shape == shape else self.builder.emit(Reshape(shape), value)

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
            return self.reshaped(value, tuple(value.shape[i] for i in order))
        return self.builder.emit(Transpose(order), value)

    def plain(self, value: Value) -> Value:
        """The new value that equals the old one."""
        held = self.held[value]
        return self.reshaped(self.permuted(held.base, held.order), value.shape)

    def conform(self, value: Value, shape: tuple[Dim, ...], axes: Axes) -> Value:
        """The new value X of `shape` whose axes, merged and ordered by `axes`, are `value`."""
        held = self.held[value]
        if held.structure == (shape, axes):
            return held.base
        if isinstance(held.base.op, Broadcast) and held.is_plain:
            return self._conform_broadcast(held.base, shape, axes)
        if _sequence(held.axes) is not None and _sequence(held.axes) == _sequence(axes):
            return self.reshaped(held.base, shape)  # the same order in memory, other cuts
        order = tuple(a for run in axes for a in run)
        apart = self.reshaped(self.plain(value), tuple(shape[a] for a in order))
        return self.permuted(apart, _inverse(order))

    def _conform_broadcast(self, value: Value, shape: tuple[Dim, ...], axes: Axes) -> Value:
        (operand,) = value.node.operands
        wide = [(i, a) for i, a in enumerate(value.op.axes) if operand.shape[i] != 1]
        targets = [b for _, a in wide for b in axes[a]]
        apart = self.reshaped(operand, tuple(shape[b] for b in targets))
        moved = self.permuted(apart, tuple(sorted(range(len(targets)), key=targets.__getitem__)))
        return self.builder.emit(Broadcast(shape, tuple(sorted(targets))), moved)

    def _merged_held(self, value: Value) -> Held:
        """`value` on a base that has one axis for each of its axes, where a reshape gives that."""
        held = self.held[value]
        if not held.is_permuted:
            shape, axes = _merged(held.base.shape, held.axes)
            if all(len(run) == 1 for run in axes):
                return Held(self.reshaped(held.base, shape), axes)
        return held

    # ---- nodes ---------------------------------------------------------------------------------------------------------
    def _node(self, node: Node) -> None:
        op = node.op
        if isinstance(op, Transpose):
            held = self.held[node.operands[0]]
            self.held[node.results[0]] = Held(held.base, tuple(held.axes[i] for i in op.permutation))
        elif op.is_pointwise and node.operands:
            shape, axes = self._common_structure(node)
            bases = [self.conform(o, shape, axes) for o in node.operands]
            self.held[node.results[0]] = Held(self.builder.emit(op, *bases), axes)
        elif isinstance(op, Reduce):
            self._reduce(node)
        elif isinstance(op, (Concat, Pad, Slice)):
            self._join_or_cut(node)
        elif isinstance(op, Contract):
            self._contract(node)
        elif isinstance(op, Reshape):
            self._reshape(node)
        elif isinstance(op, (Cond, While, Scan)):
            self._plain_node(node, map_subgraphs(op, propagate_layout))
        else:
            self._plain_node(node, op)

    def _plain_node(self, node: Node, op) -> None:
        results = self.builder.emit_all(op, *(self.plain(o) for o in node.operands))
        for old, new in zip(node.results, results):
            self.held[old] = _plain(new)

    def _common_structure(self, node: Node) -> tuple[tuple[Dim, ...], Axes]:
        """How the weightiest operands lie; constants and broadcasts follow for nothing, and fewer axes are better than more."""
        votes: dict[tuple, int] = {}
        for operand in node.operands:
            held = self.held[operand]
            if not isinstance(held.base.op, (Constant, Broadcast)):
                votes[held.structure] = votes.get(held.structure, 0) + 1
        if not votes:
            return self.held[node.operands[0]].structure
        best = max(votes.values())
        ties = [s for s, count in votes.items() if count == best]
        moved = [s for s in ties if s[1] != tuple((i,) for i in range(len(s[1])))]
        return min(moved or ties, key=lambda s: len(s[0]))

    def _reduce(self, node: Node) -> None:
        held = self.held[node.operands[0]]
        gone = {a for i in node.op.axes for a in held.axes[i]}
        left = [a for a in range(len(held.base.shape)) if a not in gone]
        value = self.builder.emit(replace(node.op, axes=tuple(sorted(gone))), held.base)
        axes = tuple(tuple(left.index(a) for a in run) for i, run in enumerate(held.axes) if i not in node.op.axes)
        self.held[node.results[0]] = Held(value, axes)

    def _join_or_cut(self, node: Node) -> None:
        op = node.op
        if isinstance(op, Concat):
            shape, axes = self._common_structure(node)
            if any(len(run) != 1 for run in axes):
                self._plain_node(node, op)
                return
            bases = []
            for operand in node.operands:
                extents: list[Dim] = [0] * len(shape)
                for run, extent in zip(axes, operand.shape):
                    extents[run[0]] = extent
                bases.append(self.conform(operand, tuple(extents), axes))
            self.held[node.results[0]] = Held(self.builder.emit(Concat(axes[op.axis][0]), *bases), axes)
            return
        held = self._merged_held(node.operands[0])
        if not held.is_permuted:
            self._plain_node(node, op)
            return
        inverse = _inverse(held.order)
        fields = {name: tuple(value[i] for i in inverse) for name, value in vars(op).items() if isinstance(value, tuple)}
        self.held[node.results[0]] = Held(self.builder.emit(replace(op, **fields), held.base), held.axes)

    def _contract(self, node: Node) -> None:
        inputs, result = node.op.spec.split("->")
        letters, bases = [], []
        for text, operand in zip(inputs.split(","), node.operands):
            held = self._merged_held(operand)
            if isinstance(held.base.op, Constant) or not held.is_permuted:
                held = _plain(self.plain(operand))
            letters.append("".join(text[i] for i in _inverse(held.order)))
            bases.append(held.base)
        lying = _natural_order(letters[0], letters[1], result)
        value = self.builder.emit(Contract(f"{letters[0]},{letters[1]}->{lying}"), *bases)
        self.held[node.results[0]] = Held(value, tuple((lying.index(c),) for c in result))

    def _reshape(self, node: Node) -> None:
        held = self.held[node.operands[0]]
        new = node.op.shape
        if held.is_plain:
            found = None if isinstance(held.base.op, Constant) else _refine(held, node.operands[0].shape, new)
            if found is None or len(found[0]) <= len(new) or not self._feeds_reduction(node):
                self.held[node.results[0]] = _plain(self.builder.emit(node.op, held.base))
                return
        else:
            found = _refine(held, node.operands[0].shape, new)
        if found is None:
            self._plain_node(node, node.op)
            return
        shape, axes = found
        self.held[node.results[0]] = Held(self.reshaped(held.base, shape), axes)

    def _feeds_reduction(self, node: Node) -> bool:
        return any(isinstance(u.op, Reduce) for u in self.graph.users.get(node.results[0], ()))


def _natural_order(left: str, right: str, result: str) -> str:
    """The result's letters with those of rows together, as they lie in the left operand, and behind them the new axis of a product
    by a matrix on the last axis, a pointwise convolution's. As they are for other contractions."""
    for carrier, matrix in ((left, right), (right, left)):
        summed = [c for c in matrix if c not in result]
        made = [c for c in matrix if c in result]
        if len(carrier) > 2 and len(summed) == len(made) == 1 and carrier[-1] == summed[0] and made[0] not in carrier:
            lying = carrier[:-1] + made[0]
            if sorted(lying) == sorted(result):
                return lying
    return result


def _refine(held: Held, old: tuple[Dim, ...], new: tuple[Dim, ...]):
    """(shape of the base with axes cut finer, how the axes of `new` lie in it) for a reshape of a held value; None if there is none.

    Inside each group of matching axes, the cuts of the base's axes and those of the new axes together make the finer axes.
    """
    if any(d == 0 for d in old):
        return None
    base = held.base.shape
    pieces: dict[int, list[Dim]] = {a: [base[a]] for a in range(len(base))}
    runs: dict[int, list[tuple[int, int]]] = {}  # new axis -> pieces (base axis, number), in order
    for source, target in matching_groups(old, new):
        queue = [(a, base[a]) for i in source for a in held.axes[i] if base[a] != 1]
        wanted = [(j, new[j]) for j in target]
        cuts: dict[int, list[Dim]] = {a: [] for a, _ in queue}
        while queue and wanted:
            (a, left), (j, need) = queue[0], wanted[0]
            if left == need:
                piece, queue, wanted = left, queue[1:], wanted[1:]
            else:
                rest = divide_exactly(left, need)
                if rest is not None and rest != 0:
                    piece, queue, wanted = need, [(a, rest), *queue[1:]], wanted[1:]
                else:
                    rest = divide_exactly(need, left)
                    if rest is None:
                        return None
                    piece, queue, wanted = left, queue[1:], [(j, rest), *wanted[1:]]
            runs.setdefault(j, []).append((a, len(cuts[a])))
            cuts[a].append(piece)
        if queue or wanted:
            return None
        pieces.update(cuts)
    first: dict[int, int] = {}
    shape: list[Dim] = []
    for a in range(len(base)):
        first[a] = len(shape)
        if base[a] != 1:
            shape += pieces[a]
    axes: list[tuple[int, ...]] = []
    for j in range(len(new)):
        if j in runs:
            axes.append(tuple(first[a] + number for a, number in runs[j]))
        else:  # a unit axis: one of its own at the end of the base
            axes.append((len(shape),))
            shape.append(1)
    if product(shape) != product(base) or sorted(a for run in axes for a in run) != list(range(len(shape))):
        return None
    return tuple(shape), tuple(axes)


def _merged(shape: tuple[Dim, ...], axes: Axes) -> tuple[tuple[Dim, ...], Axes]:
    """The shape of a base, and how a value's axes lie in it, with base axes that follow one another in a run as one."""
    follows = {b for run in axes for a, b in zip(run, run[1:]) if b == a + 1}
    number: dict[int, int] = {}
    merged: list[Dim] = []
    for a, extent in enumerate(shape):
        if a in follows:
            merged[-1] = merged[-1] * extent
        else:
            merged.append(extent)
        number[a] = len(merged) - 1
    return tuple(merged), tuple(tuple(number[a] for a in run if a not in follows) for run in axes)


def _sequence(axes: Axes) -> list[int] | None:
    """The value's axes in the order of the base; None where an axis lies there in several places."""
    owner = {a: i for i, run in enumerate(axes) for a in run}
    for run in axes:
        if list(run) != list(range(run[0], run[0] + len(run))) if run else True:
            return None
    return list(dict.fromkeys(owner[a] for a in sorted(owner)))


def _plain(value: Value) -> Held:
    return Held(value, tuple((i,) for i in range(value.type.rank)))


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(i) for i in range(len(order)))
