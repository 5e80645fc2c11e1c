"""Does tracing give the graph that the function means: names, symbolic dims, constants, weak scalars, locations?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.ops import Broadcast, Constant
from lamina.compiler.ops.control import Control
from lamina.frontends.array.tracer import Tracer

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_parameters_and_results_are_named():
    def f(params, x, *rest, scale=1.0):
        return params["w"][0] * x, (rest[0], rest[1])
    graph = lm.trace(f, {"w": [X], "b": X}, X, X, X)
    assert graph.input_names == ("params.b", "params.w.0", "x", "rest0", "rest1")
    assert graph.output_names == ("out0", "out1.0", "out1.1")
    assert lm.trace(lambda x: {"logits": x, "state": {"h": x}}, X).output_names == ("logits", "state.h")
    assert lm.trace(lambda x: x, X).output_names == ("out0",)
    assert lm.trace(lambda x: x, lm.TensorSpec((2,), "int32", "tokens")).input_names == ("tokens",)
    assert graph.name == "f" and lm.trace(lambda x: x, X, name="g").name == "g"


def test_nodes_carry_the_users_line():
    def f(x):
        y = lm.softmax(x)
        return y + 1
    lines = {node.location.line for node in lm.trace(f, X).nodes if not isinstance(node.op, (Constant, Broadcast))}
    first = f.__code__.co_firstlineno
    assert lines == {first + 1, first + 2}


def test_static_arguments_are_passed_as_they_are():
    graph = lm.trace(lambda x, n, mode: x * n if mode == "scale" else x, X, static={"n": 3, "mode": "scale"})
    np.testing.assert_array_equal(graph.evaluate(X)[0], X * 3)


def test_captured_arrays_are_copied_once():
    w = np.ones((2, 3), np.float32)
    w[0, 0] = 2
    def f(x):
        y = x + w
        w[1, 1] = 5
        return y, x * w, x - w
    graph = lm.trace(f, X)
    assert w.flags.writeable
    constants = [n for n in graph.nodes if isinstance(n.op, Constant)]
    assert len(constants) == 2
    before = np.array([[2, 1, 1], [1, 1, 1]], np.float32)
    np.testing.assert_array_equal(graph.evaluate(X)[0], X + before)
    w[:] = 100
    np.testing.assert_array_equal(graph.evaluate(X)[0], X + before)


def test_large_uniform_arrays_take_no_memory_in_the_graph():
    graph = lm.trace(lambda x: x + np.zeros((500, 500), np.float32), lm.TensorSpec((500, 500)))
    assert sum(n.op.array.nbytes for n in graph.nodes if isinstance(n.op, Constant)) == 4
    signed = np.zeros(1000, np.float32)
    signed[7] = -0.0
    graph = lm.trace(lambda x: lm.copysign(x, signed), lm.TensorSpec((1000,)))
    assert np.signbit(graph.evaluate(np.ones(1000, np.float32))[0]).sum() == 1


def test_python_scalars_stay_weak():
    def dtypes(f, *specs):
        return [r.dtype for r in lm.trace(f, *specs).results]
    half = lm.TensorSpec(3, "float16")
    assert dtypes(lambda x, a: (x * a, x * (a * 2), x + a ** 2), half, 0.5) == [lm.float16] * 3
    assert dtypes(lambda x, a: (x * a, x // a), lm.TensorSpec(3, "int8"), 2) == [lm.int8] * 2
    assert dtypes(lambda x, a: x * a, lm.TensorSpec(3, "int8"), 0.5) == [lm.float32]
    assert dtypes(lambda x, a: x * a, half, np.float32(0.5)) == [lm.float32]
    assert dtypes(lambda a: a, 0.5) == [lm.float32] and dtypes(lambda a: a, 3) == [lm.int64]


def test_numpy_functions_and_operators_on_tracers_are_laminas():
    def f(x):
        assert isinstance(np.exp(x), Tracer) and isinstance(X + x, Tracer) and isinstance(np.float32(2) * x, Tracer)
        return np.exp(x), X - x, np.concatenate([x, X]), np.sum(x, axis=1), np.where(x > 1, x, 0.0), np.einsum("ij->j", x), X @ x.T
    expected = [np.exp(X), X - X, np.concatenate([X, X]), X.sum(1), np.where(X > 1, X, 0), X.sum(0), X @ X.T]
    for got, want in zip(lm.trace(f, X).evaluate(X), expected):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_methods_and_attributes():
    def f(x):
        assert x.shape == (2, 3) and x.ndim == 2 and x.size == 6 and x.dtype == lm.float32 == np.float32 and len(x) == 2
        assert x.nbytes == 24 and x.itemsize == 4 and x.device == "cpu"
        return [x.T, x.mT, x.reshape(3, 2), x.reshape((-1,)), x.transpose(1, 0), x.flatten(), x.sum(0),
                x.mean(axis=1, keepdims=True),
                x.max(), x.argmax(1), x.cumsum(1), x.astype("int32"), x.clip(1, 2), x.squeeze(), x.swapaxes(0, 1),
                x.std(), x.copy(),
                x.repeat(2, 0), x.take([0], 1), x.dot(x.T), -x, +x, abs(x), ~(x > 1), round(x), x % 2, 2 ** x,
                7 // (x + 1), 1 / (x + 1)]
    with np.errstate(all="ignore"):
        wanted = [X.T, X.T, X.reshape(3, 2), X.ravel(), X.T, X.ravel(), X.sum(0), X.mean(1, keepdims=True), X.max(),
                  X.argmax(1),
                  X.cumsum(1), X.astype("int32"), X.clip(1, 2), X, X.T, X.std(), X, X.repeat(2, 0), X.take([0], 1),
                  X @ X.T, -X, X, X,
                  ~(X > 1), X, X % 2, 2 ** X, 7 // (X + 1), 1 / (X + 1)]
    for got, want in zip(lm.trace(f, X).evaluate(X), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_the_namespace_of_a_tracer_has_the_standards_functions():
    def f(x):
        xp = x.__array_namespace__(api_version="2024.12")
        with pytest.raises(ValueError, match="not 2030.01"):
            x.__array_namespace__("2030.01")
        return xp.sum(xp.asarray(x, dtype=xp.float64))
    assert lm.trace(f, X).results[0].dtype == lm.float64


# ---- symbolic dims ---------------------------------------------------------------------------------------------------
def test_strings_are_symbolic_dims_with_facts():
    def f(x, y):
        return lm.concat([x, y], axis=0), x.reshape(-1, 2), x.mean(), x / x.shape[0], lm.ones((x.shape[0] * 2,)), lm.arange(x.shape[0])
    graph = lm.trace(f, lm.TensorSpec(("n=2..64%2", 3)), lm.TensorSpec(("m", 3)), dims={"m": (1, 8)})
    assert [(s.name, s.facts()) for s in graph.symbols] == [("n", "2..64%2"), ("m", "1..8")]
    x, y = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), X
    wanted = [np.concatenate([x, y]), x.reshape(-1, 2), x.mean(), x / 4, np.ones(8, np.float32), np.arange(4)]
    for got, want in zip(graph.verify().evaluate(x, y), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
        assert got.dtype == want.dtype
    with pytest.raises(lm.ShapeError, match="breaks the fact n=2..64%2"):
        graph.evaluate(x[:3], y)


@pytest.mark.parametrize("dims, facts", [({"n": (1, 64)}, "1..64"), ({"n": (8, None, 8)}, "8..%8"),
                                         ({"n": "1..64%8"}, "1..64%8")])
def test_facts_can_be_declared_beside_the_shapes(dims, facts):
    graph = lm.trace(lambda x: x * 2, lm.TensorSpec(("n", 3)), dims=dims)
    assert graph.symbols[0].facts() == facts


def test_a_dim_with_one_extent_is_constant():
    assert lm.trace(lambda x: x, lm.TensorSpec(("n=4", "m")), dims={"m": 3}).params[0].shape == (4, 3)


def test_expressions_of_dims():
    graph = lm.trace(lambda x, y: lm.concat([x, x]) + y, lm.TensorSpec(("n",)), lm.TensorSpec(("2*n",)))
    np.testing.assert_array_equal(graph.evaluate(np.ones(3, np.float32), np.ones(6, np.float32))[0],
                                  np.full(6, 2, np.float32))


@pytest.mark.parametrize("windowed", [lambda t, n: lm.dynamic_slice(t, (0, 0), (n, 3)), lambda t, n: lm.getitem(t, slice(0, n)),
                                      lambda t, n: lm.pad(t, ((n, 0), (0, 0)))[:n]],
                         ids=["dynamic_slice", "getitem", "pad"])
def test_symbolic_dims_apply_to_captured_arrays(windowed):
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = lm.trace(lambda x: x + windowed(table, x.shape[0]), lm.TensorSpec(("n", 3)), dims={"n": (1, 4)})
    assert str(graph.results[0].type) == "f32[n, 3]"
    expected = X + windowed(table, 2)
    assert np.array_equal(graph.evaluate(X)[0], expected)


def test_dims_can_be_declared_anew():
    from lamina.frontends.symbols import with_dims
    graph = lm.trace(lambda xs: lm.scan(lambda c, x: (c + x.sum(), lm.zeros_like(x)), 0.0, xs),
                     lm.TensorSpec(("t", "n")))
    narrow = with_dims(graph, {"t": 2, "n": (1, 8)}).verify()
    assert narrow.params[0].shape[0] == 2 and [s.facts() for s in narrow.symbols] == ["1..8"]
    assert all(isinstance(n.op, Control) or "t" not in map(str, n.result_types[0].shape) for n in narrow.nodes)
    np.testing.assert_allclose(narrow.evaluate(X)[0], X.sum())
    assert with_dims(graph, None) is graph


@pytest.mark.parametrize("specs, dims, message", [
    ((lm.TensorSpec(("n=1..4",)), lm.TensorSpec(("n=1..8",))), None, "dim 'n' is declared as 1..4 and as 1..8"),
    ((lm.TensorSpec(("n",)), lm.TensorSpec(("m",))), None, r"shapes \[n\], \[m\] don't broadcast: n meets m"),
    ((lm.TensorSpec(("n",)), lm.TensorSpec(("n",))), {"k": 3}, "dims declares 'k', which no input's shape has"),
    ((lm.TensorSpec(("n",)), lm.TensorSpec(("n",))), {"n": "lots"}, "can't read the dim fact"),
    ((lm.TensorSpec(("n",)), lm.TensorSpec(("n",))), {"n": (1, 2, 3, 4)}, "can't read the facts"),
    ((lm.TensorSpec(("n",)), lm.TensorSpec(("n",))), {"n": (9, 3)}, "contradict each other"),
])
def test_declarations_that_do_not_fit_are_named(specs, dims, message):
    with pytest.raises(lm.LaminaError, match=message):
        lm.trace(lambda x, y: x + y, *specs, dims=dims)


def test_facts_answer_questions_about_dims():
    def f(x):
        assert x.shape[0] > 1 and x.shape[0] <= 64 and not x.shape[0] == 3
        with pytest.raises(lm.ShapeError, match="whether n < 10 is not known while compiling"):
            x.shape[0] < 10
        return x.shape[0] * x
    np.testing.assert_array_equal(lm.trace(f, lm.TensorSpec(("n=2..64", 3))).evaluate(X)[0], 2 * X)


def test_specs_are_read():
    spec = lm.TensorSpec(("n", 3), np.float16, "x")
    assert (spec.shape, spec.dtype, spec.name) == (("n", 3), "float16", "x")
    assert lm.TensorSpec(3) == lm.TensorSpec((3,), lm.float32) and hash(spec) == hash(lm.TensorSpec(("n", 3), "float16", "x"))
    with pytest.raises(lm.DTypeError, match="no dtype 'complex64'"):
        lm.TensorSpec((3,), "complex64")
