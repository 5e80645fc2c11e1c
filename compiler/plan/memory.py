"""Where in the arena does each storage go?  Live ranges share no byte, and the arena is near its lower bound."""

from __future__ import annotations

from typing import Mapping, Sequence

from ..core.dims import evaluate, nominal, symbols_of, UNBOUNDED
from ..core.errors import BudgetError
from .program import MemoryPlan, Program, Slot, Storage, arena_storages

ALIGNMENT = 64
ATTEMPTS = 40  # to place all storages within a limit, from one order
WORK = 2_000_000  # pairs of storages that are looked at, all in all: about a second


def plan_memory(program: Program, max_memory: int | None = None) -> MemoryPlan:
    """Offsets for every arena storage; BudgetError, naming the tensors live at the peak, over `max_memory` bytes.

    The lower bound is the largest sum of bytes that are live at one step: most plans need no more.
    """
    storages = arena_storages(program)
    symbolic = any(not isinstance(s.size, int) for s in storages)
    sizes = [_aligned(_extent(s.size)) for s in storages]
    peak, step = _peak(storages, sizes)
    offsets = _Packer(storages, sizes, peak, step).offsets()
    below: list[tuple[int, ...]] = [()] * len(storages)
    if symbolic:
        below = _below(storages, offsets)
        offsets = _stacked(offsets, below, sizes)
    slots = tuple(map(Slot, storages, offsets, below))
    total = max((o + s for o, s in zip(offsets, sizes)), default=0)
    if max_memory is not None and total > max_memory:
        live = sorted(((size, s) for s, size in zip(storages, sizes) if s.first <= step <= s.last), key=lambda p: -p[0])
        rows = "\n".join(f"  {size:>12,} bytes  {s.label}{_at(s.location)}" for size, s in live[:12])
        raise BudgetError(f"the arena takes {total:,} bytes, {max_memory:,} are allowed; live at the peak "
                          f"(step {step}):\n{rows}",
                          needed=total, hint="allow more with max_memory, or make the batch or the sequence shorter")
    return MemoryPlan(slots, total, peak, step, symbolic)


def _at(location) -> str:
    return f"  at {location}" if location is not None and str(location) else ""


def _extent(size) -> int:
    return nominal(size) if not isinstance(size, int) else size


def _aligned(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)


def _peak(storages: list[Storage], sizes: list[int]) -> tuple[int, int]:
    pairs = list(zip(storages, sizes))
    events = sorted([(s.first, size) for s, size in pairs] + [(s.last + 1, -size) for s, size in pairs])
    live = peak = step = 0
    for when, change in events:
        live += change
        if live > peak:
            peak, step = live, when
    return peak, step


class _Packer:
    """Finds offsets for storages of known sizes."""

    def __init__(self, storages: list[Storage], sizes: list[int], peak: int, step: int):
        self.storages, self.sizes, self.peak = storages, sizes, peak
        self.neighbours = _neighbours(storages)
        self.orders = list(_orders(storages, sizes, step))
        self.work = WORK

    def offsets(self) -> list[int]:
        """An offset for each storage: the first placement found that takes the peak alone, else the smallest found."""
        best: list[int] = []
        best_end = 0
        for order in self.orders:
            offsets, _ = self.pack(order, None)
            end = max((o + s for o, s in zip(offsets, self.sizes)), default=0)
            if not best or end < best_end:
                best, best_end = offsets, end
            if best_end <= self.peak:
                return best
        limit = self.peak
        while limit < best_end and self.work > 0:
            for order in self.orders:
                offsets = self.squeeze(order, limit)
                if offsets is not None:
                    return offsets
            limit += max(ALIGNMENT, _aligned(self.peak // 200))
        return best

    def squeeze(self, order: list[int], limit: int) -> list[int] | None:
        """Offsets within `limit`, or None: what fits nowhere goes earlier in the next attempt (squeaky wheel
        optimization: Joslin and Clements, JAIR 10, 1999)."""
        order = list(order)
        for _ in range(ATTEMPTS):
            if self.work <= 0:
                return None
            offsets, failed = self.pack(order, limit)
            if failed is None:
                return offsets
            at = order.index(failed)
            order.insert(at // 2, order.pop(at))
        return None

    def pack(self, order: list[int], limit: int | None) -> tuple[list[int], int | None]:
        """(offsets, None): each storage in turn lies in the tightest gap between those placed that live with it.

        Within a limit it lies at that end of its gap whose neighbour lives longer; (offsets, i) where i fits nowhere.
        """
        sizes, forever = self.sizes, 1 << 62
        offsets: list[int] = [-1] * len(sizes)
        for i in order:
            size = sizes[i]
            self.work -= len(self.neighbours[i]) + 1
            busy = sorted((offsets[j], offsets[j] + sizes[j], self.storages[j].last)
                          for j in self.neighbours[i] if offsets[j] >= 0)
            at, below, best, best_gap = 0, forever, None, None
            for low, high, last in busy if limit is None else (*busy, (limit, limit, forever)):
                gap = low - at
                if gap >= size and (best_gap is None or gap < best_gap):
                    best, best_gap = at if limit is None or below >= last else low - size, gap
                if high > at:
                    at, below = high, last
            if best is None and limit is not None:
                return offsets, i
            offsets[i] = at if best is None else best
        return offsets, None


def _orders(storages, sizes, step):
    """Orders in which to place: large first; those live at the peak first; long-lived first; as they come."""
    numbers = range(len(storages))
    span = [s.last - s.first + 1 for s in storages]
    at_peak = [s.first <= step <= s.last for s in storages]
    yield sorted(numbers, key=lambda i: (-sizes[i], -span[i]))
    yield sorted(numbers, key=lambda i: (not at_peak[i], -sizes[i], -span[i]))
    yield sorted(numbers, key=lambda i: (not at_peak[i], -span[i], -sizes[i]))
    yield sorted(numbers, key=lambda i: (-span[i] * sizes[i], -sizes[i]))
    yield sorted(numbers, key=lambda i: (not at_peak[i], storages[i].first, -sizes[i]))
    yield sorted(numbers, key=lambda i: (not at_peak[i], storages[i].last, -sizes[i]))
    yield sorted(numbers, key=lambda i: (storages[i].first, -sizes[i]))
    import random
    if len(storages) <= 600:
        generator = random.Random(0)
        base = sorted(numbers, key=lambda i: (-sizes[i], -span[i]))
        for _ in range(60 if len(storages) <= 120 else 12):
            noisy = {i: sizes[i] * generator.uniform(0.6, 1.6) for i in numbers}
            yield sorted(base, key=lambda i: (not at_peak[i], -noisy[i]))


def _neighbours(storages: list[Storage]) -> list[list[int]]:
    """For each storage those that are live with it."""
    found: list[list[int]] = [[] for _ in storages]
    live: list[int] = []
    for i in sorted(range(len(storages)), key=lambda i: storages[i].first):
        live = [j for j in live if storages[j].last >= storages[i].first]
        for j in live:
            found[i].append(j)
            found[j].append(i)
        live.append(i)
    return found


def _below(storages: list[Storage], offsets: list[int]) -> list[tuple[int, ...]]:
    """For each storage those that are live with it and lie under it: it starts where the highest of them ends."""
    return [tuple(sorted(j for j in found if offsets[j] < offsets[i])) for i, found in enumerate(_neighbours(storages))]


def _stacked(offsets: list[int], below: Sequence[tuple[int, ...]], sizes: list[int]) -> list[int]:
    """The first byte of each storage where it lies on those below it; `offsets` say in which order they come."""
    starts = [0] * len(offsets)
    for i in sorted(range(len(offsets)), key=offsets.__getitem__):
        starts[i] = max((starts[j] + sizes[j] for j in below[i]), default=0)
    return starts


def starts_at(plan: MemoryPlan, extents: Mapping[str, int]) -> dict[int, int]:
    """The first byte of each slot at actual extents, by the id of its storage."""
    return _layout(plan, extents)[0]


def bytes_at(plan: MemoryPlan, extents: Mapping[str, int]) -> int:
    """The arena bytes at actual extents: what a run of a symbolic program takes."""
    return _layout(plan, extents)[1]


def _layout(plan: MemoryPlan, extents: Mapping[str, int]) -> tuple[dict[int, int], int]:
    slots = plan.slots
    if not plan.is_symbolic:
        return {id(slot.storage): slot.offset for slot in slots}, plan.arena_bytes
    sizes = [_aligned(evaluate(slot.storage.size, extents)) for slot in slots]
    starts = _stacked([slot.offset for slot in slots], [slot.above for slot in slots], sizes)
    end = max(map(int.__add__, starts, sizes), default=0)
    return {id(slot.storage): start for slot, start in zip(slots, starts)}, end


def unbounded_symbols(program: Program) -> list[str]:
    """Symbols without an upper fact that the arena's size depends on."""
    return [s.name for s in symbols_of(*(x.size for x in arena_storages(program))) if s.upper >= UNBOUNDED]
