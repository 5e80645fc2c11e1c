"""Do sums, statistics and running totals agree with NumPy, at once and traced?"""

import numpy as np
import pytest

import lamina.compiler.core.errors as errors
from lamina.frontends import array as lm

RNG = np.random.default_rng(2)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X = draw(3, 5, 7)
NAMES = ["sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "ptp", "count_nonzero", "median", "nansum",
         "nanmean", "nanmax", "nanmin", "amax", "amin", "average"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_agree_with_numpy(name, axis, keepdims, agree):
    expected = getattr(np, name)(X, axis=axis, keepdims=keepdims)
    agree(lambda x: getattr(lm, name)(x, axis=axis, keepdims=keepdims), expected, X)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all", "mean"])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "uint64", "float16", "float64"])
def test_dtypes_of_reductions(name, dtype, agree):
    x = RNG.integers(0, 2, (3, 5)).astype(dtype)
    expected = np.asarray(getattr(np, name)(x, axis=1))
    if name == "mean" and expected.dtype == np.float64 and dtype != "float64":
        expected = expected.astype(np.float32)
    agree(lambda x: getattr(lm, name)(x, axis=1), expected, x, rtol=1e-3)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (1,), (1, 1), ()])
def test_reductions_of_few_elements(shape, agree):
    x = draw(*shape)
    for name in ("sum", "prod", "any", "all"):
        agree(getattr(lm, name), getattr(np, name)(x), x)


def test_extremes_of_nothing_need_an_initial_value(agree):
    nothing = np.zeros((0, 3), np.float32)
    with pytest.raises(errors.ShapeError, match=r"lm.max of no elements: shape \[0, 3\]"):
        lm.max(nothing, axis=0)
    agree(lambda x: lm.max(x, axis=0, initial=2.0), np.full(3, 2, np.float32), nothing)
    agree(lambda x: lm.max(x, axis=1), np.zeros(0, np.float32), nothing)


def test_where_initial_and_dtype(agree):
    mask = X > 0
    agree(lambda x, m: lm.sum(x, where=m), np.sum(X, where=mask), X, mask, rtol=1e-4)
    agree(lambda x: lm.sum(x, axis=0, initial=5), np.sum(X, axis=0, initial=5), X)
    agree(lambda x: lm.sum(x, dtype="float64"), X.sum(dtype=np.float64), X)
    agree(lambda x: x.sum(1), X.sum(1), X)


def test_nan_propagates_or_is_left_out(agree):
    x = X.copy()
    x[0, 1, 2] = np.nan
    for name in ("sum", "max", "min", "mean", "median", "nansum", "nanmean", "nanmax", "nanmin"):
        agree(lambda x: getattr(lm, name)(x, axis=2), getattr(np, name)(x, axis=2), x)


def test_variance_with_corrections_and_of_large_offsets(agree):
    agree(lambda x: lm.var(x, axis=0, correction=1), np.var(X, axis=0, ddof=1), X)
    agree(lambda x: lm.std(x, ddof=1), np.std(X, ddof=1), X)
    far = X + np.float32(1000)
    agree(lambda x: lm.var(x, axis=1), np.var(far.astype(np.float64), axis=1), far, dtype="float32", rtol=1e-3)


def test_half_precision_means_do_not_overflow(agree):
    x = np.full((1000,), 300, np.float16)
    agree(lm.mean, np.float16(300), x)
    agree(lm.var, np.float16(0), x)


def test_weighted_average(agree):
    weights = np.array([1, 2, 0.5], np.float32)
    agree(lambda x, w: lm.average(x, axis=0, weights=w), np.average(X, axis=0, weights=weights), X, weights)


def test_logsumexp_neither_overflows_nor_gives_nan_for_infinities(agree):
    x = np.array([[1000, 1001], [-np.inf, -np.inf], [np.inf, 0], [-np.inf, 2]], np.float32)
    agree(lambda x: lm.logsumexp(x, axis=1), np.array([1001.31326, -np.inf, np.inf, 2], np.float32), x)


@pytest.mark.parametrize("name, axis", [("cumsum", 0), ("cumsum", -1), ("cumsum", None), ("cumprod", 1),
                                        ("cumprod", None)])
def test_running_totals_agree_with_numpy(name, axis, agree):
    agree(lambda x: getattr(lm, name)(x, axis=axis), getattr(np, name)(X, axis=axis), X)
    agree(lambda x: getattr(lm, name)(x, axis), getattr(np, name)((X > 0).astype(np.int8), axis),
          (X > 0).astype(np.int8))


def test_standard_running_totals(agree):
    agree(lambda x: lm.cumulative_sum(x, axis=1, include_initial=True),
          np.cumulative_sum(X, axis=1, include_initial=True), X)
    agree(lambda x: lm.cumulative_prod(x, axis=1, include_initial=True),
          np.cumulative_prod(X, axis=1, include_initial=True), X)
    agree(lambda x: lm.cummax(x, 1), np.maximum.accumulate(X, 1), X)
    agree(lambda x: lm.cummin(x, 2), np.minimum.accumulate(X, 2), X)
    with pytest.raises(errors.ShapeError, match="needs an axis"):
        lm.cumulative_sum(X)


@pytest.mark.parametrize("n, axis", [(1, -1), (2, 0), (1, 1), (9, 1)])
def test_differences_agree_with_numpy(n, axis, agree):
    agree(lambda x: lm.diff(x, n, axis), np.diff(X, n, axis), X, atol=1e-5)
    agree(lambda x: lm.diff(x > 0, axis=axis), np.diff(X > 0, axis=axis), X)
    agree(lambda x: lm.diff(x, axis=0, prepend=0, append=x[:1]), np.diff(X, axis=0, prepend=0, append=X[:1]), X,
          dtype="float32")


def test_repeated_axes_are_refused():
    with pytest.raises(errors.ShapeError, match=r"an axis is repeated in \(0, -3\)"):
        lm.sum(X, axis=(0, -3))


def test_array_equal_and_allclose(agree):
    agree(lambda x: (lm.array_equal(x, x), lm.allclose(x, x * 1.1)), [np.array(True), np.array(False)], X)
    assert not lm.array_equal(X, X[0])
