"""Where does every value of a graph of groups lie, and which launches compute it?

Views are strides over their operand. What a concatenation or padding joins is computed where it ends up: its operands' groups
write straight into it. Loops keep their carries in two halves that take turns, so nothing is copied between iterations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable

from ..core.dims import Dim, Symbol, product, symbol
from ..core.errors import CompilerError
from ..core.schedule import Schedule
from ..core.types import TensorType
from ..graph.graph import Graph, Node, Value
from ..kernel.ir import Buffer, Kernel, row_major
from ..lower.group import inplace_pairs, lower_group
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..ops.rearrange import Concat, Pad, Reshape, Transpose
from ..targets.target import Target
from .donate import share_donated
from .program import Branch, Launch, Loop, Place, Port, Program, Step, Storage
from .rows import row_strides
from .views import unview, view


def place_graph(graph: Graph, target: Target, donated: tuple[int, ...] = (), keep: Callable | None = None) -> Program:
    """The program of a graph of groups, without a memory plan (arena storages have no offsets yet)."""
    planner = _Planner(graph, target, donated)
    return planner.run()


class _Places(dict[Value, Place]):
    """Where each value lies, and `until` which node of the whole graph each storage is read (by position; beyond the last
    where a result lies there). Kept up as values are placed: asking all of them at each launch would be quadratic."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.position = {node: i for i, node in enumerate(graph.nodes)}
        self.until: dict[Storage, int] = {}
        self._last = {operand: i for i, node in enumerate(graph.nodes) for operand in node.operands}
        self._last.update(dict.fromkeys(graph.results, len(graph.nodes)))

    def __setitem__(self, value: Value, place: Place) -> None:
        super().__setitem__(value, place)
        self.until[place.storage] = max(self.until.get(place.storage, 0), self._last.get(value, 0))


class _Planner:
    def __init__(self, graph: Graph, target: Target, donated: tuple[int, ...]):
        self.graph, self.shared = share_donated(graph, donated)
        self.target = target
        self.places = _Places(self.graph)
        self.kernels: list[Kernel] = []
        self.kernels_of: dict[str, dict[Schedule, int]] = {}
        self.constants: list = []
        self.constant_of: dict[int, Storage] = {}
        self.labels: list[str] = []
        self.clock = 0
        self.counters = 0
        self.scopes: list[int] = []  # clock at which each open loop began
        self.touched: list[set[Storage]] = []
        self.workspaces: list[Storage] = []

    # ---- storages ----------------------------------------------------------------------------------------------------
    def dense(self, type: TensorType, storage: Storage) -> Place:
        return Place(storage, 0, type.shape, row_major(type.shape), type.dtype)

    def arena(self, type: TensorType, label: str, location=None) -> Place:
        return self.dense(type, Storage("arena", 0, type.nbytes, label, location=location))

    def touch(self, place: Place) -> None:
        """The storage is in use at this step; inside a loop, what was made before it lives to the loop's end."""
        storage = place.storage
        storage.first = min(storage.first, self.clock)
        storage.last = max(storage.last, self.clock)
        for scope in self.touched:
            scope.add(storage)

    def open_scope(self) -> None:
        self.clock += 1
        self.scopes.append(self.clock)
        self.touched.append(set())

    def close_scope(self) -> None:
        self.clock += 1
        begin = self.scopes.pop()
        for storage in self.touched.pop():
            if storage.first < begin:
                storage.last = max(storage.last, self.clock)

    def constant(self, value: Value) -> Place:
        array = value.op.array
        storage = self.constant_of.get(id(array))
        if storage is None:
            storage = Storage("constant", len(self.constants), array.nbytes, value.op.label)
            self.constants.append(array)
            self.constant_of[id(array)] = storage
        return self.dense(value.type, storage)

    # ---- the whole ----------------------------------------------------------------------------------------------------
    def run(self) -> Program:
        graph = self.graph
        for i, param in enumerate(graph.params):
            self.places[param] = self.dense(param.type, Storage("input", i, param.type.nbytes, param.name))
        wanted = {}
        for j, result in enumerate(graph.results):
            wanted[result] = self.dense(result.type, Storage("output", j, result.type.nbytes, graph.output_names[j]))
        steps = self.block(graph, wanted)
        return Program(graph.name, tuple(self.kernels), tuple(self.constants), tuple(steps), None,
                       tuple(Port(n, p.type) for n, p in zip(graph.input_names, graph.params)),
                       tuple(Port(n, r.type, self.shared.get(j)) for j, (n, r) in enumerate(zip(graph.output_names, graph.results))),
                       graph.symbols, tuple(self.labels))

    def block(self, graph: Graph, wanted: dict[Value, Place]) -> list[Step]:
        """The steps of `graph`; values in `wanted` are to lie there."""
        assigned: dict[Value, Place] = {}
        for value, place in wanted.items():
            self._assign(value, place, assigned)
        for node in reversed(graph.nodes):
            if isinstance(node.op, (Concat, Pad)):
                self._assemble(graph, node, assigned)
        steps: list[Step] = []
        for node in graph.nodes:
            self.clock += 1
            self._node(graph, node, assigned, steps)
        return steps

    def _assemble(self, graph: Graph, node: Node, assigned: dict[Value, Place]) -> None:
        """Give the operands of a concatenation or padding their places inside its result."""
        result = node.results[0]
        place = assigned.get(result)
        if place is None:
            place = assigned[result] = self._rows(result, row_strides(graph, result, self.target), node)
        if isinstance(node.op, Pad):
            (operand,) = node.operands
            offset = place.offset
            for low, stride in zip(node.op.low, place.strides):
                offset = offset + low * stride
            self._assign(operand, replace(place, offset=offset, shape=operand.shape), assigned)
            return
        at: Dim = 0
        for operand in node.operands:
            self._assign(operand, replace(place, offset=place.offset + at * place.strides[node.op.axis], shape=operand.shape), assigned)
            at = at + operand.shape[node.op.axis]

    def _assign(self, value: Value, place: Place, assigned: dict[Value, Place]) -> None:
        """Have `value` lie at `place`: what is behind its views has to lie so that they show it there."""
        while isinstance(value.op, (Reshape, Transpose)):
            operand = value.node.operands[0]
            behind = unview(value.op, place, operand.shape)
            if behind is None:
                raise CompilerError(f"{value!r} can't be joined in place", location=value.node.location)
            value, place = operand, behind
        assigned[value] = place

    def _node(self, graph: Graph, node: Node, assigned: dict[Value, Place], steps: list[Step]) -> None:
        op = node.op
        if isinstance(op, Constant):
            self.places[node.results[0]] = self.constant(node.results[0])
        elif isinstance(op, Fused):
            self._launch(graph, node, assigned, steps)
        elif isinstance(op, Concat):
            self.places[node.results[0]] = assigned[node.results[0]]
        elif isinstance(op, Pad):
            self._border(node, assigned[node.results[0]], steps)
        elif isinstance(op, Scan):
            self._scan(node, assigned, steps)
        elif isinstance(op, While):
            self._while(node, assigned, steps)
        elif isinstance(op, Cond):
            self._cond(node, assigned, steps)
        else:
            place = view(op, self.places[node.operands[0]], node.results[0].shape)
            if place is None:
                raise CompilerError(f"{op.name} of {node.operands[0].type} is no view of where its operand lies", location=node.location)
            self.places[node.results[0]] = place

    # ---- groups --------------------------------------------------------------------------------------------------------
    def _launch(self, graph: Graph, node: Node, assigned: dict[Value, Place], steps: list[Step]) -> None:
        operands = [self.places[o] for o in node.operands]
        results = []
        for i, value in enumerate(node.results):
            place = assigned.get(value)
            if place is None:
                strides = row_strides(graph, value, self.target)
                place = self._in_place(node, i, operands, strides) or self._rows(value, strides, node)
            self.places[value] = place
            results.append(place)
        self._emit_launch(node.op, node.op.body, operands, results, steps, node.location, _label(node))

    def _rows(self, value: Value, strides: tuple[Dim, ...], node: Node) -> Place:
        """Memory of its own for a value whose axes lie `strides` apart."""
        place = self.arena(value.type, _label(node), node.location)
        place.storage.size = _bytes(value, strides)
        return replace(place, strides=strides)

    def _in_place(self, node: Node, result: int, operands: list[Place], strides: tuple[Dim, ...]) -> Place | None:
        """The operand whose storage this result may take over: it is read for the last time here, element by element."""
        if self.scopes:
            return None
        value = node.results[result]
        for j in inplace_pairs(node.op, result):
            operand, place = node.operands[j], operands[j]
            if place.storage.kind != "arena" or place.dtype.itemsize != value.dtype.itemsize or operand.shape != value.shape:
                continue
            if place.storage.size != _bytes(value, strides) or place.strides != strides or place.offset != 0:
                continue
            if self.places.until.get(place.storage, 0) > self.places.position[node]:
                continue
            others = [p for i, p in enumerate(operands) if i != j]  # the group may read the same memory in another way, too
            if any(p.storage is place.storage for p in (*others, *(self.places[r] for r in node.results[:result]))):
                continue
            return replace(place, dtype=value.dtype)
        return None

    def _emit_launch(self, op, body: Graph, operands, results, steps: list[Step], location, label: str) -> None:
        for place in (*operands, *results):
            self.touch(place)
        if all(product(p.shape) == 0 for p in results):
            return  # nothing to compute
        number, workspaces = self._kernel(op, body, operands, results)
        spaces = []
        for buffer in workspaces:
            place = self.arena(TensorType(buffer.shape, buffer.dtype), f"{label} workspace", location)
            self.touch(place)
            spaces.append(place)
        steps.append(Launch(number, (*operands, *results, *spaces), location, label, self.clock, op))

    def _kernel(self, op, body: Graph, operands, results) -> tuple[int, tuple[Buffer, ...]]:
        """The number of the kernel for this group at these strides, made once for equal ones."""
        from ..graph.text import print_graph
        layout = ";".join(f"{p.shape}{p.strides}{p.storage.kind == 'constant'}" for p in (*operands, *results))
        key = f"{op.kind}|{print_graph(body, locations=False)}|{layout}"
        made = self.kernels_of.setdefault(key, {})
        number = made.get(op.schedule)
        if number is None:
            params = [place_buffer(f"in{i}", p, "constant" if p.storage.kind == "constant" else "in") for i, p in enumerate(operands)]
            outs = [place_buffer(f"out{i}", p, "out") for i, p in enumerate(results)]
            name = f"k{len(self.kernels)}_{_identifier(op.label or op.kind)}"
            kernel = lower_group(op.kind, body, params, outs, self.target, name, op.schedule)
            equal = (n for n in made.values() if str(replace(self.kernels[n], name=name)) == str(kernel))
            number = made[op.schedule] = next(equal, len(self.kernels))
            if number == len(self.kernels):
                self.kernels.append(kernel)
                self.labels.append(op.label or op.kind)
        kernel = self.kernels[number]
        return number, kernel.params[len(operands) + len(results):]

    def _border(self, node: Node, place: Place, steps: list[Step]) -> None:
        """Fill what padding adds around its operand, side by side for each axis."""
        self.places[node.results[0]] = place
        op = node.op
        from .groups import fill_group
        low, high = [0] * len(place.shape), [0] * len(place.shape)
        sides = []
        for axis, (before, after) in enumerate(zip(op.low, op.high)):
            for at, extent in ((0, before), (place.shape[axis] - after, after)):
                if extent == 0:
                    continue
                shape, offset = list(place.shape), place.offset
                for other in range(axis):  # axes done already keep their operand's range: corners are filled once
                    shape[other] = place.shape[other] - low[other] - high[other]
                    offset = offset + low[other] * place.strides[other]
                shape[axis] = extent
                sides.append(replace(place, offset=offset + at * place.strides[axis], shape=tuple(shape)))
            low[axis], high[axis] = before, after
        if sides:
            group = fill_group(tuple(TensorType(side.shape, place.dtype) for side in sides), op.value)
            self._emit_launch(group, group.body, [], sides, steps, node.location, f"{_label(node)} border")

    # ---- control flow ---------------------------------------------------------------------------------------------------
    def _counter(self) -> Symbol:
        self.counters += 1
        return Symbol(f"loop.{self.counters}", 0)

    def _copy(self, source: Place, target: Place, steps: list[Step], location) -> None:
        from .groups import copy_group
        self.clock += 1
        group = copy_group(TensorType(target.shape, target.dtype))
        self._emit_launch(group, group.body, [source], [target], steps, location, "copy")

    def _halves(self, type: TensorType, label: str, location) -> tuple[Place, Callable[[Dim], Place]]:
        """A storage of two halves, and the place of the one that is current after `t` iterations."""
        storage = Storage("arena", 0, 2 * type.nbytes, label, location=location)
        place = self.dense(type, storage)
        return place, lambda t: replace(place, offset=(t - (t // 2) * 2) * type.size)

    def _carried(self, node: Node, body: Graph, count: int, steps: list[Step]):
        halves = []
        for i in range(count):
            operand = node.operands[i]
            if body.results[i] is body.params[i]:  # it does not change: it stays where it is
                place = self.places[operand]
                halves.append((place, lambda t, place=place: place))
                continue
            first, at = self._halves(operand.type, f"{_label(node)} carry {i}", node.location)
            self._copy(self.places[operand], first, steps, node.location)
            halves.append((first, at))
        return halves

    def _scan(self, node: Node, assigned: dict[Value, Place], steps: list[Step]) -> None:
        op = node.op
        trip = op.steps(*(o.type for o in node.operands))
        counter = self._counter()
        t = symbol(counter.name, 0)
        at = (trip - 1) - t if op.reverse else t
        halves = self._carried(node, op.body, op.carries, steps)
        body = op.body
        for i, param in enumerate(body.params):
            if i < op.carries:
                self.places[param] = halves[i][1](t)
                continue
            place = self.places[node.operands[i]]
            if i < op.carries + op.scanned:
                place = replace(place, offset=place.offset + at * place.strides[0], shape=place.shape[1:], strides=place.strides[1:])
            self.places[param] = place
        stacked = []
        for result in node.results[op.carries:]:
            place = assigned.get(result) or self.arena(result.type, _label(node), node.location)
            self.touch(place)
            stacked.append(place)
        self.open_scope()
        wanted = {}
        for i, value in enumerate(body.results):
            if i < op.carries:
                if value is not body.params[i]:
                    wanted[value] = halves[i][1](t + 1)
            else:
                place = stacked[i - op.carries]
                wanted[value] = replace(place, offset=place.offset + at * place.strides[0], shape=place.shape[1:], strides=place.strides[1:])
        for place in (*wanted.values(), *(self.places[p] for p in body.params)):
            self.touch(place)
        inner = self.block(body, wanted)
        for place in (*wanted.values(), *(self.places[p] for p in body.params)):
            self.touch(place)
        self.close_scope()
        steps.append(Loop(counter, trip, tuple(inner)))
        for i, result in enumerate(node.results[:op.carries]):
            self._hand_over(result, halves[i][1](trip), assigned, steps, node.location)
        for result, place in zip(node.results[op.carries:], stacked):
            self.places[result] = place

    def _hand_over(self, result: Value, place: Place, assigned, steps, location) -> None:
        """A loop's final carry: used where it lies, or copied to where it is wanted."""
        self.touch(place)
        wanted = assigned.get(result)
        if wanted is not None:
            self._copy(place, wanted, steps, location)
            place = wanted
        self.places[result] = place

    def _while(self, node: Node, assigned: dict[Value, Place], steps: list[Step]) -> None:
        op = node.op
        counter = self._counter()
        t = symbol(counter.name, 0)
        halves = self._carried(node, op.body, len(node.operands), steps)
        self.open_scope()
        for i, (a, b) in enumerate(zip(op.condition.params, op.body.params)):
            self.places[a] = self.places[b] = halves[i][1](t)
            self.touch(self.places[a])
        flag = self.arena(op.condition.results[0].type, f"{_label(node)} condition", node.location)
        self.touch(flag)
        before = self.block(op.condition, {op.condition.results[0]: flag})
        self.touch(flag)
        wanted = {value: halves[i][1](t + 1) for i, value in enumerate(op.body.results) if value is not op.body.params[i]}
        inner = self.block(op.body, wanted)
        for first, _ in halves:
            self.touch(first)
        self.close_scope()
        steps.append(Loop(counter, None, tuple(inner), tuple(before), flag))
        final = symbol(counter.name + ".end", 0)
        for i, result in enumerate(node.results):
            self._hand_over(result, halves[i][1](final), assigned, steps, node.location)

    def _cond(self, node: Node, assigned: dict[Value, Place], steps: list[Step]) -> None:
        op = node.op
        index = self.places[node.operands[0]]
        self.touch(index)
        places = []
        for result in node.results:
            place = assigned.get(result) or self.arena(result.type, _label(node), node.location)
            self.places[result] = place
            self.touch(place)
            places.append(place)
        branches = []
        for branch in op.branches:
            self.open_scope()
            for param, operand in zip(branch.params, node.operands[1:]):
                self.places[param] = self.places[operand]
                self.touch(self.places[param])
            branches.append(tuple(self.block(branch, dict(zip(branch.results, places)))))
            self.close_scope()
        steps.append(Branch(index, tuple(branches)))


def _bytes(value: Value, strides: tuple[Dim, ...]) -> Dim:
    """The bytes of a value's memory whose axes lie `strides` apart, outermost first."""
    return value.shape[0] * strides[0] * value.dtype.itemsize if value.shape else value.dtype.itemsize


def place_buffer(name: str, place: Place, role: str) -> Buffer:
    """The buffer as which a kernel sees `place`."""
    return Buffer(name, place.dtype, place.shape, place.strides, role, "global")


def _label(node: Node) -> str:
    return getattr(node.op, "label", "") or node.op.name


def _identifier(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)[:40]
