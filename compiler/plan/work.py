"""How much work is a launch?  Floating-point operations, and the bytes that it has to move at least."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.dims import Dim, nominal, product
from ..core.dtypes import DType
from ..core.location import UNKNOWN, Location
from ..graph.graph import Graph, Value
from ..kernel.ir import Kernel
from ..ops.control import graph_flops
from ..ops.pack import Unpack
from ..ops.winograd import UnpackWinograd
from .program import Branch, Launch, Loop, Place, Step


@dataclass(frozen=True)
class Work:
    """Of one run of a launch: `flops`; `bytes` that are read or written, each once; `weight_bytes` of them constants;
    `dtype`, in which it computes."""

    flops: Dim
    bytes: Dim
    weight_bytes: Dim
    dtype: DType


def launch_work(launch: Launch, kernel: Kernel) -> Work:
    """The work of `launch`, from its group's ops and the sizes of its places. Workspaces don't count: they stay in
    cache, or cost what a better kernel would save."""
    moved: Dim = 0
    weights: Dim = 0
    group = launch.group.body if launch.group is not None else None
    operands = iter(group.params) if group is not None else iter(())
    for place, buffer in zip(launch.places, kernel.params):
        if buffer.role == "workspace":
            continue
        size = _distinct(place)
        if buffer.role != "out":
            operand = next(operands, None)
            size = _read(group, operand, size) if operand is not None else size
        size = size * place.dtype.itemsize
        moved = moved + size
        weights = weights + size if place.storage.kind == "constant" else weights
    outs = [p.dtype for p, b in zip(launch.places, kernel.params) if b.role == "out"]
    dtype = max((d.compute for d in outs), key=lambda d: (d.is_float, d.itemsize))
    return Work(graph_flops(group) if group is not None else 0, moved, weights, dtype)


def _distinct(place: Place) -> Dim:
    """The elements of a place: a broadcast axis repeats them."""
    return product(extent for extent, stride in zip(place.shape, place.strides) if stride != 0)


def _read(group: Graph, operand: Value, size: Dim) -> Dim:
    """How many of an operand's `size` elements are read: no more than those that look it up make, such as an
    embedding's rows out of its table."""
    users = group.users.get(operand, ())
    if operand in group.results or not all(user.op.has_element for user in users):
        return size
    looked_up = sum((user.results[0].type.size for user in users), 0)
    return min(size, looked_up, key=nominal)


def launch_ops(launch: Launch) -> list[str]:
    """The names of the ops that a launch computes, in order, without those that only say where elements lie."""
    nodes = launch.group.body.nodes if launch.group is not None else ()
    return [n.op.name for n in nodes if n.operands and not (n.op.is_view or isinstance(n.op, (Unpack, UnpackWinograd)))]


def launch_places(launch: Launch) -> list[Location]:
    """The places of the user's program that a launch computes, each once: the one with the most operations first."""
    flops: dict[Location, int] = {} if launch.location in (None, UNKNOWN) else {launch.location.line_alone: 0}
    for node in launch.group.body.nodes if launch.group is not None else ():
        if node.location is not UNKNOWN:
            place = node.location.line_alone
            flops[place] = flops.get(place, 0) + nominal(node.op.flops(*(o.type for o in node.operands)))
    return sorted(flops, key=lambda place: -flops[place])


def total_flops(steps: tuple[Step, ...]) -> Dim:
    """The operations of `steps`: a loop's times its trips (once where its condition decides), a branch's costliest."""
    total: Dim = 0
    for step in steps:
        if isinstance(step, Launch):
            total = total + (graph_flops(step.group.body) if step.group is not None else 0)
        elif isinstance(step, Loop):
            total = total + total_flops((*step.before, *step.steps)) * (1 if step.trip is None else step.trip)
        elif isinstance(step, Branch):
            total = total + max(map(total_flops, step.branches), key=nominal, default=0)
    return total
