"""Does fusion group operators without making kernels wait for each other?"""

import numpy as np

import lamina as lm

TABLE = np.arange(64, dtype=np.float32).reshape(16, 4)


def test_a_view_that_others_read_too_takes_its_readers_along():
    """The extent as a number is a slice of a ramp; one kernel reads it through a reshape, another as it is."""
    def f(x):
        n = x.shape[0]
        return lm.dynamic_slice(TABLE, (n, 0), (1, 4)), x.sum(axis=0) * (n + lm.arange(1))
    executable = lm.compile(f, lm.TensorSpec(("n", 4)), dims={"n": (1, 15)})
    x = np.ones((3, 4), np.float32)
    row, product = executable(x)
    assert np.array_equal(row, TABLE[3:4])
    assert np.array_equal(product, np.full(4, 9, np.float32))
