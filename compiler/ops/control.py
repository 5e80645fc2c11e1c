"""Operators that hold closed sub-graphs: calls, branches, loops, scans, and the groups that fusion makes.

A sub-graph sees its parameters alone; captured values are operands. Symbols are shared with the graph around it: one
name is one extent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Mapping, Sequence

import numpy as np

from ..core.dims import Dim, evaluate, nominal
from ..core.dtypes import as_dtype, bool_, int32, int64
from ..core.schedule import Schedule
from ..core.types import TensorType
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value
from .batching import all_batched, batch_graph, batched_graph, move_axis
from .constants import broadcast, filled
from .elementwise import And, Compare, Select
from .op import Op, Sample, dtype_error, shape_error
from .sample_arrays import draw


class Control(Op, abstract=True):
    """An op whose meaning is that of the graphs in its fields."""

    expands = True  # a loop over constants may be a long one

    def evaluate(self, *arrays):
        """`reference`, checked against the inferred types; the graphs inside widen 16-bit floats where they compute."""
        arrays = tuple(map(np.asarray, arrays))
        expected = self.infer(*(TensorType(a.shape, as_dtype(a.dtype)) for a in arrays))
        results = zip(self.reference(*arrays), expected)
        return tuple(np.asarray(a).astype(t.dtype.numpy, copy=False).reshape(t.shape) for a, t in results)

    def at_extents(self, extents):
        changed = {}
        for name, value in self.attributes().items():
            graphs = value if isinstance(value, tuple) else (value,)
            if all(isinstance(g, Graph) for g in graphs):
                new = tuple(graph_at_extents(g, extents) for g in graphs)
                if any(n is not g for n, g in zip(new, graphs)):
                    changed[name] = new if isinstance(value, tuple) else new[0]
        op = replace(self, **changed) if changed else self
        return super(Control, op).at_extents(extents)


def graph_at_extents(graph: Graph, extents: Mapping[str, int]) -> Graph:
    """`graph` with every symbolic dim replaced by its extent, in types, in ops and in the graphs inside them.

    The graph itself where nothing is symbolic, so that a loop specializes its body once.
    """
    def typed(t: TensorType) -> TensorType:
        return t if t.is_static else TensorType(tuple(evaluate(d, extents) for d in t.shape), t.dtype)

    changed = not all(p.type.is_static for p in graph.params)
    env = {p: Value(typed(p.type), None, i, p.name) for i, p in enumerate(graph.params)}
    nodes = []
    for node in graph.nodes:
        op = node.op.at_extents(extents)
        types = tuple(map(typed, node.result_types))
        changed = changed or op is not node.op or types != node.result_types
        nodes.append(Node(op, tuple(env[o] for o in node.operands), types, node.location))
        env.update(zip(node.results, nodes[-1].results))
    return Graph(tuple(env[p] for p in graph.params), tuple(nodes), tuple(env[r] for r in graph.results), graph.name,
                 graph.result_names) if changed else graph


def run(graph: Graph, arrays) -> tuple[np.ndarray, ...]:
    """The results of a sub-graph for `arrays`."""
    from ..graph.interpret import interpret
    return interpret(graph, arrays)


def graph_flops(graph: Graph) -> Dim:
    """The floating-point operations of one run of `graph`."""
    return sum((node.op.flops(*(o.type for o in node.operands)) for node in graph.nodes), 0)


def param_types(graph: Graph) -> tuple[TensorType, ...]:
    return tuple(p.type for p in graph.params)


def result_types(graph: Graph) -> tuple[TensorType, ...]:
    return tuple(r.type for r in graph.results)


def require_types(op: Op, what: str, expected: tuple[TensorType, ...], types: tuple[TensorType, ...]) -> None:
    """A ShapeError or DTypeError that names the first of `types` that is not the `expected` one."""
    if len(expected) != len(types):
        raise shape_error(op, f"{what}: {len(types)} values where {len(expected)} are expected", *types)
    for i, (want, got) in enumerate(zip(expected, types)):
        if want != got:
            error = shape_error if want.dtype == got.dtype else dtype_error
            raise error(op, f"{what}: value {i} is {got}, expected {want}", *types)


# ---- calls -----------------------------------------------------------------------------------------------------------
class Closed(Control, abstract=True):
    """An op that is its `body`."""

    def infer(self, *types):
        require_types(self, f"operands of {self.body.name!r}", param_types(self.body), types)
        return result_types(self.body)

    def reference(self, *arrays):
        return run(self.body, arrays)

    def flops(self, *types):
        return graph_flops(self.body)

    def vmap(self, builder, operands, is_batched, size):
        return batch_graph(builder, self.body, operands, is_batched, size)[0]


@dataclass(frozen=True)
class Call(Closed):
    """The results of `body` for the operands."""

    body: Graph

    @classmethod
    def samples(cls):
        return [Sample(cls(scaled_sum(shape, d)), (draw(d, *shape), draw(d, *shape, seed=1)))
                for shape, d in (((3, 17), "float32"), ((0,), "float32"), ((3, 5), "float64"))]


@dataclass(frozen=True)
class Fused(Closed):
    """The results of `body`, which becomes one kernel. `kind` is its sort: "loops", "contraction", "attention" ...;
    `schedule` are choices for the kernel that are not left to the heuristics."""

    body: Graph
    kind: str
    label: str = ""
    schedule: Schedule = Schedule()

    @classmethod
    def samples(cls):
        return [Sample(cls(scaled_sum((5, 7)), "loops", "scaled_sum"),
                       (draw("float32", 5, 7), draw("float32", 5, 7, seed=1))),
                Sample(cls(scaled_sum((37,)), "loops", schedule=Schedule(interleave=4)),
                       (draw("float32", 37), draw("float32", 37, seed=1))),
                Sample(cls(scaled_sum(()), "loops"), (draw("float32"), draw("float32", seed=1))),
                Sample(cls(scaled_sum((5,), "float64"), "loops"), (draw("float64", 5), draw("float64", 5, seed=1)))]


# ---- branches and loops ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Cond(Control):
    """(index, *operands) -> the results of branches[index] for the operands; an index outside means the nearest branch.

    The index is a scalar int32 or int64, or bool where there are two branches: False takes the first one. All branches
    have the same parameter and result types.
    """

    branches: tuple[Graph, ...]

    def infer(self, *types):
        if not self.branches or not types:
            raise shape_error(self, "takes an index, and one branch or more", *types)
        index, *operands = types
        if index.rank != 0:
            raise shape_error(self, f"the index {index} is no scalar", *types)
        if index.dtype not in ((bool_, int32, int64) if len(self.branches) == 2 else (int32, int64)):
            raise dtype_error(self, f"an index {index} for {len(self.branches)} branches", *types,
                              hint="int32, int64, or bool for two")
        for i, branch in enumerate(self.branches):
            require_types(self, f"operands of branch {i}", param_types(branch), tuple(operands))
            require_types(self, f"results of branch {i}", result_types(self.branches[0]), result_types(branch))
        return result_types(self.branches[0])

    def reference(self, index, *arrays):
        return run(self.branches[min(max(int(index), 0), len(self.branches) - 1)], arrays)

    def flops(self, *types):
        return max(map(graph_flops, self.branches), key=nominal)

    def vmap(self, builder, operands, is_batched, size):
        """One branch for all, or where indices differ all branches, of which each set's index selects."""
        (index, *rest), (differs, *flags) = operands, is_batched
        if not differs:
            wanted = [any(f) for f in zip(*(batched_graph(b, flags, size)[1] for b in self.branches))]
            branches = tuple(batched_graph(b, flags, size, wanted)[0] for b in self.branches)
            return builder.emit_all(Cond(branches), index, *rest)
        found = [all_batched(builder, *batch_graph(builder, b, rest, flags, size), size) for b in self.branches]
        chosen = found[-1]
        for number, results in reversed(list(enumerate(found[:-1]))):
            bound = filled(builder, index.type, number)
            is_it = builder.emit(Compare("eq" if index.dtype.is_bool else "le"), index, bound)
            chosen = [_select(builder, is_it, a, b) for a, b in zip(results, chosen)]
        return chosen

    @classmethod
    def samples(cls):
        branches = (scaled_sum((3, 5)), _difference((3, 5)))
        x, y = draw("float32", 3, 5), draw("float32", 3, 5, seed=1)
        wide = cls((scaled_sum((3,), "float64"), _difference((3,), "float64"), scaled_sum((3,), "float64")))
        return [Sample(cls(branches), (np.array(i), x, y)) for i in (False, True, np.int32(0), 1, -3, 9)] + [
            Sample(cls((*branches, branches[0])), (np.array(2, np.int32), x, y))] + [
            Sample(wide, (np.array(i), draw("float64", 3), draw("float64", 3, seed=1))) for i in (0, 1, 7)]


@dataclass(frozen=True)
class While(Control):
    """carry = body(*carry) for as long as condition(*carry), one bool scalar, holds; the results are the last carry.

    `bound` declares that there are at most so many iterations, which reverse mode needs to know.
    """

    condition: Graph
    body: Graph
    bound: Dim | None = None

    def infer(self, *types):
        require_types(self, "operands of the condition", param_types(self.condition), types)
        require_types(self, "results of the condition", (TensorType((), bool_),), result_types(self.condition))
        require_types(self, "operands of the body", param_types(self.body), types)
        require_types(self, "results of the body", types, result_types(self.body))
        return types

    def reference(self, *carry):
        while run(self.condition, carry)[0]:
            carry = run(self.body, carry)
        return carry

    def flops(self, *types):
        """Of one iteration: how many there are is not known."""
        return graph_flops(self.condition) + graph_flops(self.body)

    def vmap(self, builder, operands, is_batched, size):
        """Where the condition differs between sets, the loop runs until none is left, and those that ended keep what
        they have. What the body leaves alone is not repeated."""
        from .reduce import Reduce
        flags = _settled(self.body, is_batched, len(operands), size)
        condition, (differs,) = batched_graph(self.condition, flags, size)
        if not differs:
            body, _ = batched_graph(self.body, flags, size, flags)
            return builder.emit_all(replace(self, condition=condition, body=body),
                                    *all_batched(builder, operands, is_batched, size, flags))
        fixed = [r is p for r, p in zip(self.body.results, self.body.params)]
        flags = [flag if is_fixed else True for flag, is_fixed in zip(is_batched, fixed)]
        operands = all_batched(builder, operands, is_batched, size, flags)
        (running,), _ = batch_graph(builder, self.condition, operands, flags, size)

        types = [running.type, *(o.type for o in operands)]
        inner = Builder(self.condition.name)
        some, *_ = (inner.parameter(t) for t in types)
        condition = inner.finish([inner.emit(Reduce("max", (0,)), some)])
        inner = Builder(self.body.name)
        is_running, *old = (inner.parameter(t) for t in types)
        new = all_batched(inner, *batch_graph(inner, self.body, old, flags, size), size)
        new = [o if is_fixed else _select(inner, is_running, n, o) for n, o, is_fixed in zip(new, old, fixed)]
        (goes_on,), _ = batch_graph(inner, self.condition, new, flags, size)
        body = inner.finish([inner.emit(And(), is_running, goes_on), *new])
        return builder.emit_all(replace(self, condition=condition, body=body), running, *operands)[1:]

    @classmethod
    def samples(cls):
        op = cls(*_counting_loop((5,)))
        wide = cls(*_counting_loop((3,), "float64"), bound=7)
        return [Sample(op, (np.array(n, np.int64), draw("float32", 5)), grad=False) for n in (7, 1, 0)] + [
            Sample(wide, (np.array(n, np.int64), draw("float64", 3))) for n in (7, 1, 0)]


@dataclass(frozen=True)
class Scan(Control):
    """A loop over the leading axis: (carry.., xs.., captured..) -> (last carry.., stacked ys..).

    `body` takes (carry.., x.., captured..), an x being xs[t], and gives (carry.., y..); ys[t] is the y of step t.
    `carries` and `scanned` count them. Steps run from the last to the first where `reverse`. The number of steps is the
    extent of xs' leading axis; `length` gives it where nothing is scanned.
    """

    body: Graph
    carries: int
    scanned: int
    reverse: bool = False
    length: Dim | None = None

    def steps(self, *types: TensorType) -> Dim:
        """The number of steps; ShapeError where xs' leading extents or `length` disagree, or none is given."""
        xs = types[self.carries:self.carries + self.scanned]
        if any(t.rank == 0 for t in xs):
            raise shape_error(self, "a scanned operand is a scalar", *types)
        extents = [t.shape[0] for t in xs] + ([self.length] if self.length is not None else [])
        if not extents:
            raise shape_error(self, "nothing is scanned and no length is given", *types, hint="give length=")
        if any(e != extents[0] for e in extents):
            raise shape_error(self, f"the number of steps is {' and '.join(map(str, extents))}", *types)
        return extents[0]

    def infer(self, *types):
        if self.carries < 0 or self.scanned < 0 or self.carries + self.scanned > len(types):
            what = f"takes {self.carries} carries and {self.scanned} scanned operands, got {len(types)}"
            raise shape_error(self, what, *types)
        steps = self.steps(*types)
        end = self.carries + self.scanned
        inner = (*types[:self.carries], *(TensorType(t.shape[1:], t.dtype) for t in types[self.carries:end]),
                 *types[end:])
        require_types(self, "operands of the body", param_types(self.body), inner)
        results = result_types(self.body)
        require_types(self, "carries of the body", types[:self.carries], results[:self.carries])
        return (*results[:self.carries], *(TensorType((steps, *t.shape), t.dtype) for t in results[self.carries:]))

    def reference(self, *arrays):
        end = self.carries + self.scanned
        carry, xs, captured = arrays[:self.carries], arrays[self.carries:end], arrays[end:]
        steps = len(xs[0]) if xs else self.length
        ys = [np.zeros((steps, *t.shape), t.dtype.numpy) for t in result_types(self.body)[self.carries:]]
        for t in reversed(range(steps)) if self.reverse else range(steps):
            results = run(self.body, (*carry, *(x[t] for x in xs), *captured))
            carry = results[:self.carries]
            for stacked, y in zip(ys, results[self.carries:]):
                stacked[t] = y
        return (*carry, *ys)

    def flops(self, *types):
        return graph_flops(self.body) * self.steps(*types)

    def vmap(self, builder, operands, is_batched, size):
        """A scan of batched steps: the axis of the steps stays in front."""
        end = self.carries + self.scanned
        flags = _settled(self.body, is_batched, self.carries, size)
        body, stacked = batched_graph(self.body, flags, size, flags[:self.carries])
        carry = all_batched(builder, operands[:self.carries], is_batched, size, flags)
        xs = [move_axis(builder, x, 0, 1) if flag else x
              for x, flag in zip(operands[self.carries:end], is_batched[self.carries:end])]
        results = builder.emit_all(replace(self, body=body), *carry, *xs, *operands[end:])
        return [move_axis(builder, r, 1, 0) if flag and i >= self.carries else r
                for i, (r, flag) in enumerate(zip(results, stacked))]

    @classmethod
    def samples(cls):
        h, w = draw("float32", 3), draw("float32", 3, seed=1, low=-0.5, high=0.5)
        op = cls(_recurrence(3), 1, 1)
        samples = [Sample(replace(op, reverse=r), (h, draw("float32", t, 3), w)) for r in (False, True)
                   for t in (5, 1, 0)]
        half = cls(_recurrence(3, "bfloat16"), 1, 1)
        samples.append(Sample(half, (draw("bfloat16", 3), draw("bfloat16", 4, 3), draw("bfloat16", 3, seed=1)),
                              grad=False))
        wide = cls(_recurrence(3, "float64"), 1, 1)
        w = draw("float64", 3, seed=1)
        samples += [Sample(replace(wide, reverse=r), (draw("float64", 3), draw("float64", t, 3), w))
                    for r in (False, True) for t in (5, 1, 0)]
        return samples + [Sample(cls(_doubling(d), 1, 0, length=4), (draw(d, 3),)) for d in ("float32", "float64")]


# ---- batches ---------------------------------------------------------------------------------------------------------
def map_over_batch(builder: Builder, op: Op, operands: Sequence[Value], is_batched: Sequence[bool],
                   size: Dim) -> list[Value]:
    """`op` of each set of operands, one after the other."""
    order = sorted(range(len(operands)), key=lambda i: not is_batched[i])  # what is scanned stands in front
    body = Builder(op.name)
    params = {i: body.parameter(TensorType(operands[i].shape[is_batched[i]:], operands[i].dtype)) for i in order}
    graph = body.finish(body.emit_all(op, *(params[i] for i in range(len(operands)))))
    return list(builder.emit_all(Scan(graph, 0, sum(is_batched)), *(operands[i] for i in order)))


def _settled(body: Graph, is_batched: Sequence[bool], carries: int, size: Dim) -> list[bool]:
    """The flags of the body's parameters once what one step makes batched of the carry goes into the next one."""
    flags = list(is_batched)
    while True:
        found = batched_graph(body, flags, size)[1][:carries]
        if all(flag or not new for flag, new in zip(flags, found)):
            return flags
        flags[:carries] = [flag or new for flag, new in zip(flags, found)]


def _select(builder: Builder, condition: Value, x: Value, y: Value) -> Value:
    """x where the condition [batch] holds, else y."""
    return builder.emit(Select(), broadcast(builder, condition, x.shape, (0,)), x, y)


# ---- graphs to try these on ------------------------------------------------------------------------------------------
def scaled_sum(shape, dtype="float32") -> Graph:
    """(x, y) -> ((x + y) * x, -(x + y))."""
    from .elementwise import Add, Mul, Neg
    b = Builder("scaled_sum")
    x, y = (b.parameter(TensorType(shape, as_dtype(dtype)), name) for name in "xy")
    total = b.emit(Add(), x, y)
    return b.finish([b.emit(Mul(), total, x), b.emit(Neg(), total)])


def _difference(shape, dtype="float32") -> Graph:
    from .elementwise import Abs, Sub
    b = Builder("difference")
    x, y = (b.parameter(TensorType(shape, as_dtype(dtype)), name) for name in "xy")
    return b.finish([b.emit(Sub(), x, y), b.emit(Abs(), y)])


def _counting_loop(shape, dtype="float32") -> tuple[Graph, Graph]:
    """A condition and a body: the carry (n, x) becomes (n - 1, x + x) while n > 0."""
    from .elementwise import Add, Compare, Sub
    carry = (TensorType((), int64), TensorType(shape, as_dtype(dtype)))
    b = Builder("condition")
    n, _ = (b.parameter(t, name) for t, name in zip(carry, "nx"))
    condition = b.finish([b.emit(Compare("gt"), n, b.constant(np.array(0)))])
    b = Builder("body")
    n, x = (b.parameter(t, name) for t, name in zip(carry, "nx"))
    return condition, b.finish([b.emit(Sub(), n, b.constant(np.array(1))), b.emit(Add(), x, x)])


def _recurrence(width: int, dtype="float32") -> Graph:
    """h' = h * w + x, y = x - h'."""
    from .elementwise import Add, Mul, Sub
    b = Builder("recurrence")
    h, x, w = (b.parameter(TensorType((width,), as_dtype(dtype)), name) for name in "hxw")
    state = b.emit(Add(), b.emit(Mul(), h, w), x)
    return b.finish([state, b.emit(Sub(), x, state)])


def _doubling(dtype="float32") -> Graph:
    from .elementwise import Add
    b = Builder("doubling")
    h = b.parameter(TensorType((3,), as_dtype(dtype)), "h")
    return b.finish([b.emit(Add(), h, h), h])
