"""Are units in the last place counted right, of what is not finite too?"""

import math
import warnings

import ml_dtypes
import numpy as np
import pytest

from lamina.frontends.bisect.finding import largest_ulps, ulps

NAN, INF = math.nan, math.inf
DTYPES = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("numbers", [[], [NAN], [INF, -INF, NAN], [1.0, INF], [1.0, NAN, -INF, 0.0]])
def test_what_is_equal_is_nothing_off(dtype, numbers):
    got = np.array(numbers, dtype)
    assert largest_ulps(got.astype(np.float64), got) == 0 == largest_ulps(got, got)
    assert not ulps(got, got, got.dtype.name).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("expected, got", [([1, INF], [1, 2]), ([1, 2], [1, INF]), ([1, 2], [1, NAN]), ([1, NAN], [1, 2]),
                                           ([INF], [-INF]), ([INF], [NAN]), ([NAN], [-INF])])
def test_what_is_finite_in_one_alone_is_infinitely_far_off(dtype, expected, got):
    expected, got = np.array(expected, np.float64), np.array(got, dtype)
    assert largest_ulps(expected, got) == INF
    assert ulps(expected, got, got.dtype.name).max() == INF


@pytest.mark.parametrize("dtype", DTYPES)
def test_elements_that_are_not_finite_hide_no_difference_of_the_others(dtype):
    got = np.array([INF, NAN, 4, 1, -INF], dtype)
    expected = got.astype(np.float64)
    expected[3] += 3 * float(ml_dtypes.finfo(dtype).eps)
    assert largest_ulps(expected, got) == pytest.approx(3 / 4)  # of the largest finite element, 4
    assert ulps(expected, got, got.dtype.name).max() == pytest.approx(3)


def test_numbers_beyond_those_of_the_dtype():
    assert largest_ulps(np.array([1e300, 1e39]), np.array([INF, 1.0], np.float32)) == INF
    assert largest_ulps(np.array([1.7e308]), np.array([-1.7e308])) == INF
    assert largest_ulps(np.array([7, 250], np.uint8), np.array([9, 249], np.uint8)) == 2
