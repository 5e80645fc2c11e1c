"""Do a kernel's own names stay apart from the names of its dims?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.kernel.builder import BlockBuilder


def test_fresh_names_are_all_different_and_none_is_reserved():
    block = BlockBuilder(("row", "x_1"))
    names = [block.fresh(n) for n in ("row", "x", "x", "x_1", "row", "x_1_1")]
    assert len({*names, "row", "x_1"}) == len(names) + 2


@pytest.mark.parametrize("dim", ["batch", "row", "unit", "left", "i0", "i1", "tile"])
@pytest.mark.parametrize("function", [lambda x: lm.tanh(x @ np.arange(36 * 8, dtype=np.float32).reshape(36, 8) / 99), lm.softmax,
                                      lambda x: lm.flip(lm.exp(x), 0)], ids=["contraction", "reduction", "loops"])
def test_a_dim_may_be_called_like_a_variable_of_a_kernel(dim, function):
    graph = lm.trace(function, lm.TensorSpec((dim, 36)))
    x = np.random.default_rng(0).standard_normal((37, 36), np.float32)
    np.testing.assert_allclose(lm.compile(graph)(x)[0], graph.evaluate(x)[0], rtol=1e-5, atol=1e-5)
