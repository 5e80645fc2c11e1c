"""Does an error name everything that lamina can't import, at once, with node, reason and a way out?"""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from lamina.compiler.core.errors import FormatError, ShapeError, UnsupportedError  # noqa: E402
from lamina.frontends.onnx import load  # noqa: E402

from .models import FLOAT, floats, model, node  # noqa: E402


def problems(proto, **options):
    with pytest.raises(UnsupportedError) as caught:
        load(proto, **options)
    return caught.value


def test_every_unknown_operator_is_listed():
    nodes = [node("Frobnicate", "x", "a", name="first"),
             node("FusedMatMul", "a,a", "b", name="second", domain="com.microsoft"), node("Relu", "b", "c"),
             node("Multinomial", "x", "d", name="third"), node("Add", "c,d", "y")]
    error = problems(model(nodes, {"x": [2, 2]}, ["y"], domains=[("com.microsoft", 1)]))
    assert [(p.op, p.domain, p.opset, p.node) for p in error.problems] == [
        ("Frobnicate", "", 21, "first"), ("FusedMatMul", "com.microsoft", 1, "second"),
        ("Multinomial", "", 21, "third")]
    assert str(error).splitlines()[1:] == [
        "  operator                   opset  node    reason",
        "  Frobnicate                 21     first   lamina has no such operator",
        "  com.microsoft.FusedMatMul  1      second  lamina has no such operator",
        "  Multinomial                21     third   lamina has no such operator"]


def test_a_domain_that_the_model_does_not_import():
    error = problems(model([node("Gelu", "x", "y", domain="com.microsoft")], {"x": [2]}, ["y"]))
    assert "no version of the domain 'com.microsoft'" in error.problems[0].reason


@pytest.mark.parametrize("attributes,words", [({"auto_pad": "SOMEHOW"}, "auto_pad is 'SOMEHOW'.*SAME_UPPER"),
                                              ({"kernel_shape": [5, 5]}, "kernel_shape is"),
                                              ({"speed": 3}, "attribute speed"),
                                              ({"strides": [1, 1, 1]}, "strides")])
def test_attributes_are_named(attributes, words):
    error = problems(model([node("Conv", "x,w", "y", name="c", **attributes)], {"x": [1, 2, 8, 8]}, ["y"],
                           {"w": floats(3, 2, 3, 3)}))
    assert error.problems[0].node == "c"
    with pytest.raises(UnsupportedError, match=words):
        raise error


def test_attributes_and_operators_are_listed_together():
    nodes = [node("Softmax", "x", "a", mood="good"), node("Unknown", "a", "b"),
             node("Resize", "x,,s", "y", mode="fancy")]
    error = problems(model(nodes, {"x": [2, 2]}, ["b", "y"], {"s": floats(2)}))
    assert [p.op for p in error.problems] == ["Softmax", "Unknown", "Resize"]


def test_operators_in_branches_are_listed():
    branches = {name: onnx.helper.make_graph([node(op, "x", name)], name, [],
                                             [onnx.helper.make_tensor_value_info(name, FLOAT, None)])
                for name, op in (("then_branch", "Foo"), ("else_branch", "Bar"))}
    proto = model([node("Cast", "c", "flag", to=onnx.TensorProto.BOOL), node("If", "flag", "y", **branches)],
                  {"x": [2], "c": []}, ["y"])
    assert {p.op for p in problems(proto).problems} >= {"Foo", "Bar"}


def test_inputs_of_other_types():
    proto = model([node("Identity", "s", "y")], {"s": (onnx.TensorProto.STRING, [2])}, ["y"])
    error = problems(proto)
    assert error.problems[0].op == "input" and "string" in error.problems[0].reason


def test_an_input_without_a_rank():
    proto = model([node("Relu", "x", "y")], {"x": (FLOAT, None)}, ["y"])
    assert "rank" in problems(proto).problems[0].reason
    from lamina.compiler.core.types import TensorType
    from lamina.compiler.core.dtypes import float32
    assert load(proto, inputs={"x": TensorType((2, 3), float32)}).results[0].shape == (2, 3)


def test_a_shape_that_an_input_gives_says_how_to_fix_it():
    error = problems(model([node("Reshape", "x,shape", "y")], {"x": [6], "shape": (onnx.TensorProto.INT64, [2])},
                           ["y"]))
    assert error.problems[0].inputs == ("shape",) and "inputs=" in error.problems[0].reason


def test_an_input_that_the_model_does_not_have():
    with pytest.raises(FormatError, match="no input 'z'.*\n.*x"):
        load(model([node("Relu", "x", "y")], {"x": [2]}, ["y"]), inputs={"z": [1]})


def test_a_model_that_contradicts_itself_names_the_node():
    with pytest.raises(ShapeError, match="(?s)contract.*node 'product'"):
        load(model([node("MatMul", "x,w", "y", name="product")], {"x": [2, 3]}, ["y"], {"w": floats(4, 5)}))
    with pytest.raises(FormatError, match="(?s)Unsqueeze node 'wide'.*f32\\[2, 3\\]"):
        load(model([node("Unsqueeze", "x,axes", "y", name="wide")], {"x": [2, 3]}, ["y"],
                   {"axes": floats(2).astype(int) + 9}))


def test_a_newer_operator_set_than_onnx_knows():
    """The newest version of each operator is taken."""
    assert load(model([node("Relu", "x", "y")], {"x": [2]}, ["y"], opset=99)).results[0].shape == (2,)


def test_sequences_stay_inside():
    proto = model([node("SequenceConstruct", "x,x", "s"), node("SequenceAt", "s,one", "y")], {"x": [2]}, ["y"],
                  {"one": np.array(1)})
    assert load(proto).nodes == ()
