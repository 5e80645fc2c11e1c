"""Do x[index] and x.at[index] agree with NumPy's indexing?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lamina.compiler.core.errors as errors
from lamina.compiler.core.dims import symbol
from lamina.compiler.core.dtypes import float32
from lamina.compiler.core.types import TensorType
from lamina.frontends import array as lm
from lamina.frontends.array.operands import type_of
from lamina.frontends.array.tracer import tracing

X = np.arange(3 * 5 * 7, dtype=np.float32).reshape(3, 5, 7)
INDICES = [0, -1, (1, 2), (0, 0, 0), slice(None), slice(1, 3), slice(None, None, -1), slice(4, 0, -2), slice(-2, None),
           slice(5, 2),
           (slice(None), 2), (slice(None), slice(1, None, 2)), (Ellipsis, 3), (1, Ellipsis), (Ellipsis, None), None,
           (None, 1, None),
           (0, Ellipsis, slice(2, 5)), (slice(None, None, -2), slice(3, 1, -1), slice(-3, -1)), (), [0, 2], ([0, 2],),
           (slice(None), [1, 1, 3]), (slice(None), slice(None), [[0, 6], [2, 3]]), ([0, 1], [2, 3]),
           ([0, 1], slice(None), [2, 3]),
           (slice(None), [0, 1], [2, 3]), ([[0], [1]], [2, 3]), (0, [1, 2]), (0, slice(None), [1, 2]),
           ([0, -1], Ellipsis, None),
           (None, [0, 2], slice(1, 3)), ([0, 1], None, [2, 3]), (slice(1, 3), [0, 4]),
           (slice(None, None, -1), [0, 4], 2),
           np.array(1), (np.array(1), slice(2)), np.zeros(0, np.int64), [], X[:, 0, 0] > 40,
           (slice(None), X[0, :, 0] > 10),
           X > 50, (X[:, :, 0] > 30,), (np.int64(1), np.uint8(2))]


@pytest.mark.parametrize("index", INDICES, ids=[str(i) for i in range(len(INDICES))])
def test_reading_agrees_with_numpy(index, agree):
    agree(lambda x: lm.getitem(x, index), X[index], X)
    agree(lambda x: x[index], X[index], X)


@pytest.mark.parametrize("index", INDICES, ids=[str(i) for i in range(len(INDICES))])
def test_writing_agrees_with_numpy(index, agree):
    expected = X.copy()
    expected[index] = -1
    agree(lambda x: lm.at(x)[index].set(-1), expected, X)
    expected = X.copy()
    np.add.at(expected, index, 2)
    agree(lambda x: lm.at(x)[index].add(2), expected, X)
    values = np.random.default_rng(0).normal(size=X[index].shape).astype(np.float32)
    expected = X.copy()
    np.subtract.at(expected, index, values)
    agree(lambda x, v: lm.at(x)[index].subtract(v), expected, X, values, rtol=1e-4)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_indexing_agrees_with_numpy_on_random_indices(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5))
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    entries, arrays = [], data.draw(st.booleans())
    broadcast = data.draw(hnp.array_shapes(min_dims=1, max_dims=2, max_side=3))
    for extent in shape:
        kinds = ["int", "slice", "slice"] + ["array"] * (2 if arrays else 0)
        kind = data.draw(st.sampled_from(kinds))
        if data.draw(st.integers(0, 5)) == 0:
            entries.append(None)
        if kind == "int":
            entries.append(data.draw(st.integers(-extent, extent - 1)))
        elif kind == "slice":
            entries.append(data.draw(st.slices(extent)))
        else:
            entries.append(data.draw(hnp.arrays(np.int64, broadcast, elements=st.integers(-extent, extent - 1))))
    keep = data.draw(st.integers(0, len(entries)))
    index = tuple(entries[:keep]) + (Ellipsis,) if data.draw(st.booleans()) else tuple(entries[:keep])
    expected = x[index]
    np.testing.assert_array_equal(lm.getitem(x, index), expected)
    written = x.copy()
    written[index] = 7
    known = [e for e in index if isinstance(e, np.ndarray)]
    with tracing() as trace:
        traced = trace.parameter(type_of(x))
        tracers = [trace.parameter(type_of(e)) for e in known]
        rest = iter(tracers)
        with_tracers = tuple(next(rest) if isinstance(e, np.ndarray) else e for e in index)
        results = [traced[index], traced[with_tracers]]
        if not known or not any(isinstance(e, slice) and e.step not in (None, 1) for e in index):
            results += [traced.at[index].set(7), traced.at[with_tracers].set(7)]
        graph = trace.finish(results)
    for got, want in zip(graph.verify().evaluate(x, *known), [expected, expected, written, written]):
        np.testing.assert_array_equal(got, want)


def test_updates_combine(agree):
    at, values = np.array([0, 2, 0, 2, 2]), np.array([1, 5, 2, -3, 4], np.float32)
    x = np.array([1, 10, 3], np.float32)
    agree(lambda x, i, v: lm.at(x)[i].add(v), np.array([4, 10, 9], np.float32), x, at, values)
    agree(lambda x, i, v: lm.at(x)[i].multiply(v), np.array([2, 10, -180], np.float32), x, at, values)
    agree(lambda x, i, v: lm.at(x)[i].max(v), np.array([2, 10, 5], np.float32), x, at, values)
    agree(lambda x, i, v: lm.at(x)[i].min(v), np.array([1, 10, -3], np.float32), x, at, values)
    agree(lambda x, i, v: lm.at(x)[i].set(v), np.array([2, 10, 4], np.float32), x, at, values)
    agree(lambda x, i: lm.at(x)[i].get(), x[at], x, at)
    agree(lambda x: lm.at(x)[1:].max(5), np.array([1, 10, 5], np.float32), x)
    with tracing() as trace:
        graph = trace.finish([trace.parameter(type_of(x)).at[-1].set(4.7)])
    np.testing.assert_array_equal(graph.evaluate(x)[0], np.float32([1, 10, 4.7]))


def test_an_update_leaves_the_array_alone_and_keeps_its_dtype():
    x = np.arange(4)
    y = lm.at(x)[1:3].set(2.9)
    np.testing.assert_array_equal(y, [0, 2, 2, 3])
    np.testing.assert_array_equal(x, [0, 1, 2, 3])
    assert y.dtype == x.dtype


def test_dynamic_slices_move_into_the_array(agree):
    x = X[0]
    agree(lambda x, i: lm.dynamic_slice(x, (i, 0), (2, 3)), x[3:5, :3], x, np.array(9))
    agree(lambda x, i: lm.dynamic_slice(x, i, (2, 3)), x[1:3, 2:5], x, np.array([1, 2], np.int32))
    expected = x.copy()
    expected[3:5, 1:3] = 0
    agree(lambda x, i: lm.dynamic_update_slice(x, np.zeros((2, 2)), (i, 1)), expected, x, np.array(3))


def test_gather_and_scatter(agree):
    at = np.array([[0, 1], [2, 4]])
    agree(lm.gather_nd, X[[0, 2], [1, 4]], X, at)
    agree(lambda x, i: lm.gather_nd(x, i, batch_dims=1), np.stack([X[0, 1], X[1, 4], X[2, 0]]), X,
          np.array([[1], [4], [0]]))
    expected = X.copy()
    expected[[0, 2], [1, 4]] += 1
    agree(lambda x, i: lm.scatter_nd(x, i, np.ones((2, 7)), reduction="add"), expected, X, at)
    along = np.array([[[1], [-1]]] * 3)
    expected = X.copy()
    np.put_along_axis(expected[:, :2], along, -5, 2)
    agree(lambda x, i: lm.put_along_axis(x, i, -5, 2), expected, X, along)


def test_slices_of_symbolic_axes():
    n = symbol("n", 4, 64)
    with tracing() as trace:
        x = trace.parameter(TensorType((n, 3), float32), "x")
        results = [x[:2], x[1:], x[:-1], x[::-1], x[::2], x[-2:], x[-1], x[:, 1], x[1:-1], x[2::-1], x[n - 1],
                   x[:n - 2], x[-3:-1],
                   x.at[1:].add(1), x.at[-1].set(0)]
        graph = trace.finish(results)
        with pytest.raises(errors.ShapeError, match="whether 5 is at most n"):
            x[:5]
        with pytest.raises(errors.ShapeError, match="whether n - 5 is negative"):
            x[-5:]
    a = np.arange(21, dtype=np.float32).reshape(7, 3)
    plus, last = a.copy(), a.copy()
    plus[1:] += 1
    last[-1] = 0
    wanted = [a[:2], a[1:], a[:-1], a[::-1], a[::2], a[-2:], a[-1], a[:, 1], a[1:-1], a[2::-1], a[6], a[:5], a[-3:-1],
              plus, last]
    for got, want in zip(graph.verify().evaluate(a), wanted):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("index, error, message", [
    (3, errors.ShapeError, "index 3 is out of bounds for axis 0 of 3 elements"),
    ((0, 0, 0, 0), errors.ShapeError, "4 indices for an array of shape"),
    ((Ellipsis, Ellipsis), errors.ShapeError, "one ... at most"),
    ("x", errors.DTypeError, "'x' can't be an index"),
    (1.5, errors.DTypeError, "can't be an index"),
    (True, errors.ShapeError, "a single bool"),
    ([0, 7], errors.ShapeError, "index 7 is out of bounds"),
    (slice(None, None, 0), errors.ShapeError, "step of a slice is 0"),
])
def test_bad_indices_are_named(index, error, message):
    with pytest.raises(error, match=message):
        lm.getitem(X, index)
