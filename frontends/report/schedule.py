"""How is a kernel scheduled?  Read off its loops: threads, lanes, registers, what is packed and what passes the caches
by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterator

from ...compiler.core.dims import product
from ...compiler.kernel.ir import Alloc, Buffer, Const, For, If, Kernel, Prefetch, Stmt, Store


@dataclass
class KernelSchedule:
    """What a kernel's statements say of its schedule.

    parallel    extents of the loops that are split over threads; None is one that depends on symbols
    lanes       widths of its vector loops, each once
    registers, stack    buffers that live there, and `workspaces` those in the arena
    """

    parallel: list[int | None] = field(default_factory=list)
    lanes: set[int] = field(default_factory=set)
    registers: list[Buffer] = field(default_factory=list)
    stack: list[Buffer] = field(default_factory=list)
    workspaces: list[Buffer] = field(default_factory=list)
    streams: bool = False
    prefetches: bool = False
    is_apart: bool = False

    @property
    def tile(self) -> tuple[int, int] | None:
        """Rows and columns of the largest block of accumulators that is held in registers."""
        blocks = [b.shape for b in self.registers if len(b.shape) == 2]
        return max(blocks, key=product, default=None)

    def facts(self) -> list[str]:
        """The schedule in words."""
        found = []
        for extent in self.parallel:
            found.append(f"{'as many' if extent is None else extent} units of work, shared among the threads"
                         + (" as its extents make" if extent is None else ""))
        if not self.parallel:
            found.append("one thread: its work is one unit")
        found.append(f"vectors of {', '.join(map(str, sorted(self.lanes)))} lanes" if self.lanes else "no vectors")
        if self.tile is not None:
            found.append(f"sums of {self.tile[0]} x {self.tile[1]} elements are kept in registers")
        for buffer in self.workspaces:
            size = product(buffer.shape) * buffer.dtype.itemsize
            found.append(f"{buffer.name} of {size} bytes is made at run time, in the arena")
        if self.stack:
            size = max(product(b.shape) * b.dtype.itemsize for b in self.stack)
            found.append(f"blocks of {size} bytes wait on the stack" + (", for an epilogue too long for the registers"
                                                                        if self.is_apart else ""))
        found += ["what is read next is asked for ahead"] * self.prefetches
        found += ["results pass the caches by: they are larger"] * self.streams
        return found


def read_schedule(kernel: Kernel) -> KernelSchedule:
    """The schedule of `kernel`."""
    found = KernelSchedule(workspaces=[b for b in kernel.params if b.role == "workspace"])
    for statement in _walk(kernel.body):
        if isinstance(statement, For):
            if statement.kind == "parallel":
                found.parallel.append(statement.extent.value if isinstance(statement.extent, Const) else None)
            elif statement.kind == "vector":
                found.lanes.add(statement.width)
            found.is_apart = found.is_apart or statement.kind == "apart"
        elif isinstance(statement, Alloc):
            places = {"register": found.registers, "stack": found.stack}
            places.get(statement.buffer.space, []).append(statement.buffer)
        elif isinstance(statement, Prefetch):
            found.prefetches = True
        elif isinstance(statement, Store):
            found.streams = found.streams or statement.streaming
    return found


def _walk(statements: tuple[Stmt, ...]) -> Iterator[Stmt]:
    for statement in statements:
        yield statement
        if isinstance(statement, For):
            yield from _walk(statement.body)
        elif isinstance(statement, If):
            yield from _walk(statement.then)
            yield from _walk(statement.orelse)
