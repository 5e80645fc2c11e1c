"""Operands that do not fit an op: which error, and does its message show what was wrong and the types?"""

import numpy as np
import pytest

from lamina.compiler import ops
from lamina.compiler.core.dims import symbol
from lamina.compiler.core.dtypes import as_dtype
from lamina.compiler.core.errors import DTypeError, ShapeError
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder


def t(dtype, *shape):
    return TensorType(shape, as_dtype(dtype))


def graph(*types, results=None):
    """A graph that returns its parameters, or those numbered in `results`."""
    b = Builder("body")
    params = [b.parameter(type) for type in types]
    return b.finish([params[i] for i in (range(len(types)) if results is None else results)])


n = symbol("n")
X, W = t("f32", 1, 8, 8, 4), t("f32", 3, 3, 4, 6)
CONV = dict(strides=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1))

CASES = {
    # rearrange
    "reshape size": (ops.Reshape((7,)), [t("f32", 2, 3)], ShapeError, "6 elements do not fit f32[7]", "f32[2, 3]"),
    "reshape symbolic size": (ops.Reshape((n, 3)), [t("f32", n, 4)], ShapeError, "f32[n, 3]", "f32[n, 4]"),
    "transpose axes": (ops.Transpose((0, 0)), [t("f32", 2, 3)], ShapeError, "(0, 0) is no permutation of 2 axes",
                       "f32[2, 3]"),
    "transpose rank": (ops.Transpose((1, 0)), [t("f32", 2)], ShapeError, "f32[2]"),
    "broadcast extent": (ops.Broadcast((4, 3), (0, 1)), [t("f32", 2, 3)], ShapeError, "axis 0 of extent 2", "f32[4, 3]",
                         "f32[2, 3]"),
    "broadcast order": (ops.Broadcast((3, 2), (1, 0)), [t("f32", 2, 3)], ShapeError, "do not increase",
                        "transpose first"),
    "broadcast axes": (ops.Broadcast((3, 2), (1,)), [t("f32", 3, 2)], ShapeError, "1 axes are named for rank 2"),
    "broadcast beyond": (ops.Broadcast((3,), (1,)), [t("f32", 3)], ShapeError, "axis 1 of a tensor of rank 1"),
    "slice end": (ops.Slice((2,), (4,), (1,)), [t("f32", 5)], ShapeError, "axis 0 reads elements 2 to 5 of 5",
                  "f32[5]"),
    "slice before": (ops.Slice((2,), (4,), (-1,)), [t("f32", 5)], ShapeError, "axis 0 reads elements 2 to -1 of 5"),
    "slice step": (ops.Slice((2,), (1,), (0,)), [t("f32", 5)], ShapeError, "step of axis 0 is 0"),
    "slice rank": (ops.Slice((2,), (1,), (1,)), [t("f32", 5, 5)], ShapeError, "f32[5, 5]"),
    "slice of unknown extent": (ops.Slice((0,), (5,), (1,)), [t("f32", n)], ShapeError, "elements 0 to 4 of n",
                                "declare facts"),
    "pad negative": (ops.Pad((0,), (-1,)), [t("f32", 5)], ShapeError, "axis 0 is padded by -1", "use Slice"),
    "pad rank": (ops.Pad((0, 0), (1, 1)), [t("f32", 5)], ShapeError, "f32[5]"),
    "pad value": (ops.Pad((0,), (1,), 0.5), [t("i32", 5)], DTypeError, "0.5 is no value of int32"),
    "pad value range": (ops.Pad((0,), (1,), 256), [t("u8", 5)], DTypeError, "256 is no value of uint8"),
    "pad value infinite": (ops.Pad((0,), (1,), float("-inf")), [t("i8", 5)], DTypeError, "-inf is no value of int8"),
    "concat none": (ops.Concat(0), [], ShapeError, "one operand or more"),
    "concat extents": (ops.Concat(0), [t("f32", 2, 3), t("f32", 2, 4)], ShapeError, "axis 0 alone", "f32[2, 3]",
                       "f32[2, 4]"),
    "concat dtypes": (ops.Concat(0), [t("f32", 2), t("f64", 2)], DTypeError, "f32[2]", "f64[2]"),
    "concat axis": (ops.Concat(1), [t("f32", 2)], ShapeError, "axis 1 of a tensor of rank 1"),
    # reduce
    "reduce kind": (ops.Reduce("mean", (0,)), [t("f32", 2)], ShapeError, "'mean' is none of sum, prod, max, min"),
    "reduce bool": (ops.Reduce("sum", (0,)), [t("bool", 2)], DTypeError, "sum of bool", "bool[2]",
                    "cast to an integer"),
    "reduce axis": (ops.Reduce("sum", (2,)), [t("f32", 2, 3)], ShapeError, "axis 2 of a tensor of rank 2"),
    "reduce order": (ops.Reduce("sum", (1, 0)), [t("f32", 2, 3)], ShapeError, "do not increase"),
    "arg-reduce empty": (ops.ArgReduce("max", 0), [t("f32", 0, 3)], ShapeError, "axis 0 has no elements", "f32[0, 3]"),
    "arg-reduce kind": (ops.ArgReduce("sum", 0), [t("f32", 3)], ShapeError, "'sum' is none of max, min"),
    "cumulative bool": (ops.Cumulative("prod", 0), [t("bool", 3)], DTypeError, "prod of bool"),
    # contract
    "contract rank": (ops.Contract("ij,jk->ik"), [t("f32", 2, 3), t("f32", 3)], ShapeError, "2 letters and rank 1",
                      "f32[2, 3]", "f32[3]"),
    "contract extent": (ops.Contract("ij,jk->ik"), [t("f32", 2, 3), t("f32", 4, 5)], ShapeError, "letter j", "3 and 4",
                        "f32[2, 3]", "f32[4, 5]"),
    "contract symbol": (ops.Contract("ij,jk->ik"), [t("f32", 2, n), t("f32", 4, 5)], ShapeError, "letter j", "n and 4"),
    "contract dtype": (ops.Contract("i,i->"), [t("f32", 2), t("f16", 2)], DTypeError, "f32[2]", "f16[2]"),
    "contract bool": (ops.Contract("i,i->"), [t("bool", 2), t("bool", 2)], DTypeError, "does not take bool", "bool[2]"),
    # conv and pool
    "conv channels": (ops.Conv(**CONV), [X, t("f32", 3, 3, 5, 6)], ShapeError, "4 channels", "f32[1, 8, 8, 4]",
                      "f32[3, 3, 5, 6]"),
    "conv groups": (ops.Conv(**CONV, groups=4), [X, t("f32", 3, 3, 1, 6)], ShapeError, "6 outputs into 4"),
    "conv dtype": (ops.Conv(**CONV), [X, t("f64", 3, 3, 4, 6)], DTypeError, "f32[1, 8, 8, 4]", "f64[3, 3, 4, 6]"),
    "conv bool": (ops.Conv(**CONV), [t("bool", 1, 8, 8, 4), t("bool", 3, 3, 4, 6)], DTypeError, "does not take bool"),
    "conv negative": (ops.Conv(**{**CONV, "padding": ((-1, 0), (0, 0))}), [X, W], ShapeError, "(-1, 0)", "Slice"),
    "conv too small": (ops.Conv(**CONV), [t("f32", 1, 2, 8, 4), W], ShapeError, "reaches over 3", "pad more"),
    "conv stride": (ops.Conv(**{**CONV, "strides": (0, 1)}), [X, W], ShapeError, "stride 0"),
    "conv strides": (ops.Conv(**{**CONV, "strides": (1,)}, input_dilation=(1, 1)), [X, W], ShapeError,
                     "1 entries for 2 spatial axes"),
    "conv input dilation": (ops.Conv(**CONV, input_dilation=(0, 1)), [X, W], ShapeError, "input_dilation (0, 1)"),
    "conv rank": (ops.Conv(**CONV), [t("f32", 8, 8), t("f32", 4, 6)], ShapeError, "[N, *spatial, C]"),
    "conv of 4 spatial axes": (ops.Conv((1,) * 4, ((0, 0),) * 4, (1,) * 4), [t("f32", *[3] * 6), t("f32", *[3] * 6)],
                               ShapeError, "1, 2 or 3 spatial axes"),
    "pool kind": (ops.Pool("mean", (2,), (1,), ((0, 0),), (1,)), [t("f32", 1, 8, 4)], ShapeError,
                  "'mean' is none of max, sum"),
    "pool window": (ops.Pool("max", (9,), (1,), ((0, 0),), (1,)), [t("f32", 1, 8, 4)], ShapeError, "reaches over 9",
                    "f32[1, 8, 4]"),
    "pool bool": (ops.Pool("sum", (2,), (1,), ((0, 0),), (1,)), [t("bool", 1, 8, 4)], DTypeError, "sum of bool"),
    "pool rank": (ops.Pool("max", (2,), (1,), ((0, 0),), (1,)), [t("f32", 8, 4)], ShapeError, "[N, *spatial, C]"),
    # gather and scatter
    "take float indices": (ops.Take(0), [t("f32", 3), t("f32", 2)], DTypeError, "indices of dtype float32",
                           "f32[3], f32[2]"),
    "take empty": (ops.Take(0), [t("f32", 0), t("i64", 2)], ShapeError, "without elements", "i64[2]"),
    "take axis": (ops.Take(1), [t("f32", 3), t("i64", 2)], ShapeError, "axis 1 of a tensor of rank 1"),
    "take-along shape": (ops.TakeAlong(0), [t("f32", 3, 4), t("i64", 2, 5)], ShapeError, "axis 0 alone", "f32[3, 4]",
                         "i64[2, 5]"),
    "gather-nd coordinates": (ops.GatherNd(0), [t("f32", 3), t("i64", 2, 2)], ShapeError, "from 1 to 1 coordinates",
                              "i64[2, 2]"),
    "gather-nd symbol": (ops.GatherNd(0), [t("f32", 3), t("i64", 2, n)], ShapeError, "coordinates", "i64[2, n]"),
    "gather-nd batch": (ops.GatherNd(1), [t("f32", 3, 4), t("i64", 2, 1)], ShapeError, "first 1 axes must agree"),
    "scatter-nd updates": (ops.ScatterNd(), [t("f32", 3, 4), t("i64", 2, 1), t("f32", 2, 5)], ShapeError, "f32[2, 4]",
                           "f32[2, 5]"),
    "scatter-nd dtype": (ops.ScatterNd(), [t("f32", 3), t("i64", 2, 1), t("f16", 2)], DTypeError, "f32[3]", "f16[2]"),
    "scatter-nd reduction": (ops.ScatterNd("mean"), [t("f32", 3), t("i64", 2, 1), t("f32", 2)], ShapeError,
                             "'mean' is none of"),
    "scatter-nd bool": (ops.ScatterNd("add"), [t("bool", 3), t("i64", 2, 1), t("bool", 2)], DTypeError, "add of bool"),
    "scatter-along shape": (ops.ScatterAlong(0), [t("f32", 3, 4), t("i64", 2, 5), t("f32", 2, 5)], ShapeError,
                            "5 updates", "4 elements of axis 1"),
    "scatter-along updates": (ops.ScatterAlong(0), [t("f32", 3), t("i64", 2), t("f32", 3)], ShapeError, "i64[2]",
                              "f32[3]"),
    "dynamic slice size": (ops.DynamicSlice((4,)), [t("f32", 3), t("i64")], ShapeError, "4 does not lie within the 3",
                           "f32[3]"),
    "dynamic slice symbol": (ops.DynamicSlice((4,)), [t("f32", n), t("i64")], ShapeError, "declare facts"),
    "dynamic slice start": (ops.DynamicSlice((2,)), [t("f32", 3), t("i64", 1)], ShapeError,
                            "start i64[1] is no scalar"),
    "dynamic slice starts": (ops.DynamicSlice((2,)), [t("f32", 3)], ShapeError, "0 starts for rank 1"),
    "dynamic slice float": (ops.DynamicSlice((2,)), [t("f32", 3), t("f32")], DTypeError, "indices of dtype float32"),
    "dynamic update dtype": (ops.DynamicUpdateSlice(), [t("f32", 3), t("f64", 2), t("i64")], DTypeError, "f32[3]",
                             "f64[2]"),
    "dynamic update size": (ops.DynamicUpdateSlice(), [t("f32", 3), t("f32", 4), t("i64")], ShapeError,
                            "4 does not lie within the 3"),
    # sort and random
    "sort axis": (ops.Sort(0), [t("f32")], ShapeError, "axis 0 of a tensor of rank 0"),
    "random key": (ops.RandomBits((3,)), [t("u32", 3)], ShapeError, "u32[2]", "u32[3]"),
    # control flow
    "call operand": (ops.Call(graph(t("f32", 3))), [t("f32", 4)], ShapeError, "value 0 is f32[4], expected f32[3]"),
    "call dtype": (ops.Call(graph(t("f32", 3))), [t("f64", 3)], DTypeError, "value 0 is f64[3], expected f32[3]"),
    "call count": (ops.Call(graph(t("f32", 3))), [], ShapeError, "0 values where 1 are expected"),
    "cond index": (ops.Cond((graph(t("f32")), graph(t("f32")))), [t("f32"), t("f32")], DTypeError,
                   "an index f32[] for 2 branches"),
    "cond bool of three": (ops.Cond((graph(), graph(), graph())), [t("bool")], DTypeError,
                           "an index bool[] for 3 branches"),
    "cond vector": (ops.Cond((graph(), graph())), [t("i64", 1)], ShapeError, "index i64[1] is no scalar"),
    "cond results": (ops.Cond((graph(t("f32"), t("i64"), results=[0]), graph(t("f32"), t("i64"), results=[1]))),
                     [t("bool"), t("f32"), t("i64")], DTypeError, "results of branch 1", "i64[]", "f32[]"),
    "while condition": (ops.While(graph(t("f32")), graph(t("f32"))), [t("f32")], DTypeError, "results of the condition",
                        "expected bool[]"),
    "while carry": (ops.While(graph(t("bool"), t("f32"), results=[0]), graph(t("bool"), t("f32"), results=[0])),
                    [t("bool"), t("f32")],
                    ShapeError, "results of the body: 1 values where 2 are expected"),
    "scan steps": (ops.Scan(graph(t("f32"), t("f32"), results=[]), 0, 2), [t("f32", 3), t("f32", 4)], ShapeError,
                   "number of steps is 3 and 4"),
    "scan length": (ops.Scan(graph(t("f32")), 1, 0), [t("f32")], ShapeError, "nothing is scanned", "give length="),
    "scan carry": (ops.Scan(graph(t("f32"), t("f64"), results=[1]), 1, 1), [t("f32"), t("f64", 3)], DTypeError,
                   "carries of the body", "f64[]"),
    "scan scalar": (ops.Scan(graph(t("f32")), 0, 1), [t("f32")], ShapeError, "a scanned operand is a scalar"),
    # every op with a fixed number of operands
    "too many": (ops.Reshape((3,)), [t("f32", 3), t("f32", 3)], ShapeError, "takes 1 operands, got 2"),
}


@pytest.mark.parametrize("op, types, error, fragments",
                         [pytest.param(c[0], c[1], c[2], c[3:], id=name) for name, c in CASES.items()])
def test_operands_that_do_not_fit(op, types, error, fragments):
    with pytest.raises(error) as caught:
        op.infer(*types)
    text = str(caught.value)
    assert op.name in text
    for fragment in fragments:
        assert fragment in text


@pytest.mark.parametrize("spec, fragment", [
    ("ij,jk", "can't read"), ("ij->ij", "can't read"), ("i j,jk->ik", "can't read"), ("ii,ij->j", "twice in 'ii'"),
    ("ij,jk->il", "l of the result occurs in no operand"), ("ij,jk->ikk", "twice in 'ikk'")])
def test_contract_specs_that_make_no_sense(spec, fragment):
    with pytest.raises(ShapeError, match="contract") as caught:
        ops.Contract(spec)
    assert fragment in str(caught.value)


def test_an_error_while_building_names_the_place():
    from lamina.compiler.core.location import Location
    b = Builder()
    b.location = Location("model.py", 7, "forward")
    x = b.parameter(t("f32", 2, 3))
    with pytest.raises(ShapeError, match="model.py:7 in forward"):
        b.emit(ops.Contract("ij,jk->ik"), x, x)
    assert not b.nodes
    assert np.prod(x.shape) == 6
