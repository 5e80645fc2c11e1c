"""Does a graph's text read back as the same graph?  Every op, every kind of attribute, locations, dims, and clear
errors."""

import math
import struct
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.compiler.core.dims import substitute, symbol
from lamina.compiler.core.dtypes import ALL, FLOATS, float32
from lamina.compiler.core.errors import FormatError
from lamina.compiler.core.location import Location
from lamina.compiler.core.types import TensorType
from lamina.compiler.graph.builder import Builder
from lamina.compiler.graph.graph import Graph, Node, Value
from lamina.compiler.graph.text import graph_constants, parse_graph, print_graph
from lamina.compiler.ops import (REGISTRY, Add, Broadcast, Call, Cond, Constant, Contract, Op, Pad, Reshape, Slice,
                                 Sort, Tanh)

from ..ops.samples import all_samples, types_of

CLASSIFIER = """\
graph main(%image: f32[batch, 3], %"w:0": f32[3, 2]) -> (logits, "top/1") symbols(batch=1..64%2) {
  %0 = constant {array=f32[2](0.5, -0.0), label="bias"} : f32[2]
  %1 = contract(%image, %"w:0") {spec="mk,kn->mn"} : f32[batch, 2]  # model.py:12 in forward
  %2 = broadcast(%0) {shape=(batch, 2), axes=(1,)} : f32[batch, 2]  # model.py:13 in <lambda> node "bias/Expand"
  %3 = add(%1, %2) : f32[batch, 2]  # node "add"
  %4, %5 = sort(%3) {axis=1, descending=true} : f32[batch, 2], i64[batch, 2]  # "a b.py":1
  return %3, %5
}
"""


def round_trip(graph: Graph) -> Graph:
    """`graph` printed and read back, which must give the same text and a graph that verifies."""
    text = print_graph(graph)
    back = parse_graph(text, graph_constants(graph)).verify()
    assert print_graph(back) == text
    assert back == graph
    return back


def applied(op: Op, *arrays: np.ndarray) -> Graph:
    """A graph that applies `op` to parameters like `arrays`."""
    b = Builder(fold=False)
    return b.finish(b.emit_all(op, *(b.parameter(t) for t in types_of(arrays))))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_text_is_what_the_page_says():
    graph = parse_graph(CLASSIFIER).verify()
    assert print_graph(graph) == CLASSIFIER
    batch = symbol("batch", 1, 64, 2)
    assert [p.name for p in graph.params] == ["image", "w:0"]
    assert graph.params[0].type == TensorType((batch, 3), float32)
    assert graph.result_names == ("logits", "top/1")
    constant, product, broadcast, total, ordered = graph.nodes
    assert constant.op.label == "bias" and same_bits(constant.op.array, np.array([0.5, -0.0], np.float32))
    assert product.op == Contract("mk,kn->mn") and product.operands == graph.params
    assert broadcast.op == Broadcast((batch, 2), (1,))
    assert ordered.op == Sort(1, True) and graph.results == (total.results[0], ordered.results[1])
    assert product.location == Location("model.py", 12, "forward")
    assert broadcast.location == Location("model.py", 13, "<lambda>", "bias/Expand")
    assert total.location == Location(name="add")
    assert ordered.location == Location("a b.py", 1)


def test_backward_code_says_whose_it_is():
    text = ("graph f(%x: f32[2]) {\n  %0 = exp(%x) : f32[2]  # backward of sqrt at model.py:3 in loss\n"
            "  %1 = exp(%0) : f32[2]  # backward of custom_vjp at node \"a/b\"\n  return %1\n}\n")
    graph = parse_graph(text)
    assert print_graph(graph) == text
    assert [node.location for node in graph.nodes] == [Location("model.py", 3, "loss", "", "sqrt"),
                                                       Location(name="a/b", backward_of="custom_vjp")]
    assert str(graph.nodes[0].location) == "model.py:3 in loss"


@pytest.mark.parametrize("sample", all_samples())
def test_every_op_round_trips(sample):
    graph = applied(sample.op, *sample.arrays)
    (node,) = round_trip(graph).nodes
    assert type(node.op) is type(sample.op)
    if not isinstance(sample.op, Constant):
        assert node.op == sample.op or "nan" in str(graph)


def test_locations_can_be_left_out():
    text = print_graph(parse_graph(CLASSIFIER), locations=False)
    assert "model.py" not in text and "# " not in text
    assert text == "\n".join(line.split("  #")[0] for line in CLASSIFIER.split("\n"))


def test_types_are_inferred_where_they_are_left_out():
    text = ("graph f(%x: f32[2, 3]) {\n  %h = contract(%x, %x) {spec=\"ij,kj->ik\"}  # any comment\n\n"
            "  # alone\n  return %h }")
    graph = parse_graph(text)
    assert print_graph(graph) == ("graph f(%x: f32[2, 3]) {\n  %0 = contract(%x, %x) {spec=\"ij,kj->ik\"} : f32[2, 2]\n"
                                  "  return %0\n}\n")


def test_a_graph_may_be_empty():
    for text in ("graph nothing() {\n  return\n}\n", "graph same(%x: i8[0]) {\n  return %x, %x\n}\n"):
        assert print_graph(parse_graph(text)) == text


def test_names_of_every_sort_survive():
    names = ["", "x", "0", "0", "x", "conv1/weight:0", 'a "quoted" one', "new\nline", "return", "graph", "é", ""]
    params = tuple(Value(TensorType((), float32), None, i, name) for i, name in enumerate(names))
    graph = Graph(params, (), params[::-1], "my graph", tuple(names))
    back = round_trip(graph)
    assert [p.name for p in back.params] == names and back.name == "my graph" and back.result_names == tuple(names)
    assert [back.params.index(r) for r in back.results] == list(range(len(names)))[::-1]


@pytest.mark.parametrize("location", [
    Location("model.py", 3), Location("/a b/c:d.py", 3, "f g"), Location('"', 0, '"', '"'), Location("", 7),
    Location("", 0, "f"), Location(name="conv/1 in x"), 
    Location("<stdin>", 1, "<module>", "node \"x\"\n# y"), Location("#.py", 1, "#")])
def test_locations_survive(location):
    b = Builder()
    b.location = location
    x = b.parameter(TensorType((), float32))
    assert round_trip(b.finish([b.emit(Tanh(), x)])).nodes[0].location == location


def test_large_constants_live_beside_the_text():
    w = np.arange(65, dtype=np.float32)
    yes = np.array(True)
    b = Builder()
    inner = Builder("inner")
    v = inner.constant(np.ones((9, 9)))
    body = inner.finish([v])
    graph = b.finish([b.constant(w), b.constant(np.arange(64)), *b.emit_all(Cond((body, body)), b.constant(yes))])
    constants = graph_constants(graph)
    assert len(constants) == 2 and {a.shape for a in constants.values()} == {(65,), (9, 9)}
    text = print_graph(graph)
    (digest,) = (d for d, a in constants.items() if a.shape == w.shape)
    assert f"f32[65]@{digest}" in text and "62, 63)" in text
    assert parse_graph(text, constants).nodes[0].op.array is constants[digest]
    with pytest.raises(FormatError, match="2 constants that were not given") as error:
        parse_graph(text)
    assert all(d in str(error.value) for d in constants)
    with pytest.raises(FormatError, match=f"1 constants .*{digest}"):
        parse_graph(text, {d: a for d, a in constants.items() if d != digest})
    with pytest.raises(FormatError, match=r"the constant given for .* is float32\[1\], not f32\[65\]"):
        parse_graph(text, constants | {digest: np.zeros(1, np.float32)})


# ---- attributes ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Holder(Op, abstract=True):
    """A scalar that holds one attribute of any kind."""

    value: object
    name = "test_holder"

    def infer(self, *types):
        return (TensorType((), float32),)


@pytest.fixture
def holder(monkeypatch):
    monkeypatch.setitem(REGISTRY, "test_holder", Holder)

    def through(value, *params: TensorType):
        node = Node(Holder(value), (), (TensorType((), float32),))
        declared = tuple(Value(t, None, i) for i, t in enumerate(params))
        return round_trip(Graph(declared, (node,), node.results)).nodes[0].op.value
    return through


def strictly(value):
    """A form in which values are equal only where type and bits are."""
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    if isinstance(value, tuple):
        return tuple(map(strictly, value))
    return type(value), value


NANS = [math.nan, -math.nan, struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000123))[0]]
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(NANS), st.text(),
                    st.sampled_from(ALL))


@settings(max_examples=150, deadline=None)
@given(st.recursive(scalars, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12))
def test_attributes_of_every_sort_survive(value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REGISTRY, "test_holder", Holder)
        node = Node(Holder(value), (), (TensorType((), float32),))
        assert strictly(round_trip(Graph((), (node,), node.results)).nodes[0].op.value) == strictly(value)


def test_types_and_symbolic_dims_survive_as_attributes(holder):
    b, f32 = symbol("b", 4, 512, 4), symbol("f32")
    t = TensorType((b, 2 * b + 1), float32)
    for value in (b, 2 * b - 3, -1 * b, b * b, (b + 1) // 2, (3 * ((b + 1) // 2) - b) // 7, (b,), ((b + 1) // 2, 1),
                  t, (t, t.dtype), f32, 2 * f32 + b):
        assert holder(value) == value
    with pytest.raises(FormatError, match="attribute of type set"):
        print_graph(Graph((), (Node(Holder({1}), (), (TensorType((), float32),)),), ()))


names = st.sampled_from(["b", "seq", "h_1", "none", "x.y"])
atoms = st.one_of(names.map(lambda n: symbol(n, 1, 64)), st.integers(-9, 9))
dims = st.recursive(atoms, lambda inner: st.one_of(
    st.tuples(inner, inner).map(lambda p: p[0] + p[1]), st.tuples(inner, inner).map(lambda p: p[0] * p[1]),
    st.tuples(inner, st.integers(1, 5)).map(lambda p: p[0] // p[1])), max_leaves=6)


@settings(max_examples=150, deadline=None)
@given(dims)
def test_dims_of_every_form_survive(dim):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REGISTRY, "test_holder", Holder)
        node = Node(Holder((dim, 1)), (), (TensorType((), float32),))
        assert round_trip(Graph((), (node,), node.results)).nodes[0].op.value == (dim, 1)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_arrays_survive_to_the_bit(dtype, holder):
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 256, (40, dtype.itemsize), dtype=np.uint8)
    random = raw.view(dtype.numpy).reshape(5, 8) if not dtype.is_bool else raw.reshape(5, 8) > 99
    for array in (random, random[:0], np.array(random[2, 3]), random.T, np.zeros((1, 1, 3), dtype.numpy)):
        assert same_bits(holder(array), np.ascontiguousarray(array).reshape(array.shape))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_special_floats_survive_in_arrays(dtype, holder):
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-45, 1e-7, 65504, 1 / 3], np.float64)
    with np.errstate(over="ignore"):
        assert same_bits(holder(special.astype(dtype.numpy)), special.astype(dtype.numpy))
    widths = {16: np.uint16, 32: np.uint32, 64: np.uint64}
    nans = np.array([np.array(np.nan, dtype.numpy).view(widths[dtype.bits]) + 1]).view(dtype.numpy)
    assert same_bits(holder(nans), nans)


def test_graphs_survive_as_attributes(holder):
    inner = parse_graph(CLASSIFIER)
    for value in (inner, (inner,), (1, (inner, inner))):
        assert holder(value) == value
    x = np.zeros((2, 3), np.float32)
    text = print_graph(applied(Call(parse_graph("graph f(%x: f32[2, 3]) {\n %0 = tanh(%x)\n return %0\n}")), x))
    assert text == ("graph main(%0: f32[2, 3]) {\n  %1 = call(%0) {body=graph f(%x: f32[2, 3]) {\n"
                    "    %0 = tanh(%x) : f32[2, 3]\n    return %0\n  }} : f32[2, 3]\n  return %1\n}\n")


def test_a_default_is_left_out_only_where_it_is_the_same_to_the_bit():
    x = np.zeros(2, np.float32)
    assert "value" not in print_graph(applied(Pad((1,), (1,), 0), x))
    for value in (0.0, -0.0, False):
        assert repr(round_trip(applied(Pad((1,), (1,), value), x)).nodes[0].op.value) == repr(value)


def test_long_signatures_stand_on_lines_of_their_own():
    params = tuple(Value(TensorType((2, 3), float32), None, i, f"layer_{i}_weight") for i in range(9))
    text = print_graph(Graph(params, (), params))
    assert text.startswith("graph main(\n    %layer_0_weight: f32[2, 3],\n    %layer_1_weight")
    assert print_graph(parse_graph(text)) == text


def test_deep_graphs_need_no_recursion():
    b = Builder()
    x = v = b.parameter(TensorType((symbol("n"), 4), float32), "x")
    for i in range(3000):
        v = b.emit(Add(), b.emit(Tanh(), v), x)
    graph = b.finish([v])
    assert len(round_trip(graph).nodes) == 6000


# ---- errors ----------------------------------------------------------------------------------------------------------
HEAD = "graph main(%x: f32[n, 3], %y: i32[]) symbols(n=1..8) {\n"


@pytest.mark.parametrize("text, line, column, message", [
    ("", 1, 1, "'graph' was expected, not the end of the text"),
    ("kernel k()", 1, 1, "'graph' was expected, not 'kernel'"),
    ("graph 3", 1, 7, "the graph's name was expected, not '3'"),
    ("graph f(", 1, 8, "the '(' is never closed"),
    ("graph f(%x: f32[2) {", 1, 16, "the '[' is never closed"),
    ("graph f(%x: f99[2]) { return }", 1, 13, "a type such as f32[2, 3] was expected, not 'f99'"),
    ("graph f(%x: f32[m]) { return }", 1, 13, "no dim is called 'm' here: the graph declares no symbols"),
    ("graph f(%x: f32[2 3]) { return }", 1, 13, "can't read '3' in the dim '2 3'"),
    ("graph f(%x: f32[2], %x: f32[2]) { return }", 1, 21, "%x is defined twice"),
    ("graph f() symbols(n, n=1..2) { return }", 1, 18, "the dim 'n' is declared twice"),
    ("graph f() symbols(n=x) { return }", 1, 18, "can't read the dim fact 'n=x'"),
    ("graph f() -> (a) { return }", 1, 27, "0 results are returned, the graph names 1"),
    ("graph f() { return } }", 1, 22, "the end of the text was expected, not '}'"),
    ("graph f() { return ~ }", 1, 20, "can't read '~ }'"),
    (HEAD + "  %0 = tanh(%z)", 2, 13, "%z is not defined before"),
    (HEAD + "  %0 = tahn(%x)", 2, 8, "no operator is called 'tahn'; did you mean"),
    (HEAD + "  %0 = tanh(%x", 2, 15, "',' or ')' was expected, not the end of the text"),
    (HEAD + "  %0 tanh(%x)", 2, 6, "',' or '=' was expected, not 'tanh'"),
    (HEAD + "  %0 = tanh(%x) {axis=0}", 2, 18, "tanh: 'axis' is none of its attributes (it has none)"),
    (HEAD + "  %0 = sort(%x) {axs=0}", 2, 18, "sort: 'axs' is none of its attributes (axis, descending)"),
    (HEAD + "  %0 = sort(%x) {axis=0, axis=0}", 2, 26, "sort: 'axis' is given twice"),
    (HEAD + "  %0 = sort(%x)", 2, 8, "sort needs the attribute 'axis'"),
    (HEAD + "  %0 = sort(%x) {axis=0}", 2, 3, "sort has 2 results, 1 are named"),
    (HEAD + "  %0 = sort(%x) {axis=}", 2, 23, "a value was expected, not '}'"),
    (HEAD + "  %0, %1 = sort(%x) {axis=5}", 2, 12, "sort: axis 5 of a tensor of rank 2"),
    (HEAD + "  %0, %1 = sort(%x) {axis=none}", 2, 12, "sort does not take these attributes and operands"),
    (HEAD + "  %0 = transpose(%x) {permutation=0}", 2, 8, "transpose does not take these attributes and operands"),
    (HEAD + "  %0 = add(%x, %y)", 2, 8, "add takes operands of one shape, got f32[n, 3], i32[]"),
    (HEAD + "  %0 = tanh(%x) : f32[3, n]", 2, 19, "tanh makes f32[n, 3] here, not f32[3, n]"),
    (HEAD + "  %0 = tanh(%x) : f32[n, 3]\n  %0 = tanh(%x)", 3, 3, "%0 is defined twice"),
    (HEAD + "  %0 = contract(%x, %x) {spec=\"nonsense\"}", 2, 8, "contract: can't read the spec 'nonsense'"),
    (HEAD + "  %0 = reshape(%x) {shape=(k, 3)}", 2, 28, "no dim is called 'k' here: the graph declares n"),
    (HEAD + "  %0 = reshape(%x) {shape=(n + none, 3)}", 2, 28, "'+' joins dims alone"),
    (HEAD + "  %0 = reshape(%x) {shape=(n // 0, 3)}", 2, 28, "by zero"),
    (HEAD + "  %0 = reshape(%x) {shape=(-none, 3)}", 2, 29, "a number was expected after '-'"),
    (HEAD + "  %0 = constant {array=f32[2](1.0)}", 2, 24, "f32[2] has 2 elements, 1 are written"),
    (HEAD + "  %0 = constant {array=f32[n](1.0)}", 2, 24, "an array can't have symbolic dims"),
    (HEAD + "  %0 = constant {array=i8[1](128)}", 2, 30, "128 is no value of i8"),
    (HEAD + "  %0 = constant {array=i8[1](1.5)}", 2, 30, "an element of i8 was expected, not '1.5'"),
    (HEAD + "  %0 = constant {array=f32[1](nan(7))}", 2, 35, "8 hexadecimal digits after 0x were expected, not '7'"),
    (HEAD + "  %0 = constant {array=f32[1](true)}", 2, 31, "an element of f32 was expected, not 'true'"),
    (HEAD + "  %0 = call(%x) {body=graph g(%x: f32[2]) {\n    %0 = tanh(%y) }}", 3, 15, "%y is not defined before"),
    (HEAD + "  %0 = tanh(%x)\n  return %1 }", 3, 10, "%1 is not defined before"),
    (HEAD + "  return %x", 2, 12, "'}' was expected, not the end of the text"),
])
def test_errors_say_where_and_what(text, line, column, message):
    with pytest.raises(FormatError) as error:
        parse_graph(text)
    first, shown, marker = str(error.value).split("\n")[:3]
    assert f"line {line}, column {column}: " in first
    assert message in first
    assert shown[4:] == text.split("\n")[line - 1] and marker.index("^") == column + 3


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(CLASSIFIER) - 1), st.integers(0, 4),
       st.sampled_from([*"(){}[],:=%#@\"-+*/ \n0x_.", "f32", "graph ", "inf"]))
def test_a_damaged_text_is_read_or_refused(at, removed, added):
    try:
        graph = parse_graph(CLASSIFIER[:at] + added + CLASSIFIER[at + removed:])
    except FormatError:
        return
    assert print_graph(parse_graph(print_graph(graph))) == print_graph(graph)


def test_facts_of_symbols_survive_substitution():
    graph = parse_graph("graph f(%x: f32[2*n + 1, m]) symbols(n=2..8%2, m) {\n  return %x\n}")
    (n, m) = graph.symbols
    assert (n.lower, n.upper, n.multiple) == (2, 8, 2) and m == symbol("m").terms[0][0][0]
    assert substitute(graph.params[0].shape[0], {"n": 4}) == 9
    round_trip(graph)


def test_slices_and_reshapes_with_symbolic_attributes_round_trip():
    n = symbol("n", 4, 64)
    b = Builder()
    x = b.parameter(TensorType((n, 6), float32), "x")
    y = b.emit(Slice((n - n // 2, 0), (n // 2, 6), (1, 1)), x)
    round_trip(b.finish([b.emit(Reshape((3 * (n // 2), 2)), y)]))
