"""Are numbers distributed as their names say, in every dtype, and in one kernel?

Kolmogorov-Smirnov and chi-square statistics of fixed keys: bounds are those that one in a million draws would break.
"""

import math

import numpy as np
import pytest

import lamina as lm

random = lm.random
N = 20000
KS = 2.7  # sqrt(n) times the largest difference of distribution functions exceeds this once in a million


def phi(x):
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in np.asarray(x, float)])


def gamma_cdf(a):
    """The regularized lower incomplete gamma function by its series."""
    def at(x):
        if x <= 0:
            return 0.0
        term = total = 1 / a
        for n in range(1, 500):
            term *= x / (a + n)
            total += term
        return total * math.exp(-x + a * math.log(x) - math.lgamma(a))
    return lambda xs: np.array([at(float(x)) for x in xs])


def truncated(low, high):
    below, above = phi([low, high])
    return lambda x: (phi(x) - below) / (above - below)


CASES = {
    "uniform": (lambda k, d: random.uniform(k, (N,), d), lambda x: x),
    "uniform between": (lambda k, d: random.uniform(k, (N,), d, -3, 5.0), lambda x: (x + 3) / 8),
    "normal": (lambda k, d: random.normal(k, (N,), d), phi),
    "truncated_normal": (lambda k, d: random.truncated_normal(k, -1.0, 2.5, (N,), d), truncated(-1, 2.5)),
    "half normal": (lambda k, d: random.truncated_normal(k, 0.0, math.inf, (N,), d), truncated(0, 60)),
    "exponential": (lambda k, d: random.exponential(k, (N,), d), lambda x: -np.expm1(-x)),
    "gumbel": (lambda k, d: random.gumbel(k, (N,), d), lambda x: np.exp(-np.exp(-x))),
    "laplace": (lambda k, d: random.laplace(k, (N,), d),
                lambda x: np.where(x < 0, np.exp(np.minimum(x, 0)) / 2, 1 - np.exp(-np.maximum(x, 0)) / 2)),
    "logistic": (lambda k, d: random.logistic(k, (N,), d), lambda x: 1 / (1 + np.exp(-x))),
    "cauchy": (lambda k, d: random.cauchy(k, (N,), d), lambda x: np.arctan(x) / np.pi + 0.5),
    "gamma 0.3": (lambda k, d: random.gamma(k, 0.3, (N,), d), gamma_cdf(0.3)),
    "gamma 1": (lambda k, d: random.gamma(k, 1.0, (N,), d), lambda x: -np.expm1(-x)),
    "gamma 4.5": (lambda k, d: random.gamma(k, 4.5, (N,), d), gamma_cdf(4.5)),
    "beta 2 1": (lambda k, d: random.beta(k, 2.0, 1.0, (N,), d), lambda x: x * x),
    "beta half half": (lambda k, d: random.beta(k, 0.5, 0.5, (N,), d), lambda x: 2 / np.pi * np.arcsin(np.sqrt(x))),
    "dirichlet": (lambda k, d: random.dirichlet(k, np.ones(3, d), (N,), d)[:, 1], lambda x: 1 - (1 - x) ** 2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_distribution(name, dtype):
    draw, cdf = CASES[name]
    compiled = lm.jit(lambda key: draw(key, dtype))
    drawn = compiled(random.key(7))
    assert drawn.dtype == dtype and drawn.shape == (N,) and np.isfinite(drawn).all()
    below = cdf(np.sort(drawn.astype(np.float64)))
    assert (np.diff(below) >= -1e-6).all()
    steps = np.arange(N + 1) / N
    distance = max(np.max(steps[1:] - below), np.max(below - steps[:-1]))
    assert distance * math.sqrt(N) < KS
    assert distance * math.sqrt(N) > 0.2  # too even is not random either
    at_once = draw(random.key(7), dtype)
    assert at_once.dtype == drawn.dtype
    np.testing.assert_allclose(at_once, drawn, rtol=2e-4 if dtype == "float32" else 1e-11, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
def test_16_bit_floats(name, dtype):
    drawn = CASES[name][0](random.key(8), lm.DType(dtype, "", "", 0).numpy)
    assert drawn.dtype.name == dtype
    if name not in ("cauchy", "gamma 0.3"):
        values = drawn.astype(np.float64)
        assert np.isfinite(values).all()
        below = CASES[name][1](np.sort(values))
        assert np.abs(below - np.arange(N) / N).mean() < 0.02


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_stays_below_its_end(dtype):
    drawn = random.uniform(random.key(2), (1 << 17,), dtype).astype(np.float64)
    assert drawn.min() >= 0 and drawn.max() < 1
    shifted = random.uniform(random.key(2), (1 << 17,), dtype, 1.0, 2.0).astype(np.float64)
    assert shifted.min() >= 1 and shifted.max() < 2


def test_normal_tails_and_moments():
    for dtype, limit in (("float32", 6), ("float64", 10)):
        x = random.normal(random.key(11), (1 << 20,), dtype).astype(np.float64)
        assert 4.5 < np.abs(x).max() < limit
        for power, expected, deviation in ((1, 0, 1), (2, 1, 2 ** 0.5), (3, 0, 15 ** 0.5), (4, 3, 96 ** 0.5)):
            assert abs((x ** power).mean() - expected) < 5 * deviation / 1024


def test_a_million_normal_numbers_are_one_kernel():
    executable = lm.compile(lambda key: random.normal(key, (1000000,)), random.key(0))
    assert len(executable.kernels) == 1
    both = lm.compile(lambda key: random.normal(random.split(key)[0], (1000,)) * 2, random.key(0))
    assert len(both.kernels) <= 2


def test_normal_numbers_of_neighbouring_keys_and_positions_are_uncorrelated():
    rows = np.stack([random.normal(random.key(i), (500,)) for i in range(40)])
    correlation = np.corrcoef(rows) - np.eye(40)
    assert np.abs(correlation).max() < 5.5 / math.sqrt(500)
    x = random.normal(random.key(0), (N,))
    for lag in (1, 2, 4, 64):
        assert abs(np.corrcoef(x[lag:], x[:-lag])[0, 1]) < 5 / math.sqrt(N)


# ---- discrete --------------------------------------------------------------------------------------------------------
def chi_square(counts, expected):
    """In standard deviations from its mean (Wilson-Hilferty)."""
    counts, expected = np.asarray(counts, float), np.asarray(expected, float)
    freedom = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_integers_are_equally_likely(dtype):
    draw = lm.jit(lambda key: random.randint(key, (N,), 3, 13, dtype))
    drawn = draw(random.key(1))
    assert drawn.dtype == dtype and drawn.min() == 3 and drawn.max() == 12
    assert abs(chi_square(np.bincount(drawn.astype(int) - 3), np.full(10, N / 10))) < 5
    np.testing.assert_array_equal(drawn, random.randint(random.key(1), (N,), 3, 13, dtype))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_integers_of_the_whole_range(dtype):
    info = np.iinfo(dtype)
    drawn = random.randint(random.key(1), (4096,), info.min, int(info.max) + 1, dtype)
    top = drawn.astype(np.float64) - float(info.min)
    assert abs(chi_square(np.bincount((top / 2.0 ** info.bits * 16).astype(int), minlength=16), np.full(16, 256))) < 5


def test_ends_of_integers_may_be_arrays_and_traced():
    low, high = np.array([0, -5, 10]), np.array([1, 5, 1000])
    drawn = lm.jit(lambda key, a, b: random.randint(key, (200, 3), a, b))(random.key(0), low, high)
    assert (drawn >= low).all() and (drawn < high).all() and len(np.unique(drawn[:, 2])) > 150
    assert random.randint(random.key(0), (3,), 5, 5).tolist() == [5, 5, 5]
    assert random.randint(random.key(0), (3,), 5, 2).tolist() == [5, 5, 5]
    with pytest.raises(lm.DTypeError, match="integer dtype"):
        random.randint(random.key(0), (3,), 0, 5, "float32")
    with pytest.raises(lm.DTypeError, match="an end of the range"):
        random.randint(random.key(0), (3,), 0, 5.5)


def test_bernoulli_and_rademacher():
    p = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
    drawn = random.bernoulli(random.key(0), p, (N, 4))
    assert drawn.dtype == bool
    assert drawn[:, 0].sum() == 0 and drawn[:, 3].all()
    assert abs(drawn.mean(0) - p).max() < 5 * 0.5 / math.sqrt(N)
    assert random.bernoulli(random.key(0), 0.5).shape == ()
    signs = random.rademacher(random.key(0), (N,), "float32")
    assert signs.dtype == np.float32 and set(np.unique(signs)) == {-1, 1} and abs(signs.mean()) < 5 / math.sqrt(N)


def test_categorical_follows_its_logits():
    p = np.array([0.1, 0.0, 0.2, 0.7])
    with np.errstate(divide="ignore"):
        logits = np.log(p).astype(np.float32)
    drawn = lm.jit(lambda key, x: random.categorical(key, x, shape=(N,)))(random.key(0), logits)
    counts = np.bincount(drawn, minlength=4)
    assert counts[1] == 0 and abs(chi_square(counts[p > 0], N * p[p > 0])) < 5
    rows = np.stack([logits, logits[::-1]])
    assert random.categorical(random.key(1), rows).shape == (2,)
    assert random.categorical(random.key(1), rows, axis=0).shape == (4,)
    many = random.categorical(random.key(1), rows, shape=(N, 2))
    assert (many[:, 0] == 3).mean() > 0.68 and (many[:, 1] == 0).mean() > 0.68
    with pytest.raises(lm.ShapeError, match="does not end in"):
        random.categorical(random.key(1), rows, shape=(2, 7))


# ---- orders ----------------------------------------------------------------------------------------------------------
def test_every_order_is_equally_likely():
    keys = random.split(random.key(0), 2400)
    counts = {}
    for key in keys:
        order = tuple(random.permutation(key, 4).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24 and abs(chi_square(list(counts.values()), np.full(24, 100))) < 5


def test_permutation_of_arrays():
    x, key = np.arange(24).reshape(4, 6), random.key(2)
    rows = random.permutation(key, x)
    assert sorted(map(tuple, rows)) == sorted(map(tuple, x)) and not np.array_equal(rows, x)
    np.testing.assert_array_equal(rows, x[random.permutation(key, 4)])
    np.testing.assert_array_equal(rows, lm.jit(lambda k, x: random.shuffle(k, x))(key, x))
    columns = random.permutation(key, x, axis=1)
    assert (np.sort(columns, 1) == x).all() and (np.diff(columns, axis=0) == 6).all()
    apart = random.permutation(key, x, axis=1, independent=True)
    assert (np.sort(apart, 1) == x).all() and not (np.diff(apart, axis=0) == 6).all()
    assert random.permutation(key, 0).tolist() == [] and random.permutation(key, np.int64(1)).tolist() == [0]
    big = random.permutation(key, 100003)
    assert (np.sort(big) == np.arange(100003)).all()


def test_choice():
    key, names = random.key(3), np.arange(10, 20)
    p = np.arange(10) / 45
    for draw in (lambda key: random.choice(key, names, (N,)), lambda key: random.choice(key, names, (N,), p=p)):
        np.testing.assert_array_equal(draw(key), lm.jit(draw)(key))
    even = np.bincount(random.choice(key, 10, (N,)), minlength=10)
    assert abs(chi_square(even, np.full(10, N / 10))) < 5
    weighted = np.bincount(random.choice(key, names, (N,), p=p) - 10, minlength=10)
    assert weighted[0] == 0 and abs(chi_square(weighted[1:], N * p[1:])) < 5
    assert sorted(random.choice(key, names, (2, 5), replace=False).ravel()) == names.tolist()
    chosen = [random.choice(k, 3, (2,), replace=False, p=np.array([0.7, 0.0, 0.3], np.float32)).tolist()
              for k in random.split(key, 1000)]
    assert all(sorted(c) == [0, 2] for c in chosen)
    assert abs(np.mean([c[0] == 0 for c in chosen]) - 0.7) < 0.08
    matrix = np.arange(12).reshape(3, 4)
    assert random.choice(key, matrix, (5,), axis=1).shape == (3, 5) and random.choice(key, matrix).shape == (4,)
    with pytest.raises(lm.ShapeError, match="choice of 4 of 3 without replacement"):
        random.choice(key, 3, (4,), replace=False)
    with pytest.raises(lm.ShapeError, match="probabilities of shape"):
        random.choice(key, 3, (4,), p=[0.5, 0.5])


# ---- parameters ------------------------------------------------------------------------------------------------------
def test_parameters_broadcast_and_wrong_ones_are_told():
    a = np.array([0.5, 2.0, 20.0])
    drawn = random.gamma(random.key(0), a, (4000, 3), "float64")
    assert abs(drawn.mean(0) / a - 1).max() < 0.15
    assert random.gamma(random.key(0), a).shape == (3,) and np.isnan(random.gamma(random.key(0), -1.0))
    rows = random.dirichlet(random.key(0), np.array([1.0, 2.0, 3.0]), (5, 2))
    assert rows.shape == (5, 2, 3)
    np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-6)
    bounded = random.truncated_normal(random.key(0), np.array([-1.0, 3.0]), 3.5, (1000, 2))
    assert (bounded > [-1, 3]).all() and (bounded < 3.5).all()
    with pytest.raises(lm.ShapeError, match="don't fit"):
        random.gamma(random.key(0), a, (1,))
    with pytest.raises(lm.DTypeError, match="are floating"):
        random.normal(random.key(0), (3,), "int32")
    assert random.beta(random.key(0), 1e-3, 1e-3, (200,)).max() <= 1  # no NaN where both gammas underflow
