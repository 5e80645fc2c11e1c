"""Which launch of a program is wrong, and whose fault is it?

Each kernel is held against the operators of its group on the very numbers that it read: what came before can't hide it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Callable, Mapping, Sequence

import numpy as np

from ...compiler.check import Expected, expect
from ...compiler.core.dims import evaluate
from ...compiler.core.errors import LaminaError
from ...compiler.graph.graph import Graph
from ...compiler.kernel.interpret import run as run_kernel
from ...compiler.ops.control import Fused, graph_at_extents, graph_flops
from ...compiler.plan.program import Launch
from ...compiler.plan.work import group_nodes
from ..report.labels import label_all
from ..report.levels import Levels
from .finding import Bisection, Difference, Finding, agree, difference
from .shadow import shadow
from .stepper import Stepper, lay_out, stretch

DISTURBED_RUNS = 3
MOST_ELEMENTS = 10 ** 6  # of the places of a launch, and
MOST_OPERATIONS = 10 ** 7  # of it, that the kernel interpreter, which runs one scalar at a time, is asked for


@dataclass(frozen=True)
class Wrong:
    """A launch that is wrong: its number, what it read and wrote, the extents then, and its first wrong result."""

    number: int
    launch: Launch
    reads: Sequence[np.ndarray]
    writes: Sequence[np.ndarray]
    extents: Mapping[str, int]
    result: int
    difference: Difference


class LaunchSearch:
    """The search among the launches of a program for `arrays`. `alone` bisects a group whose operators have kernels of
    their own."""

    def __init__(self, levels: Levels, stepper: Stepper, arrays: Sequence[np.ndarray], tell: Callable,
                 alone: Callable[[Graph, Sequence[np.ndarray]], Bisection] | None):
        self.levels, self.stepper, self.arrays, self.tell, self.alone = levels, stepper, arrays, tell, alone
        self.nodes = {id(launch): node for launch, node in levels.launches}
        #: The operators of the kernel that is wrong, and what it read.
        self.wrong_group: tuple[Graph, Sequence[np.ndarray]] | None = None

    def first_wrong(self) -> Finding | None:
        """The first launch that writes what the operators of its group don't give for what it read, with whom to
        blame."""
        wrong = self.search(apart=False)
        if wrong is None:
            return None
        elsewhere = self.search(apart=True)
        if elsewhere is None or elsewhere.number > wrong.number:
            return self.finding("memory", wrong, "where no two slots share memory it is right")
        self.wrong_group = graph_at_extents(wrong.launch.group.body, wrong.extents), wrong.reads
        return self.finding("kernel", wrong, self.inside(), self.layer_to_blame(wrong))

    def search(self, apart: bool) -> Wrong | None:
        """The first launch that is wrong; with `apart` no two slots share memory."""
        found: list[Wrong] = []

        def watch(number: int, launch: Launch, reads: list[np.ndarray]):
            self.tell("launches", number, len(self.nodes))

            def behind(writes: list[np.ndarray], extents: Mapping[str, int]) -> None:
                wrong = wrong_result(launch.group.body, reads, writes, extents)
                if wrong is not None:
                    found.append(Wrong(number, launch, reads, writes, dict(extents), *wrong))
            return behind if not found else None
        self.stepper.run(self.arrays, watch, apart)
        return found[0] if found else None

    def finding(self, stage: str, wrong: Wrong, *notes: str) -> Finding:
        launch, node = wrong.launch, self.nodes[id(wrong.launch)]
        inner = launch.group.body.results[wrong.result]
        while isinstance(inner.op, Fused):
            inner = inner.op.body.results[inner.index]
        operators = [n.op.name for n in group_nodes(launch.group) if n.op.name != "constant"]
        operator = inner.op.name if inner.op is not None else "parameter"
        if len(operators) > 1:
            operator += f", the last of {len(operators)} in the group {launch.label}"
        label = launch.label
        if node is not None:
            label = label_all(list(self.levels.passes.values())[-1])[node.results[wrong.result]]
        return Finding(stage, self.kernel(launch).name, f"{label}: {inner.type}", operator, str(launch.location or ""),
                       wrong.difference, wrong.number + 1, tuple(filter(None, notes)))

    def kernel(self, launch: Launch):
        return self.levels.program.kernels[launch.kernel]

    # ---- whom to blame -----------------------------------------------------------------------------------------------
    def inside(self) -> str:
        """Which operator of the wrong group is wrong where each has a kernel of its own: tried on the numbers that the
        group read."""
        group, reads = self.wrong_group
        if self.alone is None or sum(not n.op.is_view for n in group.nodes) < 2:
            return ""
        try:
            found = self.alone(group, reads)
        except LaminaError:  # not every group can be taken apart
            return ""
        if found.agrees:
            return "each operator in a kernel of its own is right: it is wrong only as it is fused"
        at = f" ({found.finding.location})" if found.finding.location else ""
        return f"in a kernel of its own, {found.finding.operator}{at} is wrong, too"

    def layer_to_blame(self, wrong: Wrong) -> str:
        """Whether the kernel's loops are wrong already, or the native code made of them; nothing where they are too
        long to run."""
        kernel = self.kernel(wrong.launch)
        params = [(p, b) for p, b in zip(wrong.launch.places, kernel.params) if b.role != "workspace"]
        operations = evaluate(graph_flops(wrong.launch.group.body), wrong.extents)
        if operations > MOST_OPERATIONS or sum(stretch(p, wrong.extents)[1] for p, _ in params) > MOST_ELEMENTS:
            return ""
        read = iter(wrong.reads)
        memory = {b.name: lay_out(None if b.role == "out" else next(read), p, wrong.extents) for p, b in params}
        run_kernel(kernel, {name: array for name, (array, _, _) in memory.items()}, wrong.extents,
                   origins={name: first for name, (_, first, _) in memory.items()})
        looped = [memory[b.name][2] for _, b in params if b.role in ("out", "inout")][wrong.result]
        is_alike = not expect("", looped).wrong(wrong.writes[wrong.result]).any()
        return ("its loops compute the same: the lowering is to blame" if is_alike
                else "its loops are right: the code generation is to blame")

    # ---- around the kernels ------------------------------------------------------------------------------------------
    def around(self, expected: Sequence[Expected], got: Sequence[np.ndarray]) -> Finding:
        """Every kernel is right by itself: what one reads was overwritten, or the native program around them is
        wrong."""
        seen: list[list[int]] = []
        self.stepper.run(self.arrays, lambda number, launch, reads: seen.append(list(map(_digest, reads))), apart=True)
        found: list[Finding] = []

        def watch(number: int, launch: Launch, reads: list[np.ndarray]) -> None:
            other = next((i for i, (r, digest) in enumerate(zip(reads, seen[number])) if _digest(r) != digest), None)
            if other is not None and not found:
                slot = launch.places[other].storage.label
                found.append(Finding("memory", self.kernel(launch).name, f"operand {other}, in the slot of {slot}",
                                     launch.label, str(launch.location or ""), None, number + 1))
        stepped = self.stepper.run(self.arrays, watch)
        if found:
            return found[0]
        i = next(i for i, (e, o) in enumerate(zip(expected, got)) if e.wrong(o).any())
        port = self.levels.program.outputs[i]
        return Finding("host program", "", f"output {port.name}: {port.type}", "", "",
                       difference(expected[i].array, got[i], expected[i].wrong(got[i])),
                       notes=("run launch by launch the outputs are right",) if agree(expected, stepped) else ())


def wrong_result(group: Graph, reads: Sequence[np.ndarray], writes: Sequence[np.ndarray],
                 extents: Mapping[str, int]) -> tuple[int, Difference] | None:
    """The first of `writes` that `group` does not give for `reads`, as far as roundings allow, and how it differs."""
    with np.errstate(all="ignore"):
        wanted = [w.astype(g.dtype, copy=False) for w, g in zip(shadow(group, reads, extents), writes)]
        if agree([expect("", w) for w in wanted], writes):
            return None
        spread = [shadow(group, reads, extents, generator=np.random.default_rng(seed))
                  for seed in range(DISTURBED_RUNS)]
    for i, (want, got) in enumerate(zip(wanted, writes)):
        wrong = expect("", want, [other[i] for other in spread]).wrong(got)
        if wrong.any():
            return i, difference(want, got, wrong)
    return None


def _digest(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())
