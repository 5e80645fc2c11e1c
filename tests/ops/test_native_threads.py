"""Is what is large enough for several threads and blocks right, and bitwise the same for every number of threads?"""

import numpy as np
import pytest

from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.graph.builder import Builder
from lamina.compiler.ops import (Add, ArgReduce, Broadcast, Contract, Conv, Cumulative, Div, Exp, Mul, Pool, Reduce,
                                 Rsqrt, ScatterAlong, ScatterNd, Sort,
                                 Sub, TakeAlong, Tanh, Transpose)
from lamina.compiler.ops.op import Sample

from .native import assert_agrees, compiled, expected, graph_of
from .samples import types_of


def floats(*shape, dtype="float32", seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(as_dtype(dtype).numpy)


def integers(low, high, *shape, dtype="int64"):
    return np.random.default_rng((high, *shape)).integers(low, high, shape).astype(dtype)


def with_ties_and_nans(*shape, dtype="float32"):
    x = np.round(floats(*shape, dtype=dtype), 1)
    x.reshape(-1)[::997] = np.nan
    x.reshape(-1)[5::311] = -0.0
    return x


CASES = {
    "chain": Sample(Tanh(), (floats(300_007),)),
    "transpose": Sample(Transpose((1, 0)), (floats(517, 390),)),
    "transpose of bytes": Sample(Transpose((0, 2, 1)), (integers(0, 99, 3, 70, 130, dtype="uint8"),)),
    "transpose of half": Sample(Transpose((1, 0)), (floats(133, 210, dtype="float16"),)),
    "transpose of double": Sample(Transpose((2, 1, 0)), (floats(13, 20, 31, dtype="float64"),)),
    "transpose of bool": Sample(Transpose((1, 0)), (integers(0, 2, 133, 210).astype(bool),)),
    "permutation": Sample(Transpose((3, 1, 0, 2)), (floats(7, 6, 19, 10),)),
    "planes to pixels": Sample(Transpose((1, 2, 0)), (floats(3, 57, 31),)),
    "pixels to planes": Sample(Transpose((2, 0, 1)), (integers(0, 255, 57, 31, 3, dtype="uint8"),)),
    "four planes": Sample(Transpose((0, 2, 1)), (floats(3, 4, 331),)),
    "sum of all": Sample(Reduce("sum", (0, 1)), (floats(700, 513),), tolerance=2e-5),
    "max of all": Sample(Reduce("max", (0,)), (floats(1_000_003),)),
    "sum of few rows": Sample(Reduce("sum", (1,)), (floats(3, 200_001),), tolerance=2e-5),
    "product of rows": Sample(Reduce("prod", (1,)), (1 + 0.01 * floats(2, 100_000),), tolerance=1e-3),
    "sum of rows": Sample(Reduce("sum", (1,)), (floats(500, 301),), tolerance=1e-5),
    "sum of outer axes": Sample(Reduce("sum", (0, 1)), (floats(90, 70, 33),), tolerance=1e-5),
    "sum of few columns": Sample(Reduce("sum", (0,)), (floats(60_001, 5),), tolerance=2e-5),
    "sum of columns": Sample(Reduce("sum", (0,)), (floats(4001, 129),), tolerance=2e-5),
    "min of middle axis": Sample(Reduce("min", (1,)), (floats(5, 900, 70),)),
    "sum of integers": Sample(Reduce("sum", (0, 1)), (integers(-9, 9, 800, 400, dtype="int32"),)),
    "any": Sample(Reduce("max", (0, 1)), (integers(0, 2, 800, 400).astype(bool),)),
    "sum of half": Sample(Reduce("sum", (0, 1)), (floats(300, 500, dtype="bfloat16"),), tolerance=2e-2),
    "argmax of a long row": Sample(ArgReduce("max", 0), (np.round(floats(300_001), 1),)),
    "argmin of rows": Sample(ArgReduce("min", 1), (with_ties_and_nans(40, 9001),)),
    "argmax of columns": Sample(ArgReduce("max", 0), (with_ties_and_nans(300, 1000),)),
    "argmax of the middle": Sample(ArgReduce("max", 1), (integers(0, 5, 20, 33, 70, dtype="uint8"),)),
    "running sum of rows": Sample(Cumulative("sum", 1), (integers(-9, 9, 203, 500),)),
    "running sum of columns": Sample(Cumulative("sum", 0, reverse=True), (integers(-9, 9, 300, 1500),)),
    "running max of the middle": Sample(Cumulative("max", 1, exclusive=True), (floats(9, 40, 700),)),
    "max pool": Sample(Pool("max", (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)), (floats(2, 57, 55, 40),)),
    "sum pool of large windows": Sample(Pool("sum", (9, 7), (1, 2), ((4, 4), (3, 3)), (1, 1)), (floats(1, 30, 31, 20),),
                                        tolerance=1e-5),
    "scatter of rows": Sample(ScatterNd("add"), (floats(100, 700), integers(-1, 101, 300, 1), floats(300, 700, seed=1)),
                              tolerance=1e-5),
    "scatter of rows of half": Sample(ScatterNd("add"), (floats(4, 700, dtype="float16"), integers(0, 4, 500, 1),
                                                         floats(500, 700, dtype="float16", seed=1))),
    "scatter of elements": Sample(ScatterNd("set"),
                                  (floats(50_000), integers(-5, 50_005, 70_000, 1), floats(70_000, seed=1))),
    "scatter along rows": Sample(ScatterAlong(1, "add"),
                                 (floats(200, 300), integers(-1, 301, 200, 500, dtype="int32"), floats(200, 500)),
                                 tolerance=1e-5),
    "scatter along columns": Sample(ScatterAlong(0, "max"),
                                    (floats(60, 1000), integers(-1, 61, 90, 1000), floats(90, 1000))),
    "gather": Sample(TakeAlong(1), (floats(300, 400), integers(0, 400, 300, 900))),
    "sort of a long row": Sample(Sort(0), (with_ties_and_nans(70_003),)),
    "sort of rows": Sample(Sort(1, True), (with_ties_and_nans(60, 1025),)),
    "sort of short rows": Sample(Sort(1), (with_ties_and_nans(3000, 21),)),
    "sort of columns": Sample(Sort(0), (integers(-20, 20, 500, 33, dtype="int8"),)),
    "sort of doubles": Sample(Sort(1, True), (with_ties_and_nans(5, 9000, dtype="float64"),)),
    "sort of long integers": Sample(Sort(0), (integers(0, 1 << 62, 20_000).astype(np.uint64) * np.uint64(4),)),
    "integer product": Sample(Contract("ij,jk->ik"),
                              (integers(-99, 99, 130, 77, dtype="int32"), integers(-99, 99, 77, 330, dtype="int32"))),
    "integer product, transposed": Sample(Contract("zij,zkj->zik"), (integers(-9, 9, 3, 65, 130, dtype="int8"),
                                                                     integers(-9, 9, 3, 70, 130, dtype="int8"))),
    "integer convolution": Sample(Conv((2, 1), ((1, 1), (2, 2)), (1, 2), 2),
                                  (integers(-9, 9, 2, 33, 30, 8, dtype="int32"),
                                   integers(-9, 9, 3, 3, 4, 36, dtype="int32"))),
}


@pytest.mark.parametrize("name", CASES)
def test_large_operands_on_any_number_of_threads(name):
    sample = CASES[name]
    graph, arguments = graph_of([sample])
    executable = compiled(graph)
    one = executable(*arguments, threads=1)
    assert_agrees(sample, one, expected(sample))
    for threads in (2, 7):
        for a, b in zip(one, executable(*arguments, threads=threads)):
            assert a.tobytes() == b.tobytes()


def mean_spread(builder, value, axes):
    """The mean of `value` over `axes`, at every place."""
    kept = tuple(i for i in range(value.type.rank) if i not in axes)
    total = builder.emit(Reduce("sum", axes), value)
    count = builder.constant(np.full(total.shape, np.prod([value.shape[i] for i in axes]), np.float32))
    return builder.emit(Broadcast(value.shape, kept), builder.emit(Div(), total, count))


def softmax(builder, x, axes):
    def spread(kind, of):
        kept = tuple(i for i in range(x.type.rank) if i not in axes)
        return builder.emit(Broadcast(x.shape, kept), builder.emit(Reduce(kind, axes), of))
    powers = builder.emit(Exp(), builder.emit(Sub(), x, spread("max", x)))
    return builder.emit(Div(), powers, spread("sum", powers))


def normalize(builder, x, axes):
    centered = builder.emit(Sub(), x, mean_spread(builder, x, axes))
    variance = mean_spread(builder, builder.emit(Mul(), centered, centered), axes)
    return builder.emit(Mul(), centered, builder.emit(Rsqrt(), variance))


@pytest.mark.parametrize("function", [softmax, normalize])
@pytest.mark.parametrize("shape, axes", [((301, 517), (0,)), ((301, 517), (1,)), ((2, 200_001), (1,)),
                                         ((300_001,), (0,)), ((50_001, 7), (0,)),
                                         ((9, 40, 50, 17), (0, 1, 2)), ((3, 20, 80, 9), (1, 2))])
def test_groups_of_reductions_on_any_number_of_threads(function, shape, axes):
    x = floats(*shape)
    builder = Builder(function.__name__, fold=False)
    value = builder.parameter(types_of([x])[0], "x")
    graph = builder.finish([function(builder, value, axes), builder.emit(Add(), value, value)])
    executable = compiled(graph)
    assert len(executable.kernels) <= 2
    one = executable(x, threads=1)
    for a, b in zip(one, graph.evaluate(x)):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=1e-5)
    for threads in (2, 7):
        for a, b in zip(one, executable(x, threads=threads)):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_reductions_follow_memory(axes):
    x = floats(700, 520)
    builder = Builder("transposed", fold=False)
    turned = builder.emit(Transpose((1, 0)), builder.parameter(types_of([x])[0], "x"))
    executable = compiled(builder.finish([builder.emit(Reduce("sum", axes), turned),
                                          builder.emit(Reduce("max", axes), turned)]))
    assert "gather" not in executable.text("llvm")
    for got, reference in zip(executable(x), (x.T.sum(axes, np.float64), x.T.max(axes))):
        np.testing.assert_allclose(got, reference, rtol=1e-4, atol=1e-4)


def test_a_result_does_not_take_over_what_another_one_reads():
    x = floats(50, 40)
    builder = Builder("softmax_and_operand", fold=False)
    value = builder.emit(Cumulative("sum", 0), builder.parameter(types_of([x])[0], "x"))  # lies in the arena

    def spread(kind, of):
        return builder.emit(Broadcast(x.shape, (0,)), builder.emit(Reduce(kind, (1,)), of))
    powers = builder.emit(Exp(), builder.emit(Sub(), value, spread("max", value)))
    result = builder.emit(Add(), builder.emit(Div(), powers, spread("sum", powers)), value)
    graph = builder.finish([builder.emit(Cumulative("sum", 1), powers), builder.emit(Cumulative("sum", 1), result)])
    for got, reference in zip(compiled(graph)(x), graph.evaluate(x)):
        np.testing.assert_allclose(got, reference, rtol=1e-5, atol=1e-4)
