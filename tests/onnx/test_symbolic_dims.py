"""Do symbolic dims survive the import?  One graph for every batch and length, with the facts that the user gives."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from lamina.compiler.core.dims import Symbol, bounds, symbol  # noqa: E402
from lamina.compiler.core.errors import ShapeError, UnsupportedError  # noqa: E402
from lamina.compiler.ops import Iota  # noqa: E402
from lamina.frontends.onnx import load  # noqa: E402
from lamina.frontends.onnx.signature import declared_dim  # noqa: E402

from .models import FLOAT, INT64, floats, model, node  # noqa: E402

IMAGES = {"x": (FLOAT, ["batch", 3, 8, 8])}


def shapes(graph) -> list[str]:
    return [str(r.type) for r in graph.results]


def test_dim_parameters_become_symbols():
    graph = load(model([node("Relu", "x", "y")], IMAGES, ["y"]))
    assert graph.symbols == (Symbol("batch"),) and shapes(graph) == ["f32[batch, 3, 8, 8]"]


@pytest.mark.parametrize("fact,expected", [((1, 64), Symbol("batch", 1, 64)), ((8, 512, 8), Symbol("batch", 8, 512, 8)),
                                           ("2..4", Symbol("batch", 2, 4)), ("8..512%8", Symbol("batch", 8, 512, 8)),
                                           (Symbol("batch", 1, 5), Symbol("batch", 1, 5)),
                                           (symbol("n", 1, 9), Symbol("n", 1, 9))])
def test_facts(fact, expected):
    assert load(model([node("Relu", "x", "y")], IMAGES, ["y"]), dims={"batch": fact}).symbols == (expected,)


def test_a_dim_can_be_fixed():
    graph = load(model([node("Relu", "x", "y")], IMAGES, ["y"]), dims={"batch": 4})
    assert graph.symbols == () and shapes(graph) == ["f32[4, 3, 8, 8]"]


@pytest.mark.parametrize("fact", [-1, "many", (1, 2, 3, 4), 1.5, (5, 2), None])
def test_facts_that_are_none(fact):
    with pytest.raises((ShapeError, ValueError)):
        declared_dim("batch", fact)


def test_a_dim_that_the_model_does_not_have():
    with pytest.raises(ShapeError, match="no dim 'bach'.*\n.*batch"):
        load(model([node("Relu", "x", "y")], IMAGES, ["y"]), dims={"bach": 4})


def test_names_that_no_symbol_can_have_are_changed():
    proto = model([node("Relu", "x", "y")], {"x": (FLOAT, ["batch size", "1st", None])}, ["y"])
    assert [s.name for s in load(proto).symbols] == ["batch_size", "dim_1st", "x_2"]
    assert shapes(load(proto, dims={"batch size": 2, "x_2": 5})) == ["f32[2, dim_1st, 5]"]


def test_expressions_over_dims():
    inputs = {"past": (FLOAT, [1, "past_length"]), "mask": (FLOAT, [1, "past_length + 1"])}
    graph = load(model([node("Concat", "past,one", "longer", axis=1), node("Add", "longer,mask", "y")], inputs, ["y"],
                       {"one": np.ones((1, 1), np.float32)}))
    assert shapes(graph) == ["f32[1, past_length + 1]"]
    assert graph.evaluate(floats(1, 4), floats(1, 5))[0].shape == (1, 5)


def attention_model():
    """Splitting heads with shapes that are computed from Shape, as exporters write it; b and t are free."""
    nodes = [node("Shape", "x", "s"), node("Gather", "s,i0", "b"), node("Gather", "s,i1", "t"),
             node("Unsqueeze", "b,axes", "b1"), node("Unsqueeze", "t,axes", "t1"),
             node("Concat", "b1,t1,heads", "split", axis=0),
             node("Reshape", "x,split", "h"), node("Transpose", "h", "q", perm=[0, 2, 1, 3]),
             node("Transpose", "h", "k", perm=[0, 2, 3, 1]),
             node("MatMul", "q,k", "scores"), node("Softmax", "scores", "p"), node("MatMul", "p,q", "o"),
             node("Transpose", "o", "back", perm=[0, 2, 1, 3]), node("Concat", "b1,t1,width", "joined", axis=0),
             node("Reshape", "back,joined", "y"), node("Mul", "b,t", "bt"), node("Unsqueeze", "bt,axes", "bt1"),
             node("Concat", "bt1,width", "flat", axis=0), node("Reshape", "y,flat", "z"),
             node("Shape", "x", "last", start=-1), node("ConstantOfShape", "last", "zeros"),
             node("Add", "z,zeros", "w")]
    return model(nodes, {"x": (FLOAT, ["b", "t", 8])}, ["y", "w"],
                 {"i0": np.array(0), "i1": np.array(1), "axes": np.array([0]), "heads": np.array([2, 4]),
                  "width": np.array([8])})


def test_shapes_that_are_computed_from_symbols():
    graph = load(attention_model()).verify()
    assert shapes(graph) == ["f32[b, t, 8]", "f32[b*t, 8]"]
    assert not any(isinstance(n.op, Iota) for n in graph.nodes), "no shape is computed at run time"
    fixed = [load(attention_model(), dims={"b": b, "t": t}).evaluate(floats(b, t, 8)) for b, t in ((1, 1), (2, 7))]
    for (b, t), expected in zip(((1, 1), (2, 7)), fixed):
        for got, want in zip(graph.evaluate(floats(b, t, 8)), expected):
            np.testing.assert_array_equal(got, want)


def test_an_extent_that_is_computed_with_becomes_a_tensor():
    """The mean by hand: a sum over the length, which is a tensor only where it divides."""
    nodes = [node("Shape", "x", "s"), node("Gather", "s,one", "t"), node("Cast", "t", "length", to=FLOAT),
             node("ReduceSum", "x,axes", "total", keepdims=0), node("Div", "total,length", "y")]
    graph = load(model(nodes, {"x": (FLOAT, [2, "t"])}, ["y"], {"one": np.array(1), "axes": np.array([1])})).verify()
    for t in (1, 5):
        np.testing.assert_allclose(graph.evaluate(floats(2, t))[0], floats(2, t).mean(1), rtol=1e-6)


def test_a_range_and_a_mask_over_a_symbol():
    nodes = [node("Shape", "x", "s"), node("Gather", "s,one", "t"), node("Range", "zero,t,one", "r"),
             node("Unsqueeze", "r,axes", "column"),
             node("LessOrEqual", "r,column", "m"), node("Cast", "m", "y", to=FLOAT)]
    graph = load(model(nodes, {"x": (FLOAT, [2, "t"])}, ["y"],
                       {"zero": np.array(0), "one": np.array(1), "axes": np.array([1])}))
    np.testing.assert_array_equal(graph.evaluate(floats(2, 4))[0], np.tril(np.ones((4, 4), np.float32)))


@pytest.mark.parametrize("starts,ends,expected", [([1], [9999], "f32[t - 1]"), ([0], [-1], "f32[t - 1]"),
                                                  ([-3], [2 ** 62], "f32[3]"), ([2], [5], "f32[3]")])
def test_slices_of_a_symbolic_axis(starts, ends, expected):
    proto = model([node("Slice", "x,starts,ends", "y")], {"x": (FLOAT, ["t"])}, ["y"],
                  {"starts": np.array(starts), "ends": np.array(ends)})
    graph = load(proto, dims={"t": (6, 100)})
    assert shapes(graph) == [expected]
    np.testing.assert_array_equal(graph.evaluate(floats(7))[0], floats(7)[starts[0]:ends[0]])


def test_a_slice_that_the_facts_do_not_decide():
    proto = model([node("Slice", "x,starts,ends", "y", name="cut")], {"x": (FLOAT, ["t"])}, ["y"],
                  {"starts": np.array([0]), "ends": np.array([5])})
    with pytest.raises(UnsupportedError, match="cut.*index 5.*extent t.*facts"):
        load(proto)


def test_pooling_and_resize_of_symbolic_images():
    nodes = [node("Conv", "x,w", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
             node("AveragePool", "c", "p", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             node("Resize", "p,,scales", "y", coordinate_transformation_mode="asymmetric", nearest_mode="floor")]
    proto = model(nodes, {"x": (FLOAT, [1, 3, "h", "w"])}, ["y"],
                  {"w": floats(4, 3, 3, 3), "scales": np.array([1, 1, 2, 2], np.float32)})
    graph = load(proto, dims={"h": (3, 99), "w": (3, 99)}).verify()
    for h, w in ((8, 6), (7, 11)):
        np.testing.assert_allclose(graph.evaluate(floats(1, 3, h, w))[0],
                                   load(proto, dims={"h": h, "w": w}).evaluate(floats(1, 3, h, w))[0], rtol=1e-6)


def test_a_shape_that_the_data_decides_is_refused():
    proto = model([node("NonZero", "x", "y", name="where")], {"x": [4]}, {"y": INT64})
    with pytest.raises(UnsupportedError, match="where.*NonZero's input"):
        load(proto)


def test_the_extent_of_a_fixed_symbol_is_checked():
    graph = load(model([node("Relu", "x", "y")], IMAGES, ["y"]), dims={"batch": (1, 4)})
    with pytest.raises(ShapeError, match="batch"):
        graph.evaluate(floats(5, 3, 8, 8))
    assert bounds(graph.params[0].shape[0]) == (1, 4)
