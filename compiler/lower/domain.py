"""Do the reductions of a group share one iteration space?  The shape, the reduced axes, and how results lie in it."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.dims import Dim
from ..graph.graph import Graph, Node, Value
from ..kernel.builder import BlockBuilder, as_expr
from ..kernel.ir import Const, Expr, Var
from ..ops.reduce import Reduce
from .elements import Elements


@dataclass(frozen=True)
class Domain:
    """`shape` with the `reduced` axes; `phases` are the reductions in the order in which they can run, those that can share
    a loop together; `layouts` give, for each result of the group, the domain axis of each of its dims (None: extent 1)."""

    shape: tuple[Dim, ...]
    reduced: tuple[int, ...]
    phases: tuple[tuple[Node, ...], ...]
    layouts: tuple[tuple[int | None, ...], ...]

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(a for a in range(len(self.shape)) if a not in self.reduced)

    def index(self, layout, position: list[Expr]) -> tuple[Expr, ...]:
        """The index of a value with `layout` at a position of the domain."""
        return tuple(as_expr(0) if axis is None else position[axis] for axis in layout)

    def is_full(self, layout) -> bool:
        """Whether a value with `layout` has an element for each position, not only for each kept one."""
        return any(axis in self.reduced for axis in layout if axis is not None)


class Mismatch(Exception):
    """Why a group has no common domain."""


def find_domain(body: Graph) -> Domain:
    """The domain that all reductions of `body` share; Mismatch says why there is none."""
    reduces = [n for n in body.nodes if isinstance(n.op, Reduce)]
    shape, reduced = reduces[0].operands[0].shape, reduces[0].op.axes
    kept = tuple(a for a in range(len(shape)) if a not in reduced)
    done: dict[Value, int] = {}

    def trial(value: Value) -> tuple[dict[int, int | None], int]:
        """Where the dims of `value` lie for the reductions that it reads, and the last phase among those."""
        seen: dict[int, int | None] = {}
        last = -1
        names = {f"$d{i}": i for i in range(value.type.rank)}
        elements = Elements(body, BlockBuilder(), {})

        def placeholder(of: Value, phase: int | None):
            def read(index):
                nonlocal last
                if phase is not None:
                    last = max(last, phase)
                    for axis, expr in zip(kept, index):
                        if isinstance(expr, Const):
                            if shape[axis] != 1:
                                raise Mismatch(f"{of!r} is read at one place of an axis of extent {shape[axis]}")
                            continue
                        dim = names.get(expr.name) if isinstance(expr, Var) else None
                        if dim is None or seen.setdefault(dim, axis) != axis:
                            raise Mismatch(f"{of!r} is read at an index that is no axis of the result")
                return Var(f"value{id(of)}", of.dtype.compute)
            return read
        for p in body.params:
            elements.computed[p] = placeholder(p, None)
        for r in reduces:
            v = r.results[0]
            if v in done:
                elements.computed[v] = placeholder(v, done[v])
        try:
            elements.at(value, tuple(Var(n) for n in names))
        except KeyError as error:
            raise Mismatch(f"{value!r} is no element expression") from error
        if len(set(seen.values())) < len(seen):
            raise Mismatch(f"{value!r} reads a reduction at two places at once")
        return seen, last

    def layout_of(value: Value, seen: dict[int, int | None]) -> tuple[int | None, ...]:
        """The domain axis of each dim: the kept ones as they were read, the reduced ones in order, by extent."""
        free = [a for a in reduced]
        layout: list[int | None] = []
        if not seen and value.shape == shape:
            return tuple(range(len(shape)))
        for dim, extent in enumerate(value.shape):
            if dim in seen:
                layout.append(seen[dim])
            elif extent == 1:
                layout.append(None)
            elif free and shape[free[0]] == extent:
                layout.append(free.pop(0))
            else:
                raise Mismatch(f"axis {dim} of {value!r} is no axis of the reduction over {shape}")
        unseen = [a for a in kept if shape[a] != 1 and a not in layout]
        if unseen or (any(a in layout for a in reduced) and any(shape[a] != 1 for a in free)):
            raise Mismatch(f"{value!r} does not cover the axes of the reduction")
        return tuple(layout)

    phases: list[list[Node]] = []
    for r in reduces:
        if r.operands[0].shape != shape or r.op.axes != reduced:
            raise Mismatch(f"reductions over {shape} axes {reduced} and {r.operands[0].shape} axes {r.op.axes}")
        seen, last = trial(r.operands[0])
        if any(dim != axis for dim, axis in seen.items()):
            raise Mismatch("a reduction reads another one's result along other axes")
        done[r.results[0]] = last + 1
        while len(phases) <= last + 1:
            phases.append([])
        phases[last + 1].append(r)
    layouts = []
    for value in body.results:
        if value in done:
            layouts.append(kept)
            continue
        seen, _ = trial(value)
        layouts.append(layout_of(value, seen))
    return Domain(shape, reduced, tuple(map(tuple, phases)), tuple(layouts))
