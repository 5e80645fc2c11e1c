"""What does each step of a program take?  Operations, bytes and memory, launch by launch; time where it was measured."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ...compiler.core.dims import nominal
from ...compiler.core.remarks import Remarks
from ...compiler.graph.graph import Node, walk
from ...compiler.ops.control import graph_flops
from ...compiler.plan.program import Launch, Program
from .levels import Levels
from .marks import Marks


def step_data(levels: Levels, marks: Marks) -> dict:
    """{"launches": [launch], "memory": {"arena", "bound", "peak", "weights", "slots": [slot]}, "kernels": [name], "origins": [marks]}.

    A launch is {"kernel", "label", "kind", "origin", "flops", "bytes", "marks"}; a slot [label, offset, bytes, first, last, marks],
    first and last being numbers of launches; the marks of a kernel's origins come behind its own. Symbols count with their largest extents, or typical ones.
    """
    program = levels.program
    launches = [_launch(levels, launch, node, marks) for launch, node in levels.launches]
    origins = [[marks.kernel(n), *map(marks.origin, levels.fused_locations.get(n, ()))] for n in range(len(program.kernels))]
    return {"launches": launches, "memory": memory_data(levels, marks), "kernels": [k.name for k in program.kernels], "origins": origins}


def _launch(levels: Levels, launch: Launch, node: Node | None, marks: Marks) -> dict:
    place = str(launch.location or "")
    inside = {str(n.location) for n in walk(node.op.body)} if node is not None else set()
    own = [marks.kernel(launch.kernel), *(marks.origin(origin) for origin in sorted({place, *inside} - {""}))]
    return {"kernel": launch.kernel, "label": launch.label, "kind": node.op.kind if node is not None else "loops", "origin": place,
            "flops": nominal(graph_flops(node.op.body)) if node is not None else 0, "bytes": launch_bytes(levels.program, launch), "marks": own}


def launch_bytes(program: Program, launch: Launch) -> int:
    """The bytes that a launch reads and writes, each place once."""
    found: dict[tuple, int] = {}
    for place, buffer in zip(launch.places, program.kernels[launch.kernel].params):
        if buffer.role == "workspace":
            continue
        size = place.dtype.itemsize
        for extent, stride in zip(place.shape, place.strides):
            size = size * extent if stride != 0 else size
        times = 2 if buffer.role == "inout" else 1
        found[id(place.storage), str(place.offset), buffer.role == "out"] = times * nominal(size)
    return sum(found.values())


def memory_data(levels: Levels, marks: Marks) -> dict:
    """The memory plan over the launches; the marks of a slot are those of the launches that use it first and of its origin."""
    program, plan = levels.program, levels.program.plan
    clock = [launch.step for launch, _ in levels.launches]
    users: dict[int, list[int]] = {}
    for launch, _ in levels.launches:
        for storage in {id(p.storage) for p in launch.places}:
            users.setdefault(storage, []).append(launch.kernel)
    slots = []
    last = max(len(clock) - 1, 0)
    for slot in plan.slots:
        storage = slot.storage
        place = str(storage.location or "")
        own = [marks.kernel(k) for k in dict.fromkeys(users.get(id(storage), ()))] + [marks.origin(place)] * bool(place)
        first = min(bisect_left(clock, storage.first), last)
        slots.append([storage.label, slot.offset, nominal(storage.size), first, max(first, bisect_right(clock, storage.last) - 1), own])
    return {"arena": plan.arena_bytes, "bound": plan.lower_bound, "peak": min(bisect_left(clock, plan.peak_step), last), "slots": slots,
            "weights": sum(c.nbytes for c in program.constants)}


def remark_data(remarks: Remarks, marks: Marks) -> list[list]:
    """[[stage, subject, applied, reason, marks]]."""
    return [[r.stage, r.subject, r.applied, r.reason, marks.mentioned(f"{r.subject} {r.reason}")] for r in remarks]
