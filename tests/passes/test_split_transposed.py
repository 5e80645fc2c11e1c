"""Are transposed convolutions split in phases what they were, wherever their bias stands in the graph?"""

import numpy as np
import pytest

import lamina as lm
from lamina.compiler.ops.conv import Conv
from lamina.compiler.passes.split_transposed import split_transposed


@pytest.mark.parametrize("batch", [3, "batch"])
def test_a_bias_that_is_made_behind_the_convolution_moves_into_its_phases(batch):
    rng = np.random.default_rng(0)
    w, bias, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 6, 4, 4), 6, (3, 4, 5, 4)))

    def upsample(x):
        return lm.relu(lm.conv_transpose(x, w, bias, strides=2, padding=1))
    graph = lm.trace(upsample, lm.TensorSpec((batch, 4, 5, 4)))
    split = split_transposed(graph).verify()
    assert [n.op.input_dilation for n in split.nodes if isinstance(n.op, Conv)] == [(1, 1)] * 4
    np.testing.assert_allclose(split.evaluate(x)[0], upsample(x), rtol=1e-5, atol=1e-5)
