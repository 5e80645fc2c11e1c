"""Does vmap do what a Python loop does: over axes, trees, closures, inside and around other transforms?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.graph.graph import walk

RNG = np.random.default_rng(0)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


WRAPS = [lambda f: f, lm.jit]


def loop(f, size, *args, axes):
    """The results of f for each set, stacked."""
    one = [f(*(a if axis is None else lm.tree.map(lambda x, axis=axis: np.take(x, i, axis), a)
               for a, axis in zip(args, axes))) for i in range(size)]
    return lm.tree.map(lambda *xs: np.stack(xs), *one)


def same(got, expected, rtol=1e-5):
    lm.tree.map(lambda g, e: np.testing.assert_allclose(g, e, rtol=rtol, atol=1e-6), got, expected)


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (1, -1), (-2, 2)])
def test_in_axes(wrap, axes):
    def f(x, w):
        return lm.tanh(x @ w)
    x, w = draw(3, 5), draw(5, 2)
    args = [a if axis is None else np.stack([a, a * 2, a - 1, a + 1], axis) for a, axis in zip((x, w), axes)]
    got = wrap(lm.vmap(f, axes))(*args)
    assert got.shape == (4, 3, 2)
    same(got, loop(f, 4, *args, axes=axes))


@pytest.mark.parametrize("wrap", WRAPS)
def test_trees_of_axes_and_keywords(wrap):
    def f(params, x, *, scale):
        return {"y": x @ params["w"] + params["b"], "scale": scale * 2, "fixed": params["b"]}
    params = {"w": draw(3, 2), "b": draw(2, 7)}
    x, scale = draw(7, 3), draw(7)
    got = wrap(lm.vmap(f, ({"w": None, "b": 1}, 0), {"y": 1, "scale": 0, "fixed": -1}))(params, x, scale=scale)
    assert got["y"].shape == (2, 7) and got["fixed"].shape == (2, 7)
    same(got["y"], (x @ params["w"] + params["b"].T).T)
    same(got["scale"], scale * 2)
    same(got["fixed"], params["b"])
    same(lm.vmap(f, [{"w": None, "b": 1}, 0])(params, x, scale=scale)["y"], got["y"].T)


@pytest.mark.parametrize("wrap", WRAPS)
def test_results_that_are_the_same_for_all_sets(wrap):
    def f(x, y):
        return x + y, y * 2, 3
    x, y = draw(4), draw(5)
    added, doubled, three = wrap(lm.vmap(f, (0, None), (0, None, 0)))(x, y)
    same(added, x[:, None] + y)
    same(doubled, y * 2)
    np.testing.assert_array_equal(three, [3, 3, 3, 3])
    assert wrap(lm.vmap(f, (0, None), (1, 1, 0)))(x, y)[1].shape == (5, 4)


@pytest.mark.parametrize("wrap", WRAPS)
def test_nested(wrap):
    def f(x, y):
        return lm.sum(x * y) + x[0]
    x, y = draw(3, 5), draw(4, 5)
    pairs = wrap(lm.vmap(lm.vmap(f, (None, 0)), (0, None)))(x, y)
    same(pairs, x @ y.T + x[:, :1])
    other = wrap(lm.vmap(lm.vmap(f, (0, None), 0), (None, 0), 1))(x, y)
    same(other, pairs)


@pytest.mark.parametrize("wrap", WRAPS)
def test_closures_over_outer_tracers_are_shared(wrap):
    def outer(w, xs):
        scale = lm.exp(w)
        return lm.vmap(lambda x: x @ scale + lm.vmap(lambda e: e * lm.sum(x))(w[0]))(xs)
    w, xs = draw(3, 3), draw(5, 3)
    same(wrap(outer)(w, xs), xs @ np.exp(w) + w[0] * xs.sum(1, keepdims=True))
    graph = lm.trace(outer, w, xs)
    assert [n.result_types[0].shape for n in walk(graph) if type(n.op).__name__ == "Exp"] == [(3, 3)]


def test_arguments_that_are_not_mapped_are_passed_as_they_are():
    def f(x, how, power):
        return x ** power if how == "power" else x
    np.testing.assert_array_equal(lm.vmap(f, (0, None, None))(np.array([2.0, 3.0]), "power", 2), [4, 9])


def test_dtypes_stay_and_python_scalars_are_weak():
    x = np.arange(3, dtype=np.float64)
    assert lm.vmap(lambda x: x * 2 + 1)(x).dtype == np.float64
    assert lm.vmap(lambda x: x > 1)(x).dtype == bool


@pytest.mark.parametrize("wrap", WRAPS)
def test_axis_size(wrap):
    got = wrap(lambda x: lm.vmap(lambda: x * 2, axis_size=3)())(draw(2))
    assert got.shape == (3, 2)
    assert wrap(lm.vmap(lambda x: x + 1, axis_size=0))(draw(0, 2)).shape == (0, 2)


def test_symbolic_sizes_are_one_program():
    executable = lm.compile(lm.vmap(lambda x, w: lm.softmax(w @ x), (0, None)), lm.TensorSpec(("batch", 3)),
                            lm.TensorSpec((4, 3)))
    w = draw(4, 3)
    for size in (1, 2, 7):
        x = draw(size, 3)
        e = np.exp(x @ w.T)
        np.testing.assert_allclose(executable(x, w)[0], e / e.sum(1, keepdims=True), rtol=2e-5)


def test_symbolic_dims_inside_and_a_size_that_only_a_closure_knows():
    def f(x):
        n = x.shape[0]
        return lm.vmap(lambda: lm.zeros(n) + 1, axis_size=n)() + lm.vmap(lambda r: r * 2)(x[:, None])
    executable = lm.compile(f, lm.TensorSpec(("n",)))
    np.testing.assert_array_equal(executable(np.float32([1, 2]))[0], [[3, 3], [5, 5]])


@pytest.mark.parametrize("wrap", WRAPS)
def test_control_flow(wrap):
    def steps(n, x):
        return lm.while_loop(lambda c: c[0] > 0, lambda c: (c[0] - 1, c[1] * 2), (n, x))[1]
    n, x = np.array([3, 0, 5, 1]), draw(4, 2)
    same(wrap(lm.vmap(steps))(n, x), x * 2.0 ** n[:, None])
    same(wrap(lm.vmap(steps, (None, 0)))(np.array(3), x), x * 8)

    def either(p, x):
        return lm.cond(p, lambda x: x + 1, lambda x: -x, x)
    p = np.array([True, False, False, True])
    same(wrap(lm.vmap(either))(p, x), np.where(p[:, None], x + 1, -x))
    same(wrap(lm.vmap(either, (None, 0)))(np.array(True), x), x + 1)

    def running(x, h):
        return lm.scan(lambda h, e: (h * 0.5 + e, h), h, x)
    last, all_of_them = wrap(lm.vmap(running, (0, None)))(x, np.float32(1))
    same((last, all_of_them), loop(running, 4, x, np.float32(1), axes=(0, None)))


def test_a_loop_whose_condition_is_shared_stays_one():
    graph = lm.trace(lm.vmap(lambda x, n: lm.fori_loop(0, n, lambda i, x: x * 2, x), (0, None)), draw(4, 2),
                     np.array(3))
    assert not [n for n in walk(graph) if type(n.op).__name__ == "Select"]


def test_vmap_of_a_jitted_function_and_as_a_decorator():
    @lm.jit
    @lm.vmap
    def f(x):
        """Squares."""
        return x * x
    assert f.__doc__ == "Squares."
    np.testing.assert_array_equal(lm.vmap(lm.jit(lambda x: x + 1))(np.arange(3.0)), [1, 2, 3])
    np.testing.assert_array_equal(f(np.arange(3.0)), [0, 1, 4])


# ---- with derivatives ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("wrap", WRAPS)
def test_gradients_per_example(wrap):
    def loss(w, x, y):
        return (lm.tanh(x @ w) - y) ** 2
    w, x, y = draw(3), draw(5, 3), draw(5)
    got = wrap(lm.vmap(lm.grad(loss), (None, 0, 0)))(w, x, y)
    same(got, loop(lm.grad(loss), 5, w, x, y, axes=(None, 0, 0)))
    total = wrap(lm.grad(lambda w: lm.sum(lm.vmap(loss, (None, 0, 0))(w, x, y))))(w)
    same(total, got.sum(0), rtol=1e-4)


@pytest.mark.parametrize("wrap", WRAPS)
def test_rules_of_their_own_are_those_of_a_batch_too(wrap):
    @lm.custom_vjp
    def product(w, x):
        return lm.sum(w * x), lm.max(w)
    product.defvjp(lambda w, x: ((lm.sum(w * x), lm.max(w)), (w, x)),
                   lambda saved, g: (g[0] * saved[1] * 10, g[0] * saved[0] + g[1] * 7))
    w, x = draw(3), draw(5, 3)

    def total(w, x):
        dot, largest = lm.vmap(product, (None, 0))(w, x)
        return lm.sum(dot) + lm.sum(largest)
    dw, dx = wrap(lm.grad(total, (0, 1)))(w, x)
    same(dw, x.sum(0) * 10)
    same(dx, np.broadcast_to(w, x.shape) + 7)
    both = wrap(lm.vmap(lm.grad(lambda w, x: product(w, x)[0], (0, 1)), (None, 0)))(w, x)
    same(both, (x * 10, np.broadcast_to(w, x.shape)))

    @lm.custom_jvp
    def cube(x, scale):
        return x ** 3 * scale
    cube.defjvp(lambda primals, tangents: (cube(*primals), tangents[0] * 5 * primals[1]))
    one = lm.vmap(cube, (0, None))
    same(wrap(lambda x, t: lm.jvp(lambda x: one(x, np.float32(2)), (x,), (t,)))(x, x), (x ** 3 * 2, x * 10))
    same(wrap(lm.grad(lambda x: lm.sum(one(x, np.float32(2)))))(x), np.full_like(x, 10))


@pytest.mark.parametrize("wrap", WRAPS)
def test_checkpoints_stay_checkpoints(wrap):
    def f(w, x):
        return lm.sum(lm.checkpoint(lambda w, x: lm.tanh(x * w))(w, x))
    w, x = draw(3), draw(5, 3)
    total = lm.grad(lambda w: lm.sum(lm.vmap(f, (None, 0))(w, x)))
    same(wrap(total)(w), ((1 - np.tanh(x * w) ** 2) * x).sum(0), rtol=1e-4)
    assert [n for n in walk(lm.trace(total, w)) if type(n.op).__name__ == "Barrier"]
    same(wrap(lm.vmap(lm.grad(f), (None, 0)))(w, x), (1 - np.tanh(x * w) ** 2) * x)


# ---- what bad input gets ---------------------------------------------------------------------------------------------
def error(kind, f, *args, **kwargs) -> str:
    with pytest.raises(kind) as caught:
        f(*args, **kwargs)
    assert "test_vmap.py" in str(caught.value.location)
    return str(caught.value)


def test_sizes_that_differ_are_named_with_their_paths():
    def f(params, x):
        return x
    message = error(lm.ShapeError, lm.vmap(f, (0, 1)), {"w": [draw(3, 2)], "b": draw(4)}, draw(2, 3))
    assert "vmap of 'f' maps over axes of different sizes" in message
    assert "axis 0 of params.b has 4, axis 0 of params.w.0 has 3, axis 1 of x has 3" in message
    assert "axis_size has 2" in error(lm.ShapeError, lm.vmap(f, axis_size=2), draw(3), draw(3))


def test_axes_that_are_not_there():
    assert "maps over axis 2 of x, which has rank 1" in error(lm.ShapeError, lm.vmap(lambda x: x, 2), draw(3))
    assert "which has rank 0" in error(lm.ShapeError, lm.vmap(lambda x: x), 1.0)
    message = error(lm.ShapeError, lm.vmap(lambda x: (x, {"a": x}), 0, (0, {"a": 2})), draw(3))
    assert "axis 2 of the result[1]['a']" in message and "rank is 1" in message


def test_nothing_that_is_mapped():
    assert "maps over no argument" in error(lm.ShapeError, lm.vmap(lambda x: x, None), draw(3))


def test_out_axes_of_none_need_a_shared_result():
    message = error(lm.ShapeError, lm.vmap(lambda x: {"a": x}, 0, {"a": None}), draw(3))
    assert "out_axes of vmap is None for the result['a']" in message and "differs between the sets" in message


def test_trees_that_do_not_fit():
    def f(params, x):
        return x
    assert "names 1 arguments, and 'f' is called with 2" in error(lm.TraceError, lm.vmap(f, (0,)), draw(3), draw(3))
    message = error(lm.TraceError, lm.vmap(f, ({"v": 0}, 0)), {"w": draw(3)}, draw(3))
    assert "at [0]: key 'v' only in the first and key 'w' only in the second" in message
    assert "at [0]: a leaf" not in message
    assert "at [1]: tuple and a leaf" in error(lm.TraceError, lm.vmap(f, (0, (0, 0))), draw(3), draw(3))
    assert "'x' is no leaf" in error(lm.TraceError, lm.vmap(f, ("x", 0)), draw(3), draw(3))
    message = error(lm.TraceError, lm.vmap(f, 0, (0, 0)), draw(3), draw(3))
    assert "out_axes of vmap and the result of 'f' differ: at the root: tuple and a leaf" in message


def test_what_is_no_array_is_named():
    assert "str can't be an array" in error(lm.DTypeError, lm.vmap(lambda x: x), "three")
