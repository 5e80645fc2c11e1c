"""How do tests run ops as native code?  Many trials in one graph, so that one compilation serves them all."""

from functools import cache

import numpy as np

from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.options import Options
from lamina.compiler.driver import compile_graph
from lamina.compiler.graph.builder import Builder
from lamina.compiler.graph.graph import Graph
from lamina.compiler.ops import REGISTRY, Contract, Conv
from lamina.compiler.ops.op import Sample
from lamina.runtime.executable import Executable

from .samples import TOLERANCE, assert_close, types_of

#: Ops that mean something inside of a larger kernel only.
PARTS = dict.fromkeys(("unpack", "unpack_winograd"), "the packed operand of a contraction")


class Objects(dict):
    """Object code by content, kept while the tests run: the thread pool and equal kernels are compiled once."""

    def put(self, key, image):
        self[key] = image


OBJECTS = Objects()


def compiled(graph: Graph, target: str = "host") -> Executable:
    """`graph` in this process."""
    return Executable(compile_graph(graph, options=Options(target=target), cache=OBJECTS))


def graph_of(samples, name: str = "trials", operand=lambda *_: None) -> tuple[Graph, list[np.ndarray]]:
    """One graph with the results of all samples in order, and its arguments.

    `operand(builder, array, position, number)` may give (a value, the argument behind it) for an operand of sample
    `number`.
    """
    builder, results, arguments = Builder(name, fold=False), [], []
    for number, sample in enumerate(samples):
        values = []
        for position, (array, type) in enumerate(zip(sample.arrays, types_of(sample.arrays))):
            made = operand(builder, array, position, number)
            value, argument = made or (builder.parameter(type, f"x{number}_{position}"), array)
            values.append(value)
            arguments.append(argument)
        results += builder.emit_all(sample.op, *values)
    return builder.finish(results), arguments


def run(samples, target: str = "host", threads: int = 0, operand=lambda *_: None) -> list[tuple[np.ndarray, ...]]:
    """The results of each sample by native code."""
    graph, arguments = graph_of(samples, operand=operand)
    outputs = iter(compiled(graph, target)(*arguments, threads=threads))
    return [tuple(next(outputs) for _ in sample.op.infer(*types_of(sample.arrays))) for sample in samples]


@cache
def results_of(name: str, target: str = "host") -> list[tuple[np.ndarray, ...]]:
    """The native results of every sample of the op called `name`."""
    return run(REGISTRY[name].samples(), target)


def expected(sample: Sample) -> tuple[np.ndarray, ...]:
    with np.errstate(all="ignore"):
        return sample.op.evaluate(*sample.arrays)


def assert_agrees(sample: Sample, got: tuple[np.ndarray, ...], reference: tuple[np.ndarray, ...] | None = None) -> None:
    """Native results are the reference's: equal where nothing is rounded, else within the dtype's tolerance.

    What a sum of products may be off by depends on its terms, not on itself: they may cancel.
    """
    reference = expected(sample) if reference is None else reference
    for a, b in zip(got, reference, strict=True):
        is_sum = isinstance(sample.op, (Contract, Conv)) and as_dtype(a.dtype).is_float
        if is_sum and np.isfinite(b.astype(np.float64)).all():
            terms = sample.op.evaluate(*(np.abs(x) for x in sample.arrays))[0].astype(np.float64)
            difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            assert (difference <= TOLERANCE[as_dtype(a.dtype).name] * terms + 1e-30).all(), difference.max(initial=0)
        else:
            assert_close(a, b, sample.tolerance)
