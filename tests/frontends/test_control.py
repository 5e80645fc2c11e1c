"""Do cond, switch, loops and scan compute the same at once and traced, and do they name what does not fit?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.ops.control import Cond, Scan, While

X = np.random.default_rng(5).normal(size=(4, 3)).astype(np.float32)
W = np.array([0.5, -1.0, 2.0], np.float32)


def ops_of(f, *args):
    return [type(node.op) for node in lm.trace(f, *args).nodes]


@pytest.mark.parametrize("flag", [True, False])
def test_cond_takes_the_branch_that_pred_says(flag, agree):
    def f(pred, x):
        return lm.cond(pred, lambda a: a * 2, lambda a: a + W, x)
    agree(f, X * 2 if flag else X + W, np.array(flag), X)
    assert Cond in ops_of(f, np.array(flag), X)


def test_cond_with_a_known_pred_calls_one_branch():
    assert Cond not in ops_of(lambda x: lm.cond(True, lambda a: a * 2, lambda a: 1 / 0, x), X)


def test_cond_captures_and_returns_trees(agree):
    def f(pred, x, w):
        y = x * w
        out = lm.cond(pred > 0, lambda a: {"a": a + y, "n": 1}, lambda a: {"a": a - w, "n": 2.5}, x)
        return out["a"], lm.multiply(out["n"], 1.0)
    agree(f, [X + X * W, np.float32(1)], np.array(3), X, W)
    agree(f, [X - W, np.float32(2.5)], np.array(-3), X, W)


@pytest.mark.parametrize("index", [-5, 0, 1, 2, 7])
def test_switch_takes_the_nearest_branch(index, agree):
    def f(i, x):
        return lm.switch(i, [lambda a: a, lambda a: a * W, lambda a: lm.sum(a) + a * 0], x)
    agree(f, [X, X * W, X.sum() + X * 0][min(max(index, 0), 2)], np.array(index), X)
    agree(f, [X, X * W, X.sum() + X * 0][min(max(index, 0), 2)], np.array(index, np.int16), X)


def test_while_loop(agree):
    def f(x, limit):
        return lm.while_loop(lambda c: lm.sum(lm.abs(c["x"])) < limit, lambda c: {"x": c["x"] * 2 + x, "n": c["n"] + 1},
                             {"x": x, "n": 0})
    def flat(x, limit):
        out = f(x, limit)
        return out["n"], out["x"]
    n, x = 0, X
    while np.abs(x).sum() < 1000:
        n, x = n + 1, x * 2 + X
    agree(flat, [np.array(n), x], X, np.float32(1000).reshape(()), rtol=1e-4)
    assert While in ops_of(flat, X, np.float32(1000).reshape(()))


@pytest.mark.parametrize("lower, upper", [(0, 4), (2, 7), (3, 3), (5, 1)])
def test_fori_loop_with_known_and_traced_bounds(lower, upper, agree):
    def body(i, v):
        return v * 0.5 + i
    expected = W
    for i in range(lower, upper):
        expected = expected * np.float32(0.5) + np.float32(i)
    agree(lambda v: lm.fori_loop(lower, upper, body, v), expected, W)
    agree(lambda v, a, b: lm.fori_loop(a, b, body, v), expected, W, np.array(lower), np.array(upper, np.int32))
    assert Scan in ops_of(lambda v: lm.fori_loop(lower, upper, body, v), W)
    assert While in ops_of(lambda v, n: lm.fori_loop(0, n, body, v), W, np.array(3))


def test_a_loop_counter_takes_the_dtype_of_what_it_meets(agree):
    small = np.array([1, 2], np.int8)
    agree(lambda v: lm.fori_loop(0, 3, lambda i, v: v + i, v), small + np.int8(3), small)
    agree(lambda v, n: lm.fori_loop(0, n, lambda i, v: v + i, v), small + np.int8(3), small, np.array(3))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_scan_gives_the_last_carry_and_the_stacked_results(steps, reverse, agree):
    def f(h, xs, w):
        carry, ys = lm.scan(lambda h, x: (lm.tanh(h * w + x), {"h": h, "sum": lm.sum(x)}), h, xs, reverse=reverse)
        return carry, ys["h"], ys["sum"]
    h, hs, sums = W, np.zeros((steps, 3), np.float32), np.zeros(steps, np.float32)
    for t in reversed(range(steps)) if reverse else range(steps):
        hs[t], sums[t] = h, X[t].sum()
        h = np.tanh(h * W + X[t])
    agree(f, [h, hs, sums], W, X[:steps], W)


def test_scan_without_inputs_or_results(agree):
    agree(lambda h: lm.scan(lambda h, _: (h * 2, h), h, None, length=3), [W * 8, np.stack([W, W * 2, W * 4])], W)
    agree(lambda h, xs: lm.scan(lambda h, x: (h + x, None), h, xs)[0], W + X.sum(0), W, X, rtol=1e-4)


def test_python_scalars_as_carries_take_the_dtype_that_comes_out(agree):
    agree(lambda xs: lm.scan(lambda c, x: (c + lm.sum(x), c), 0.0, xs), [X.astype(np.float64).sum(), np.cumsum(
        np.r_[0, X.astype(np.float64).sum(1)])[:-1]], X.astype(np.float64))
    agree(lambda xs: lm.scan(lambda c, x: (c + 1, None), 0, xs)[0], np.array(4), X)
    agree(lambda x: lm.while_loop(lambda c: c < 10, lambda c: c * 2 + x, 1), np.float32(18.5),
          np.float32(1.5).reshape(()))
    agree(lambda x: lm.while_loop(lambda c: c[1] < 3, lambda c: (0, c[1] + 1), (x, 0))[0], np.float32(0),
          np.float32(1.5).reshape(()))


def test_loops_nest_and_capture_through_levels(agree):
    def f(x, w):
        def row(carry, r):
            total = lm.fori_loop(0, 2, lambda i, t: t + lm.sum(r * w) + i, carry)
            return total, lm.cond(total > 0, lambda: total * w[0], lambda: x[0, 0])
        return lm.scan(row, 0.0, x)
    total, ys = 0.0, []
    for r in X:
        for i in range(2):
            total = total + (r * W).sum() + i
        ys.append(total * W[0] if total > 0 else X[0, 0])
    agree(f, [np.float32(total), np.array(ys, np.float32)], X, W, rtol=1e-4)


def test_symbolic_lengths():
    graph = lm.trace(lambda xs: lm.scan(lambda c, x: (c + x, c), lm.zeros(3), xs), lm.TensorSpec(("t=0..9", 3)))
    last, ys = graph.verify().evaluate(X)
    np.testing.assert_allclose(last, X.sum(0), rtol=1e-5)
    assert ys.shape == (4, 3)
    graph = lm.trace(lambda x: lm.fori_loop(0, x.shape[0], lambda i, v: v + x[i], lm.zeros(3)), lm.TensorSpec(("n", 3)))
    np.testing.assert_allclose(graph.verify().evaluate(X)[0], X.sum(0), rtol=1e-5)


def both(f):
    """The error of f(X) at once and traced."""
    errors = []
    for run in (lambda: f(X), lambda: lm.trace(f, X)):
        with pytest.raises(lm.LaminaError) as caught:
            run()
        errors.append(str(caught.value))
    return errors


def test_carries_that_change_are_shown_by_path():
    for message in both(lambda x: lm.scan(lambda c, r: ({"h": lm.concat([c["h"], r]), "n": c["n"]}, None),
                                          {"h": x[0], "n": 0}, x)):
        assert "the body of lm.scan changes its carry in type:\n  ['h']: f32[3] goes in, f32[6] comes out" in message
        assert "test_control.py" in message
    for message in both(lambda x: lm.while_loop(lambda c: lm.sum(c) < 9, lambda c: c > 0, x)):
        assert "the value: f32[4, 3] goes in, bool[4, 3] comes out" in message
    for message in both(lambda x: lm.fori_loop(0, 3, lambda i, c: (c[0],), (x, x))):
        assert "lm.fori_loop changes its carry: goes in and comes out differ at the root: tuples of 2 and 1 items" in message


def test_branches_that_differ_are_shown():
    with pytest.raises(lm.TraceError, match=r"branches of lm.cond differ in type:\n  \['a'\]: f32\[4, 3\] from "
                                            r"false_fn, "
                       r"f32\[3\] from true_fn"):
        lm.trace(lambda x: lm.cond(lm.sum(x) > 0, lambda: {"a": x[0]}, lambda: {"a": x}), X)
    with pytest.raises(lm.TraceError, match="branches of lm.switch differ: from branch 0 and from branch 1 differ at "
                                            "the root"):
        lm.trace(lambda i, x: lm.switch(i, [lambda: x, lambda: (x, x)]), np.array(1), X)


@pytest.mark.parametrize("function, message", [
    (lambda x: lm.scan(lambda c, r: c, x[0], x), "the body of lm.scan returns .*, a pair"),
    (lambda x: lm.scan(lambda c, r: (c, r), x[0]), "neither xs nor a length"),
    (lambda x: lm.scan(lambda c, r: (c, r[0]), x[0], (x, x[:2])), r"steps of lm.scan differ: xs\[0\] has 4, xs\[1\] "
                                                                  r"has 2"),
    (lambda x: lm.scan(lambda c, r: (c, r), x[0], lm.sum(x)), "which is a scalar"),
    (lambda x: lm.while_loop(lambda c: c < 3, lambda c: c, x), r"a scalar was expected|chooses by a scalar"),
    (lambda x: lm.cond(x > 0, lambda: x, lambda: -x), r"a scalar was expected|chooses by a scalar"),
    (lambda x: lm.switch(0, []), "of no branches"),
])
def test_what_does_not_fit_is_named(function, message):
    for text in both(function):
        assert __import__("re").search(message, text), text
