"""What can this machine do?  Its multiply-adds and its bandwidth, measured with lamina's own code; once for each
process."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import Callable

import numpy as np

from ..compiler.core.dtypes import DType, float32, float64
from ..compiler.core.types import TensorType
from ..compiler.driver import compile_program
from ..compiler.kernel.builder import BlockBuilder, add, binary, constant, load, mul
from ..compiler.kernel.ir import Buffer, Expr, Kernel
from ..compiler.plan.memory import plan_memory
from ..compiler.plan.program import Launch, Place, Port, Program, Storage
from ..compiler.targets.find import find_target
from ..compiler.targets.target import Target
from ..runtime.executable import Executable
from ..runtime.profile import Roofline, measure

CHAINS = 12  # independent sums: more than latency times units on any core that is made, and they fit into 16 registers
STEPS = 10_000  # of each sum of multiply-adds
UNITS = 64  # of work for threads
SECONDS = 0.03  # for each measurement; the best of its runs counts
SIZES = tuple(1 << n for n in range(15, 29, 2))  # bytes of the working sets: from a first-level cache to memory
LEAST_BYTES = 1 << 25  # that one measurement reads: small sets again and again


@cache
def roofline(threads: int = 0) -> Roofline:
    """The Roofline on that many threads at most (0: all that this process may use). It takes about a second."""
    target = find_target("host")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(threads, usable) if threads else usable
    peaks = {dtype.name: _flops(dtype, target, threads) for dtype in (float32, float64)}
    return Roofline(peaks, tuple((size, _bandwidth(size, workers, target, threads)) for size in SIZES))


def _flops(dtype: DType, target: Target, threads: int) -> float:
    """Operations a second of multiply-adds that touch registers alone."""
    lanes = target.lanes(dtype)
    x, out = _vector("x", lanes, dtype, "in"), _vector("out", UNITS * lanes, dtype, "out")
    block = BlockBuilder()
    with block.loop("unit", UNITS, "parallel") as unit:
        vector = block.alloc("vector", dtype, (lanes,), "register")
        with block.loop("l", lanes, "vector", lanes) as lane:
            block.store(vector, (lane,), load(x, (lane,)))
        factor = block.let("factor", load(x, (0,)))
        _sum(block, out, unit, lanes, (STEPS,), lambda i, lane, step: binary("mul", factor, load(vector, (lane,))))
    seconds = _seconds("multiply_adds", block, x, out, target, np.full(lanes, 0.5, dtype.numpy), threads)
    return 2 * CHAINS * STEPS * UNITS * lanes / seconds


def _bandwidth(size: int, workers: int, target: Target, threads: int) -> float:
    """Bytes a second that `workers` threads read, each its part of `size` bytes, again and again."""
    lanes = target.lanes(float32)
    steps = max(1, size // (4 * workers * CHAINS * lanes))
    part = steps * CHAINS * lanes
    repeats = max(1, LEAST_BYTES // (4 * workers * part))
    x, out = _vector("x", workers * part, float32, "in"), _vector("out", workers * lanes, float32, "out")
    block = BlockBuilder()
    with block.loop("unit", workers, "parallel") as unit:
        start = block.let("start", mul(unit, part))
        _sum(block, out, unit, lanes, (repeats, steps),
             lambda i, lane, repeat, step: load(x, (add(add(add(start, mul(step, CHAINS * lanes)), i * lanes), lane),)))
    seconds = _seconds("read", block, x, out, target, np.ones(workers * part, np.float32), threads)
    return 4 * workers * part * repeats / seconds


def _vector(name: str, extent: int, dtype: DType, role: str) -> Buffer:
    return Buffer(name, dtype, (extent,), (1,), role)


def _sum(block: BlockBuilder, out: Buffer, unit: Expr, lanes: int, extents: tuple[int, ...],
         term: Callable[..., Expr]) -> None:
    """Add term(chain, lane, *positions) up over loops of these extents, in `CHAINS` vectors; their total is the unit's
    part of `out`."""
    sums = block.alloc("sums", out.dtype, (CHAINS, lanes), "register")
    for i in range(CHAINS):
        with block.loop("l", lanes, "vector", lanes) as lane:
            block.store(sums, (i, lane), constant(0, out.dtype))
    with ExitStack() as loops:
        positions = [loops.enter_context(block.loop("step", extent)) for extent in extents]
        for i in range(CHAINS):
            with block.loop("l", lanes, "vector", lanes) as lane:
                block.accumulate(sums, (i, lane), "add", term(i, lane, *positions))
    with block.loop("l", lanes, "vector", lanes) as lane:
        total = load(sums, (0, lane))
        for i in range(1, CHAINS):
            total = binary("add", total, load(sums, (i, lane)))
        block.store(out, (add(mul(unit, lanes), lane),), total)


def _seconds(name: str, block: BlockBuilder, x: Buffer, out: Buffer, target: Target, array: np.ndarray,
             threads: int) -> float:
    """The fastest run of a kernel of these statements on `array`."""
    places = tuple(Place(Storage(kind, 0, b.shape[0] * b.dtype.itemsize, b.name), 0, b.shape, b.strides, b.dtype)
                   for kind, b in (("input", x), ("output", out)))
    ports = [Port(b.name, TensorType(b.shape, b.dtype)) for b in (x, out)]
    program = Program(name, (Kernel(name, (x, out), block.statements),), (), (Launch(0, places),), None, (ports[0],),
                      (ports[1],), (),
                      labels=(name,))
    executable = Executable(compile_program(replace(program, plan=plan_memory(program)), target))
    return measure(executable, [array], threads=threads, seconds=SECONDS).rows[0].minimum
