"""Does jit compile once for each signature, say why it traced again, and give what the function means?"""

import numpy as np
import pytest

import lamina as lm
from lamina.frontends import jit as jit_module

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture(autouse=True, params=["interpreted", "native"])
def compiled(request, monkeypatch):
    """Each test runs with the graph's interpreter in place of the compiler, and with the compiler. Records
    donations."""
    donated = []
    real = jit_module.executable

    def run(graph, *, device, options, donate):
        donated.append(donate)
        return graph.verify().evaluate if request.param == "interpreted" else real(graph, device=device, options=options)
    monkeypatch.setattr(jit_module, "executable", run)
    return donated


def test_a_function_is_traced_once_for_each_signature():
    calls = []

    @lm.jit
    def f(x, y):
        calls.append(1)
        return x * y + 1
    for _ in range(3):
        np.testing.assert_array_equal(f(X, X), X * X + 1)
    np.testing.assert_array_equal(f(X, X[0]), X * X[0] + 1)
    np.testing.assert_array_equal(f(X.astype(np.float64), X[0]), X * X[0] + 1)
    assert len(calls) == f.cache_size() == 3
    assert f.explain_retraces() == [
        "trace 1: first call (x: f32[2, 3], y: f32[2, 3])", "trace 2: shape of y changed from [2, 3] to [3]",
        "trace 3: dtype of x changed from float32 to float64"]
    assert lm.explain_retraces(f) == f.explain_retraces()
    f.clear_cache()
    assert f.cache_size() == 0 and f.explain_retraces() == []


def test_names_and_documentation_are_kept():
    @lm.jit
    def f(x):
        """Doubles."""
        return 2 * x
    assert f.__name__ == "f" and f.__doc__ == "Doubles." and f.__wrapped__(3) == 6 and "jit of 'f'" in repr(f)


def test_trees_go_in_and_come_out():
    @lm.jit
    def f(params, *, x):
        return {"y": x @ params["w"] + params["b"], "n": (params["b"], None)}
    params = {"w": np.ones((3, 4), np.float32), "b": np.arange(4, dtype=np.float32)}
    out = f(params, x=X)
    np.testing.assert_allclose(out["y"], X @ params["w"] + params["b"])
    np.testing.assert_array_equal(out["n"][0], params["b"])
    assert out["n"][1] is None
    f({**params, "c": X}, x=X)
    assert "the structure of the arguments differs" in f.explain_retraces()[1] and "'c'" in f.explain_retraces()[1]


def test_static_arguments_choose_what_is_computed():
    @lm.jit(static_argnames=("mode", "n"))
    def f(x, n, mode="add"):
        return x + n if mode == "add" else x * n
    np.testing.assert_array_equal(f(X, 2), X + 2)
    np.testing.assert_array_equal(f(X, 3, mode="mul"), X * 3)
    np.testing.assert_array_equal(f(X, 3, "mul"), X * 3)
    np.testing.assert_array_equal(f(X, n=2), X + 2)
    assert "static argument n changed from 2 to 3" in f.explain_retraces()[1]
    assert "static argument mode changed from its default to 'mul'" in f.explain_retraces()[1]
    numbers = lm.jit(lambda x, n: x * n, static_argnums=1)
    assert numbers(X, 2).dtype == np.float32
    numbers(X, 2.0), numbers(X, True)
    assert numbers.cache_size() == 3, "1, 1.0 and True are different static values"
    with pytest.raises(lm.TraceError, match=r"static argument 'n' is not hashable: \[1\] of list"):
        f(X, [1])
    with pytest.raises(lm.TraceError, match="has no argument 'm' to be static"):
        lm.jit(lambda x: x, static_argnames="m")


def test_python_scalars_are_traced_and_weak():
    calls = []

    @lm.jit
    def f(x, a):
        calls.append(1)
        return x * a
    half = np.ones(3, np.float16)
    for a in (0.5, 2.0, 3.0):
        np.testing.assert_array_equal(f(half, a), half * np.float16(a))
        assert f(half, a).dtype == np.float16
    assert len(calls) == 1
    f(half, 2)
    f(half, np.float32(2))
    assert "a changed from a Python float to a Python int" in f.explain_retraces()[1]
    assert "a changed from a Python" in f.explain_retraces()[2]


def test_inside_another_trace_the_function_is_traced_in_place():
    inner = lm.jit(lambda x: x * 2)

    @lm.jit
    def outer(x):
        return inner(x) + inner(x)
    np.testing.assert_array_equal(outer(X), X * 4)
    assert inner.cache_size() == 0 and outer.cache_size() == 1
    assert str(lm.trace(outer, X)) == str(lm.trace(outer.__wrapped__, X))


def test_methods_can_be_jitted():
    @lm.tree.register
    @__import__("dataclasses").dataclass
    class Scale:
        w: object

        @lm.jit
        def __call__(self, x):
            return self.w * x
    np.testing.assert_array_equal(Scale(X)(X), X * X)
    np.testing.assert_array_equal(Scale(X + 1)(X), (X + 1) * X)
    assert Scale.__call__.cache_size() == 1


def test_donated_arguments_are_passed_by_leaf(compiled):
    @lm.jit(donate_argnums=(1,), static_argnums=2)
    def f(x, state, n):
        return {k: v + x for k, v in state.items()}
    f(X, {"a": X, "b": X}, 3)
    assert compiled == [(1, 2)]
    with pytest.raises(lm.TraceError, match="can't be donated"):
        lm.jit(lambda x: x, donate_argnums=0, static_argnums=0)


def test_the_graph_can_be_seen():
    f = lm.jit(lambda x, n: x * n, static_argnums=1)
    assert f.trace(lm.TensorSpec(("n", 3)), 2).params[0].shape[1] == 3
    assert str(f.lower(X, 2)) == str(f.trace(X, 2))


def test_constants_and_arguments_come_back():
    f = lm.jit(lambda x: (x, 3, np.arange(2), x))
    a, b, c, d = f(X)
    np.testing.assert_array_equal(a, X)
    assert b == 3 and list(c) == [0, 1]
    np.testing.assert_array_equal(d, X)


def test_a_function_that_fails_is_traced_again_and_leaves_no_entry():
    f = lm.jit(lambda x: x if x.sum() > 0 else -x)
    for _ in range(2):
        with pytest.raises(lm.TraceError, match="truth value"):
            f(X)
    assert f.cache_size() == 0


def test_arguments_that_are_no_arrays_are_named():
    with pytest.raises(lm.TraceError, match="argument 'mode' is str, which is no array"):
        lm.jit(lambda x, mode: x)(X, "fast")


def test_lists_and_other_arrays_are_taken():
    torch = pytest.importorskip("torch")
    f = lm.jit(lambda x, y: x + y)
    np.testing.assert_array_equal(f(torch.ones(3), np.float32(2)), np.full(3, 3, np.float32))
    assert f(X[:, ::2], X.T[::2].T).tolist() == (X[:, ::2] * 2).tolist()


def test_threads_compile_a_signature_once():
    from concurrent.futures import ThreadPoolExecutor
    calls = []

    @lm.jit
    def f(x):
        calls.append(1)
        return x + 1
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(f, [X] * 8))
    assert len(calls) == 1 and all((r == X + 1).all() for r in results)
