"""Do min and max pass NaN on, whichever side it is on, and where one side is a constant?"""

import numpy as np
import pytest

import lamina as lm

X = np.array([1, np.nan, -2, np.inf, -np.inf, 0.5, np.nan], np.float32)


@pytest.mark.parametrize("constant", [np.nan, 0.0, np.inf, -np.inf, -0.5])
@pytest.mark.parametrize("function", [lm.maximum, lm.minimum], ids=["max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_extrema_of_a_constant(function, constant, dtype):
    number = np.array(constant, dtype)

    def f(x):
        return function(x, lm.asarray(number)), function(lm.asarray(number), x)
    x = X.astype(dtype)
    graph = lm.trace(f, lm.TensorSpec(x.shape, dtype))
    for got, want in zip(lm.compile(graph)(x), graph.evaluate(x)):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("function", [lm.maximum, lm.minimum], ids=["max", "min"])
def test_extrema_of_arrays(function):
    y = np.roll(X, 1)
    (got,) = lm.compile(function, lm.TensorSpec(X.shape, "float32"), lm.TensorSpec(X.shape, "float32"))(X, y)
    np.testing.assert_array_equal(got, function(X, y))


@pytest.mark.parametrize("function", [np.max, np.min], ids=["max", "min"])
@pytest.mark.parametrize("extent", [7, 64, 203])
def test_extrema_of_rows_with_nan_anywhere(function, extent):
    """One NaN in each row, at each place: in every vector, lane and accumulator, and in the masked end."""
    x = np.random.default_rng(0).standard_normal((extent, extent), np.float32)
    np.fill_diagonal(x, np.nan)
    x = np.concatenate([x, np.ones((1, extent), np.float32)])
    (got,) = lm.compile(lambda x: getattr(lm, function.__name__)(x, axis=1), lm.TensorSpec(x.shape))(x)
    np.testing.assert_array_equal(got, function(x, axis=1))
