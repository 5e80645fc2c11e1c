"""Which operators share a kernel?  Groups grown forward from seeds; one function says what is legal, and every refusal its reason.

Seeds in order: attention patterns (passes/attention.py), then contractions and convolutions, which take the elementwise
ops behind them as epilogue, or the cell that combines parts of the product (passes/gates.py), then everything else
(pointwise chains, reductions and their consumers). Views between groups stay outside: they are strides, not work.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Sequence

from ..core.dims import Dim, nominal, product
from ..core.location import UNKNOWN
from ..core.options import Options
from ..core.remarks import Remarks
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..lower.domain import Mismatch, find_domain
from ..lower.loops import SLOW
from ..ops.constant import Constant
from ..ops.contract import Contract
from ..ops.control import Cond, Fused, Scan, While
from ..ops.conv import Conv
from ..ops.identity import Barrier
from ..ops.rearrange import Broadcast, Concat, Pad, Reshape, Slice, Transpose, without_units
from ..ops.reduce import Reduce
from ..targets.target import Target
from ..templates.problem import stored
from .attention import match_attention
from .gates import match_gates
from .weights import weight_layout

LARGEST_GROUP = 64
WINDOW = 256  # how many nodes ahead of its seed a group may reach: keeps fusion linear in the graph

_VIEWS = (Reshape, Transpose, Slice, Broadcast)
_CONTROL = (Cond, While, Scan)


@dataclass
class Group:
    """Nodes that become one kernel."""

    kind: str
    nodes: list[Node]
    values: set[Value] = field(default_factory=set)

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The shape that the group's seed gives to what joins it: that of a gate, or of the first node's result."""
        return self.nodes[1 if self.kind == "gated" else 0].results[0].shape

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        self.values.update(node.results)


def fuse(graph: Graph, target: Target, options: Options, remarks: Remarks) -> Graph:
    """`graph` with its nodes in Fused groups; left outside are constants, views, joins (Concat, Pad) and control flow."""
    return _Fusion(graph, target, options, remarks).run()


def is_outside(node: Node) -> bool:
    """Whether a node is never a group's seed: it costs no kernel, or it holds graphs of its own."""
    return isinstance(node.op, (Constant, *_VIEWS, Barrier, Concat, Pad, *_CONTROL))


def is_contraction(node: Node) -> bool:
    """Whether a node has a template of its own: products of floats."""
    return isinstance(node.op, (Contract, Conv)) and node.results[0].dtype.is_float


class _Fusion:
    def __init__(self, graph: Graph, target: Target, options: Options, remarks: Remarks):
        self.graph, self.target, self.options, self.remarks = graph, target, options, remarks
        self.position = {n: i for i, n in enumerate(graph.nodes)}
        self.group_of: dict[Node, Group] = {}
        self.groups: list[Group] = []
        self.spans: list[tuple[int, int]] = []  # first and last positions of kernels made already, joined where they overlap

    def run(self) -> Graph:
        nodes = self.graph.nodes
        if self.options.fuse:
            for members in match_attention(self.graph):
                if not any(n in self.group_of for n in members):
                    self._close(Group("attention", [], set()), members)
        for node in nodes:
            if is_contraction(node) and node not in self.group_of:
                self._close(self._gated(node) or self._grow(Group("contraction", [], set()), node))
        for node in nodes:
            if node in self.group_of or is_outside(node):
                continue
            kind = "reduction" if isinstance(node.op, Reduce) else "loops" if node.op.has_element else "single"
            self._close(self._grow(Group(kind, [], set()), node))
        return self._emit()

    # ---- growing ------------------------------------------------------------------------------------------------------
    def _close(self, group: Group, members: list[Node] | None = None) -> None:
        for node in members or ():
            group.add(node)
        for node in group.nodes:
            self.group_of[node] = group
        self.groups.append(group)
        positions = [self.position[n] for n in group.nodes]
        first, last = min(positions), max(positions)
        if first < last:
            low = bisect_left(self.spans, first, key=lambda span: span[1])
            high = bisect_right(self.spans, last, key=lambda span: span[0])
            joined = [(first, last), *self.spans[low:high]]
            self.spans[low:high] = [(min(a for a, _ in joined), max(b for _, b in joined))]

    def _gated(self, seed: Node) -> Group | None:
        """The group of a product whose parts are gates, with what combines them; None for an ordinary contraction."""
        if not self.options.fuse:
            return None
        gates, reason = match_gates(self.graph, seed, self.target)
        group = None
        if gates:
            group = self._grow(Group("gated", [], set()), seed, gates)
            outside = {u for g in gates for u in self.graph.users[g.results[0]]} - set(group.nodes)
            if outside:
                first = min(outside, key=self.position.__getitem__)
                group, reason = None, f"{_name(first)} reads a gate and is not part of the cell"
        if reason:
            self.remarks.add("fuse", f"{_name(seed)} with its gates", False, reason, (seed,))
        return group

    def _widenings(self, seed: Node, gates: int) -> list[Node]:
        """The nodes that widen narrow constants to a contraction's weights, where its kernel does that as it reads them.
        """
        if not is_contraction(seed):
            return []
        for side in (1, 0):
            value = seed.operands[side]
            if stored(value) is not value and all(isinstance(o.op, Constant) for o in value.node.operands):
                if set(self.graph.users[value]) == {seed} and value not in self._graph_results:
                    if weight_layout(seed, side, gates, self.target) is not None:
                        return [value.node]
                self.remarks.add("fuse", f"{_name(seed)} with {_name(value.node)}",
                                 False, "its weights are widened in memory first")
        return []

    def _grow(self, group: Group, seed: Node, gates: Sequence[Node] = ()) -> Group:
        for node in (seed, *gates, *self._widenings(seed, len(gates))):
            group.add(node)
        if not self.options.fuse or group.kind == "single":
            return group
        users = self.graph.users
        queue: list[tuple[int, Node]] = []
        queued: set[Node] = set(group.nodes)

        def push(node: Node) -> None:
            for result in node.results:
                for user in users.get(result, ()):
                    if user not in queued:
                        queued.add(user)
                        heapq.heappush(queue, (self.position[user], user))
        for node in list(group.nodes):
            push(node)
        limit = self.position[seed] + WINDOW
        while queue and len(group.nodes) < LARGEST_GROUP:
            at, node = heapq.heappop(queue)
            if at > limit:
                break
            reason = self._refusal(group, node)
            if reason is None:
                group.add(node)
                push(node)
            elif reason:
                self.remarks.add("fuse", f"{_name(seed)} with {_name(node)}", False, reason, (seed, node))
        self._absorb_producers(group)
        if group.kind == "contraction":
            self._leave_to_readers(group, seed)
        self._drop_trailing_views(group)
        return group

    def _leave_to_readers(self, group: Group, seed: Node) -> None:
        """Take out of a product's epilogue what it would store beside its sources, stored too: kernels that compute elements as they
        read them (reductions, elementwise ones) make it from those again, and nothing more goes to memory."""
        left = {n for n in group.nodes if n is not seed and n.op.is_pointwise and getattr(n.op, "kernel_op", "") not in SLOW
                and n.results[0].shape == seed.results[0].shape}
        members = set(group.nodes)

        def is_stored(value: Value) -> bool:
            return value in self._graph_results or any(u not in members for u in self.graph.users.get(value, ()))

        def stays(node: Node) -> bool:
            value = node.results[0]
            users = self.graph.users.get(value, ())
            if value in self._graph_results or not all(u in left or u not in members and (u.op.is_pointwise or isinstance(u.op, Reduce))
                                                       for u in users):
                return True
            return any(o in group.values and o.node not in left and not is_stored(o) for o in node.operands)
        while staying := {n for n in left if stays(n)}:
            left -= staying
        group.nodes[:] = [n for n in group.nodes if n not in left]
        group.values.difference_update(r for n in left for r in n.results)

    def _absorb_producers(self, group: Group) -> None:
        """Take in pointwise nodes whose results only this group reads: siblings of the seed that growing forward did not meet."""
        changed = True
        while changed and len(group.nodes) < LARGEST_GROUP:
            changed = False
            members = set(group.nodes)
            shapes = {without_units(group.shape), *(without_units(n.operands[0].shape) for n in group.nodes if isinstance(n.op, Reduce))}
            for node in {o.node for n in group.nodes for o in n.operands if o.node is not None and o not in group.values}:
                if node in self.group_of or is_outside(node) or not node.op.is_pointwise:
                    continue
                if without_units(node.results[0].shape) not in shapes:
                    continue
                if any(u not in members for u in self.graph.users[node.results[0]]) or any(self._reaches(o, group) for o in node.operands):
                    continue
                if group.kind in ("contraction", "gated") and group.nodes[0] in self.graph.users[node.results[0]]:
                    continue  # it makes an operand of the product, which is read from memory
                if group.kind == "reduction":
                    trial = Group("reduction", [*group.nodes, node], group.values | set(node.results))
                    try:
                        find_domain(self._body(self._without_trailing_views(trial))[0])
                    except Mismatch:
                        continue
                group.add(node)
                changed = True

    def _refusal(self, group: Group, node: Node) -> str | None:
        """Why `node` can't join `group`; None where it can, "" where there is nothing to say."""
        op = node.op
        if node in self.group_of:
            return "it belongs to another kernel already"
        if isinstance(op, (Constant, Barrier, Concat, Pad, *_CONTROL)):
            return ""
        if is_contraction(node):
            return "a contraction begins a kernel of its own"
        if not op.has_element and not isinstance(op, Reduce):
            return f"{op.name} is no element expression"
        if len(node.results) != 1:
            return f"{op.name} has several results"
        shape = node.results[0].shape
        if group.kind in ("contraction", "gated"):
            same = without_units(shape) == without_units(group.shape)
            if not same or not (op.is_pointwise or isinstance(op, Reshape)):
                return "an epilogue is elementwise, of the shape of the product or its gates"
        elif isinstance(op, Reduce):
            if group.kind == "loops":
                wasted = self._escapes(group, node)
                if wasted:
                    return wasted
        elif op.is_view:
            reason = self._expansion(group, node)
            if reason:
                return reason
        elif group.kind == "loops" and not self._same_size(group, node):
            return "another iteration space"
        for operand in node.operands:
            if operand not in group.values and self._reaches(operand, group):
                return "another operand depends on this kernel through other kernels: fusing would make a cycle"
        if (group.kind == "reduction" and not self._follows(group, node)) or isinstance(op, Reduce):
            trial = self._without_trailing_views(Group("reduction", [*group.nodes, node], group.values | set(node.results)))
            if isinstance(op, Reduce) and node not in trial.nodes:
                return "it reads a view that other kernels read too"
            try:
                find_domain(self._body(trial)[0])
            except Mismatch as mismatch:
                return str(mismatch)
            group.kind = "reduction"
        return None

    def _follows(self, group: Group, node: Node) -> bool:
        """Whether a pointwise node lies in the domain because its one operand from the group does."""
        inside = {o for o in node.operands if o in group.values}
        return node.op.is_pointwise and len(inside) == 1 and all(not o.op.is_view and not isinstance(o.op, Reduce) for o in inside)

    def _same_size(self, group: Group, node: Node) -> bool:
        """Whether a pointwise node walks the same elements as the group's last pointwise node."""
        sizes = {v.type.size for n in group.nodes if not n.op.is_view for v in n.results}
        size = node.results[0].type.size
        if size in sizes and len(sizes) == 1:
            return True
        # The group's values reach the node through views (broadcasts, slices): then they must all be used up in it.
        return all(self._used_within(v, {*group.nodes, node}) for n in group.nodes if not n.op.is_view for v in n.results
                   if v.type.size != size)

    def _used_within(self, value: Value, nodes: set[Node]) -> bool:
        if value in self.graph.results:
            return False
        return all(u in nodes and (not u.op.is_view or all(self._used_within(r, nodes) for r in u.results))
                   for u in self.graph.users.get(value, ()))

    def _escapes(self, group: Group, reduce: Node) -> str:
        """A pointwise group that feeds a reduction should not be stored besides, unless it is small change."""
        domain = reduce.operands[0].shape
        for node in group.nodes:
            for value in node.results:
                if not node.op.is_view and value.shape != domain and not self._used_within(value, {*group.nodes, reduce}):
                    return "a value of another shape leaves the kernel"
        return ""

    def _expansion(self, group: Group, node: Node) -> str:
        """Views that repeat elements would repeat their computation: fine for cheap ones."""
        if not isinstance(node.op, Broadcast) or group.kind != "loops":
            return ""
        grown = nominal(product(node.results[0].shape)) / max(1, nominal(product(node.operands[0].shape)))
        slow = sum(1 for n in group.nodes if getattr(n.op, "kernel_op", "") in
                   ("exp", "log", "tanh", "sigmoid", "erf", "sin", "cos", "pow"))
        if grown > 4 and (slow or len(group.nodes) > 8):
            return f"each element would be computed {grown:.0f} times"
        return ""

    def _reaches(self, value: Value, group: Group) -> bool:
        """Whether `value` depends on the group, through nodes outside it (kernels made already count as one)."""
        first = min(self.position[n] for n in group.nodes)
        at = bisect_left(self.spans, first, key=lambda span: span[1])
        if at < len(self.spans):  # a kernel made already may lead on from before the group to behind its first node
            first = min(first, self.spans[at][0])
        members = set(group.nodes)
        stack, seen = [value], set()
        while stack:
            v = stack.pop()
            node = v.node
            if node is None or node in seen:
                continue
            if node in members:
                return True
            unit = self.group_of.get(node)
            nodes = unit.nodes if unit is not None else (node,)
            if max(self.position[n] for n in nodes) < first:
                continue
            for n in nodes:
                if n not in seen:
                    seen.add(n)
                    stack.extend(n.operands)
        return False

    def _without_trailing_views(self, group: Group) -> Group:
        kept = Group(group.kind, list(group.nodes), set(group.values))
        self._drop_trailing_views(kept)
        return kept

    def _drop_trailing_views(self, group: Group) -> None:
        """A view that something outside reads is left outside, where it is only strides."""
        changed = True
        while changed and len(group.nodes) > 1:
            changed = False
            members = set(group.nodes)
            for node in reversed(group.nodes):
                if not node.op.is_view or not isinstance(node.op, _VIEWS):
                    continue
                if any(r in self.graph.results or not self.graph.users.get(r) or any(u not in members for u in self.graph.users[r])
                       for r in node.results):
                    dropped = [node]  # and the members that read it, which would wait for it while it waits for the group
                    for member in dropped:
                        dropped += [u for r in member.results for u in self.graph.users.get(r, ()) if u in members and u not in dropped]
                    group.nodes[:] = [n for n in group.nodes if n not in dropped]
                    group.values.difference_update(r for n in dropped for r in n.results)
                    changed = True
                    break

    # ---- the new graph --------------------------------------------------------------------------------------------------
    def _body(self, group: Group) -> tuple[Graph, list[Value], list[list[Value]]]:
        """(the group as a graph of its own, its outer operands, for each of its results the values outside that it stands for)."""
        members = set(group.nodes)
        nodes = sorted(group.nodes, key=self.position.__getitem__)
        builder = Builder("group", fold=False)
        env: dict[Value, Value] = {}
        outer: list[Value] = []
        for node in nodes:
            for operand in node.operands:
                if operand in env:
                    continue
                if operand.node in members:
                    continue
                from_memory = group.kind == "single" or is_contraction(node)  # tiles are read from buffers
                if isinstance(operand.op, Constant) and operand.op.array.size == 1 and not from_memory:
                    env[operand] = builder.constant(operand.op.array)
                    continue
                if isinstance(operand.op, Broadcast) and not from_memory:
                    number = operand.node.operands[0]
                    if isinstance(number.op, Constant) and number.op.array.size == 1:  # a number: no memory is read for it
                        env[operand] = builder.emit(operand.op, builder.constant(number.op.array))
                        continue
                env[operand] = builder.parameter(operand.type, f"x{len(outer)}")
                outer.append(operand)
            builder.location = node.location
            results = builder.emit_all(node.op, *(env[o] for o in node.operands), like=node)
            env.update(zip(node.results, results))
        needed = [r for n in nodes for r in n.results
                  if r in self._graph_results or any(u not in members for u in self.graph.users.get(r, ()))]
        if not needed:
            needed = list(nodes[-1].results)
        distinct: dict[Value, list[Value]] = {}  # values that became one in the body are one result
        for r in needed:
            distinct.setdefault(env[r], []).append(r)
        return builder.finish(list(distinct)), outer, list(distinct.values())

    @property
    def _graph_results(self) -> set[Value]:
        known = self.__dict__.get("_results")
        if known is None:
            known = self.__dict__["_results"] = set(self.graph.results)
        return known

    def _emit(self) -> Graph:
        builder = Builder(self.graph.name, fold=False)
        env: dict[Value, Value] = {p: builder.parameter(p.type, p.name) for p in self.graph.params}
        units: list = []
        unit_of: dict[Node, int] = {}
        for node in self.graph.nodes:
            if node in unit_of:
                continue
            group = self.group_of.get(node)
            for member in group.nodes if group is not None else (node,):
                unit_of[member] = len(units)
            units.append(group if group is not None else node)
        members = [u.nodes if isinstance(u, Group) else (u,) for u in units]
        waits = []
        users: dict[int, set[int]] = {}
        for i, nodes in enumerate(members):
            needs = {unit_of[o.node] for n in nodes for o in n.operands if o.node is not None} - {i}
            waits.append(len(needs))
            for j in needs:
                users.setdefault(j, set()).add(i)
        ready = [(min(self.position[n] for n in nodes), i) for i, nodes in enumerate(members) if not waits[i]]
        heapq.heapify(ready)
        while ready:
            _, i = heapq.heappop(ready)
            self._emit_unit(builder, units[i], env)
            for j in users.get(i, ()):
                waits[j] -= 1
                if not waits[j]:
                    heapq.heappush(ready, (min(self.position[n] for n in members[j]), j))
        return builder.finish([env[r] for r in self.graph.results], self.graph.output_names)

    def _emit_unit(self, builder: Builder, unit, env: dict[Value, Value]) -> None:
        if isinstance(unit, Node):
            builder.location = unit.location
            op = unit.op
            if isinstance(op, _CONTROL):
                op = map_subgraphs(op, lambda body: fuse(body, self.target, self.options, self.remarks))
            env.update(zip(unit.results, builder.emit_all(op, *(env[o] for o in unit.operands), like=unit)))
            return
        body, outer, needed = self._body(unit)
        kind = "reduction" if unit.kind == "loops" and any(isinstance(n.op, Reduce) for n in unit.nodes) else unit.kind
        builder.location = next((n.location for n in reversed(unit.nodes) if n.location is not UNKNOWN), UNKNOWN)
        names = [n.op.name for n in sorted(unit.nodes, key=self.position.__getitem__) if not n.op.is_view or len(unit.nodes) == 1]
        label = "+".join(names[:6]) + (f"+{len(names) - 6}" if len(names) > 6 else "")
        if len(unit.nodes) > 1:
            self.remarks.add("fuse", label, True, f"{len(unit.nodes)} operators in one {kind} kernel",
                             tuple(unit.nodes))
        results = builder.emit_all(Fused(body, kind, label), *(env[o] for o in outer))
        for values, result in zip(needed, results):
            env.update(dict.fromkeys(values, result))


def _name(node: Node) -> str:
    place = f" ({node.location})" if str(node.location) else ""
    return node.op.name + place


