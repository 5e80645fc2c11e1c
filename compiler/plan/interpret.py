"""What does a program compute?  Run its steps over NumPy memory, each launch with the kernel interpreter: the oracle of
the host code.

The arena is one array of bytes with the planned offsets. Memory that a storage takes over is poisoned, and every byte
remembers for which storage it was written last, so that a read of what nobody made is an error that names the step and
the storage.
"""

from __future__ import annotations

from typing import Mapping, NoReturn, Sequence

import numpy as np

from ..core.dims import evaluate
from ..core.errors import ShapeError, VerifyError
from ..graph.interpret import bind_dims
from ..kernel.interpret import run as run_kernel
from .memory import bytes_at, starts_at
from .program import Branch, Launch, Loop, Place, Program, Step, Storage, places_of
from .verify import named

POISON, FLOAT_POISON = 0xAA, 0xFF  # bytes; all ones are a NaN in every float format


def run(program: Program, arrays: Sequence[np.ndarray], extents: Mapping[str, int] | None = None,
        backwards: bool = False) -> tuple[np.ndarray, ...]:
    """The results of `program` for `arrays`, one for each input; `extents` of the symbols are read from their shapes.

    `backwards` runs parallel loops from their last iteration to the first. ShapeError for arrays that do not fit;
    VerifyError where a step leaves its storage, or reads bytes that were not written, or where an output is not written
    whole.
    """
    arrays = [np.ascontiguousarray(a, dtype=p.type.dtype.numpy).reshape(np.shape(a))
              for a, p in zip(arrays, program.inputs)]
    if len(arrays) != len(program.inputs):
        raise ShapeError(f"program {program.name!r} takes {len(program.inputs)} arrays, {len(arrays)} were given")
    found = bind_dims([p.name for p in program.inputs], [p.type for p in program.inputs], [a.shape for a in arrays])
    return _Run(program, arrays, {**(extents or {}), **found}, backwards).results()


class _Memory:
    """Bytes, and for each the number of the storage as which it was written: a slot's in the arena, 0 elsewhere, -1 if
    it was not."""

    def __init__(self, size: int):
        self.bytes = np.full(size, POISON, np.uint8)
        self.owner = np.full(size, -1, np.int32)

    @classmethod
    def holding(cls, array: np.ndarray) -> "_Memory":
        memory = cls(0)
        memory.bytes = np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy()
        memory.owner = np.zeros(memory.bytes.size, np.int32)
        return memory


class _Run:
    def __init__(self, program: Program, arrays: Sequence[np.ndarray], extents: dict[str, int], backwards: bool):
        self.program, self.extents, self.backwards = program, extents, backwards
        self.arena = _Memory(bytes_at(program.plan, extents))
        self.starts = starts_at(program.plan, extents)
        self.memories = {"input": list(map(_Memory.holding, arrays)),
                         "constant": list(map(_Memory.holding, program.constants)),
                         "output": [_Memory(evaluate(p.type.nbytes, extents)) for p in program.outputs]}
        for j, port in enumerate(program.outputs):
            if port.shares is not None:
                self.memories["output"][j].bytes = self.memories["input"][port.shares].bytes
        self.numbers = {id(slot.storage): i for i, slot in enumerate(program.plan.slots)}
        self.alive: set[int] = set()  # arena storages, by id, whose memory is theirs since their first use

    def results(self) -> tuple[np.ndarray, ...]:
        self.steps(self.program.steps)
        found = []
        for port, memory in zip(self.program.outputs, self.memories["output"]):
            unwritten = int((memory.owner < 0).sum())
            if unwritten:
                raise VerifyError(f"program {self.program.name!r}: {unwritten} of {memory.owner.size} bytes of output "
                                  f"{port.name!r} were never written")
            shape = tuple(evaluate(d, self.extents) for d in port.type.shape)
            found.append(memory.bytes.view(port.type.dtype.numpy).reshape(shape))
        return tuple(found)

    # -- steps
    def steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Launch):
                self.launch(step)
            elif isinstance(step, Loop):
                self.loop(step)
            else:
                self.branch(step)

    def launch(self, launch: Launch) -> None:
        kernel = self.program.kernels[launch.kernel]
        params = list(zip(launch.places, kernel.params, strict=True))
        outs = [p for p, b in params if b.role == "out"]
        if outs and all(0 in self.shape(p) for p in outs):
            return
        for place, buffer in params:
            self.claim(place.storage, place)
            if buffer.role in ("in", "constant", "inout"):
                self.require_written(place, launch)
            elif buffer.role == "workspace":
                self.view(place, launch, owners=False)[...] = poison(place)
            else:
                self.view(place, launch, owners=False)  # it must lie inside
        memory = {b.name: self.memory(p) for p, b in params}
        run_kernel(kernel, {name: array for name, (array, _) in memory.items()}, self.extents, self.backwards,
                   {name: origin for name, (_, origin) in memory.items()})
        for place, buffer in params:
            if buffer.role in ("out", "inout"):
                self.view(place, launch, owners=True)[...] = self.number(place.storage)

    def loop(self, loop: Loop) -> None:
        name = loop.counter.name
        trip = None if loop.trip is None else evaluate(loop.trip, self.extents)
        outside = self.used_outside(loop)
        inside = [id(p.storage) for p in places_of((loop,)) if id(p.storage) not in outside]
        count = 0
        while True:
            self.alive.difference_update(inside)  # values of one iteration are gone in the next
            self.extents[name] = count
            self.steps(loop.before)
            if trip is not None and count >= trip:
                break
            if loop.condition is not None and not self.scalar(loop.condition, f"the loop {name}"):
                break
            self.steps(loop.steps)
            count += 1
        self.extents[name + ".end"] = count

    def used_outside(self, loop: Loop) -> set[int]:
        """The storages, by id, that steps outside of `loop` use."""
        def visit(steps) -> None:
            for step in steps:
                if step is loop:
                    continue
                if isinstance(step, Loop):
                    visit(step.before)
                    visit(step.steps)
                    found.update([id(step.condition.storage)] if step.condition is not None else [])
                elif isinstance(step, Branch):
                    found.add(id(step.index.storage))
                    for branch in step.branches:
                        visit(branch)
                else:
                    found.update(id(p.storage) for p in step.places)
        found: set[int] = set()
        visit(self.program.steps)
        return found

    def branch(self, branch: Branch) -> None:
        index = int(self.scalar(branch.index, "a branch"))
        self.steps(branch.branches[min(max(index, 0), len(branch.branches) - 1)])

    # -- memory
    def claim(self, storage: Storage, place: Place) -> None:
        """Poison the memory of an arena storage at its first use."""
        if storage.kind != "arena" or id(storage) in self.alive:
            return
        self.alive.add(id(storage))
        start = self.starts[id(storage)]
        size = evaluate(storage.size, self.extents)
        self.arena.bytes[start:start + size] = poison(place)
        self.arena.owner[start:start + size] = -1

    def number(self, storage: Storage) -> int:
        return self.numbers[id(storage)] if storage.kind == "arena" else 0

    def require_written(self, place: Place, step) -> None:
        foreign = self.view(place, step, owners=True) != self.number(place.storage)
        if foreign.any():
            count = int(foreign.any(-1).sum())
            self.fail(step, f"reads {count} elements of {named(place.storage)} that were not written")

    def memory(self, place: Place) -> tuple[np.ndarray, int]:
        """The place's memory as the kernel interpreter takes it, from its lowest element to the end of its storage, and
        where in it the first element lies."""
        memory, start, end = self.extent(place.storage)
        size = place.dtype.itemsize
        back = sum(max(0, (n - 1) * -evaluate(s, self.extents)) for n, s in zip(self.shape(place), place.strides))
        first = start + (evaluate(place.offset, self.extents) - back) * size
        return memory.bytes[first:first + (end - first) // size * size].view(place.dtype.numpy), back

    def values(self, place: Place, step) -> np.ndarray:
        """A copy of the elements of a place, in its shape."""
        return np.ascontiguousarray(self.view(place, step, owners=False)).view(place.dtype.numpy)[..., 0]

    def view(self, place: Place, step, owners: bool) -> np.ndarray:
        """The bytes of a place, or their owners: its shape and the bytes of an element. VerifyError where it leaves its
        storage."""
        memory, start, end = self.extent(place.storage)
        size, shape = place.dtype.itemsize, self.shape(place)
        strides = [evaluate(s, self.extents) * size for s in place.strides]
        first = start + evaluate(place.offset, self.extents) * size
        low = first + sum(min(0, (n - 1) * s) for n, s in zip(shape, strides))
        high = first + sum(max(0, (n - 1) * s) for n, s in zip(shape, strides)) + size
        if 0 not in shape and (low < start or high > end):
            self.fail(step, f"reaches the bytes {low - start}..{high - start} of {named(place.storage)}, which has "
                            f"{end - start}")
        data = memory.owner if owners else memory.bytes
        width = data.itemsize
        return np.lib.stride_tricks.as_strided(data[first:], (*shape, size), (*(s * width for s in strides), width))

    def extent(self, storage: Storage) -> tuple[_Memory, int, int]:
        """The memory that a storage lies in, and the bytes of it that are its own."""
        if storage.kind == "arena":
            start = self.starts[id(storage)]
            return self.arena, start, start + evaluate(storage.size, self.extents)
        memory = self.memories[storage.kind][storage.index]
        return memory, 0, memory.bytes.size

    def shape(self, place: Place) -> tuple[int, ...]:
        return tuple(evaluate(d, self.extents) for d in place.shape)

    def scalar(self, place: Place, what: str):
        self.require_written(place, what)
        return self.values(place, what).item()

    def fail(self, step: Launch | str, problem: str) -> NoReturn:
        """A VerifyError about a launch, or about what is named."""
        location = step.location if isinstance(step, Launch) else None
        shown = f"step {step.step} ({self.program.kernels[step.kernel].name})" if isinstance(step, Launch) else step
        raise VerifyError(f"program {self.program.name!r}: {shown} {problem}", location=location)


def poison(place: Place) -> int:
    """The byte that memory nobody has written is full of."""
    return FLOAT_POISON if place.dtype.is_float else POISON
