"""Where in the arena does each storage go?  Offsets without overlap of live ranges, as close to the lower bound as can be."""

from __future__ import annotations

from typing import Mapping

from ..core.dims import evaluate, nominal, symbols_of, UNBOUNDED
from ..core.errors import BudgetError
from .program import MemoryPlan, Program, Slot, Storage, arena_storages

ALIGNMENT = 64


def plan_memory(program: Program, max_memory: int | None = None) -> MemoryPlan:
    """Offsets for every arena storage. BudgetError, naming the tensors live at the peak, where they exceed `max_memory` bytes.

    Several orders of placing are tried (by size, by live bytes at the step, by first use) and the smallest arena is kept; the
    lower bound is the largest sum of bytes that are live at one step.
    """
    storages = arena_storages(program)
    symbolic = any(not isinstance(s.size, int) for s in storages)
    sizes = [_aligned(_extent(s.size)) for s in storages]
    peak, step = _peak(storages, sizes)
    best: list[int] | None = None
    best_end = 0
    for order in _orders(storages, sizes, step):
        offsets = _pack(storages, sizes, order)
        end = max((o + s for o, s in zip(offsets, sizes)), default=0)
        if best is None or end < best_end:
            best, best_end = offsets, end
        if best_end <= peak:
            break
    if max_memory is not None and best_end > max_memory:
        live = sorted(((size, s) for s, size in zip(storages, sizes) if s.first <= step <= s.last), key=lambda p: -p[0])
        rows = "\n".join(f"  {size:>12,} bytes  {s.label}{'  at ' + str(s.location) if s.location and str(s.location) else ''}"
                         for size, s in live[:12])
        raise BudgetError(f"the arena takes {best_end:,} bytes, {max_memory:,} are allowed; live at the peak (step {step}):\n{rows}",
                          hint="allow more with max_memory, or make the batch or the sequence shorter")
    slots = tuple(Slot(s, o, _below(i, storages, best, sizes) if symbolic else ()) for i, (s, o) in enumerate(zip(storages, best or [])))
    return MemoryPlan(slots, best_end, peak, step, symbolic)


def _extent(size) -> int:
    return nominal(size) if not isinstance(size, int) else size


def _aligned(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)


def _peak(storages: list[Storage], sizes: list[int]) -> tuple[int, int]:
    events = sorted([(s.first, size) for s, size in zip(storages, sizes)] + [(s.last + 1, -size) for s, size in zip(storages, sizes)],
                    key=lambda e: (e[0], e[1]))
    live = peak = step = 0
    for when, change in events:
        live += change
        if live > peak:
            peak, step = live, when
    return peak, step


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


def _pack(storages, sizes, order) -> list[int]:
    """Each storage in turn at the tightest gap between those placed that are live at the same time."""
    offsets = [0] * len(storages)
    placed: list[int] = []
    for i in order:
        s = storages[i]
        busy = sorted((offsets[j], offsets[j] + sizes[j]) for j in placed
                      if not (storages[j].last < s.first or s.last < storages[j].first))
        at, best, best_gap = 0, None, None
        for low, high in busy:
            gap = low - at
            if gap >= sizes[i] and (best_gap is None or gap < best_gap):
                best, best_gap = at, gap
            at = max(at, high)
        offsets[i] = at if best is None else best
        placed.append(i)
    return offsets


def _below(i: int, storages, offsets, sizes) -> tuple[int, ...]:
    """The slots that are live with slot i and lie under it: at other extents it starts where the highest of them ends."""
    s = storages[i]
    return tuple(j for j, t in enumerate(storages) if j != i and not (t.last < s.first or s.last < t.first)
                 and offsets[j] + sizes[j] <= offsets[i])


def starts_at(plan: MemoryPlan, extents: Mapping[str, int]) -> dict[int, int]:
    """The first byte of each slot at actual extents, by the id of its storage."""
    return _layout(plan, extents)[0]


def bytes_at(plan: MemoryPlan, extents: Mapping[str, int]) -> int:
    """The arena bytes at actual extents: what a run of a symbolic program takes."""
    return _layout(plan, extents)[1]


def _layout(plan: MemoryPlan, extents: Mapping[str, int]) -> tuple[dict[int, int], int]:
    if not plan.is_symbolic:
        return {id(slot.storage): slot.offset for slot in plan.slots}, plan.arena_bytes
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    for i in sorted(range(len(plan.slots)), key=lambda i: plan.slots[i].offset):
        storage = plan.slots[i].storage
        starts[id(storage)] = max((ends[j] for j in plan.slots[i].above), default=0)
        ends[i] = starts[id(storage)] + _aligned(evaluate(storage.size, extents))
    return starts, max(ends.values(), default=0)


def unbounded_symbols(program: Program) -> list[str]:
    """Symbols without an upper fact that the arena's size depends on."""
    return [s.name for s in symbols_of(*(x.size for x in arena_storages(program))) if s.upper >= UNBOUNDED]
