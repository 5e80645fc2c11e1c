"""Which independent groups run as one kernel?  Those that wait for nothing, and those that nothing waits for.

Behind the last groups of a graph, such as a training step's updates, are views and joins alone, so none of them
depends on another: they may run together where the last of them did. Until then each keeps what it reads in memory.
Groups of parameters alone may run together where the first of them does, and what they make is in memory from then on.
What would raise the peak stays where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ..core.options import Options
from ..core.remarks import Remarks
from ..graph.builder import Builder
from ..graph.graph import Graph, Node, Value, map_subgraphs
from ..graph.text import print_graph
from ..lower.group import inplace_pairs
from ..ops.constant import Constant
from ..ops.control import Cond, Fused, Scan, While
from ..targets.target import Target
from .donate import behind_views
from .order import live_bytes, storage_bytes, storages

SMALL = 1 << 14  # bytes that a group of parameters may make before they are needed: they stay in cache until then
SLACK = 10  # they may raise the peak by 1 / 2^SLACK, where no budget is set: a few numbers do not keep kernels apart

_CONTROL = (Cond, While, Scan)


def fuse_horizontally(graph: Graph, target: Target, options: Options, remarks: Remarks) -> Graph:
    """`graph`, in the order in which it runs, with its first and its last pointwise groups as one each; so inside of
    control flow."""
    if not options.fuse:
        return graph
    loops = [n for n in graph.nodes if isinstance(n.op, Fused) and n.op.kind == "loops"]
    last = [n for n in loops if _is_last(graph, n)]
    first = [n for n in loops if n not in last and all(map(_is_known, n.operands))
             and sum(map(storage_bytes, n.results)) <= SMALL]
    peak = _Peak(graph, remarks)
    slack = 0 if options.max_memory is not None else peak.peak >> SLACK
    first, last = peak.admitted(first, True, slack), peak.admitted(_apart_in_place(graph, last, remarks), False, 0)
    for members, reason in ((first, "wait for nothing"), (last, "nothing waits for")):
        if members:
            remarks.add("fuse-horizontal", _label(members), True, f"{len(members)} groups that {reason} are one kernel",
                        tuple(inner for node in members for inner in node.op.body.nodes))
    return _Fusion(graph, first, last, lambda body: fuse_horizontally(body, target, options, remarks)).run()


def _is_last(graph: Graph, node: Node) -> bool:
    """Whether nothing computes with what `node` makes: views and joins lead to results of the graph."""
    return all(not isinstance(user.op, (Fused, *_CONTROL)) and _is_last(graph, user)
               for result in node.results for user in graph.users.get(result, ()))


def _is_known(value: Value) -> bool:
    """Whether `value` is a parameter, a constant, or a view of one."""
    return value.node is None or (value.op.is_view and all(map(_is_known, value.node.operands)))


def _apart_in_place(graph: Graph, nodes: Sequence[Node], remarks: Remarks) -> list[Node]:
    """`nodes` without those that read a parameter whose memory another one's result may take over, if it is donated."""
    kept = set(graph.results)
    read: set[Value] = set()
    written: set[Value] = set()
    found = []
    for node in nodes:
        reads = set(map(behind_views, node.operands))
        writes = {node.operands[j] for i, r in enumerate(node.results) if r in kept for j in inplace_pairs(node.op, i)
                  if node.operands[j].node is None and node.operands[j].type == r.type}
        if reads & written or writes & read:
            remarks.add("fuse-horizontal", node.op.label or node.op.kind, False,
                        "it reads a parameter that another one may be computed in place of", node.op.body.nodes)
            continue
        read |= reads
        written |= writes
        found.append(node)
    return found


class _Peak:
    """The bytes that are live at each node of a graph, as groups come to wait, or run early."""

    def __init__(self, graph: Graph, remarks: Remarks):
        self.remarks = remarks
        self.position = {n: i for i, n in enumerate(graph.nodes)}
        self.storage = storages(graph)
        self.live, self.spans = live_bytes(graph, self.storage)
        self.peak = max(self.live, default=0)

    def admitted(self, nodes: Sequence[Node], is_first: bool, slack: int) -> list[Node]:
        """Those of `nodes` that may run together, with the first or with the last of them, at most `slack` bytes over
        the peak; none where it is one."""
        if len(nodes) < 2:
            return []
        at = self.position[nodes[0 if is_first else -1]]
        found = []
        for node in sorted(nodes, key=lambda n: sum(map(storage_bytes, self._moved(n, at, is_first)))):
            moved = self._moved(node, at, is_first)  # less than before, where others that are admitted read the same
            total = sum(map(storage_bytes, moved))
            if any(max(self.live[low:high]) + total > self.peak + slack for low, high in moved.values()):
                self.remarks.add("fuse-horizontal", node.op.label or node.op.kind, False,
                                 f"{total:,} bytes would be in memory for longer, over the peak", node.op.body.nodes)
                continue
            for value, (low, high) in moved.items():
                self.spans[value] = min(low, self.spans[value][0]), max(high, self.spans[value][1])
                self.live[low:high] = [live + storage_bytes(value) for live in self.live[low:high]]
            found.append(node)
        return sorted(found, key=self.position.__getitem__) if len(found) > 1 else []

    def _moved(self, node: Node, at: int, is_first: bool) -> dict[Value, tuple[int, int]]:
        """What of `node` is live for longer if it runs at position `at`, and between which positions."""
        found = {}
        for value in dict.fromkeys(self.storage.get(v, v) for v in (node.results if is_first else node.operands)):
            start, end = self.spans.get(value, (0, len(self.live)))
            low, high = (at, start) if is_first else (end, at + 1)
            if low < high and value in self.spans:
                found[value] = low, high
        return found


class _Fusion:
    """A graph with the groups `first` as one, the groups `last` as one, and `inside` applied to the graphs that control
    flow holds."""

    def __init__(self, graph: Graph, first: Sequence[Node], last: Sequence[Node], inside: Callable[[Graph], Graph]):
        self.graph, self.first, self.last, self.inside = graph, first, last, inside
        self.builder = Builder(graph.name, fold=False)
        self.env: dict[Value, Value] = {p: self.builder.parameter(p.type, p.name) for p in graph.params}

    def run(self) -> Graph:
        first, last = set(self.first), set(self.last)
        waiting: list[Node] = []
        for node in self.graph.nodes:
            if node in first:
                if node is self.first[0]:
                    for operand in (o for n in self.first for o in n.operands):
                        self._need(operand)
                    self._join(self.first)
            elif node in last:
                if node is self.last[-1]:
                    self._join(self.last)
                    for follower in waiting:
                        self._emit(follower)
            elif any(o not in self.env for o in node.operands):
                waiting.append(node)
            elif node.results[0] not in self.env:
                self._emit(node)
        return self.builder.finish([self.env[r] for r in self.graph.results], self.graph.result_names)

    def _need(self, value: Value) -> None:
        """The views that lead to `value`, before their turn."""
        if value not in self.env:
            for operand in value.node.operands:
                self._need(operand)
            self._emit(value.node)

    def _emit(self, node: Node) -> None:
        self.builder.location, op = node.location, node.op
        if isinstance(op, Constant):
            results = (self.builder.constant(op.array, op.label),)
        else:
            op = map_subgraphs(op, self.inside) if isinstance(op, _CONTROL) else op
            results = self.builder._append(op, tuple(self.env[o] for o in node.operands))
        self.env.update(zip(node.results, results))

    def _join(self, members: Sequence[Node]) -> None:
        """`members` as the nodes of one group's body, equal ones side by side: they share code. What several of them
        read comes first among its operands, then each one's own."""
        alike: dict[str, list[Node]] = {}
        for node in members:
            alike.setdefault(print_graph(node.op.body, locations=False), []).append(node)
        members = [node for nodes in alike.values() for node in nodes]
        readers = Counter(operand for node in members for operand in dict.fromkeys(node.operands))
        outer = sorted(readers, key=lambda operand: readers[operand] == 1)
        body = Builder("group", fold=False)
        inner = {operand: body.parameter(operand.type, f"x{i}") for i, operand in enumerate(outer)}
        results: list[Value] = []
        for node in members:
            body.location = node.location
            results += body._append(node.op, tuple(inner[o] for o in node.operands))
        self.builder.location = members[-1].location
        group = Fused(body.finish(results), "horizontal", _label(members))
        made = self.builder._append(group, tuple(self.env[o] for o in outer))
        self.env.update(zip((r for node in members for r in node.results), made))


def _label(members: Sequence[Node]) -> str:
    labels = dict.fromkeys(n.op.label or n.op.kind for n in members)
    return f"{len(members)} x {next(iter(labels))}" if len(labels) == 1 else f"{len(members)} groups"
