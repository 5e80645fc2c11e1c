"""Do shape rules work with symbolic dims, and give, at any extents, what they give for those extents?"""

import numpy as np
import pytest

from lamina.compiler import ops
from lamina.compiler.core.dims import evaluate, symbol
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.errors import ShapeError
from lamina.compiler.core.types import TensorType
from lamina.compiler.ops.op import is_nonnegative

b, s, n = symbol("b", upper=64), symbol("s", lower=2, upper=512), symbol("n")
f32, i64 = as_dtype("f32"), as_dtype("i64")


def t(*shape, dtype=f32):
    return TensorType(shape, dtype)


CASES = {
    "reshape": (ops.Reshape((b * s, 8)), [t(b, s, 8)], (b * s, 8)),
    "reshape heads": (ops.Reshape((b, s, 4, 2)), [t(b, s, 8)], (b, s, 4, 2)),
    "transpose": (ops.Transpose((2, 0, 1)), [t(b, s, 8)], (8, b, s)),
    "broadcast": (ops.Broadcast((b, s, 8), (1, 2)), [t(1, 8)], (b, s, 8)),
    "slice last": (ops.Slice((0, s - 1), (b, 1), (1, 1)), [t(b, s)], (b, 1)),
    "slice rest": (ops.Slice((1,), (s - 1,), (1,)), [t(s)], (s - 1,)),
    "slice reverse": (ops.Slice((s - 1,), (s,), (-1,)), [t(s)], (s,)),
    "slice half": (ops.Slice((s // 2,), (s - s // 2,), (1,)), [t(s)], (s - s // 2,)),
    "slice even": (ops.Slice((0,), ((s + 1) // 2,), (2,)), [t(s)], ((s + 1) // 2,)),
    "slice positions": (ops.Slice((0, 0), (s, 4), (1, 1)), [t(512, 4)], (s, 4)),
    "pad": (ops.Pad((0, 1), (s, 2)), [t(b, s)], (b + s, s + 3)),
    "concat": (ops.Concat(1), [t(b, s), t(b, 3), t(b, s)], (b, 2 * s + 3)),
    "reduce": (ops.Reduce("sum", (0, 2)), [t(b, s, 8)], (s,)),
    "arg-reduce": (ops.ArgReduce("max", 1), [t(b, s)], (b,)),
    "cumulative": (ops.Cumulative("sum", 1), [t(b, s)], (b, s)),
    "contract": (ops.Contract("bqd,bkd->bqk"), [t(b, s, 8), t(b, s, 8)], (b, s, s)),
    "conv": (ops.Conv((2, 1), ((1, 1), (0, 0)), (1, 1)), [t(b, s, s + 4, 3), t(3, 3, 3, 5)],
             (b, (s - 1) // 2 + 1, s + 2, 5)),
    "conv transposed": (ops.Conv((1,), ((2, 2),), (1,), 1, (2,)), [t(b, s, 3), t(3, 3, 5)], (b, 2 * s + 1, 5)),
    "depthwise": (ops.Conv((1,), ((1, 1),), (1,), 3), [t(b, s, 3), t(3, 1, 6)], (b, s, 6)),
    "pool": (ops.Pool("max", (2,), (2,), ((0, 0),), (1,)), [t(b, s, 3)], (b, (s - 2) // 2 + 1, 3)),
    "take": (ops.Take(0), [t(100, 8), t(b, s, dtype=i64)], (b, s, 8)),
    "take-along": (ops.TakeAlong(1), [t(b, s), t(b, 3, dtype=i64)], (b, 3)),
    "gather-nd": (ops.GatherNd(1), [t(b, s, 8), t(b, 5, 1, dtype=i64)], (b, 5, 8)),
    "scatter-nd": (ops.ScatterNd("add"), [t(s, 8), t(b, 1, dtype=i64), t(b, 8)], (s, 8)),
    "scatter-along": (ops.ScatterAlong(1), [t(b, s), t(b, 3, dtype=i64), t(b, 3)], (b, s)),
    "dynamic slice": (ops.DynamicSlice((b, 2)), [t(b, s), t(dtype=i64), t(dtype=i64)], (b, 2)),
    "dynamic update slice": (ops.DynamicUpdateSlice(), [t(b, 512, 4), t(b, s, 4), *[t(dtype=i64)] * 3], (b, 512, 4)),
    "sort": (ops.Sort(1), [t(b, s)], (b, s)),
    "random bits": (ops.RandomBits((b, s)), [t(2, dtype=as_dtype("u32"))], (b, s)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("extents", [{"b": 1, "s": 2}, {"b": 3, "s": 7}])
def test_symbolic_results_have_the_static_extents(name, extents):
    op, types, shape = CASES[name]
    result = op.infer(*types)[0]
    assert result.shape == shape
    static = [TensorType(tuple(evaluate(d, extents) for d in x.shape), x.dtype) for x in types]
    at = op.at_extents(extents)
    assert tuple(evaluate(d, extents) for d in shape) == at.infer(*static)[0].shape
    arrays = [np.zeros(x.shape, x.dtype.numpy) for x in static]
    assert at.evaluate(*arrays)[0].shape == at.infer(*static)[0].shape
    assert evaluate(op.flops(*types), extents) == at.flops(*static)


@pytest.mark.parametrize("dim, expected", [
    (s - 2, True), (s - 3, False), (n - 1, True), (s - 1 - s // 2, True), (s + 1 - 2 * ((s + 1) // 2), True),
    (s // 2 - 1, True),
    (s // 3 - 1, False), (s * b - s, False), (512 - s, True), (511 - s, False), (n - 4 * (n // 4), True),
    (n // 4 - n // 2, False)])
def test_what_the_facts_prove(dim, expected):
    assert is_nonnegative(dim) == expected


def test_facts_decide_what_a_slice_may_read():
    op = ops.Slice((0,), (5,), (1,))
    assert op.infer(t(symbol("k", lower=5)))[0].shape == (5,)
    with pytest.raises(ShapeError, match="elements 0 to 4 of k"):
        op.infer(t(symbol("k", lower=4)))
