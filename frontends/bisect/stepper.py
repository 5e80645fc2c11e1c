"""What does each launch of a program read and write?  The program in this process, one launch at a time.

The kernels are the compiled ones, and places lie where the memory plan has them: fusion and schedule are those of a
run. Only what happens between launches is done here instead of in the native host program.
"""

from __future__ import annotations

import ctypes
import hashlib
from typing import Mapping, Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...compiler.core.dims import evaluate
from ...compiler.driver import compile_program
from ...compiler.graph.interpret import bind_dims
from ...compiler.plan.memory import bytes_at, starts_at
from ...compiler.plan.program import Branch, Launch, Loop, Place, Step, Storage, arena_storages
from ...runtime.cpu import load_objects, support_function
from ...runtime.executable import ALIGNMENT, Executable, aligned_empty, resident
from ..report.levels import Levels

POISON = 0xFF  # of memory that nobody has written: a NaN in every float


class Stepper:
    """The compiled program of `levels`. `executable` runs it as users do."""

    def __init__(self, levels: Levels):
        self.program = levels.program
        artifact = compile_program(levels.program, levels.target)
        self.executable = Executable(artifact)
        names = levels.kernel_modules()
        support = artifact.objects["support"]
        self._library = load_objects([o for n, o in artifact.objects.items() if n not in ("support", "host")], support,
                                     hashlib.blake2b(support, digest_size=8).hexdigest(), tuple(dict.fromkeys(names)),
                                     tuple(artifact.manifest["support_exports"]))
        kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32)
        self._kernels = [kind(self._library.symbols[name]) for name in names]
        self._begin = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(support_function("lamina_begin"))
        self._end = ctypes.CFUNCTYPE(None, ctypes.c_int32)(support_function("lamina_end"))
        self.constants = [resident(c) for c in artifact.constants]

    def run(self, arrays: Sequence[np.ndarray], watch, apart: bool = False) -> list[np.ndarray]:
        """The outputs for `arrays`. `watch(number, launch, reads)` is called before each launch with copies of what it
        reads, and gives what is called behind it with copies of what it wrote, or None. With `apart` no two storages
        share memory."""
        return _Run(self, arrays, watch, apart).outputs()

    def launch(self, kernel: int, words: Sequence[int]) -> None:
        """Run a kernel on addresses and extents."""
        arguments = (ctypes.c_int64 * max(1, len(words)))(*words)
        threads = self._begin(0)
        self._kernels[kernel](ctypes.addressof(arguments), threads)
        self._end(threads)


class _Run:
    def __init__(self, stepper: Stepper, arrays, watch, apart: bool):
        program = stepper.program
        self.stepper, self.program, self.watch = stepper, program, watch
        self.extents = bind_dims([p.name for p in program.inputs], [p.type for p in program.inputs],
                                 [np.shape(a) for a in arrays])
        self.starts = starts_at(program.plan, self.extents)
        size = bytes_at(program.plan, self.extents)
        if apart:
            size = 0
            for storage in arena_storages(program):
                self.starts[id(storage)] = size
                size += -(-max(1, evaluate(storage.size, self.extents)) // ALIGNMENT) * ALIGNMENT
        self.arena = aligned_empty(size)
        self.arena[...] = POISON
        inputs = [resident(np.ascontiguousarray(a, p.type.dtype.numpy)) for a, p in zip(arrays, program.inputs)]
        outputs = [resident(np.empty(tuple(evaluate(d, self.extents) for d in p.type.shape), p.type.dtype.numpy))
                   for p in program.outputs]
        self.memories = {"input": inputs, "constant": stepper.constants, "output": outputs}
        self.count = 0

    def outputs(self) -> list[np.ndarray]:
        self.steps(self.program.steps)
        return self.memories["output"]

    def steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Launch):
                self.launch(step)
            elif isinstance(step, Loop):
                self.loop(step)
            else:
                self.branch(step)

    def launch(self, launch: Launch) -> None:
        params = self.program.kernels[launch.kernel].params
        outs = [p for p, b in zip(launch.places, params) if b.role == "out"]
        if outs and all(0 in self.shape(p) for p in outs):
            return
        reads = [self.array(p).copy() if p.storage.kind != "constant" else self.array(p)
                 for p, b in zip(launch.places, params) if b.role in ("in", "constant", "inout")]
        behind = self.watch(self.count, launch, reads)
        symbols = self.program.kernels[launch.kernel].symbols
        self.stepper.launch(launch.kernel, [*map(self.address, launch.places), *(self.extents[s] for s in symbols)])
        if behind is not None:
            writes = [self.array(p).copy() for p, b in zip(launch.places, params) if b.role in ("out", "inout")]
            behind(writes, self.extents)
        self.count += 1

    def loop(self, loop: Loop) -> None:
        trip = None if loop.trip is None else evaluate(loop.trip, self.extents)
        count = 0
        while True:
            self.extents[loop.counter.name] = count
            self.steps(loop.before)
            if trip is not None and count >= trip:
                break
            if loop.condition is not None and not self.array(loop.condition).item():
                break
            self.steps(loop.steps)
            count += 1
        self.extents[loop.counter.name + ".end"] = count

    def branch(self, branch: Branch) -> None:
        index = int(self.array(branch.index).item())
        self.steps(branch.branches[min(max(index, 0), len(branch.branches) - 1)])

    # ---- memory ------------------------------------------------------------------------------------------------------
    def shape(self, place: Place) -> tuple[int, ...]:
        return tuple(evaluate(d, self.extents) for d in place.shape)

    def base(self, storage: Storage) -> int:
        if storage.kind == "arena":
            return self.arena.ctypes.data + self.starts[id(storage)]
        return self.memories[storage.kind][storage.index].ctypes.data

    def address(self, place: Place) -> int:
        return self.base(place.storage) + evaluate(place.offset, self.extents) * place.dtype.itemsize

    def array(self, place: Place) -> np.ndarray:
        """What lies at a place now, as an array over that memory."""
        shape = self.shape(place)
        if 0 in shape:
            return np.empty(shape, place.dtype.numpy)
        back, reach, strides = stretch(place, self.extents)
        size = place.dtype.itemsize
        held = (ctypes.c_uint8 * (reach * size)).from_address(self.address(place) - back * size)
        memory = np.frombuffer(held, place.dtype.numpy)
        return as_strided(memory[back:], shape, [s * size for s in strides])


def stretch(place: Place, extents: Mapping[str, int]) -> tuple[int, int, list[int]]:
    """The memory that a place reaches over: how many elements lie before its first one, how many there are, and its
    strides."""
    shape, strides = ([evaluate(d, extents) for d in dims] for dims in (place.shape, place.strides))
    back = -sum(min(0, (n - 1) * s) for n, s in zip(shape, strides))
    return back, back + sum(max(0, (n - 1) * s) for n, s in zip(shape, strides)) + 1, strides


def lay_out(array: np.ndarray | None, place: Place, extents: Mapping[str, int]) -> tuple[np.ndarray, int, np.ndarray]:
    """Memory of one dimension as a place lies in it, where in it the first element is, and the place in it; it holds
    `array`."""
    back, reach, strides = stretch(place, extents)
    memory = np.zeros(reach, place.dtype.numpy)
    shape = tuple(evaluate(d, extents) for d in place.shape)
    view = as_strided(memory[back:], shape, [s * memory.itemsize for s in strides])
    if array is not None:
        view[...] = array
    return memory, back, view
