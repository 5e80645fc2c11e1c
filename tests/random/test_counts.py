"""Are counts those of the Poisson and the binomial distribution, at the means where the methods change as well?"""

import math

import numpy as np
import pytest

import lamina as lm

from .test_distributions import chi_square

random = lm.random
N = 40000


def poisson_pmf(mean):
    def pmf(k):
        return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
    return pmf


def binomial_pmf(n, p):
    def pmf(k):
        return math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p)
                        + (n - k) * math.log1p(-p)) if k <= n else 0.0
    return pmf


def excess(drawn, pmf, mean, deviation) -> float:
    """The chi-square statistic of counts in some 50 ranges and the two tails, in standard deviations."""
    low, high = max(0, int(mean - 6 * deviation)), int(mean + 6 * deviation) + 1
    probability = np.array([pmf(k) for k in range(low, high + 1)])
    found = np.bincount(np.clip(drawn.astype(np.int64), low, high) - low, minlength=high - low + 1)
    group = np.minimum(np.cumsum(probability) * 50, 50).astype(int)  # ranges of about equal probability
    expected, counts = (np.bincount(group, x, 51) for x in (probability * N, found))
    kept = expected >= 5
    rest = [expected[~kept].sum()] if expected[~kept].sum() >= 1 else []
    return chi_square([*counts[kept], *([counts[~kept].sum()] if rest else [])], [*expected[kept], *rest])


@pytest.mark.parametrize("mean", [0.03, 0.7, 4.0, 9.999, 10.0, 10.5, 33.0, 400.0, 25000.0])
def test_poisson(mean):
    draw = lm.jit(lambda key: random.poisson(key, mean, (N,)))
    drawn = draw(random.key(3))
    assert drawn.dtype == np.int32 and drawn.shape == (N,)
    assert abs(drawn.mean() - mean) < 5 * math.sqrt(mean / N)
    assert abs(drawn.var() / mean - 1) < 5 * math.sqrt((2 + 1 / mean) / N)
    assert abs(excess(drawn, poisson_pmf(mean), mean, math.sqrt(mean))) < 5
    assert (random.poisson(random.key(3), mean, (N,)) != drawn).sum() <= 2  # a logarithm may be rounded otherwise


@pytest.mark.parametrize("n, p", [(1, 0.3), (10, 0.5), (40, 0.1), (19, 0.5), (21, 0.5), (26, 0.4), (1000, 0.02),
                                  (1000, 0.97), (50000, 0.3), (100000, 1e-5)])
def test_binomial(n, p):
    draw = lm.jit(lambda key: random.binomial(key, n, p, (N,), "float64"))
    drawn = draw(random.key(4))
    mean, variance = n * p, n * p * (1 - p)
    assert drawn.dtype == np.float64 and (drawn == np.rint(drawn)).all() and 0 <= drawn.min() and drawn.max() <= n
    assert abs(drawn.mean() - mean) < 5 * math.sqrt(variance / N)
    assert abs(drawn.var() / variance - 1) < 5 * math.sqrt((2 + 1 / variance) / N)
    assert abs(excess(drawn, binomial_pmf(n, p), mean, math.sqrt(variance))) < 5
    assert (random.binomial(random.key(4), n, p, (N,), "float64") != drawn).sum() <= 2


def test_large_means():
    for drawn, mean, variance in ((random.poisson(random.key(5), 1e9, (N,), "int64"), 1e9, 1e9),
                                  (random.binomial(random.key(5), 1e9, 0.5, (N,), "float64"), 5e8, 2.5e8)):
        x = (drawn - mean) / math.sqrt(variance)
        assert abs(x.mean()) < 5 / math.sqrt(N) and abs(x.var() - 1) < 5 * math.sqrt(2 / N)
        assert abs((x ** 3).mean()) < 5 * math.sqrt(15 / N) and abs((x ** 4).mean() - 3) < 5 * math.sqrt(96 / N)


def test_bits_do_not_depend_on_threads_or_on_how_many_are_drawn():
    means, trials = np.geomspace(0.01, 1e6, 30000), np.arange(30000.0)
    executable = lm.compile(lambda key: (random.poisson(key, means), random.binomial(key, trials, 0.3)), random.key(0))
    one, two = (executable(random.key(1), threads=threads) for threads in (1, 2))
    for a, b in zip(one, two):
        np.testing.assert_array_equal(a, b)
    first = lm.jit(lambda key: random.poisson(key, means[:100]))(random.key(1))
    np.testing.assert_array_equal(first, one[0][:100])
    assert (random.poisson(random.key(2), means) != one[0]).mean() > 0.5


def test_ends():
    lam = np.array([0, -1, np.nan, np.inf, 1e30])
    assert random.poisson(random.key(0), lam).tolist() == [0, -1, -1, 2 ** 31 - 1, 2 ** 31 - 1]
    assert random.poisson(random.key(0), lam, dtype="int64").tolist() == [0, -1, -1, 2 ** 63 - 1, 2 ** 63 - 1]
    assert random.poisson(random.key(0), lam, dtype="uint8").tolist() == [0, 255, 255, 255, 255]
    assert random.poisson(random.key(0), 100.0, (500,), "int8").max() == 127
    n = np.array([0, 5, 5, 5.9, 1e6, 5, -1, np.nan, np.inf, 5])
    p = np.array([0.5, 0, 1, 1, 1, 1.1, 0.5, 0.5, 0.5, np.nan])
    drawn = random.binomial(random.key(0), n, p)
    assert drawn.dtype == np.float32 and drawn[:5].tolist() == [0, 0, 5, 5, 1e6] and np.isnan(drawn[5:]).all()
    assert random.poisson(random.key(0), np.zeros((0, 3))).shape == (0, 3)


def test_parameters_broadcast_and_wrong_ones_are_told():
    lam = np.array([0.5, 20.0, 300.0])
    drawn = random.poisson(random.key(0), lam, (4000, 3))
    assert abs(drawn.mean(0) / lam - 1).max() < 0.1 and random.poisson(random.key(0), lam).shape == (3,)
    assert random.binomial(random.key(0), np.array([[3], [70]]), lam / 300, dtype="bfloat16").shape == (2, 3)
    traced = lm.jit(lambda key, lam: random.poisson(key, lam))(random.key(0), lam)
    np.testing.assert_array_equal(traced, random.poisson(random.key(0), lam))
    with pytest.raises(lm.DTypeError, match="an integer dtype, not float32"):
        random.poisson(random.key(0), 1.0, dtype="float32")
    with pytest.raises(lm.DTypeError, match="are floating, not int32"):
        random.binomial(random.key(0), 3, 0.5, dtype="int32")
    with pytest.raises(lm.ShapeError, match="don't fit"):
        random.poisson(random.key(0), lam, (1,))
