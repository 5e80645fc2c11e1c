"""Which programs are the suites of the plan tried on?  Small models that need every kind of step and storage, with
their arrays."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

import lamina as lm
from lamina.compiler.core.options import Options
from lamina.compiler.core.remarks import Remarks
from lamina.compiler.graph.graph import Graph
from lamina.compiler.pipeline import run_pipeline
from lamina.compiler.plan.memory import plan_memory
from lamina.compiler.plan.place import place_graph
from lamina.compiler.plan.program import Program
from lamina.compiler.targets.find import find_target

DIGITS = Path(lm.__file__).parent / "frontends" / "cli" / "demo" / "digits.onnx"


def program_of(graph: Graph, donate: tuple[int, ...] = (), **options) -> Program:
    """The program that the driver makes of `graph`."""
    chosen = Options(**options)
    target = find_target(chosen.target)
    program = place_graph(run_pipeline(graph, target, chosen, Remarks()), target, donate)
    return replace(program, plan=plan_memory(program, chosen.max_memory))


def traced(function, *specs, dims=None) -> Program:
    """The program of a Python function."""
    return program_of(lm.trace(function, *specs, dims=dims))


def floats(*shape, dtype="float32"):
    return lm.TensorSpec(shape, dtype)


# ---- models ----------------------------------------------------------------------------------------------------------
def chain(x):
    for _ in range(4):
        x = lm.tanh(lm.sum(x * 1.5, axis=0) + x)
    return x


def joined(x, y):
    return lm.concat([lm.tanh(x), lm.exp(y)], axis=1), lm.pad(lm.sin(x), ((1, 2), (0, 1)), constant_values=3.0)


def layer(x, w):
    return lm.softmax(lm.matmul(x, w) * 0.5, axis=-1), lm.max(x, axis=1)


def scanned(h, xs):
    return lm.scan(lambda carry, x: (lm.tanh(carry * 0.5 + x), carry - x), h, xs)


def twice_scanned(h, xs):
    def outer(carry, x):
        inner, ys = lm.scan(lambda c, v: (c * 0.9 + v, c + v), carry, x)
        return inner, lm.sum(ys)
    return lm.scan(outer, h, xs)


def counted(n, x):
    return lm.while_loop(lambda c: c[0] > 0, lambda c: (c[0] - 1, lm.tanh(c[1] + 1)), (n, x))


def chosen(i, x):
    return lm.switch(i, [lambda v: v + 1, lambda v: lm.sum(v) * lm.ones_like(v), lambda v: lm.flip(v, axis=0)], x)


def looked_up(table, ids):
    return lm.take(table, ids, axis=0) + 1


def attended(q, k, v):
    return lm.matmul(lm.softmax(lm.matmul(q, lm.swapaxes(k, -1, -2)) * 0.25, axis=-1), v)


def nothing(x):
    return lm.concat([x[:0], lm.tanh(x)], axis=0), lm.sum(x[:0], axis=0)


@cache
def models() -> dict[str, Graph]:
    """Graphs by name."""
    batch = {"batch": (1, 8)}
    trace = lm.trace
    return {
        "chain": trace(chain, floats(5, 7)),
        "symbolic chain": trace(chain, floats("batch", 6), dims=batch),
        "joined": trace(joined, floats(3, 4), floats(3, 2)),
        "symbolic joined": trace(joined, floats("batch", 4), floats("batch", 2), dims=batch),
        "layer": trace(layer, floats(6, 16), floats(16, 24)),
        "symbolic layer": trace(layer, floats("batch", 16), floats(16, 24), dims={"batch": (2, 64)}),
        "scanned": trace(scanned, floats(4), floats(5, 4)),
        "symbolic scanned": trace(scanned, floats(4), floats("steps", 4), dims={"steps": (1, 9)}),
        "scanned twice": trace(twice_scanned, floats(), floats(3, 5)),
        "counted": trace(counted, floats(dtype="int32"), floats(6)),
        "chosen": trace(chosen, floats(dtype="int32"), floats(2, 3)),
        "looked up": trace(looked_up, floats(10, 4), floats("n", dtype="int64"), dims={"n": (1, 16)}),
        "attended": trace(attended, floats(2, 6, 8), floats(2, 6, 8), floats(2, 6, 8)),
        "nothing": trace(nothing, floats(4, 3)),
        "digits": lm.onnx.load(str(DIGITS), dims={"batch": (1, 32)}),
    }


def arrays_of(graph: Graph, extents: dict[str, int] | None = None, seed: int = 0) -> list[np.ndarray]:
    """An array for each parameter; symbols have the extents that are given, or 3."""
    from lamina.compiler.core.dims import evaluate
    generator = np.random.default_rng(seed)
    sizes = {s.name: 3 for s in graph.symbols} | (extents or {})
    found = []
    for p in graph.params:
        shape = tuple(evaluate(d, sizes) for d in p.shape)
        draw = generator.standard_normal(shape) if p.dtype.is_float else generator.integers(0, 4, shape)
        found.append(np.asarray(draw).astype(p.dtype.numpy))
    return found
