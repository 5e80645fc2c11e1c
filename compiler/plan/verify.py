"""Is a program well formed?  Launches fit their kernels, places lie inside their storages, live ranges share no memory,
and nothing is read that was not written.

Dims are tried at corners: every symbol at its lower fact, and at its upper one (or far up); loop counters at the first,
second and last iteration. What symbols decide is thus found where the facts allow it at a corner.
"""

from __future__ import annotations

from itertools import islice
from typing import Iterable, Iterator, Mapping

import numpy as np

from ..core.dims import UNBOUNDED, Dim, Symbol, evaluate, symbols_of
from ..core.errors import LaminaError, VerifyError
from ..kernel.ir import Buffer
from .memory import ALIGNMENT, bytes_at, starts_at
from .program import Launch, Loop, Place, Program, Step, Storage, arena_storages, places_of, walk_launches

MOST_ROWS = 4096  # of a place that are looked at one by one
FAR = 37  # how far above its lower fact a symbol without an upper one is tried, in multiples of it


def verify(program: Program) -> None:
    """Check `program` against the rules of programs; VerifyError names the step and the storage that break one.

    Launches: one place for each parameter of the kernel, of its dtype, and of its shape and strides unless the kernel
    takes the memory as one axis; constants for role "constant"; nothing writes to constants and inputs. An output that
    shares an input's memory is of its type, and written by no step before the last that reads the input. Places lie inside of their storages. Arena storages have aligned slots in the plan; live ranges cover
    every use, those of a loop's memory that steps outside of it use too the whole loop; storages that live at the same
    time share no byte. What a step reads, a step before it may have written; outputs are written.
    """
    verifier = _Verifier(program)
    verifier.launches()
    verifier.shared_outputs()
    verifier.slots()
    verifier.live_ranges()
    for extents in corners(program.symbols):
        verifier.memory_at(extents)


def corners(symbols: Iterable[Symbol]) -> list[dict[str, int]]:
    """Extents of `symbols` at which to try: all at their lower facts, and all at their upper ones."""
    low = {s.name: -(-s.lower // s.multiple) * s.multiple for s in symbols}
    high = {s.name: (s.upper // s.multiple * s.multiple if s.upper < UNBOUNDED else low[s.name] + FAR * s.multiple)
            for s in symbols}
    return [low] if low == high else [low, high]


class _Verifier:
    def __init__(self, program: Program):
        self.program = program
        self.where = ""
        self.location = None

    def fail(self, problem: str):
        raise VerifyError(f"program {self.program.name!r}{', ' + self.where if self.where else ''}: {problem}",
                          location=self.location)

    def require(self, holds: bool, problem: str) -> None:
        if not holds:
            self.fail(problem)

    def at(self, step: Step) -> None:
        """Errors name `step` from here on."""
        if isinstance(step, Launch):
            known = 0 <= step.kernel < len(self.program.kernels)
            name = self.program.kernels[step.kernel].name if known else f"kernel {step.kernel}"
            self.where, self.location = f"step {step.step} ({name})", step.location
        else:
            self.where, self.location = f"loop {step.counter.name}" if isinstance(step, Loop) else "a branch", None

    # ---- launches ----------------------------------------------------------------------------------------------------
    def launches(self) -> None:
        program = self.program
        counts = {"input": len(program.inputs), "output": len(program.outputs), "constant": len(program.constants)}
        previous = -1
        for launch in walk_launches(program.steps):
            self.at(launch)
            self.require(0 <= launch.kernel < len(program.kernels), "there is no such kernel")
            self.require(launch.step > previous, f"step {previous} runs before it")
            previous = launch.step
            params = program.kernels[launch.kernel].params
            self.require(len(launch.places) == len(params),
                         f"{len(launch.places)} places are given, the kernel takes {len(params)}")
            for place, buffer in zip(launch.places, params):
                storage = place.storage
                self.require(storage.kind == "arena" or 0 <= storage.index < counts.get(storage.kind, 0),
                             f"there is no {storage.kind} {storage.index} ({buffer.name})")
                self.place(place, buffer)

    def place(self, place: Place, buffer: Buffer) -> None:
        """Does what lies there fit the kernel's parameter?"""
        shown = f"{buffer.name}, {named(place.storage)},"
        self.require(place.dtype == buffer.dtype, f"{shown} holds {place.dtype}, the kernel takes {buffer.dtype}")
        kind = place.storage.kind
        self.require((buffer.role == "constant") == (kind == "constant"),
                     f"{shown} is given for the role {buffer.role!r}")
        writes = buffer.role not in ("in", "constant")
        self.require(not writes or kind != "input", f"{shown} is written")
        self.require(buffer.role != "workspace" or kind == "arena", f"{shown} is given as a workspace")
        if (place.shape, place.strides) == (buffer.shape, buffer.strides):
            return
        self.require(buffer.strides == (1,),
                     f"{shown} is [{_dims(place.shape)}] with strides ({_dims(place.strides)}), the kernel takes "
                     f"[{_dims(buffer.shape)}] with ({_dims(buffer.strides)})")
        span = _span(place)
        self.require(span == buffer.shape[0] or _above(span, buffer.shape[0]),
                     f"{shown} spans {span} elements, the kernel takes {buffer.shape[0]}")

    def shared_outputs(self) -> None:
        """An output that lies in an input's memory is written when the input has been read, or by the step that reads it last."""
        program = self.program
        reads: dict[int, int] = {}
        writes: dict[int, int] = {}
        for step in program.steps:
            first, last = _steps_of((step,))
            for place in places_of((step,)):
                if place.storage.kind == "input":
                    reads[place.storage.index] = max(last, reads.get(place.storage.index, last))
                elif place.storage.kind == "output":
                    writes[place.storage.index] = min(first, writes.get(place.storage.index, first))
        taken: set[int] = set()
        for j, port in enumerate(program.outputs):
            if port.shares is None:
                continue
            self.where, self.location = f"output {port.name!r}", None
            self.require(0 <= port.shares < len(program.inputs), f"there is no input {port.shares} to share")
            owner = program.inputs[port.shares]
            self.require(port.shares not in taken, f"another output lies in the memory of {owner.name!r} too")
            taken.add(port.shares)
            self.require(port.type == owner.type, f"{port.type} can't lie in the memory of {owner.name!r}, {owner.type}")
            self.require(reads.get(port.shares, -1) <= writes.get(j, 0),
                         f"it is written in step {writes.get(j)}, where {owner.name!r}, whose memory it shares, is still to be read")

    # ---- the plan ----------------------------------------------------------------------------------------------------
    def slots(self) -> None:
        self.where, self.location = "", None
        plan = self.program.plan
        if plan is None:
            self.fail("there is no memory plan")
        known = {id(slot.storage) for slot in plan.slots}
        for storage in arena_storages(self.program):
            self.require(id(storage) in known, f"{named(storage)} has no slot")
        for i, slot in enumerate(plan.slots):
            self.require(slot.offset >= 0 and slot.offset % ALIGNMENT == 0,
                         f"{named(slot.storage)} begins at {slot.offset}, which is no multiple of {ALIGNMENT}")
            self.require(plan.is_symbolic or isinstance(slot.storage.size, int),
                         f"{named(slot.storage)} is symbolic, the plan is not")
            for j in slot.above:
                self.require(0 <= j < len(plan.slots) and plan.slots[j].offset < slot.offset,
                             f"{named(slot.storage)} lies above slot {j}, which does not begin below it")
        self.require(plan.lower_bound <= plan.arena_bytes,
                     f"the arena has {plan.arena_bytes} bytes, its lower bound is {plan.lower_bound}")
        for i, j in self.neighbours():
            a, b = plan.slots[i], plan.slots[j]
            if plan.is_symbolic:
                apart = j in a.above or i in b.above
            else:
                apart = a.offset + a.storage.size <= b.offset or b.offset + b.storage.size <= a.offset
            self.require(apart, f"{_with_life(a.storage)} and {_with_life(b.storage)} live at the same time and share "
                                "memory")

    def neighbours(self) -> Iterator[tuple[int, int]]:
        """The pairs of slots that live at the same time."""
        slots = self.program.plan.slots
        live: list[int] = []
        for i in sorted(range(len(slots)), key=lambda i: slots[i].storage.first):
            live = [j for j in live if slots[j].storage.last >= slots[i].storage.first]
            yield from ((i, j) for j in live)
            live.append(i)

    def live_ranges(self) -> None:
        """Every use of an arena storage lies within its live range."""
        inside: dict[int, set[int]] = {}  # for each storage the loops that use it; 0: steps outside of all loops

        def used(storage: Storage, step: int, loops: tuple[Loop, ...]) -> None:
            if storage.kind != "arena":
                return
            self.require(storage.first <= step <= storage.last,
                         f"{named(storage)} is used, it lives in the steps {storage.first} to {storage.last}")
            inside.setdefault(id(storage), set()).add(id(loops[-1]) if loops else 0)

        def visit(steps: Iterable[Step], loops: tuple[Loop, ...]) -> None:
            for step in steps:
                if isinstance(step, Launch):
                    self.at(step)
                    for place in step.places:
                        used(place.storage, step.step, loops)
                elif isinstance(step, Loop):
                    spans[id(step)] = _steps_of((step,))
                    parents[id(step)] = (loops[-1] if loops else None, step)
                    visit(step.before, (*loops, step))
                    if step.condition is not None and step.before:
                        self.at(step)
                        used(step.condition.storage, _steps_of(step.before)[1], (*loops, step))
                    visit(step.steps, (*loops, step))
                else:
                    if (first := _steps_of((step,))[0]) is not None:
                        self.at(step)
                        used_before = step.index.storage
                        self.require(used_before.kind != "arena" or used_before.first <= first,
                                     f"{named(used_before)} is read before it lives")
                    for branch in step.branches:
                        visit(branch, loops)
        spans: dict[int, tuple[int | None, int | None]] = {}
        parents: dict[int, tuple[Loop | None, Loop]] = {}
        visit(self.program.steps, ())
        for storage in arena_storages(self.program):
            homes = [_chain(home, parents) for home in inside.get(id(storage), ())]
            for loop in {id(loop): loop for home in homes for loop in home}.values():
                if all(loop in home for home in homes):
                    continue
                self.at(loop)
                first, last = spans[id(loop)]
                self.require(storage.first <= first and last <= storage.last,
                             f"{named(storage)} is used inside and outside of it, but lives in the steps "
                             f"{storage.first} to {storage.last}, not {first} to {last}")

    # ---- memory at given extents -------------------------------------------------------------------------------------
    def memory_at(self, extents: Mapping[str, int]) -> None:
        """Storages fit the arena, places their storages, and reads follow writes."""
        self.where, self.location = "", None
        plan, program = self.program.plan, self.program
        shown = f" where {', '.join(f'{s} is {n}' for s, n in extents.items())}" if extents else ""
        starts, total = starts_at(plan, extents), bytes_at(plan, extents)
        sizes = {id(slot.storage): evaluate(slot.storage.size, extents) for slot in plan.slots}
        for slot in plan.slots:
            end = starts[id(slot.storage)] + sizes[id(slot.storage)]
            self.require(end <= total, f"{named(slot.storage)} ends at byte {end}, the arena has {total}{shown}")
        for kind, ports in (("input", program.inputs), ("output", program.outputs)):
            for i, port in enumerate(ports):
                sizes[(kind, i)] = evaluate(port.type.nbytes, extents)
        for i, array in enumerate(program.constants):
            sizes[("constant", i)] = array.nbytes
        written = _Written()
        self.flow(program.steps, dict(extents), sizes, written, shown)
        self.where, self.location = "", None
        for i, port in enumerate(program.outputs):
            size = sizes[("output", i)]
            self.require(written.covers(("output", i), 0, size), f"output {port.name!r} is not written whole{shown}")

    def flow(self, steps: Iterable[Step], extents: dict[str, int], sizes, written: "_Written", shown: str) -> None:
        for step in steps:
            self.at(step)
            if isinstance(step, Launch):
                self.launch_at(step, extents, sizes, written, shown)
            elif isinstance(step, Loop):
                self.loop_at(step, extents, sizes, written, shown)
            else:
                self.read(step.index, extents, sizes, written, shown)
                sides = []
                for branch in step.branches:
                    sides.append(written.copy())
                    self.flow(branch, extents, sizes, sides[-1], shown)
                written.meet(sides)

    def launch_at(self, launch: Launch, extents, sizes, written: "_Written", shown: str) -> None:
        params = self.program.kernels[launch.kernel].params
        pairs = list(zip(launch.places, params))
        outs = [p for p, b in pairs if b.role == "out"]
        if outs and all(any(evaluate(d, extents) == 0 for d in p.shape) for p in outs):
            return  # it does not run
        for place, buffer in pairs:
            if buffer.role in ("in", "constant", "inout"):
                self.read(place, extents, sizes, written, shown)
        for place, buffer in pairs:
            if buffer.role not in ("in", "constant"):
                found = self.reach(place, extents, sizes, shown)
                if found is not None and buffer.role != "workspace":
                    written.add(_key(place.storage), *found)

    def loop_at(self, loop: Loop, extents, sizes, written: "_Written", shown: str) -> None:
        trip = None if loop.trip is None else evaluate(loop.trip, extents)
        counts = [0, 1, 2] if trip is None else sorted({n for n in (0, 1, trip - 1) if 0 <= n < trip})
        for count in counts:
            extents[loop.counter.name] = count
            self.flow(loop.before, extents, sizes, written, shown)
            if loop.condition is not None:
                self.at(loop)
                self.read(loop.condition, extents, sizes, written, shown)
            self.flow(loop.steps, extents, sizes, written, shown)
        for launch in walk_launches(loop.steps):
            for place in launch.places:
                if any(s.name == loop.counter.name for s in _symbols(place.offset)):
                    written.fill(_key(place.storage))  # the iterations between write what lies between
        extents[loop.counter.name + ".end"] = trip if trip is not None else counts[-1]

    def read(self, place: Place, extents, sizes, written: "_Written", shown: str) -> None:
        found = self.reach(place, extents, sizes, shown)
        if found is None or place.storage.kind in ("input", "constant"):
            return
        key = _key(place.storage)
        if not written.covers(key, *found):  # what lies between its rows may be nobody's
            rows = _rows(place, extents)
            self.require(all(written.covers(key, low, high) for low, high in rows),
                         f"{named(place.storage)} is read before it is written{shown}")

    def reach(self, place: Place, extents, sizes, shown: str) -> tuple[int, int] | None:
        """The bytes from the first to behind the last element of a place; None where it has none."""
        try:
            shape = [evaluate(d, extents) for d in place.shape]
            steps = [(n - 1) * evaluate(s, extents) for n, s in zip(shape, place.strides, strict=True)]
            offset = evaluate(place.offset, extents)
        except KeyError as error:
            self.fail(f"{named(place.storage)}: the dim {error.args[0]!r} is not known here")
        if 0 in shape:
            return None
        size = place.dtype.itemsize
        low = (offset + sum(s for s in steps if s < 0)) * size
        high = (offset + sum(s for s in steps if s > 0) + 1) * size
        total = sizes[_key(place.storage)]
        self.require(0 <= low and high <= total,
                     f"the bytes {low} to {high} of {named(place.storage)} are reached, it has {total}{shown}")
        return low, high


class _Written:
    """The bytes of each storage, from low to high, that were written: not fewer than truly are."""

    def __init__(self, found: dict | None = None):
        self.found: dict[object, list[tuple[int, int]]] = found or {}

    def copy(self) -> "_Written":
        return _Written({key: list(ranges) for key, ranges in self.found.items()})

    def add(self, key, low: int, high: int) -> None:
        """Bytes low..high count as written."""
        ranges = self.found.setdefault(key, [])
        apart = [r for r in ranges if r[1] < low or high < r[0]]
        joined = [r for r in ranges if not (r[1] < low or high < r[0])]
        self.found[key] = [*apart, (min([low, *(r[0] for r in joined)]), max([high, *(r[1] for r in joined)]))]

    def fill(self, key) -> None:
        """What lies between written bytes counts as written."""
        ranges = self.found.get(key)
        if ranges:
            self.found[key] = [(min(r[0] for r in ranges), max(r[1] for r in ranges))]

    def covers(self, key, low: int, high: int) -> bool:
        return low >= high or any(a <= low and high <= b for a, b in self.found.get(key, ()))

    def meet(self, sides: list["_Written"]) -> None:
        """What is written whichever side was taken."""
        def common(a: list[tuple[int, int]], b: list[tuple[int, int]]) -> list[tuple[int, int]]:
            return [(max(r[0], s[0]), min(r[1], s[1])) for r in a for s in b if max(r[0], s[0]) < min(r[1], s[1])]
        first, *others = sides
        self.found = first.found
        for other in others:
            self.found = {key: common(ranges, other.found[key]) for key, ranges in self.found.items()
                          if key in other.found}


def named(storage: Storage) -> str:
    """A storage as messages name it."""
    return f"{'the arena storage' if storage.kind == 'arena' else storage.kind} {storage.label!r}"


def _with_life(storage: Storage) -> str:
    return f"{named(storage)} (steps {storage.first} to {storage.last})"


def _key(storage: Storage):
    return id(storage) if storage.kind == "arena" else (storage.kind, storage.index)


def _dims(dims: Iterable[Dim]) -> str:
    return ", ".join(map(str, dims))


def _symbols(d: Dim) -> list[Symbol]:
    return symbols_of(d) if not isinstance(d, int) else []


def _rows(place: Place, extents: Mapping[str, int]) -> Iterator[tuple[int, int]]:
    """The bytes of each row along the last axis; of the first `MOST_ROWS` and the last one where there are more."""
    size = place.dtype.itemsize
    *shape, width = [evaluate(d, extents) for d in place.shape] or [1]
    *strides, step = [evaluate(s, extents) for s in place.strides] or [1]
    offset = evaluate(place.offset, extents)
    for index in (*islice(np.ndindex(*shape), MOST_ROWS), tuple(n - 1 for n in shape)):
        first = offset + sum(i * s for i, s in zip(index, strides))
        last = first + (width - 1) * step
        yield min(first, last) * size, (max(first, last) + 1) * size


def _span(place: Place) -> Dim:
    """The elements from a place's first to its last one."""
    total: Dim = 1
    for extent, stride in zip(place.shape, place.strides):
        total = total + (extent - 1) * (stride if not isinstance(stride, int) or stride > 0 else 0)
    return total


def _above(a: Dim, b: Dim) -> bool:
    """Whether the facts prove a >= b."""
    try:
        return a >= b
    except LaminaError:
        return False


def _steps_of(steps: Iterable[Step]) -> tuple[int | None, int | None]:
    """The first and last step number in `steps`."""
    numbers = [launch.step for launch in walk_launches(steps)]
    return (min(numbers), max(numbers)) if numbers else (None, None)


def _chain(home: int, parents: Mapping[int, tuple[Loop | None, Loop]]) -> list[Loop]:
    """The loops around a place of the program: that of the id `home`, and those around it."""
    found: list[Loop] = []
    while home:
        outer, loop = parents[home]
        found.append(loop)
        home = id(outer) if outer is not None else 0
    return found
