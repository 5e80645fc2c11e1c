"""Which schedule of a group is the fastest here?  Measured, those with the most work first, until the time is up.

What was measured of a group is kept at once, so that nothing is lost when the user interrupts, and the next compilation
goes on where this one ended. Measuring and keeping are the caller's: `Bench`.
"""

from __future__ import annotations

import gc
import json
from dataclasses import dataclass, field, replace
from typing import Callable, Protocol, Sequence

import numpy as np

from ...runtime.artifact import Artifact
from ..core.dims import nominal
from ..core.errors import CompilerError
from ..core.options import Options
from ..core.remarks import Remarks
from ..core.schedule import Schedule
from ..core.types import TensorType
from ..graph.builder import rebuild
from ..graph.graph import Graph, Node, map_subgraphs, subgraphs
from ..graph.text import print_graph
from ..ops.constant import Constant
from ..ops.control import Fused, Scan, While
from ..passes.weights import WEIGHTED, weight_params
from ..targets.target import Target
from ..templates.problem import find_main
from .candidates import candidates
from .trial import label_of, trial_graph

CLEAR = 0.97  # of the heuristic's time, twice: what takes more wins by chance
OTHERS_LEAST, OTHERS_MOST = 1 << 20, 1 << 26  # bytes of a model's other weights: fewer push nothing out of the caches
MOST_BYTES = 1 << 29  # of weights that the candidates of one group may take together, each with its own copy
UNKNOWN_STEPS = 16  # of a loop that ends when its condition says so


class Bench(Protocol):
    """What runs here, how long that takes, and what is known from before."""

    def measure(self, artifact: Artifact, types: Sequence[TensorType]) -> dict[str, float]:
        """The seconds of each launch by its label, the fastest of several runs on inputs of these types."""

    def get(self, key: str) -> bytes | None:
        """What was put under this key, on a machine like this one."""

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under this key."""

    def clock(self) -> float:
        """Seconds since some moment."""


@dataclass(frozen=True)
class Outcome:
    """What was measured of a group: the seconds of each schedule that makes another kernel, the heuristic's first, and
    which was taken. Nothing where all make the same kernel."""

    times: tuple[tuple[Schedule, float], ...]
    taken: Schedule = Schedule()

    def encode(self) -> bytes:
        times = [[schedule.choices(), seconds] for schedule, seconds in self.times]
        return json.dumps({"times": times, "taken": self.taken.choices()}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Outcome | None:
        """What `encode` wrote; None where it is something else."""
        try:
            found = json.loads(data)
            times = tuple((Schedule(**choices), float(seconds)) for choices, seconds in found["times"])
            return cls(times, Schedule(**found["taken"]))
        except (ValueError, TypeError, KeyError, CompilerError):
            return None

    @property
    def reason(self) -> str:
        """What came out, in words."""
        if not self.times:
            return "all its schedules make the same kernel"
        (_, usual), *others = self.times
        shown = f"the heuristic takes {_microseconds(usual)}"
        if self.taken != Schedule():
            seconds = dict(self.times)[self.taken]
            return f"measured: {shown}, {self.taken} {_microseconds(seconds)}; it was the best of {len(self.times)}"
        if not others:
            return f"measured: {shown}"
        best, seconds = min(others, key=lambda row: row[1])
        return (f"measured: {shown}, and none of {len(others)} others is clearly faster; the best of them, {best}, "
                f"takes {_microseconds(seconds)}")


@dataclass
class _Work:
    """Equal groups of a graph: one of them, how often they run in one run of it, and an estimate of one in seconds."""

    node: Node
    constants: frozenset[int]
    runs: int = 0
    seconds: float = 0.0


@dataclass
class Tuner:
    """The pass that gives groups the schedules that are fastest.

    `compile` makes a program of groups, `progress(stage, done, total)` is told how many kinds of groups are done. After
    the pass `measured` counts those that are known, and `left` the others.
    """

    bench: Bench
    compile: Callable[[Graph], Artifact]
    progress: Callable[[str, int, int], None]
    measured: int = 0
    left: int = 0
    _until: float | None = None
    _others: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, graph: Graph, target: Target, options: Options, remarks: Remarks) -> Graph:
        """`graph`, a graph of groups, with schedules."""
        if self._until is None:  # a graph that is compiled in several ways has the time but once
            self._until = self.bench.clock() + options.tune
        keys: dict[Node, str] = {}
        works: dict[str, _Work] = {}
        weights = sum(c.nbytes for c in _constants(graph).values())
        _collect(graph, 1, False, target, lambda work: self._key(work, weights, target, options), keys, works)
        outcomes: dict[str, Outcome] = {}
        ordered = sorted(works, key=lambda key: -works[key].runs * works[key].seconds)
        self.left = 0
        for number, key in enumerate(ordered):
            self.progress("tune", number, len(ordered))
            data = self.bench.get(key)
            outcome = Outcome.decode(data) if data is not None else None
            if outcome is None and self.bench.clock() < self._until:
                outcome = self._measure(works[key], weights, target, options)
                self.bench.put(key, outcome.encode())
                gc.collect()  # graphs are cycles, and hold each candidate's packed weights
            if outcome is not None:
                outcomes[key] = outcome
        self.measured, self.left = len(outcomes), len(ordered) - len(outcomes)
        self.progress("tune", self.measured, len(ordered))
        for node, key in keys.items():
            self._remark(node, outcomes.get(key), remarks)
        return _apply(graph, {node: outcomes[key].taken for node, key in keys.items() if key in outcomes})

    def _key(self, work: _Work, weights: int, target: Target, options: Options) -> str:
        """What the times depend on, but for the machine."""
        op = work.node.op
        body = print_graph(op.body, locations=False)
        return "|".join((op.kind, body, str(sorted(work.constants)), str(self._other_bytes(work, weights)), target.name,
                         str(options.winograd)))

    def _other_bytes(self, work: _Work, weights: int) -> int:
        """Bytes of the model's other weights, as a power of two; 0 where they push nothing out of the caches."""
        others = weights - sum(work.node.operands[i].type.nbytes for i in work.constants)
        return 0 if others < OTHERS_LEAST else min(OTHERS_MOST, 1 << others.bit_length() - 1)

    def _measure(self, work: _Work, weights: int, target: Target, options: Options) -> Outcome:
        node = work.node
        schedules = candidates(node.op, work.constants, target, options)
        own = sum(node.operands[i].type.nbytes for i in work.constants)
        schedules = schedules[:max(2, MOST_BYTES // max(1, own))]
        size = self._other_bytes(work, weights)
        if size and size not in self._others:
            self._others[size] = np.ones(size // 4, np.float32)

        def times(schedules: list[Schedule]) -> dict[Schedule, float]:
            """The seconds of each schedule that makes another kernel than those before."""
            graph = trial_graph(node, schedules, self._others.get(size))
            artifact = self.compile(graph)
            kernels = {launch["label"]: launch["number"] for launch in artifact.manifest["launches"]}
            different: dict[int, Schedule] = {}
            for schedule in schedules:
                different.setdefault(kernels[label_of(schedule)], schedule)
            if len(different) == 1:
                return {}
            types = [TensorType(tuple(map(nominal, p.shape)), p.dtype) for p in graph.params]
            found = self.bench.measure(artifact, types)
            return {schedule: found[label_of(schedule)] for schedule in different.values()}
        first = times(schedules)
        usual, *others = first or (Schedule(),)
        if not others or min(first[s] for s in others) > CLEAR * first[usual]:
            return Outcome(tuple(first.items()))
        second = times([*reversed(others), usual])  # the other way round: where a kernel stands may be worth something
        relative = {s: max(t[s] / t[usual] for t in (first, second)) for s in others}
        best = min(relative, key=relative.__getitem__)
        both = tuple((s, min(first[s], second[s])) for s in first)
        return Outcome(both, best if relative[best] <= CLEAR else usual)

    def _remark(self, node: Node, outcome: Outcome | None, remarks: Remarks) -> None:
        place = f" ({node.location})" if str(node.location) else ""
        reason = outcome.reason if outcome is not None else "not measured: the time was up; the next tune= goes on"
        applied = outcome is not None and outcome.taken != Schedule()
        remarks.add("tune", f"{node.op.label}{place} by another schedule", applied, reason, node.op.body.nodes)


def _collect(graph: Graph, runs: int, in_loop: bool, target: Target, key_of: Callable[[_Work], str],
             keys: dict[Node, str], works: dict[str, _Work]) -> None:
    """Find the groups of `graph`, which runs so often, and of the graphs in it that may take several schedules."""
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Fused):
            constants = frozenset(i for i, o in enumerate(node.operands) if isinstance(o.op, Constant))
            is_empty = 0 in (nominal(r.type.size) for r in node.results)
            if is_empty or op.schedule != Schedule() or in_loop and _is_packed_outside(op, constants):
                continue
            work = _Work(node, constants, 0, _estimate(node, target))
            keys[node] = key_of(work)
            works.setdefault(keys[node], work).runs += runs
            continue
        inner = runs
        if isinstance(op, Scan):
            inner = runs * nominal(op.steps(*(o.type for o in node.operands)))
        elif isinstance(op, While):
            inner = runs * (UNKNOWN_STEPS if op.bound is None else nominal(op.bound))
        for body in subgraphs(op):
            _collect(body, inner, True, target, key_of, keys, works)


def _is_packed_outside(op: Fused, constants: frozenset[int]) -> bool:
    """Whether a group in a loop multiplies by what is packed in front of it: alone it would pack that in each run."""
    if op.kind not in WEIGHTED:
        return False
    sides = (weight_params(find_main(op.body), side, op.body) for side in (1, 0))
    return not any(numbers and constants.issuperset(numbers) for numbers in sides)


def _estimate(node: Node, target: Target) -> float:
    """About how many seconds the group takes: which of two takes more is all that is asked of it."""
    flops = nominal(node.op.flops(*(o.type for o in node.operands)))
    moved = sum(nominal(v.type.nbytes) for v in (*node.operands, *node.results))
    return max(flops / (target.vector_bytes * 3e9), moved / 1e10)


def _constants(graph: Graph) -> dict[int, np.ndarray]:
    """The arrays of the constants of `graph` and of the graphs in it, each once."""
    found: dict[int, np.ndarray] = {}
    for node in graph.nodes:
        if isinstance(node.op, Constant):
            found[id(node.op.array)] = node.op.array
        elif not isinstance(node.op, Fused):
            for body in subgraphs(node.op):
                found |= _constants(body)
    return found


def _apply(graph: Graph, schedules: dict[Node, Schedule]) -> Graph:
    """`graph`, and the graphs in it, with these schedules."""
    if all(schedule == Schedule() for schedule in schedules.values()):
        return graph

    def transform(builder, node, operands):
        if isinstance(node.op, Fused):
            return builder.emit_all(replace(node.op, schedule=schedules.get(node, node.op.schedule)), *operands)
        return builder.emit_all(map_subgraphs(node.op, lambda body: _apply(body, schedules)), *operands)
    return rebuild(graph, transform=transform, fold=False)


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.4g} us"
