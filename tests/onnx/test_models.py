"""Do whole models import to the right graph?  Their form (constants, names, locations, shapes) and their numbers."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from lamina.compiler import ops  # noqa: E402
from lamina.compiler.core.errors import FormatError  # noqa: E402
from lamina.compiler.graph.graph import walk  # noqa: E402
from lamina.frontends.onnx import load  # noqa: E402

from .models import FLOAT, INT64, floats, model, node  # noqa: E402


def by_onnxruntime(proto, *arrays):
    """The results of onnxruntime."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], arrays)))


def compare(proto, *arrays, rtol=1e-4, **options):
    """The graph of `proto`, whose results are those of onnxruntime."""
    graph = load(proto, **options).verify()
    for got, expected in zip(graph.evaluate(*arrays), by_onnxruntime(proto, *arrays), strict=True):
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-6)
    return graph


def kinds(graph) -> list[str]:
    """The ops of `graph` and of the graphs inside, without constants."""
    return [n.op.name for n in walk(graph) if not isinstance(n.op, ops.Constant)]


def test_names_locations_and_labels():
    proto = model([node("MatMul", "x,w", "h", name="/first/MatMul"), node("Relu", "h", "y", name="/relu")],
                  {"x": [2, 3]}, ["y"],
                  {"w": floats(3, 4)})
    graph = compare(proto, floats(2, 3))
    assert graph.input_names == ("x",) and graph.output_names == ("y",)
    contract = next(n for n in graph.nodes if isinstance(n.op, ops.Contract))
    assert contract.location.name == "/first/MatMul"
    assert [n.op.label for n in graph.nodes if isinstance(n.op, ops.Constant) and n.op.array.ndim] == ["w"]


def test_a_node_without_a_name_is_named_by_its_operator():
    nameless = onnx.helper.make_node("Exp", ["x"], ["y"])
    graph = load(model([nameless], {"x": [2]}, ["y"]))
    assert graph.nodes[0].location.name == "Exp_0"


def test_mlp_has_no_transposes():
    proto = model([node("Gemm", "x,w,b", "h", transB=1), node("Relu", "h", "r"),
                   node("Gemm", "r,v,c", "y", transB=1, alpha=0.5, beta=2.0)],
                  {"x": [3, 8]}, ["y"], {"w": floats(16, 8), "b": floats(16), "v": floats(4, 16), "c": floats(4)})
    assert "transpose" not in kinds(compare(proto, floats(3, 8)))


def test_convolution_with_batch_normalization():
    proto = model([node("Conv", "x,w", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
                   node("BatchNormalization", "c,s,b,m,v", "n"),
                   node("Relu", "n", "r"), node("MaxPool", "r", "p", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
                   node("GlobalAveragePool", "p", "g"), node("Flatten", "g", "y")], {"x": [2, 3, 15, 16]}, ["y"],
                  {"w": floats(5, 3, 3, 3), "s": floats(5), "b": floats(5), "m": floats(5), "v": floats(5) + 2})
    graph = compare(proto, floats(2, 3, 15, 16))
    assert kinds(graph).count("conv") == 1
    weights = next(n for n in graph.nodes if isinstance(n.op, ops.Conv)).operands[1]
    assert isinstance(weights.op, ops.Constant) and weights.shape == (3, 3, 3, 5) and weights.op.label == "w"


def test_the_input_projection_of_an_lstm_is_one_contraction():
    proto = model([node("LSTM", "x,w,r,b", "y,h,c", hidden_size=6)], {"x": [7, 2, 5]}, ["y", "h", "c"],
                  {"w": floats(1, 24, 5), "r": floats(1, 24, 6), "b": floats(1, 48)})
    graph = compare(proto, floats(7, 2, 5))
    outside = [n for n in graph.nodes if isinstance(n.op, ops.Contract)]
    scan = next(n.op for n in graph.nodes if isinstance(n.op, ops.Scan))
    inside = [n.op.spec for n in scan.body.nodes if isinstance(n.op, ops.Contract)]
    assert [n.op.spec for n in outside] == ["tbi,gi->tbg"] and inside == ["bh,gh->bg"]


@pytest.mark.parametrize("op,gates", [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_layers_with_lengths(op, gates, direction):
    d = 2 if direction == "bidirectional" else 1
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    proto = model([node(op, "x,w,r,b,lengths,h", "y,last", hidden_size=4, direction=direction, **extra)],
                  {"x": [6, 3, 5], "h": [d, 3, 4]}, ["y", "last"],
                  {"w": floats(d, gates * 4, 5), "r": floats(d, gates * 4, 4), "b": floats(d, 2 * gates * 4),
                   "lengths": np.array([6, 2, 4], np.int32)})
    compare(proto, floats(6, 3, 5), floats(d, 3, 4))


def test_shapes_are_computed_while_importing():
    proto = model([node("Shape", "x", "s"), node("Gather", "s,zero", "n"), node("Unsqueeze", "n,axes", "n1"),
                   node("Concat", "n1,rest", "shape", axis=0), node("Reshape", "x,shape", "y")], {"x": [2, 3, 4]},
                  ["y"],
                  {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])})
    assert kinds(compare(proto, floats(2, 3, 4))) == ["reshape"]


def test_initializers_that_are_inputs_are_constants():
    proto = model([node("Add", "x,w", "y")], {"x": [3], "w": [3]}, ["y"], {"w": floats(3)}, ir=3, opset=9)
    assert load(proto).input_names == ("x",)


def test_zeros_take_no_memory():
    proto = model([node("Add", "x,w", "y")], {"x": [512, 512]}, ["y"], {"w": np.zeros((512, 512), np.float32)})
    assert max(n.op.array.nbytes for n in load(proto).nodes if isinstance(n.op, ops.Constant)) == 4


def test_inputs_can_be_fixed():
    proto = model([node("Reshape", "x,shape", "y")], {"x": [2, 6], "shape": (INT64, [2])}, ["y"])
    graph = load(proto, inputs={"shape": [3, -1]})
    assert graph.input_names == ("x",) and graph.results[0].shape == (3, 4)


def test_results_that_are_inputs_or_constants():
    proto = model([node("Identity", "w", "z")], {"x": [2]}, ["x", "z"], {"w": floats(3)})
    x = floats(2)
    got = load(proto).verify().evaluate(x)
    assert np.array_equal(got[0], x) and np.array_equal(got[1], floats(3))


def test_functions_of_the_model_are_written_out():
    body = [onnx.helper.make_node("Mul", ["a", "a"], ["b"]), onnx.helper.make_node("LeakyRelu", ["b"], ["c"])]
    body[1].attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    function = onnx.helper.make_function("own", "Square", ["a"], ["c"], body, [onnx.helper.make_opsetid("", 21)],
                                         ["slope"])
    proto = model([node("Square", "x", "y", name="call", domain="own", slope=0.5)], {"x": [4]}, ["y"],
                  functions=[function],
                  domains=[("own", 1)])
    graph = compare(proto, floats(4))
    assert graph.nodes[0].location.name == "call/Mul_0"


def test_a_function_that_calls_itself():
    body = [onnx.helper.make_node("Endless", ["a"], ["b"], domain="own")]
    function = onnx.helper.make_function("own", "Endless", ["a"], ["b"], body, [onnx.helper.make_opsetid("own", 1)])
    proto = model([node("Endless", "x", "y", domain="own")], {"x": [4]}, ["y"], functions=[function],
                  domains=[("own", 1)])
    with pytest.raises(FormatError, match="'Endless' calls itself"):
        load(proto)


# ---- control flow ----------------------------------------------------------------------------------------------------
def branch(nodes, output, name):
    return onnx.helper.make_graph(nodes, name, [], [onnx.helper.make_tensor_value_info(output, FLOAT, None)])


def if_model():
    yes = branch([node("Mul", "x,w", "a")], "a", "yes")
    no = branch([node("Sub", "x,v", "b")], "b", "no")
    return model([node("Greater", "t,zero", "c"), node("If", "c", "y", then_branch=yes, else_branch=no)],
                 {"x": [3], "t": []}, ["y"],
                 {"w": floats(3), "v": floats(3, seed=1), "zero": np.float32(0)})


def test_if_captures_what_its_branches_read():
    graph = compare(if_model(), floats(3), np.array(1, np.float32))
    compare(if_model(), floats(3), np.array(-1, np.float32))
    assert kinds(graph).count("cond") == 1


def test_if_of_a_known_condition_is_its_branch():
    assert kinds(load(if_model(), inputs={"t": np.float32(2)})) == ["mul"]


def loop_model(condition_nodes, stacked):
    """v = v * 0.5 + x, ten times or until `condition_nodes` say so."""
    value = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [node("Mul", "v,half", "h"), node("Add", "h,x", "next"), *condition_nodes]
        + ([node("Identity", "next", "out")] if stacked else []),
        "body", [value("i", INT64, []), value("going", onnx.TensorProto.BOOL, []), value("v", FLOAT, [3])],
        [value("again", onnx.TensorProto.BOOL, []), value("next", FLOAT, [3])]
        + ([value("out", FLOAT, [3])] if stacked else []))
    return model([node("Loop", "count,,v0", "last,all" if stacked else "last", body=body)], {"x": [3], "v0": [3]},
                 ["last", "all"] if stacked else ["last"], {"half": np.float32(0.5), "count": np.array(10)})


def test_a_counted_loop_is_a_scan():
    proto = loop_model([node("Identity", "going", "again")], stacked=True)
    assert kinds(compare(proto, floats(3), floats(3, seed=1))).count("scan") == 1


def test_a_loop_with_a_condition_is_a_while():
    ends = [node("ReduceSum", "next", "sum", keepdims=0), node("Less", "sum,half", "again")]
    graph = compare(loop_model(ends, stacked=False), np.full(3, 0.1, np.float32), np.zeros(3, np.float32))
    assert kinds(graph).count("while") == 1


def test_scan_over_two_inputs_backward():
    value = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph([node("Add", "s,a", "t"), node("Mul", "t,b", "s2"), node("Sub", "t,s", "o")], "body",
                                  [value("s", FLOAT, [2]), value("a", FLOAT, [2]), value("b", FLOAT, [2])],
                                  [value("s2", FLOAT, [2]), value("o", FLOAT, [2])])
    proto = model([node("Scan", "s0,as,bs", "last,os", body=body, num_scan_inputs=2, scan_input_axes=[1, 0],
                        scan_input_directions=[1, 0], scan_output_directions=[1])],
                  {"s0": [2], "as": [2, 5], "bs": [5, 2]}, ["last", "os"])
    compare(proto, floats(2), floats(2, 5), floats(5, 2))


# ---- old operator sets -----------------------------------------------------------------------------------------------
OLD = {
    "upsample 7": (7, [node("Upsample", "x", "y", scales=[1.0, 1.0, 2.0, 2.0])], {"x": [1, 2, 3, 4]}, {}),
    "upsample 9": (9, [node("Upsample", "x,s", "y", mode="linear")], {"x": [1, 2, 3, 4]},
                   {"s": np.array([1, 1, 2, 3], np.float32)}),
    "resize 10": (10, [node("Resize", "x,s", "y")], {"x": [1, 2, 3, 4]}, {"s": np.array([1, 1, 2, 2], np.float32)}),
    "resize 10 smaller": (10, [node("Resize", "x,s", "y", mode="linear")], {"x": [1, 2, 8, 9]},
                          {"s": np.array([1, 1, .5, .7], np.float32)}),
    "clip 6": (7, [node("Clip", "x", "y", min=-0.5, max=0.25)], {"x": [4, 5]}, {}),
    "slice 1": (9, [node("Slice", "x", "y", starts=[1, -3], ends=[9999, -1], axes=[0, 1])], {"x": [4, 5]}, {}),
    "pad 2": (10, [node("Pad", "x", "y", pads=[1, 0, -1, 2], mode="constant", value=1.5)], {"x": [4, 5]}, {}),
    "split 2": (11, [node("Split", "x", "y,z", axis=1, split=[2, 3])], {"x": [4, 5]}, {}),
    "squeeze 1": (11, [node("Squeeze", "x", "y", axes=[0, -1])], {"x": [1, 4, 1]}, {}),
    "unsqueeze 1": (11, [node("Unsqueeze", "x", "y", axes=[0, 3])], {"x": [4, 5]}, {}),
    "softmax 1": (11, [node("Softmax", "x", "y", axis=1)], {"x": [2, 3, 4]}, {}),
    "log softmax 1": (11, [node("LogSoftmax", "x", "y")], {"x": [2, 3, 4]}, {}),
    "hardmax 1": (11, [node("Hardmax", "x", "y")], {"x": [2, 3, 4]}, {}),
    "top k 1": (9, [node("TopK", "x", "y,index", k=3, axis=1)], {"x": [4, 7]}, {}),
    "reduce sum 1": (12, [node("ReduceSum", "x", "y", axes=[0, -1], keepdims=0)], {"x": [2, 3, 4]}, {}),
    "batch normalization 7": (7, [node("BatchNormalization", "x,s,s,s,s", "y")], {"x": [2, 3, 4]},
                              {"s": floats(3) + 2}),
    "dropout 7": (9, [node("Dropout", "x", "y", ratio=0.5)], {"x": [4]}, {}),
    "arg max 1": (11, [node("ArgMax", "x", "index", axis=1, keepdims=0)], {"x": [4, 7]}, {}),
    "average pool 7": (9, [node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
                       {"x": [1, 2, 5, 6]}, {}),
    "scatter 9": (10, [node("Scatter", "x,i,u", "y", axis=0)], {"x": [4, 2], "u": [2, 2]},
                  {"i": np.array([[0, 3], [2, 1]])}),
    "group normalization 18": (18, [node("GroupNormalization", "x,s,s", "y", num_groups=2)], {"x": [2, 4, 3, 3]},
                               {"s": floats(2)}),
}


@pytest.mark.parametrize("name", OLD)
def test_old_operator_sets(name):
    opset, nodes, inputs, constants = OLD[name]
    outputs = {o: INT64 if o == "index" else FLOAT for n in nodes for o in n.output}
    proto = model(nodes, inputs, outputs, constants, opset=opset, ir=4)
    compare(proto, *(floats(*shape) for shape in inputs.values()))


def test_broadcast_before_opset_7():
    """onnxruntime has none of these versions: the axes of the second operand are those from `axis` on."""
    proto = model([node("Add", "x,b", "y", broadcast=1, axis=1)], {"x": [2, 3, 4]}, ["y"], {"b": floats(3)}, opset=6,
                  ir=3)
    x = floats(2, 3, 4)
    assert np.allclose(load(proto).evaluate(x)[0], x + floats(3)[:, None])


def test_reshape_by_attribute():
    proto = model([node("Reshape", "x", "y", shape=[0, -1])], {"x": [2, 3, 4]}, ["y"], opset=4, ir=3)
    assert load(proto).results[0].shape == (2, 12)


# ---- windows of every sort -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("extent,stride", [(8, 1), (8, 2), (9, 2), (7, 3)])
def test_auto_pad(auto_pad, extent, stride):
    windows = {"kernel_shape": [3, 2], "strides": [stride, stride], "auto_pad": auto_pad}
    proto = model([node("Conv", "x,w", "a", **windows), node("MaxPool", "x", "b", **windows),
                   node("AveragePool", "x", "c", **windows)],
                  {"x": [1, 2, extent, 8]}, ["a", "b", "c"], {"w": floats(4, 2, 3, 2)})
    compare(proto, floats(1, 2, extent, 8))


@pytest.mark.parametrize("extent", [5, 6, 7, 8])
@pytest.mark.parametrize("pads", [[0, 0], [1, 1], [0, 1]])
def test_ceil_mode(extent, pads):
    windows = {"kernel_shape": [3], "strides": [2], "pads": pads, "ceil_mode": 1}
    proto = model([node("MaxPool", "x", "a", **windows), node("AveragePool", "x", "b", **windows),
                   node("AveragePool", "x", "c", count_include_pad=1, **windows)], {"x": [1, 2, extent]},
                  ["a", "b", "c"])
    compare(proto, floats(1, 2, extent))


@pytest.mark.parametrize("attributes", [{}, {"strides": [2, 3]}, {"pads": [1, 0, 2, 1], "strides": [2, 2]},
                                        {"dilations": [2, 1]}, {"output_padding": [1, 0], "strides": [2, 2]},
                                        {"output_shape": [9, 8], "strides": [2, 2]},
                                        {"group": 2}, {"pads": [3, 3, 3, 3], "strides": [3, 3]}],
                         ids=str)
def test_transposed_convolution(attributes):
    proto = model([node("ConvTranspose", "x,w,b", "y", **attributes)], {"x": [2, 4, 4, 5]}, ["y"],
                  {"w": floats(4, 3, 3, 2), "b": floats(3 * attributes.get("group", 1))})
    compare(proto, floats(2, 4, 4, 5))
