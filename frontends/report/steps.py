"""What does each step of a program take?  Operations, bytes and memory, launch by launch; time where it was
measured."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from ...compiler.core.dims import nominal
from ...compiler.core.remarks import Remarks
from ...compiler.graph.graph import Node
from ...compiler.plan.program import Launch
from ...compiler.plan.work import launch_places, launch_work
from ...runtime.profile import Profile
from .levels import Levels
from .marks import Marks


def step_data(levels: Levels, marks: Marks) -> dict:
    """{"launches": [launch], "memory": {"arena", "bound", "peak", "weights", "slots": [slot]}, "kernels": [name],
    "origins": [marks]}.

    A launch is {"kernel", "label", "kind", "origin", "flops", "bytes", "marks"}; a slot [label, offset, bytes, first,
    last, marks], first and last being numbers of launches; the marks of a kernel's origins come behind its own. Symbols
    count with their largest extents, or typical ones.
    """
    program = levels.program
    launches = [_launch(levels, launch, node, marks) for launch, node in levels.launches]
    origins = [[marks.kernel(n), *map(marks.origin, levels.fused_locations.get(n, ()))]
               for n in range(len(program.kernels))]
    return {"launches": launches, "memory": memory_data(levels, marks), "kernels": [k.name for k in program.kernels],
            "origins": origins}


def _launch(levels: Levels, launch: Launch, node: Node | None, marks: Marks) -> dict:
    work = launch_work(launch, levels.program.kernels[launch.kernel])
    own = [marks.kernel(launch.kernel), *(marks.origin(str(place)) for place in launch_places(launch))]
    return {"kernel": launch.kernel, "label": launch.label, "kind": node.op.kind if node is not None else "loops",
            "origin": str(launch.location or ""), "flops": nominal(work.flops), "bytes": nominal(work.bytes),
            "marks": own}


def memory_data(levels: Levels, marks: Marks) -> dict:
    """The memory plan over the launches; the marks of a slot are those of the launches that use it first and of its
    origin."""
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
        begin = min(bisect_left(clock, storage.first), last)
        end = max(begin, bisect_right(clock, storage.last) - 1)
        slots.append([storage.label, slot.offset, nominal(storage.size), begin, end, own])
    peak = min(bisect_left(clock, plan.peak_step), last)
    return {"arena": plan.arena_bytes, "bound": plan.lower_bound, "peak": peak, "slots": slots,
            "weights": sum(c.nbytes for c in program.constants)}


def remark_data(remarks: Remarks, marks: Marks) -> list[list]:
    """[[stage, subject, applied, reason, marks]]."""
    return [[r.stage, r.subject, r.applied, r.reason, marks.mentioned(f"{r.subject} {r.reason}")] for r in remarks]


def profile_data(profile: Profile) -> dict:
    """{"launches": [{"seconds", "share", "bound", "flops", "bytes", "count"}] in program order, "roofline": {"flops",
    "bandwidth": [[bytes of the working set, bytes a second]]} or None, "call", "threads", "runs"}; times in seconds of
    one run."""
    rows = [{"seconds": row.seconds, "share": row.share, "bound": row.bound, "flops": row.flops, "bytes": row.bytes,
             "count": row.count} for row in profile.rows]
    roofline = profile.roofline
    machine = None if roofline is None else {"flops": roofline.flops["float32"],
                                             "bandwidth": [list(b) for b in roofline.bandwidth]}
    return {"launches": rows, "call": profile.call_seconds, "threads": profile.threads, "runs": profile.runs,
            "roofline": machine}
