"""Why is a model compiled as it is?  For a value, a node or a kernel: what it became, with whom it shares a kernel and
why not with others, which template and schedule, what other tiles would have cost, and where its data lies."""

from __future__ import annotations

import difflib
from collections import Counter
from functools import cached_property

from ...compiler.core.errors import LaminaError
from ...compiler.core.remarks import Remark
from ...compiler.graph.graph import Node, Value
from ...compiler.ops.constant import Constant
from ...compiler.ops.pack import Unpack
from ...compiler.ops.winograd import UnpackWinograd
from ...compiler.plan.place import place_buffer
from ...compiler.plan.program import Launch, walk_launches
from ...compiler.plan.text import print_place
from ...compiler.plan.work import group_nodes, launch_ops, launch_places, launch_work
from ...compiler.templates.alternatives import tile_costs
from .json import dim_data, type_data
from .labels import label_values
from .levels import Levels
from .schedule import KernelSchedule, read_schedule

TEMPLATES = {"loops": "loops over the elements of its results",
             "reduction": "loops over rows, reductions and what follows them in one pass",
             "attention": "attention: a block of scores at a time, which stay in cache",
             "single": "loops that the op itself writes",
             "horizontal": "the loops of independent groups, shared out together"}
ALTERNATIVES = 4  # that are shown
MOST_KERNELS = 20  # of one answer: an unrolled loop's line has thousands
PRODUCTS = ("contraction", "gated")
Key = tuple[str, str]  # a node's op and place: what later stages keep of it


class Explainer:
    """Answers for one compilation."""

    def __init__(self, levels: Levels):
        self.levels = levels
        self.program = levels.program

    # ---- what was compiled -------------------------------------------------------------------------------------------
    @cached_property
    def launches(self) -> dict[int, list[Launch]]:
        """The launches of each kernel, by its number."""
        found: dict[int, list[Launch]] = {}
        for launch in walk_launches(self.program.steps):
            found.setdefault(launch.kernel, []).append(launch)
        return found

    @cached_property
    def keys(self) -> dict[int, set[Key]]:
        """The nodes that each kernel computes."""
        return {number: {_key(n) for launch in launches for n in group_nodes(launch.group)}
                for number, launches in self.launches.items()}

    @cached_property
    def labels(self) -> dict[str, Value]:
        """The values of the traced graph by their names in its text, and by their public names."""
        graph = self.levels.traced
        found = {label: value for value, label in label_values(graph).items()}
        return dict(zip(graph.output_names, graph.results)) | {label.removeprefix("%"): v for label,
                                                               v in found.items()} | found

    def summary(self) -> dict:
        """Every kernel in brief, and how often fusion refused for which reason."""
        refusals = Counter(r.reason for r in self.levels.remarks if r.stage in ("fuse", "fuse-horizontal") and not r.applied)
        kernels = [{"kernel": self.program.kernels[number].name, "launches": len(launches),
                    "template": self.template(number),
                    "ops": launch_ops(launches[0]), "lines": [str(p) for p in launch_places(launches[0])]}
                   for number, launches in self.launches.items()]
        return {"kernels": kernels, "refusals": dict(refusals.most_common())}

    # ---- what is asked for -------------------------------------------------------------------------------------------
    def explain(self, what: str) -> dict:
        """The answer for `what`: a kernel ("k3" or its name), a value ("%12", an input or output), or nodes: by the
        name or a part of the place that they come from, or by their op. LaminaError where nothing is called that."""
        number = self._kernel_number(what)
        if number is not None:
            return {"asked": what, "kind": "kernel", "more": 0, "kernels": [self.kernel(number)]}
        if what in self.labels:
            value = self.labels[what]
            answer = {"asked": what, "kind": "value", "type": type_data(value.type), "text": str(value.type)}
            users = self.levels.traced.users.get(value, ())
            answer["used_by"] = [_node_data(n) for n in users]
            if value.node is None:
                return answer | {"made_by": None, **self.nodes(list(dict.fromkeys(users)))}
            return answer | {"made_by": _node_data(value.node), **self.nodes([value.node])}
        graph = self.levels.traced
        nodes = [n for n in graph.nodes if what in (n.location.name, n.op.name)] or [n for n in graph.nodes
                                                                                     if what in str(n.location)]
        if not nodes:
            raise LaminaError(f"the model has no value, node or kernel {what!r}", hint=self._near(what))
        return {"asked": what, "kind": "node", **self.nodes(nodes)}

    def _kernel_number(self, what: str) -> int | None:
        return next((i for i, k in enumerate(self.program.kernels) if i in self.launches
                     and (what == k.name or what == k.name.partition("_")[0])),
                    None)

    def _near(self, what: str) -> str:
        names = [*self.labels, *(k.name for k in self.program.kernels), *{n.op.name for n in self.levels.traced.nodes},
                 *{n.location.name for n in self.levels.traced.nodes if n.location.name}]
        near = difflib.get_close_matches(what, names, 3, 0.4)
        return "did you mean " + " or ".join(near) + "?" if near else \
            "`lamina ir` shows the values, `lamina explain MODEL` the kernels"

    def nodes(self, nodes: list[Node]) -> dict:
        """What became of nodes of the traced graph: the kernels that compute them, and the remarks on them."""
        keys = {_key(n) for n in nodes}
        kernels, note = [number for number, found in self.keys.items() if keys & found], None
        asked = keys if kernels else None
        if not kernels and all(n.op.is_view or isinstance(n.op, Constant) for n in nodes):
            names = ", ".join(sorted({n.op.name for n in nodes}))
            note = f"no kernel: {names} says where elements lie, or is in memory already"
        elif not kernels:
            kernels = self._at({place for _, place in keys if place})
            note = "no kernel has this operator as it was written; these compute what its line or node was rewritten to"
        if not kernels and asked is None and not all(n.op.is_view or isinstance(n.op, Constant) for n in nodes):
            follower = self._follower(nodes)
            kernels = self._at({str(follower.location)}) if follower is not None else []
            note = ("no kernel has its place: it was folded, or merged into what follows it, "
                    f"{follower.op.name} ({follower.location})") \
                if kernels else "no kernel: it was folded into constants or simplified away, or nothing uses it"
        return {"nodes": [_node_data(n) for n in nodes], "note": note, "more": max(0, len(kernels) - MOST_KERNELS),
                "kernels": [self.kernel(n, asked) for n in kernels[:MOST_KERNELS]]}

    def _at(self, places: set[str]) -> list[int]:
        """The kernels that compute something of these places."""
        return [number for number, found in self.keys.items() if any(place in places for _, place in found)]

    def _follower(self, nodes: list[Node]) -> Node | None:
        """The nearest node behind `nodes` whose place a kernel still has."""
        known = {place for found in self.keys.values() for _, place in found if place}
        users, queue, seen = self.levels.traced.users, list(nodes), set(nodes)
        for node in queue:  # grows while it is walked: breadth first
            if str(node.location) in known:
                return node
            for user in (u for r in node.results for u in users.get(r, ())):
                if user not in seen:
                    seen.add(user)
                    queue.append(user)
        return None

    # ---- one kernel --------------------------------------------------------------------------------------------------
    def kernel(self, number: int, asked: set[Key] | None = None) -> dict:
        """All that is known of a kernel: JSON data; remarks on the nodes `asked` for alone, where they are given."""
        kernel, launches = self.program.kernels[number], self.launches[number]
        first = launches[0]
        schedule, work = read_schedule(kernel), launch_work(first, kernel)
        return {"kernel": kernel.name, "number": number, "launches": len(launches), "group": first.group.kind
                if first.group else "",
                "ops": launch_ops(first), "lines": [str(p) for p in launch_places(first)],
                "flops": dim_data(work.flops), "bytes": dim_data(work.bytes), "template": self.template(number),
                "schedule": schedule.facts(), "tiles": self._tiles(first, schedule), "places": self._places(first),
                "decisions": [_remark_data(r) for r in self._decisions(number, asked)],
                "not_fused": [_remark_data(r) for r in self._refusals(number, asked)]}

    def template(self, number: int) -> str:
        """Which way the kernel was built."""
        group = self.launches[number][0].group
        kind = group.kind if group is not None else "loops"
        if kind not in PRODUCTS:
            return TEMPLATES.get(kind, kind)
        winograd = next((n.op for n in group.body.nodes if isinstance(n.op, UnpackWinograd)), None)
        if winograd is not None:
            return f"a convolution by Winograd's algorithm, F({winograd.outputs} x {winograd.outputs}, 3 x 3)"
        schedule = read_schedule(self.program.kernels[number])
        if schedule.tile is None:
            return "a product: dot products along both operands' rows" if any(b.name == "dot"
                                                                              for b in schedule.registers) else \
                "a convolution: lanes over the channels"
        is_packed = any(isinstance(n.op, Unpack) for n in group.body.nodes)
        packed = "packed ahead" if is_packed else "packed at run time" if schedule.workspaces else "read where they lie"
        gates = ", the gates of a recurrent cell side by side" if kind == "gated" else ""
        return f"a product: register tiles over the whole sum, its columns {packed}{gates}"

    def _tiles(self, launch: Launch, schedule: KernelSchedule) -> list[dict]:
        """The tile that was taken and others, with estimated cycles; nothing where the kernel has none."""
        group = launch.group
        if schedule.tile is None or group is None or group.kind != "contraction":
            return []
        if any(isinstance(n.op, UnpackWinograd) for n in group.body.nodes):
            return []  # its alternatives are those of the pass that packed it
        kernel = self.program.kernels[launch.kernel]
        count = len(launch.group.body.params)
        params = [place_buffer(f"in{i}", p, b.role) for i,
                  (p, b) in enumerate(zip(launch.places[:count], kernel.params))]
        outs = [place_buffer(f"out{i}", p, "out") for i,
                (p, b) in enumerate(zip(launch.places[count:], kernel.params[count:]))
                if b.role == "out"]
        found = tile_costs(launch.group.body, params, outs, self.levels.target, schedule.tile)
        return [{"rows": c.rows, "columns": c.columns, "cycles": c.cycles, "relative": c.cycles / found[0].cycles
                 if found[0].cycles else 1.0}
                for c in found[:1 + ALTERNATIVES]]

    def _places(self, launch: Launch) -> list[dict]:
        kernel = self.program.kernels[launch.kernel]
        return [{"role": buffer.role, "place": print_place(self.program, place)} for place,
                buffer in zip(launch.places, kernel.params)]

    def _decisions(self, number: int, asked: set[Key] | None) -> list[Remark]:
        """What was done for this kernel's nodes."""
        inside = self.keys[number]
        return [r for r in self._remarks(asked) if (r.applied or r.stage != "fuse")
                and inside.issuperset(map(_key, r.about))]

    def _refusals(self, number: int, asked: set[Key] | None) -> list[Remark]:
        """What was not fused with it, and why: pairs of a node inside and one outside."""
        inside = self.keys[number]
        found = [r for r in self._remarks(asked) if r.stage == "fuse" and not r.applied
                 and len({_key(node) in inside for node in r.about}) == 2]
        return list(dict.fromkeys(found))

    def _remarks(self, asked: set[Key] | None) -> list[Remark]:
        return [r for r, keys in self._about if asked is None or not asked.isdisjoint(keys)]

    @cached_property
    def _about(self) -> list[tuple[Remark, frozenset[Key]]]:
        """The remarks that name nodes, with these."""
        return [(r, frozenset(map(_key, r.about))) for r in self.levels.remarks if r.about]


def _key(node: Node) -> Key:
    return node.op.name, str(node.location)


def _node_data(node: Node) -> dict:
    return {"op": node.op.name, "location": str(node.location), "results": [str(r.type) for r in node.results]}


def _remark_data(remark: Remark) -> dict:
    return {"stage": remark.stage, "subject": remark.subject, "applied": remark.applied, "reason": remark.reason}
