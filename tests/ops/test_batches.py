"""Are the rules for batches right?  Against a loop over the sets, for every sample of every op."""

import numpy as np
import pytest

from lamina.compiler.core.dims import symbol
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.graph.graph import Graph
from lamina.compiler.ops import REGISTRY, Contract, Conv, Op
from lamina.compiler.ops.batching import batched_graph
from lamina.compiler.ops.op import Sample

from .native import PARTS, assert_agrees, compiled, expected
from .samples import all_samples, assert_close, types_of

SIZE = 3
WITHOUT_OPERANDS = ("constant", "iota")


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_has_a_rule(name):
    cls = REGISTRY[name]
    assert (cls.vmap is Op.vmap) == (name in WITHOUT_OPERANDS), "without operands nothing is batched"


def varied(array: np.ndarray, number: int) -> np.ndarray:
    """An array of the same elements at other places; one of a single element has another one."""
    if array.size > 1:
        return np.roll(array.reshape(-1), number).reshape(array.shape)
    if array.dtype == bool:
        return array ^ (number % 2 == 1)
    return (array + np.asarray(number).astype(array.dtype)).astype(array.dtype)


def batches(sample: Sample, size: int) -> list[np.ndarray]:
    """Each operand of a sample `size` times over, varied."""
    return [np.stack([varied(a, i) for i in range(size)]) if size else np.zeros((0, *a.shape), a.dtype)
            for a in map(np.asarray, sample.arrays)]


def patterns(count: int) -> list[tuple[bool, ...]]:
    """All operands batched, and each of them alone."""
    return list(dict.fromkeys([(True,) * count, *(tuple(i == j for j in range(count)) for i in range(count))]))


def single(op, types) -> Graph:
    builder = Builder(op.name, fold=False)
    return builder.finish(builder.emit_all(op, *(builder.parameter(t, f"x{i}") for i, t in enumerate(types))))


def batched(sample: Sample, flags, size) -> Graph:
    graph = single(sample.op, types_of(sample.arrays))
    results = len(graph.results)
    return batched_graph(graph, flags, size, (True,) * results)[0].verify()


def arguments(sample: Sample, many, flags) -> list[np.ndarray]:
    return [m if flag else np.asarray(a) for m, a, flag in zip(many, sample.arrays, flags)]


def by_loop(sample: Sample, many, flags, size: int) -> list[list[Sample]]:
    return [Sample(sample.op, tuple(np.asarray(m[i]) if flag else np.asarray(a)
                                    for m, a, flag in zip(many, sample.arrays, flags)), sample.tolerance)
            for i in range(size)]


def check(sample: Sample, flags, size, extent: int, run=lambda graph, arrays: graph.evaluate(*arrays)) -> None:
    """The batch of `extent` sets gives what each set gives by itself."""
    many = batches(sample, extent)
    with np.errstate(all="ignore"):
        got = run(batched(sample, flags, size), arguments(sample, many, flags))
    for i, one in enumerate(by_loop(sample, many, flags, extent)):
        if isinstance(sample.op, (Contract, Conv)):
            assert_agrees(one, tuple(g[i] for g in got))
            continue
        for g, want in zip(got, expected(one), strict=True):
            assert g.shape == (extent, *want.shape)
            assert_close(g[i], want, sample.tolerance)
    if not extent:
        for g, t in zip(got, sample.op.infer(*types_of(sample.arrays)), strict=True):
            assert g.shape == (0, *t.shape)


@pytest.mark.parametrize("sample", all_samples(lambda op: op.name not in WITHOUT_OPERANDS))
def test_a_batch_is_a_loop(sample):
    for flags in patterns(len(sample.arrays)):
        check(sample, flags, SIZE, SIZE)


def first_samples(count: int, names=None):
    """A few samples of each op, of the first dtypes."""
    return [pytest.param(s, id=f"{name}-{i}") for name in names or sorted(set(REGISTRY) - set(WITHOUT_OPERANDS))
            for i, s in enumerate(REGISTRY[name].samples()[:count])]


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("sample", first_samples(2))
def test_batches_of_none_and_one(sample, size):
    for flags in patterns(len(sample.arrays)):
        check(sample, flags, size, size)


@pytest.mark.parametrize("sample", [p for p in first_samples(8) if p.values[0].op.name not in PARTS])
def test_the_size_may_be_symbolic(sample):
    for flags in patterns(len(sample.arrays)):
        check(sample, flags, symbol("batch", lower=0), SIZE)


@pytest.mark.parametrize("sample", first_samples(
    3, ("add", "call", "concat", "cond", "scan", "select", "take", "while")))
def test_batches_of_batches(sample):
    count = len(sample.arrays)
    graph, _ = batched_graph(batched(sample, (True,) * count, SIZE), (True,) * count, 2)
    many = [np.stack([b, b[::-1]]) for b in batches(sample, SIZE)]
    got = graph.evaluate(*many)
    once = batched(sample, (True,) * count, SIZE)
    for i in range(2):
        for g, want in zip(got, once.evaluate(*(m[i] for m in many)), strict=True):
            assert_close(g[i], want, sample.tolerance)


NATIVE = ("cond", "contract", "conv", "cumulative", "dynamic_slice", "dynamic_update_slice", "gather_nd", "pool",
          "random_bits", "scan", "scatter_along", "scatter_nd", "select", "sort", "take", "take_along", "while")


@pytest.mark.parametrize("name", NATIVE)
def test_batches_in_native_code(name):
    """A few samples of an op in one graph, all operands batched and each alone."""
    builder, arrays, checks = Builder(name, fold=False), [], []
    for sample in REGISTRY[name].samples()[:6]:
        many = batches(sample, SIZE)
        for flags in patterns(len(sample.arrays)):
            given = arguments(sample, many, flags)
            params = [builder.parameter(t) for t in types_of(given)]
            graph = batched(sample, flags, SIZE)
            from lamina.compiler.graph.builder import inline
            checks.append((sample, by_loop(sample, many, flags, SIZE), inline(builder, graph, params)))
            arrays += given
    outputs = iter(compiled(builder.finish([r for _, _, results in checks for r in results]))(*arrays))
    for sample, sets, results in checks:
        got = [next(outputs) for _ in results]
        for i, one in enumerate(sets):
            assert_agrees(one, tuple(g[i] for g in got))


def test_what_depends_on_no_batched_operand_is_computed_once():
    from lamina.compiler.core.dtypes import float32
    from lamina.compiler.ops import Add, Exp
    builder = Builder("shared")
    x, y = (builder.parameter(TensorType((5,), float32), name) for name in "xy")
    graph, flags = batched_graph(builder.finish([builder.emit(Add(), x, builder.emit(Exp(), y)), y]), (True, False), 7)
    assert flags == [True, False]
    assert [n.result_types[0].shape for n in graph.nodes if isinstance(n.op, Exp)] == [(5,)]
