"""Do searching, sorting and look-ups agree with NumPy, at once and traced?"""

import numpy as np
import pytest

import lamina.compiler.core.errors as errors
from lamina.frontends import array as lm
from lamina.frontends.array.tracer import tracing

RNG = np.random.default_rng(4)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X = draw(3, 5, 7)


@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_agree_with_numpy(name, axis, agree):
    function = getattr(np, name)
    agree(lambda x: getattr(lm, name)(x, axis), function(X, axis), X)
    agree(lambda x: getattr(lm, name)(x, axis, keepdims=True), function(X, axis, keepdims=True), X)
    ties = RNG.integers(0, 3, (4, 6)).astype(np.int8)
    agree(lambda x: getattr(lm, name)(x, axis), function(ties, axis), ties)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_sorting_agrees_with_numpy(axis, agree):
    x = RNG.integers(0, 4, (5, 6)).astype(np.float32)
    x[2, 3] = np.nan
    agree(lambda x: lm.sort(x, axis), np.sort(x, axis), x)
    agree(lambda x: lm.argsort(x, axis), np.argsort(x, axis, kind="stable"), x)


def test_descending_sort_keeps_the_order_of_equal_elements(agree):
    x = np.array([1, 3, 1, 3, 2], np.int32)
    agree(lambda x: (lm.sort(x, descending=True), lm.argsort(x, descending=True)),
          [np.array([3, 3, 2, 1, 1], np.int32), np.array([1, 3, 4, 0, 2])], x)


def test_topk(agree):
    order = np.argsort(-X, axis=1, kind="stable")[:, :2]
    agree(lambda x: lm.topk(x, 2, axis=1), [np.take_along_axis(X, order, 1), order], X)
    order = np.argsort(X, axis=-1, kind="stable")[..., :7]
    agree(lambda x: lm.topk(x, 7, largest=False), [np.take_along_axis(X, order, -1), order], X)
    with pytest.raises(errors.ShapeError, match="the top 8 of the 7 elements"):
        lm.topk(X, 8)


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted_agrees_with_numpy(side, agree):
    edges, values = np.array([0, 1, 1, 2.5], np.float32), np.array([[-1, 0, 1], [2, 2.5, 9]], np.float32)
    agree(lambda e, v: lm.searchsorted(e, v, side=side), np.searchsorted(edges, values, side=side), edges, values)
    order = np.array([3, 0, 2, 1])
    agree(lambda e, v: lm.searchsorted(e, v, side=side, sorter=order),
          np.searchsorted(edges[[1, 3, 2, 0]], values, side=side, sorter=order),
          edges[[1, 3, 2, 0]], values)


def test_take_agrees_with_numpy(agree):
    for at, axis in [(np.array([0, -1, 2]), 1), (np.array([[1], [4]]), 1), (np.array(3), 2),
                     (np.zeros((0,), np.int64), 0),
                     (np.array([5, -100]), None)]:
        agree(lambda x, i: lm.take(x, i, axis=axis), np.take(X, at, axis=axis), X, at)
        agree(lambda x: lm.take(x, at, axis=axis), np.take(X, at, axis=axis), X)
    agree(lambda x, i: lm.take(x, i, axis=0), np.take(X, [1, 2], axis=0), X, np.array([1, 2], np.uint8))


def test_take_along_axis_agrees_with_numpy_and_broadcasts(agree):
    at = RNG.integers(-5, 5, (3, 2, 7))
    agree(lambda x, i: lm.take_along_axis(x, i, axis=1), np.take_along_axis(X, at, 1), X, at)
    agree(lambda x, i: lm.take_along_axis(x, i, axis=1), np.take_along_axis(X, at[:1], 1), X, at[:1])
    flat = np.array([3, 100])
    agree(lambda x, i: lm.take_along_axis(x, i, axis=None), np.take_along_axis(X, flat, None), X, flat)


def test_known_indices_out_of_bounds_are_named_and_traced_ones_mean_the_nearest_element(agree):
    with pytest.raises(errors.ShapeError, match="index 5 is out of bounds for an axis of 5 elements"):
        lm.take(X, [0, 5], axis=1)
    with pytest.raises(errors.DTypeError, match="an index of float32"):
        lm.take(X, np.float32([1]), axis=1)
    with tracing() as trace:
        x, i = (trace.parameter(lm.operands.type_of(a)) for a in (X[0, 0], np.array([0, 99, -99])))
        graph = trace.finish([lm.take(x, i)])
    np.testing.assert_array_equal(graph.evaluate(X[0, 0], np.array([0, 99, -99]))[0], X[0, 0, [0, 6, 0]])


def test_isin_agrees_with_numpy(agree):
    x = RNG.integers(0, 9, (3, 5))
    agree(lambda x: lm.isin(x, [1, 3, 8]), np.isin(x, [1, 3, 8]), x)
    agree(lambda x, v: lm.isin(x, v, invert=True), np.isin(x, [2, 4], invert=True), x, np.array([2, 4]))


def test_results_of_unknown_shape_are_for_known_arrays():
    x = np.array([[3, 0, 3], [0, 1, 0]])
    np.testing.assert_array_equal(lm.nonzero(x), np.nonzero(x))
    np.testing.assert_array_equal(lm.argwhere(x), np.argwhere(x))
    np.testing.assert_array_equal(lm.flatnonzero(x), np.flatnonzero(x))
    np.testing.assert_array_equal(lm.unique(x), [0, 1, 3])
    np.testing.assert_array_equal(lm.unique_values(x), [0, 1, 3])
    np.testing.assert_array_equal(lm.unique_counts(x).counts, [3, 1, 2])
    np.testing.assert_array_equal(lm.unique_inverse(x).inverse_indices, [[2, 0, 2], [0, 1, 0]])
    np.testing.assert_array_equal(lm.unique_all(x).indices, [1, 4, 0])
    for name in ("nonzero", "argwhere", "flatnonzero", "unique", "unique_all", "unique_values"):
        with tracing() as trace, pytest.raises(errors.UnsupportedError, match=f"lm.{name} can't be traced: the shape "
                                                                              f"of"):
            getattr(lm, name)(trace.parameter(lm.operands.type_of(x)))
