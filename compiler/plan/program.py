"""What is a program?  Steps that launch kernels on places in memory; no values any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Iterator, Union

import numpy as np

from ..core.dims import Dim, Symbol
from ..core.dtypes import DType
from ..core.types import TensorType
from ..kernel.ir import Kernel
from ..ops.control import Fused


@dataclass(eq=False)
class Storage:
    """A stretch of memory. `kind`: "arena" (planned), "constant", "input" or "output" (`index` says which); `size` in
    bytes.

    `first` and `last` are the steps between which an arena storage is live; `label` names it for people.
    """

    kind: str
    index: int = 0
    size: Dim = 0
    label: str = ""
    first: int = 1 << 60
    last: int = -1
    location: object = None


@dataclass(frozen=True)
class Place:
    """Where a value lies: a storage, an `offset` in elements (it may hold loop counters), and strides in elements."""

    storage: Storage
    offset: Dim
    shape: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    dtype: DType


@dataclass(frozen=True)
class Launch:
    """Run kernel number `kernel` on `places`, in the order of its parameters. Live ranges count in `step`s, which grow
    in program order. `group` is what the kernel computes, for reports: it is no part of the program's text."""

    kernel: int
    places: tuple[Place, ...]
    location: object = None
    label: str = ""
    step: int = 0
    group: Fused | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Loop:
    """`steps` for counter = 0 .. trip-1; the counter is a symbol that offsets may hold. With `condition` it also ends
    where the bool at that place is false after `before` has run."""

    counter: Symbol
    trip: Dim | None
    steps: tuple["Step", ...]
    before: tuple["Step", ...] = ()
    condition: Place | None = None


@dataclass(frozen=True)
class Branch:
    """One of `branches`, by the integer or bool at `index` (clamped)."""

    index: Place
    branches: tuple[tuple["Step", ...], ...]


Step = Union[Launch, Loop, Branch]


@dataclass(frozen=True)
class Slot:
    """An arena storage with its offset in bytes: a number where all sizes are, else the slots that it lies above."""

    storage: Storage
    offset: int
    above: tuple[int, ...] = ()


@dataclass(frozen=True)
class MemoryPlan:
    """The arena: `slots`, `arena_bytes` (for the largest declared extents), and the `lower_bound`: bytes live at the
    peak step."""

    slots: tuple[Slot, ...]
    arena_bytes: int
    lower_bound: int
    peak_step: int
    is_symbolic: bool = False


@dataclass(frozen=True)
class Port:
    """An input or output of a program: its public name and type. An output that `shares` an input's memory may be given the
    same array as that one: it is written when the input is not needed any more."""

    name: str
    type: TensorType
    shares: int | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """Kernels, constants, steps, and the memory plan: all that code generation needs. Two programs are equal when their
    text is."""

    name: str
    kernels: tuple[Kernel, ...]
    constants: tuple[np.ndarray, ...]
    steps: tuple[Step, ...]
    plan: MemoryPlan
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    symbols: tuple[Symbol, ...]
    labels: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        from .text import print_program
        return print_program(self)

    def __eq__(self, other) -> bool:
        from .text import print_program
        if not isinstance(other, Program):
            return NotImplemented
        return self is other or print_program(self, kernels=True) == print_program(other, kernels=True)

    def __hash__(self) -> int:
        return hash((self.name, len(self.kernels), len(self.steps), self.inputs, self.outputs))

    def verify(self) -> "Program":
        """Check every rule of programs; VerifyError names the step and the storage that break one. Returns the program
        itself."""
        from .verify import verify
        verify(self)
        return self


def walk_launches(steps):
    """Every Launch in `steps`, nested ones included, in program order."""
    for step in steps:
        if isinstance(step, Launch):
            yield step
        elif isinstance(step, Loop):
            yield from walk_launches(step.before)
            yield from walk_launches(step.steps)
        else:
            for branch in step.branches:
                yield from walk_launches(branch)


def places_of(steps: Iterable[Step]) -> Iterator[Place]:
    """Every place that `steps` name, nested ones included, in program order."""
    for step in steps:
        if isinstance(step, Launch):
            yield from step.places
        elif isinstance(step, Loop):
            yield from places_of(step.before)
            if step.condition is not None:
                yield step.condition
            yield from places_of(step.steps)
        else:
            yield step.index
            for branch in step.branches:
                yield from places_of(branch)


def arena_storages(program: Program) -> list[Storage]:
    """The arena storages of a program, in order of first use."""
    return list({id(p.storage): p.storage for p in places_of(program.steps) if p.storage.kind == "arena"}.values())
